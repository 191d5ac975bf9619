package swarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/secret"
)

// refsOf are references to secrets that are named like their IDs.
func refsOf(contents map[string][]byte) (refs []secret.Ref) {
	for id := range contents {
		refs = append(refs, secret.Ref{UID: id, Name: id, Key: id})
	}
	slices.SortFunc(refs, func(a, b secret.Ref) int { return strings.Compare(a.UID, b.UID) })
	return refs
}

func some(n int) map[string][]byte {
	contents := map[string][]byte{}
	for i := range n {
		contents[fmt.Sprintf("secret-%03d", i)] = bytes.Repeat([]byte{byte(i)}, 1+i*100)
	}
	return contents
}

// values reads and checks; what is handed over is always right.
func values(ctx context.Context, t *testing.T, e *Endpoint, contents map[string][]byte, refs []secret.Ref) (int, error) {
	t.Helper()
	seen := map[secret.Ref]bool{}
	err := e.Values(ctx, refs, func(ref secret.Ref, v secret.Value) error {
		if seen[ref] || !v.Equal(secret.NewValue(contents[ref.UID])) {
			t.Errorf("%s: twice or wrong", ref.Name)
		}
		seen[ref] = true
		return nil
	})
	return len(seen), err
}

func TestValues(t *testing.T) {
	contents := some(25)
	for _, batch := range []int{1, 7, 25, 500} {
		f := newFake(t, contents)
		n, err := values(t.Context(), t, f.endpoint(Options{Batch: batch}), contents, refsOf(contents))
		if err != nil || n != len(contents) || len(f.made) != (len(contents)+batch-1)/batch {
			t.Errorf("batches of %d: %d values by %d jobs: %v", batch, n, len(f.made), err)
		}
		f.clean(t)
	}
}

func TestDigests(t *testing.T) {
	contents, nonce := some(5), []byte("nonce")
	f := newFake(t, contents)
	e := f.endpoint(Options{Batch: 2})
	digests, err := e.Digests(t.Context(), refsOf(contents), nonce)
	if err != nil || len(digests) != 5 {
		t.Errorf("%d digests: %v", len(digests), err)
	}
	for ref, d := range digests {
		if !d.Equal(secret.NewValue(contents[ref.UID]).Digest(nonce)) {
			t.Errorf("%s: wrong", ref.Name)
		}
	}
	f.clean(t)
	if _, err := e.Digests(t.Context(), refsOf(contents), nil); !errors.Is(err, endpoint.ErrInvalid) {
		t.Errorf("without a nonce: %v", err)
	}
}

// TestSpec: what the job may and may not do.
func TestSpec(t *testing.T) {
	contents := some(2)
	f := newFake(t, contents)
	create, spec := f.serviceCreate, swarm.ServiceSpec{}
	f.serviceCreate = func(ctx context.Context, s swarm.ServiceSpec) error { spec = s; return create(ctx, s) }
	if _, err := values(t.Context(), t, f.endpoint(Options{}), contents, refsOf(contents)); err != nil {
		t.Fatal(err)
	}
	task := spec.TaskTemplate
	c := task.ContainerSpec
	switch {
	case spec.Mode.Replicated == nil || *spec.Mode.Replicated.Replicas != 1:
		t.Error("it is not one task")
	case task.RestartPolicy.Condition != swarm.RestartPolicyConditionNone:
		t.Error("it starts again")
	case !c.ReadOnly || !slices.Equal(c.CapabilityDrop, []string{"ALL"}) || len(c.Mounts)+len(task.Networks)+len(c.Env) != 0:
		t.Errorf("it may too much: %+v", c)
	case task.LogDriver.Name != "local" || task.LogDriver.Options["mode"] != "blocking":
		t.Errorf("its log is %+v", task.LogDriver)
	case len(task.Placement.Constraints) != 0:
		t.Error("with an image that all can pull it is tied to a node")
	}
	for _, s := range c.Secrets {
		if s.File.Mode != 0o400 || s.File.UID != "0" || s.File.GID != "0" {
			t.Errorf("the file is %+v", s.File)
		}
	}
	if got := logDriver("syslog").Name; got != "json-file" {
		t.Errorf("beside syslog it logs to %s", got)
	}
}

func TestForbiddenProbe(t *testing.T) {
	contents := some(1)
	f := newFake(t, contents)
	_, err := values(t.Context(), t, f.endpoint(Options{NoProbe: true}), contents, refsOf(contents))
	if !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "--no-probe") {
		t.Error(err)
	}
}

// TestSomeCantBeRead: what can be read is handed over, and the error says what could not.
func TestSomeCantBeRead(t *testing.T) {
	contents := some(6)
	f := newFake(t, contents)
	list := f.secretList
	f.secretList = func(ctx context.Context, o swarm.SecretListOptions) ([]swarm.Secret, error) {
		all, err := list(ctx, o)
		for i := range all {
			switch all[i].ID {
			case "secret-001":
				all[i].Spec.Templating = &swarm.Driver{Name: "golang"}
			case "secret-002":
				all[i].Spec.Name = "another"
			case "secret-003":
				all[i].ID = "new"
			}
		}
		return all, err
	}
	refs := refsOf(contents)
	refs[4].Key = "no-such-key"
	n, err := values(t.Context(), t, f.endpoint(Options{}), contents, refs)
	if n != 2 || !errors.Is(err, endpoint.ErrMoved) || !errors.Is(err, endpoint.ErrProbe) {
		t.Errorf("%d values: %v", n, err)
	}
	for _, name := range []string{"secret-001", "secret-002", "secret-003", "secret-004"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s isn't told of: %v", name, err)
		}
	}
	f.clean(t)
}

// TestGoneMeanwhile: a secret that goes after it was looked up is left out of the next job.
func TestGoneMeanwhile(t *testing.T) {
	contents := some(3)
	refs := refsOf(contents)
	f := newFake(t, contents)
	create := f.serviceCreate
	f.serviceCreate = func(ctx context.Context, s swarm.ServiceSpec) error {
		if len(s.TaskTemplate.ContainerSpec.Secrets) == 3 {
			delete(contents, "secret-001")
			return refused{"rpc error: code = InvalidArgument desc = secret not found: secret-001", nil}
		}
		return create(ctx, s)
	}
	n, err := values(t.Context(), t, f.endpoint(Options{}), contents, refs)
	if n != 2 || !errors.Is(err, endpoint.ErrMoved) || !strings.Contains(err.Error(), "secret-001") {
		t.Errorf("%d values: %v", n, err)
	}
	f.clean(t)
}

func TestUnreadableFile(t *testing.T) {
	contents := some(2)
	f := newFake(t, contents)
	f.secretContents = map[string][]byte{"secret-000": contents["secret-000"]}
	n, err := values(t.Context(), t, f.endpoint(Options{}), contents, refsOf(contents))
	if n != 1 || !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "secret-001") {
		t.Errorf("%d values: %v", n, err)
	}
}

// TestStops: the first error of the one who takes the values ends everything.
func TestStops(t *testing.T) {
	contents := some(30)
	f := newFake(t, contents)
	enough, n := errors.New("enough"), 0
	err := f.endpoint(Options{Batch: 3}).Values(t.Context(), refsOf(contents), func(secret.Ref, secret.Value) error {
		n++
		time.Sleep(50 * time.Millisecond) // the other job has something by then
		return enough
	})
	if err != enough || n != 1 || len(f.made) > jobs {
		t.Errorf("%d calls, %d jobs: %v", n, len(f.made), err)
	}
	f.clean(t)
}

// TestLogs: logs are not what they should be, and the values come nevertheless, or a clear error.
func TestLogs(t *testing.T) {
	type opener func(log []byte, follow bool, n int) (io.ReadCloser, error)
	whole := func(log []byte) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(log)), nil }
	for name, c := range map[string]struct {
		open   opener
		want   error
		text   string
		within time.Duration
	}{
		"whole": {func(log []byte, _ bool, _ int) (io.ReadCloser, error) { return whole(log) }, nil, "", time.Second},
		"late": {func(log []byte, _ bool, n int) (io.ReadCloser, error) {
			if n < 3 {
				return nil, errors.New("no such container")
			}
			return whole(log)
		}, nil, "", 5 * time.Second},
		"cut, then whole": {func(log []byte, _ bool, n int) (io.ReadCloser, error) {
			if n < 3 {
				return whole(log[:n*len(log)/3])
			}
			return whole(log)
		}, nil, "", 5 * time.Second},
		"follows without an end": {func(log []byte, follow bool, _ int) (io.ReadCloser, error) {
			if follow {
				return &stuck{log: log[:len(log)/2], end: make(chan struct{})}, nil
			}
			return whole(log)
		}, nil, "", 5 * time.Second},
		"always cut": {func(log []byte, _ bool, _ int) (io.ReadCloser, error) { return whole(log[:len(log)/2]) }, endpoint.ErrProbe, "ends before all of it came", 10 * time.Second},
		"changed": {func(log []byte, _ bool, _ int) (io.ReadCloser, error) {
			changed := bytes.Clone(log)
			changed[len(log)/2]++
			return whole(changed)
		}, endpoint.ErrProbe, "", 10 * time.Second},
		"unreadable": {func([]byte, bool, int) (io.ReadCloser, error) {
			text := "configured logging driver does not support reading"
			return whole(append([]byte{systemError, 0, 0, 0, 0, 0, 0, byte(len(text))}, text...))
		}, endpoint.ErrProbe, "does not support reading", 10 * time.Second},
		"never opens": {func([]byte, bool, int) (io.ReadCloser, error) { return nil, errors.New("no") }, endpoint.ErrProbe, "no", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				contents := some(20)
				f, n := newFake(t, contents), 0
				logs := f.serviceLogs
				f.serviceLogs = func(ctx context.Context, name string, o container.LogsOptions) (io.ReadCloser, error) {
					n++
					stream, _ := logs(ctx, name, o)
					log, _ := io.ReadAll(stream)
					opened, err := c.open(log, o.Follow, n)
					if s, is := opened.(*stuck); is {
						context.AfterFunc(ctx, func() { close(s.end) })
					}
					return opened, err
				}
				start := time.Now()
				got, err := values(t.Context(), t, f.endpoint(Options{}), contents, refsOf(contents))
				if !errors.Is(err, c.want) || (c.want == nil) != (err == nil && got == 20) || time.Since(start) > c.within {
					t.Errorf("%d values after %s: %v", got, time.Since(start), err)
				}
				if err != nil && !strings.Contains(err.Error(), c.text) {
					t.Error(err)
				}
				f.clean(t)
			})
		})
	}
}

// stuck is a log that goes no further.
type stuck struct {
	log []byte
	end chan struct{}
}

func (s *stuck) Read(b []byte) (int, error) {
	if len(s.log) == 0 {
		<-s.end
		return 0, context.Canceled
	}
	n := copy(b, s.log)
	s.log = s.log[n:]
	return n, nil
}

func (s *stuck) Close() error { return nil }

// TestTasks: the job fails, or never runs.
func TestTasks(t *testing.T) {
	exit := func(code int) *swarm.ContainerStatus { return &swarm.ContainerStatus{ExitCode: code} }
	for name, c := range map[string]struct {
		status swarm.TaskStatus
		text   string
		within time.Duration
	}{
		"no such image":   {swarm.TaskStatus{State: swarm.TaskStateRejected, Err: "No such image: x"}, "No such image", time.Second},
		"no node":         {swarm.TaskStatus{State: swarm.TaskStatePending, Message: "pending task scheduling", Err: "no suitable node (1 node not available for new tasks)"}, "no suitable node", 6 * time.Second},
		"pulls for ever":  {swarm.TaskStatus{State: swarm.TaskStatePreparing, Message: "preparing"}, "preparing", 62 * time.Second},
		"crashed":         {swarm.TaskStatus{State: swarm.TaskStateFailed, Err: "task: non-zero exit (2)", ContainerStatus: exit(2)}, "exit code 2", time.Second},
		"another version": {swarm.TaskStatus{State: swarm.TaskStateFailed, Err: "task: non-zero exit (65)", ContainerStatus: exit(envelope.ExitVersion)}, "another version", time.Second},
		"can't start":     {swarm.TaskStatus{State: swarm.TaskStateFailed, Err: "starting container failed: exec format error", ContainerStatus: exit(127)}, "exec format error", time.Second},
		"node is gone":    {swarm.TaskStatus{State: swarm.TaskStateOrphaned, Message: "node is down"}, "node is down", time.Second},
		"says nothing":    {swarm.TaskStatus{State: swarm.TaskStateRunning}, "nothing to say", 62 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				contents := some(2)
				f := newFake(t, contents)
				f.taskList = f.tasks(c.status)
				f.serviceLogs = func(ctx context.Context, _ string, _ container.LogsOptions) (io.ReadCloser, error) {
					s := &stuck{end: make(chan struct{})}
					context.AfterFunc(ctx, func() { close(s.end) })
					return s, nil
				}
				start := time.Now()
				_, err := values(t.Context(), t, f.endpoint(Options{}), contents, refsOf(contents))
				if !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), c.text) || time.Since(start) > c.within {
					t.Errorf("after %s: %v", time.Since(start), err)
				}
				f.clean(t)
			})
		})
	}
}

// TestBusyEngine: what may work the next time is tried again, and not for ever.
func TestBusyEngine(t *testing.T) {
	for failures, fine := range map[int]bool{1: true, 2: true, 3: false} {
		synctest.Test(t, func(t *testing.T) {
			contents := some(2)
			f := newFake(t, contents)
			logs, busy := f.serviceLogs, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.made) <= failures }
			f.taskList = func(context.Context) ([]swarm.Task, error) {
				if busy() {
					return []swarm.Task{{Status: swarm.TaskStatus{State: swarm.TaskStateFailed, Err: "starting container failed: mount tmpfs: device or resource busy"}}}, nil
				}
				return []swarm.Task{{Status: swarm.TaskStatus{State: swarm.TaskStateComplete}}}, nil
			}
			f.serviceLogs = func(ctx context.Context, name string, o container.LogsOptions) (io.ReadCloser, error) {
				if !busy() {
					return logs(ctx, name, o)
				}
				s := &stuck{end: make(chan struct{})}
				context.AfterFunc(ctx, func() { close(s.end) })
				return s, nil
			}
			n, err := values(t.Context(), t, f.endpoint(Options{}), contents, refsOf(contents))
			if fine && (err != nil || n != 2) || !fine && (!errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "mount tmpfs: device or resource busy")) {
				t.Errorf("%d failures: %d values, %v", failures, n, err)
			}
			f.clean(t)
		})
	}
}

// TestSlowTaker: as long as the taker works, nothing is late, even if the job is long done.
func TestSlowTaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		contents := some(5)
		for id := range contents {
			contents[id] = make([]byte, 50_000)
		}
		f, opened := newFake(t, contents), 0
		logs := f.serviceLogs
		f.serviceLogs = func(ctx context.Context, name string, o container.LogsOptions) (io.ReadCloser, error) {
			opened++
			log, err := logs(ctx, name, o)
			return struct {
				io.Reader
				io.Closer
			}{readerFunc(func(b []byte) (int, error) {
				if ctx.Err() != nil {
					return 0, ctx.Err()
				}
				return log.Read(b)
			}), log}, err
		}
		n := 0
		err := f.endpoint(Options{}).Values(t.Context(), refsOf(contents), func(secret.Ref, secret.Value) error {
			time.Sleep(30 * time.Second)
			n++
			return nil
		})
		if err != nil || n != 5 || opened != 1 {
			t.Errorf("%d values, the log was opened %d times: %v", n, opened, err)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		contents := some(1)
		f := newFake(t, contents)
		f.taskList = f.tasks(swarm.TaskStatus{State: swarm.TaskStateRunning})
		f.serviceLogs = func(ctx context.Context, _ string, _ container.LogsOptions) (io.ReadCloser, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		_, err := values(t.Context(), t, f.endpoint(Options{Timeout: 10 * time.Second}), contents, refsOf(contents))
		if !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "10s") {
			t.Error(err)
		}
		f.clean(t)
	})
}

// TestCancel: wherever it is when the context ends, it ends within a second and removes its job.
func TestCancel(t *testing.T) {
	for name, after := range map[string]time.Duration{"while it is made": 50 * time.Millisecond, "while it starts": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				contents := some(2)
				f := newFake(t, contents)
				create := f.serviceCreate
				f.serviceCreate = func(ctx context.Context, s swarm.ServiceSpec) error {
					time.Sleep(300 * time.Millisecond) // the request has left; what becomes of it doesn't depend on us
					return create(ctx, s)
				}
				f.taskList = f.tasks(swarm.TaskStatus{State: swarm.TaskStatePreparing})
				f.serviceLogs = func(ctx context.Context, _ string, _ container.LogsOptions) (io.ReadCloser, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(after, cancel)
				start := time.Now()
				_, err := values(ctx, t, f.endpoint(Options{}), contents, refsOf(contents))
				if !errors.Is(err, context.Canceled) || time.Since(start) > after+time.Second {
					t.Errorf("after %s: %v", time.Since(start), err)
				}
				f.clean(t)
			})
		})
	}
}

// TestCreateIsInDoubt: a job that may have been made is removed.
func TestCreateIsInDoubt(t *testing.T) {
	contents := some(1)
	f := newFake(t, contents)
	create := f.serviceCreate
	f.serviceCreate = func(ctx context.Context, s swarm.ServiceSpec) error {
		_ = create(ctx, s)
		return io.ErrUnexpectedEOF
	}
	if _, err := values(t.Context(), t, f.endpoint(Options{}), contents, refsOf(contents)); !errors.Is(err, endpoint.ErrUnreachable) {
		t.Error(err)
	}
	f.clean(t)
}

func TestNotReady(t *testing.T) {
	contents := some(1)
	old := newFake(t, contents)
	old.clientVersion = "1.40"
	if _, err := values(t.Context(), t, old.endpoint(Options{}), contents, refsOf(contents)); !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "20.10") {
		t.Error(err)
	}
	f := newFake(t, contents)
	f.nodeInspect = func(context.Context, string) (swarm.Node, error) {
		return swarm.Node{Spec: swarm.NodeSpec{Availability: swarm.NodeAvailabilityDrain}, Description: swarm.NodeDescription{Hostname: "boss"}}, nil
	}
	e := f.endpoint(Options{})
	e.options.ProbeImage = ""
	if _, err := values(t.Context(), t, e, contents, refsOf(contents)); !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "drain") || !strings.Contains(err.Error(), "--probe-image") {
		t.Error(err)
	}
	windows := newFake(t, contents)
	windows.info = func(context.Context) (system.Info, error) {
		return system.Info{OSType: "windows", Architecture: "x86_64", Swarm: swarm.Info{ControlAvailable: true, Cluster: &swarm.ClusterInfo{}}}, nil
	}
	e = windows.endpoint(Options{})
	e.options.ProbeImage = ""
	if _, err := values(t.Context(), t, e, contents, refsOf(contents)); !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "windows") {
		t.Error(err)
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	contents := some(10)
	f := newFake(t, contents)
	e := f.endpoint(Options{Batch: 3})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if n, err := values(t.Context(), t, e, contents, refsOf(contents)); err != nil || n != 10 {
				t.Errorf("%d values: %v", n, err)
			}
		})
	}
	group.Wait()
	f.clean(t)
}

func TestAbandoned(t *testing.T) {
	owners := map[string][2]bool{"alive": {true, true}, "dead": {false, true}}
	known := func(owner string) (is, known bool) { return owners[owner][0], owners[owner][1] }
	for _, c := range []struct {
		owner, lifetime string
		age             time.Duration
		want            bool
	}{
		{"dead", "600", time.Second, true},
		{"alive", "600", time.Second, false},
		{"alive", "600", time.Hour, true}, // it could not remove it, and has long stopped waiting
		{"elsewhere", "600", 599 * time.Second, false},
		{"elsewhere", "600", 601 * time.Second, true},
		{"elsewhere", "600", -time.Hour, false},
		{"", "600", time.Hour, true},
		{"", "", time.Hour, false},
		{"", "0", time.Hour, false},
		{"", "soon", time.Hour, false},
	} {
		labels := map[string]string{ownerLabel: c.owner, lifetimeLabel: c.lifetime}
		if got := abandoned(labels, c.age, known); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestSweep(t *testing.T) {
	f := newFake(t, nil)
	service := func(name string, age time.Duration, labels map[string]string) swarm.Service {
		s := swarm.Service{ID: name, Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: name, Labels: labels}}}
		s.CreatedAt, _ = time.Parse(time.RFC3339, "2026-01-02T03:04:05Z") // the engine's clock
		s.CreatedAt = s.CreatedAt.Add(-age)
		return s
	}
	f.serviceList = func(context.Context) ([]swarm.Service, error) {
		return []swarm.Service{
			service("mine", time.Second, jobLabels("RUN", time.Minute)),
			service("new", time.Minute, map[string]string{ProbeLabel: "R", ownerLabel: "elsewhere.1.2", lifetimeLabel: "600"}),
			service("old", time.Hour, map[string]string{ProbeLabel: "R", ownerLabel: "elsewhere.1.2", lifetimeLabel: "600"}),
			service("newer", time.Hour, map[string]string{ProbeLabel: "R"}),
		}, nil
	}
	err := f.endpoint(Options{}).Sweep(t.Context())
	if err != nil || !slices.Equal(f.removed, []string{"old"}) {
		t.Errorf("removed %v: %v", f.removed, err)
	}
}

func TestDemuxPasses(t *testing.T) {
	var log mixed
	want := ""
	for i := range 50 {
		line := strings.Repeat("x", i*100) + "\n"
		want += line
		_, _ = log.Write([]byte(line))
	}
	for cut := 0; cut <= log.Len(); cut += 1 + cut/7 {
		got, err := io.ReadAll(&demux{in: bytes.NewReader(log.Bytes()[:cut])})
		if err != nil || !strings.HasPrefix(want, string(got)) {
			t.Fatalf("cut after %d: %v", cut, err)
		}
	}
	if got, err := io.ReadAll(&demux{in: &log}); err != nil || string(got) != want {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}
