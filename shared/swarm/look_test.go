package swarm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/owner"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/probe/inside"
	"github.com/secretx/secretx/shared/secret"
)

// insides is a fake whose containers can be looked into, on this node and on others: in each there is
// one file, with the ID of the container.
type insides struct {
	*fake
	tasks   []swarm.Task
	nodes   []swarm.Node
	helpers []container.HostConfig
	specs   []swarm.ServiceSpec
	args    map[string][]string // of the helper of that name
}

func newInsides(t *testing.T, perNode map[string]int) (*insides, []peek.Container) {
	f := &insides{fake: newFake(t, nil), args: map[string][]string{}}
	var containers []peek.Container
	nodes := make([]string, 0, len(perNode))
	for node := range perNode {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	pid := 100
	for _, node := range nodes {
		f.nodes = append(f.nodes, swarm.Node{
			ID: node, Status: swarm.NodeStatus{State: swarm.NodeStateReady}, Spec: swarm.NodeSpec{Availability: swarm.NodeAvailabilityActive},
			Description: swarm.NodeDescription{Hostname: "host-" + node, Platform: swarm.Platform{OS: "linux", Architecture: "x86_64"}},
		})
		for range perNode[node] {
			pid++
			one := task(fmt.Sprintf("task-%d", pid), pid, 0, toRun, runs)
			one.NodeID = node
			one.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: fmt.Sprintf("%064d", pid), PID: pid}
			f.tasks = append(f.tasks, one)
			containers = append(containers, peek.Container{
				ID: one.ID, Name: fmt.Sprintf("web.%d", pid), Directories: directories,
				Wants: []peek.Want{{How: peek.File, Path: "/run/secrets/p"}, {How: peek.Pointer, Path: "/run/secrets/p", Variable: "P_FILE"}},
			})
		}
	}
	var mu sync.Mutex
	f.nodeList = func(context.Context) ([]swarm.Node, error) { return f.nodes, nil }
	f.taskList = func(context.Context) ([]swarm.Task, error) {
		mu.Lock()
		defer mu.Unlock()
		status := swarm.Task{ID: "job", Status: swarm.TaskStatus{State: swarm.TaskStateComplete}}
		status.CreatedAt = startedAt.Add(time.Hour) // what a job is asked for
		return append([]swarm.Task{status}, f.tasks...), nil
	}
	f.create = func(_ context.Context, c *container.Config, h *container.HostConfig, name string) error {
		mu.Lock()
		defer mu.Unlock()
		f.made = append(f.made, name)
		f.helpers = append(f.helpers, *h)
		f.args[name] = c.Cmd
		return nil
	}
	f.attach = func(_ context.Context, name string) (types.HijackedResponse, error) {
		mu.Lock()
		defer mu.Unlock()
		a, b := net.Pipe()
		_ = b.Close()
		return types.HijackedResponse{Conn: a, Reader: bufio.NewReader(f.say(t, f.args[name]))}, nil
	}
	f.start = func(context.Context, string) error { return nil }
	f.remove = f.serviceRemove
	f.serviceCreate = func(_ context.Context, s swarm.ServiceSpec) error {
		mu.Lock()
		defer mu.Unlock()
		f.made = append(f.made, s.Name)
		f.specs = append(f.specs, s)
		f.args[s.Name] = s.TaskTemplate.ContainerSpec.Args
		return nil
	}
	f.serviceLogs = func(_ context.Context, name string, _ container.LogsOptions) (io.ReadCloser, error) {
		mu.Lock()
		defer mu.Unlock()
		return io.NopCloser(f.say(t, f.args[name])), nil
	}
	return f, containers
}

// say is what a helper with the arguments says.
func (f *insides) say(t *testing.T, args []string) *mixed {
	job, err := envelope.ParseArgs(args)
	if err != nil {
		t.Error(err)
		return &mixed{}
	}
	request, err := inside.ParseRequest(job.Request)
	if err != nil {
		t.Error(err)
	}
	var log mixed
	w, err := envelope.NewWriter(&log, job)
	if err != nil {
		t.Error(err)
	}
	for i, c := range request.Containers {
		digest := secret.NewValue([]byte(c.ID)).Digest(job.Nonce)
		body, err := inside.Answer{Files: []inside.File{{Path: "/run/secrets/p", Content: inside.Content{Digest: digest[:]}}}}.Marshal()
		if c.ID == strings.Repeat("0", 61)+"101" {
			body = []byte(`{"Unseen":"` + inside.Ended + `"}`)
		}
		if err != nil || w.Record(i, envelope.Body, body) != nil {
			t.Error(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	return &log
}

func (f *insides) look(t *testing.T, containers []peek.Container, options peek.LookOptions) *Endpoint {
	t.Helper()
	e := f.endpoint(Options{})
	options.Nonce = []byte("n")
	options.HelperImage = "registry/probe"
	if err := e.Look(t.Context(), containers, options); err != nil {
		t.Fatal(err)
	}
	f.clean(t)
	return e
}

// seen checks that what was seen in each is its own.
func isSeen(t *testing.T, c peek.Container) {
	t.Helper()
	want := secret.NewValue([]byte(fmt.Sprintf("%064s", strings.TrimPrefix(c.ID, "task-")))).Digest([]byte("n"))
	if c.Unseen != "" || !c.Seen.Files["/run/secrets/p"].Content.Digest.Equal(want) {
		t.Errorf("%+v", c)
	}
}

func needsHelper(t *testing.T) {
	t.Helper()
	if _, err := imageID("amd64"); err != nil {
		t.Skip(err)
	}
}

func TestLook(t *testing.T) {
	needsHelper(t)
	f, containers := newInsides(t, map[string]int{"a": 3, "b": 1, "node": lookCount + 3})
	f.look(t, containers, peek.LookOptions{})
	for i, c := range containers {
		if i == 0 {
			if !strings.HasPrefix(c.Unseen, inside.Ended) || c.Seen.Files != nil {
				t.Errorf("%+v", c)
			}
			continue
		}
		isSeen(t, c)
	}
	if len(f.helpers) != 2 || len(f.specs) != 2 {
		t.Errorf("%d helpers and %d jobs", len(f.helpers), len(f.specs))
	}
}

// TestRights: what the helpers may do, here and elsewhere.
func TestRights(t *testing.T) {
	needsHelper(t)
	f, containers := newInsides(t, map[string]int{"node": 2})
	f.look(t, containers[1:], peek.LookOptions{})
	f.look(t, containers, peek.LookOptions{})
	one, all := f.helpers[0], f.helpers[1]
	if one.PidMode != container.PidMode("container:"+fmt.Sprintf("%064d", 102)) || all.PidMode != "host" {
		t.Errorf("they see the processes of %s and %s", one.PidMode, all.PidMode)
	}
	for _, h := range f.helpers {
		if !h.ReadonlyRootfs || h.NetworkMode != "none" || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Equal(h.CapAdd, capabilities) ||
			h.Privileged || len(h.Mounts)+len(h.Binds) != 0 || !slices.Contains(h.SecurityOpt, "no-new-privileges") || h.LogConfig.Type != "none" {
			t.Errorf("it may too much: %+v", h)
		}
	}
	f, containers = newInsides(t, map[string]int{"a": 2})
	f.look(t, containers, peek.LookOptions{})
	spec := f.specs[0].TaskTemplate
	c := spec.ContainerSpec
	if !c.ReadOnly || !slices.Equal(c.CapabilityDrop, []string{"ALL"}) || !slices.Equal(c.CapabilityAdd, capabilities) || len(c.Secrets) != 0 ||
		len(c.Mounts) != 1 || c.Mounts[0].Source != "/proc" || !c.Mounts[0].ReadOnly || c.Image != "registry/probe" ||
		!slices.Equal(spec.Placement.Constraints, []string{"node.id==a"}) || spec.RestartPolicy.Condition != swarm.RestartPolicyConditionNone {
		t.Errorf("the job is %+v", spec)
	}
}

// TestNotLookedAt: no helper is made where none could look, and it is said why.
func TestNotLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*insides)
		options peek.LookOptions
		want    string
	}{
		"local only":    {nil, peek.LookOptions{LocalOnly: true}, "it runs on host-a, and --local-only forbids a job there"},
		"down":          {func(f *insides) { f.nodes[0].Status.State = swarm.NodeStateDown }, peek.LookOptions{}, "its node host-a is down"},
		"drained":       {func(f *insides) { f.nodes[0].Spec.Availability = swarm.NodeAvailabilityDrain }, peek.LookOptions{}, "its availability is drain"},
		"gone":          {func(f *insides) { f.nodes = nil }, peek.LookOptions{}, "its node is gone"},
		"windows":       {func(f *insides) { f.nodes[0].Description.Platform.OS = "windows" }, peek.LookOptions{}, "node host-a on windows"},
		"old engine":    {func(f *insides) { f.clientVersion = "1.40" }, peek.LookOptions{}, "needs Docker 20.10"},
		"nodes unknown": {func(f *insides) { f.nodeList = func(context.Context) ([]swarm.Node, error) { return nil, denied } }, peek.LookOptions{}, "denied by plugin"},
		"task gone":     {func(f *insides) { f.tasks = nil }, peek.LookOptions{}, "removed meanwhile"},
		"task failed":   {func(f *insides) { f.tasks[0].Status.State = failed }, peek.LookOptions{}, "its task failed"},
		"no process":    {func(f *insides) { f.tasks[0].Status.ContainerStatus = nil }, peek.LookOptions{}, "isn't known yet"},
		"refused":       {func(f *insides) { f.serviceCreate = func(context.Context, swarm.ServiceSpec) error { return denied } }, peek.LookOptions{}, "on node host-a: authorization denied"},
		"engine refuses": {func(f *insides) {
			f.tasks[0].NodeID = "node"
			f.create = func(context.Context, *container.Config, *container.HostConfig, string) error { return denied }
		}, peek.LookOptions{}, "denied by plugin"},
		"ended": {func(f *insides) {
			f.tasks[0].NodeID = "node"
			f.start = func(context.Context, string) error {
				return refused{"cannot join PID of a non running container: x", denied.kind}
			}
		}, peek.LookOptions{}, inside.Ended},
		"helper fails": {func(f *insides) {
			f.tasks[0].NodeID = "node"
			f.attach = func(context.Context, string) (types.HijackedResponse, error) {
				a, _ := net.Pipe()
				return types.HijackedResponse{Conn: a, Reader: bufio.NewReader(strings.NewReader(""))}, nil
			}
			f.inspect = func(context.Context, string) (container.InspectResponse, error) {
				return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{State: &container.State{ExitCode: envelope.ExitVersion}}}, nil
			}
		}, peek.LookOptions{}, "another version"},
	} {
		t.Run(name, func(t *testing.T) {
			needsHelper(t)
			f, containers := newInsides(t, map[string]int{"a": 1})
			f.tasks[0].Status.ContainerStatus.ContainerID = strings.Repeat("e", 64)
			if c.change != nil {
				c.change(f)
			}
			f.look(t, containers, c.options)
			if got := containers[0]; !strings.Contains(got.Unseen, c.want) || got.Seen.Files != nil {
				t.Errorf("%q. %q", got.Unseen, got.Hint)
			}
		})
	}
}

// TestStuck: a helper that says nothing doesn't keep anybody waiting for long.
func TestStuck(t *testing.T) {
	needsHelper(t)
	synctest.Test(t, func(t *testing.T) {
		f, containers := newInsides(t, map[string]int{"node": 2, "a": 1})
		f.attach = func(context.Context, string) (types.HijackedResponse, error) {
			a, _ := net.Pipe()
			return types.HijackedResponse{Conn: a, Reader: bufio.NewReader(a)}, nil
		}
		start := time.Now()
		f.look(t, containers, peek.LookOptions{})
		if took := time.Since(start); took > lookSilence+time.Second {
			t.Errorf("it took %s", took)
		}
		for _, c := range containers[1:] {
			if !strings.Contains(c.Unseen, "has said nothing for 20s") {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestLookWithout(t *testing.T) {
	f, containers := newInsides(t, map[string]int{"a": 1})
	if err := f.endpoint(Options{}).Look(t.Context(), containers, peek.LookOptions{}); !errors.Is(err, endpoint.ErrInvalid) {
		t.Errorf("without a nonce: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.endpoint(Options{}).Look(ctx, containers, peek.LookOptions{Nonce: []byte("n")}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	f, containers = newInsides(t, map[string]int{"a": 1})
	containers[0].Over = true
	f.look(t, containers, peek.LookOptions{})
	if len(f.made) != 0 {
		t.Error("it looks at what is over")
	}
}

// TestLongRequests: what is too much for one helper is done by several.
func TestLongRequests(t *testing.T) {
	needsHelper(t)
	f, containers := newInsides(t, map[string]int{"node": 5})
	for i := range containers {
		for n := range 200 {
			containers[i].Wants = append(containers[i].Wants, peek.Want{How: peek.File, Path: fmt.Sprintf("/%d/%d/%s", i, n, strings.Repeat("x", 1000))})
		}
	}
	f.look(t, containers, peek.LookOptions{})
	for _, c := range containers[1:] {
		isSeen(t, c)
	}
	if len(f.helpers) != 3 && len(f.helpers) != 4 {
		t.Errorf("%d helpers", len(f.helpers))
	}
}

// TestSweepsHelpers: those of runs that are no more, and no others.
func TestSweepsHelpers(t *testing.T) {
	f := newFake(t, nil)
	dead := "0123456789abcdef.1.1"
	if here, _, known := strings.Cut(owner.Self(), "."); known {
		dead = here + ".999999999.1"
	}
	label := func(more map[string]string) map[string]string {
		labels := jobLabels("run", time.Minute)
		for name, value := range more {
			labels[name] = value
		}
		return labels
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix()
	f.containerList = func(context.Context) ([]container.Summary, error) {
		return []container.Summary{
			{ID: "dead", Labels: label(map[string]string{ownerLabel: dead}), Created: now},
			{ID: "alive", Labels: label(nil), Created: now},
			{ID: "old", Labels: label(map[string]string{ownerLabel: "else.1.1"}), Created: now - 3600},
			{ID: "else", Labels: label(map[string]string{ownerLabel: "else.1.1"}), Created: now},
			{ID: "task", Labels: label(map[string]string{ownerLabel: dead, taskLabel: "t"}), Created: now},
		}, nil
	}
	var removed []string
	f.remove = func(_ context.Context, id string) error { removed = append(removed, id); return nil }
	if err := f.endpoint(Options{}).Sweep(t.Context()); err != nil || !slices.Equal(removed, []string{"dead", "old"}) {
		t.Errorf("removed %v: %v", removed, err)
	}
}
