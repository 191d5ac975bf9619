package swarm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/secret"
)

// fake is an engine made of functions; what a test doesn't set must not be called, unless newFake
// has set it.
type fake struct {
	client.APIClient
	info           func(context.Context) (system.Info, error)
	secretList     func(context.Context, swarm.SecretListOptions) ([]swarm.Secret, error)
	secretCreate   func(context.Context, swarm.SecretSpec) (swarm.SecretCreateResponse, error)
	secretInspect  func(context.Context, string) (swarm.Secret, error)
	secretUpdate   func(context.Context, string, swarm.Version, swarm.SecretSpec) error
	secretRemove   func(context.Context, string) error
	nodeInspect    func(context.Context, string) (swarm.Node, error)
	serviceList    func(context.Context) ([]swarm.Service, error)
	serviceCreate  func(context.Context, swarm.ServiceSpec) error
	serviceRemove  func(context.Context, string) error
	serviceLogs    func(context.Context, string, container.LogsOptions) (io.ReadCloser, error)
	taskList       func(context.Context) ([]swarm.Task, error)
	taskInspect    func(context.Context, string) (swarm.Task, error)
	serviceInspect func(context.Context, string) (swarm.Service, error)
	serviceUpdate  func(context.Context, string, swarm.Version, swarm.ServiceSpec, swarm.ServiceUpdateOptions) error
	more           func([]byte) []byte // what a newer engine says of a service
	nodeList       func(context.Context) ([]swarm.Node, error)
	containerList  func(context.Context) ([]container.Summary, error)
	inspect        func(context.Context, string) (container.InspectResponse, error) // of a container
	create         func(context.Context, *container.Config, *container.HostConfig, string) error
	attach         func(context.Context, string) (types.HijackedResponse, error)
	start          func(context.Context, string) error
	remove         func(context.Context, string) error
	clientVersion  string
	mu             sync.Mutex
	made, removed  []string // names of services
	secretContents map[string][]byte
}

func (f *fake) Close() error                                       { return nil }
func (f *fake) ClientVersion() string                              { return f.clientVersion }
func (f *fake) DaemonHost() string                                 { return "unix:///fake.sock" }
func (f *fake) Info(ctx context.Context) (system.Info, error)      { return f.info(ctx) }
func (f *fake) SecretRemove(ctx context.Context, id string) error  { return f.secretRemove(ctx, id) }
func (f *fake) ServiceRemove(ctx context.Context, id string) error { return f.serviceRemove(ctx, id) }

func (f *fake) SecretList(ctx context.Context, o swarm.SecretListOptions) ([]swarm.Secret, error) {
	return f.secretList(ctx, o)
}

func (f *fake) SecretCreate(ctx context.Context, s swarm.SecretSpec) (swarm.SecretCreateResponse, error) {
	return f.secretCreate(ctx, s)
}

func (f *fake) SecretInspectWithRaw(ctx context.Context, id string) (swarm.Secret, []byte, error) {
	s, err := f.secretInspect(ctx, id)
	return s, nil, err
}

func (f *fake) SecretUpdate(ctx context.Context, id string, v swarm.Version, s swarm.SecretSpec) error {
	return f.secretUpdate(ctx, id, v, s)
}

func (f *fake) NodeInspectWithRaw(ctx context.Context, id string) (swarm.Node, []byte, error) {
	n, err := f.nodeInspect(ctx, id)
	return n, nil, err
}

func (f *fake) ServiceList(ctx context.Context, _ swarm.ServiceListOptions) ([]swarm.Service, error) {
	return f.serviceList(ctx)
}

func (f *fake) ServiceCreate(ctx context.Context, s swarm.ServiceSpec, _ swarm.ServiceCreateOptions) (swarm.ServiceCreateResponse, error) {
	return swarm.ServiceCreateResponse{}, f.serviceCreate(ctx, s)
}

func (f *fake) ServiceLogs(ctx context.Context, id string, o container.LogsOptions) (io.ReadCloser, error) {
	return f.serviceLogs(ctx, id, o)
}

func (f *fake) TaskList(ctx context.Context, _ swarm.TaskListOptions) ([]swarm.Task, error) {
	return f.taskList(ctx)
}

func (f *fake) TaskInspectWithRaw(ctx context.Context, id string) (swarm.Task, []byte, error) {
	t, err := f.taskInspect(ctx, id)
	return t, nil, err
}

func (f *fake) ServiceInspectWithRaw(ctx context.Context, id string, _ swarm.ServiceInspectOptions) (swarm.Service, []byte, error) {
	s, err := f.serviceInspect(ctx, id)
	if err != nil {
		return s, nil, err
	}
	raw, err := json.Marshal(s)
	if f.more != nil {
		raw = f.more(raw)
	}
	return s, raw, err
}

func (f *fake) ServiceUpdate(ctx context.Context, id string, v swarm.Version, s swarm.ServiceSpec, o swarm.ServiceUpdateOptions) (swarm.ServiceUpdateResponse, error) {
	return swarm.ServiceUpdateResponse{}, f.serviceUpdate(ctx, id, v, s, o)
}

func (f *fake) NodeList(ctx context.Context, _ swarm.NodeListOptions) ([]swarm.Node, error) {
	return f.nodeList(ctx)
}

func (f *fake) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	return f.inspect(ctx, id)
}

func (f *fake) ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, _ *network.NetworkingConfig, _ *ocispec.Platform, name string) (container.CreateResponse, error) {
	return container.CreateResponse{ID: name}, f.create(ctx, c, h, name)
}

func (f *fake) ContainerAttach(ctx context.Context, id string, _ container.AttachOptions) (types.HijackedResponse, error) {
	return f.attach(ctx, id)
}

func (f *fake) ContainerStart(ctx context.Context, id string, _ container.StartOptions) error {
	return f.start(ctx, id)
}

func (f *fake) ContainerRemove(ctx context.Context, id string, _ container.RemoveOptions) error {
	return f.remove(ctx, id)
}

func (f *fake) ContainerList(ctx context.Context, _ container.ListOptions) ([]container.Summary, error) {
	return f.containerList(ctx)
}

func (f *fake) ImageInspect(context.Context, string, ...client.ImageInspectOption) (image.InspectResponse, error) {
	return image.InspectResponse{ID: "sha256:helper"}, nil
}

// newFake is a manager with secrets, ID to content and named like their IDs, that runs a probe's
// job in no time.
func newFake(t *testing.T, contents map[string][]byte) *fake {
	f := &fake{clientVersion: "1.41", secretContents: contents}
	f.info = func(context.Context) (system.Info, error) {
		return system.Info{
			OSType: "linux", Architecture: "x86_64", LoggingDriver: "json-file", SystemTime: "2026-01-02T03:04:05Z",
			Swarm: swarm.Info{NodeID: "node", ControlAvailable: true, Cluster: &swarm.ClusterInfo{ID: "cluster"}},
		}, nil
	}
	f.nodeInspect = func(context.Context, string) (swarm.Node, error) {
		return swarm.Node{Spec: swarm.NodeSpec{Availability: swarm.NodeAvailabilityActive}}, nil
	}
	f.secretList = func(context.Context, swarm.SecretListOptions) (all []swarm.Secret, err error) {
		for id := range contents {
			all = append(all, swarm.Secret{ID: id, Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: id}}})
		}
		return all, nil
	}
	f.serviceList = func(context.Context) ([]swarm.Service, error) { return nil, nil }
	f.containerList = func(context.Context) ([]container.Summary, error) { return nil, nil }
	logs := map[string][]byte{}
	f.serviceCreate = func(_ context.Context, s swarm.ServiceSpec) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.made = append(f.made, s.Name)
		logs[s.Name] = f.answer(t, s)
		return nil
	}
	f.serviceRemove = func(_ context.Context, name string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.removed = append(f.removed, name)
		return nil
	}
	f.serviceLogs = func(_ context.Context, name string, _ container.LogsOptions) (io.ReadCloser, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return io.NopCloser(bytes.NewReader(logs[name])), nil
	}
	f.taskList = f.tasks(swarm.TaskStatus{State: swarm.TaskStateComplete})
	return f
}

func (f *fake) tasks(status swarm.TaskStatus) func(context.Context) ([]swarm.Task, error) {
	return func(context.Context) ([]swarm.Task, error) { return []swarm.Task{{Status: status}}, nil }
}

// answer is the log of a job, as the engine mixes it.
func (f *fake) answer(t *testing.T, s swarm.ServiceSpec) []byte {
	t.Helper()
	job, err := envelope.ParseArgs(s.TaskTemplate.ContainerSpec.Args)
	if err != nil {
		t.Fatal(err)
	}
	var log mixed
	w, err := envelope.NewWriter(&log, job)
	if err != nil {
		t.Fatal(err)
	}
	for i, ref := range s.TaskTemplate.ContainerSpec.Secrets {
		if ref.File.Name != envelope.File(i) {
			t.Errorf("file %d is called %s", i, ref.File.Name)
		}
		content, there := f.secretContents[ref.SecretID]
		kind := envelope.Body
		if !there {
			kind = envelope.Unreadable
		} else if job.Mode == envelope.Digests {
			digest := secret.NewValue(content).Digest(job.Nonce)
			content = digest[:]
		}
		if err := w.Record(i, kind, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return log.Bytes()
}

// mixed is a log with both streams in it, and noise on the second one.
type mixed struct{ bytes.Buffer }

func (m *mixed) Write(b []byte) (int, error) {
	for _, piece := range []struct {
		stream byte
		text   []byte
	}{{2, []byte("noise\n")}, {stdout, b}} {
		header := [8]byte{piece.stream}
		binary.BigEndian.PutUint32(header[4:], uint32(len(piece.text)))
		m.Buffer.Write(header[:])
		m.Buffer.Write(piece.text)
	}
	return len(b), nil
}

// endpoint over the fake.
func (f *fake) endpoint(options Options) *Endpoint {
	if options.ProbeImage == "" {
		options.ProbeImage = "registry/probe" // no need for the embedded one
	}
	return New(func(context.Context) (client.APIClient, error) { return f, nil }, "swarm:test", options)
}

// clean checks that no job is left behind.
func (f *fake) clean(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.made {
		if !slices.Contains(f.removed, name) {
			t.Errorf("the job %s is left behind", name)
		}
	}
}

// refused is an error as the client makes it of an answer.
type refused struct {
	text string
	kind error
}

func (r refused) Error() string        { return "Error response from daemon: " + r.text }
func (r refused) Is(target error) bool { return errors.Is(r.kind, target) }

var (
	alreadyExists = refused{"rpc error: code = AlreadyExists desc = secret x already exists", cerrdefs.ErrConflict}
	plainExists   = refused{"rpc error: code = AlreadyExists desc = name conflicts with an existing object", cerrdefs.ErrInternal}
	outOfSequence = refused{"rpc error: code = Unknown desc = update out of sequence", cerrdefs.ErrInternal}
	inUse         = refused{"rpc error: code = InvalidArgument desc = secret 'x' is in use by the following services: web, worker", cerrdefs.ErrInvalidArgument}
	notFound      = refused{"secret x not found", cerrdefs.ErrNotFound}
	noLeader      = refused{"rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.", cerrdefs.ErrInternal}
	notManager    = refused{"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.", cerrdefs.ErrUnavailable}
	badName       = refused{"rpc error: code = InvalidArgument desc = invalid name, only 64 [a-zA-Z0-9-_.] characters allowed", cerrdefs.ErrInvalidArgument}
	denied        = refused{"authorization denied by plugin", cerrdefs.ErrPermissionDenied}
)
