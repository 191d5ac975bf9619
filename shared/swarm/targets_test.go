package swarm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

var startedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// task is one of the service web-id; age makes those with a higher one older.
func task(id string, number, age int, desired, state swarm.TaskState) swarm.Task {
	t := swarm.Task{ID: id, ServiceID: "web-id", Slot: number, NodeID: "node", DesiredState: desired}
	t.CreatedAt = startedAt.Add(-time.Duration(age) * time.Minute)
	t.Status = swarm.TaskStatus{State: state, Timestamp: startedAt}
	return t
}

const (
	toRun, toStop, toGo             = swarm.TaskStateRunning, swarm.TaskStateShutdown, swarm.TaskStateRemove
	runs, failed, stopped, rejected = swarm.TaskStateRunning, swarm.TaskStateFailed, swarm.TaskStateShutdown, swarm.TaskStateRejected
)

func TestCurrent(t *testing.T) {
	for name, c := range map[string]struct {
		tasks []swarm.Task
		want  string
	}{
		"history":        {[]swarm.Task{task("a", 1, 0, toRun, runs), task("b", 1, 1, toStop, failed), task("c", 1, 2, toStop, stopped)}, "a"},
		"slots":          {[]swarm.Task{task("a", 1, 0, toRun, runs), task("b", 2, 9, toRun, runs)}, "a b"},
		"in the middle":  {[]swarm.Task{task("a", 1, 0, toRun, swarm.TaskStateReady), task("b", 1, 5, toRun, runs)}, "a b"},
		"replaced":       {[]swarm.Task{task("a", 1, 0, toRun, swarm.TaskStatePreparing), task("b", 1, 5, toStop, runs)}, "a"},
		"failed":         {[]swarm.Task{task("a", 1, 2, toStop, failed), task("b", 1, 1, toStop, rejected)}, "b"},
		"stopped":        {[]swarm.Task{task("a", 1, 0, toStop, stopped), task("b", 1, 1, toStop, failed)}, ""},
		"scaled down":    {[]swarm.Task{task("a", 1, 0, toGo, runs), task("b", 2, 0, toRun, runs)}, "b"},
		"node is away":   {[]swarm.Task{task("a", 1, 0, toStop, runs)}, "a"},
		"job":            {[]swarm.Task{task("a", 1, 0, swarm.TaskStateComplete, swarm.TaskStateComplete)}, "a"},
		"job at work":    {[]swarm.Task{task("a", 1, 0, swarm.TaskStateComplete, runs)}, "a"},
		"not placed yet": {[]swarm.Task{task("a", 1, 0, toRun, swarm.TaskStatePending), task("b", 1, 1, toStop, failed)}, "a"},
	} {
		var ids []string
		for _, got := range current(c.tasks) {
			ids = append(ids, got.ID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// web is a fake with a service web of two tasks, and a container.
func web(t *testing.T) *fake {
	f := newFake(t, nil)
	service := swarm.Service{ID: "web-id", Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "web"}}}
	one, two := task("task-one", 1, 0, toRun, runs), task("task-two", 2, 0, toStop, rejected)
	two.Status.Err, two.NodeID = "No such image: x", "other"
	one.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: strings.Repeat("c", 64), PID: 77}
	one.Spec.ContainerSpec = &swarm.ContainerSpec{
		Env: []string{"P_FILE=/run/secrets/p", "Q=/etc/q", "PATH=/bin", "NONE_FILE=/run/secrets/none", "ELSE_FILE=/etc/else", "X_FILE"},
		Secrets: []*swarm.SecretReference{
			{SecretID: "p-id", SecretName: "p.v2", File: &swarm.SecretReferenceFileTarget{Name: "p", UID: "1000", GID: "7", Mode: os.FileMode(0o400)}},
			{SecretID: "q-id", SecretName: "q", File: &swarm.SecretReferenceFileTarget{Name: "/etc/q", UID: "app", GID: "0", Mode: os.FileMode(0o444)}},
			{SecretID: "r-id", SecretName: "r"},
		},
	}
	tasks := []swarm.Task{two, one}
	f.serviceInspect = func(_ context.Context, name string) (swarm.Service, error) {
		switch name {
		case "web", "web-", "web-id":
			return service, nil
		case "t":
			return swarm.Service{}, refused{"rpc error: code = Unknown desc = service t is ambiguous (2 matches found)", notFound.kind}
		}
		return swarm.Service{}, notFound
	}
	f.serviceList = func(context.Context) ([]swarm.Service, error) { return []swarm.Service{service}, nil }
	f.taskInspect = func(_ context.Context, id string) (swarm.Task, error) {
		for _, found := range tasks {
			if found.ID == id || id == "web.1."+found.ID {
				return found, nil
			}
		}
		return swarm.Task{}, notFound
	}
	f.taskList = func(context.Context) ([]swarm.Task, error) { return slices.Clone(tasks), nil }
	f.nodeList = func(context.Context) ([]swarm.Node, error) {
		return []swarm.Node{
			{ID: "node", Description: swarm.NodeDescription{Hostname: "node1"}},
			{ID: "other", Description: swarm.NodeDescription{Hostname: "node2"}},
		}, nil
	}
	f.secretList = func(context.Context, swarm.SecretListOptions) ([]swarm.Secret, error) {
		return []swarm.Secret{{ID: "p-id"}, {ID: "q-id", Spec: swarm.SecretSpec{Templating: &swarm.Driver{Name: "golang"}}}}, nil
	}
	f.inspect = func(_ context.Context, name string) (container.InspectResponse, error) {
		c := container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{
			ID: strings.Repeat("d", 64), Name: "/alone", State: &container.State{Running: true, Pid: 9, StartedAt: startedAt.Format(time.RFC3339Nano)},
			HostConfig: &container.HostConfig{},
		}, Config: &container.Config{Env: []string{"A_FILE=/run/secrets/a", "B_FILE=/b"}}}
		switch name {
		case "alone", "ddd", c.ID:
			return c, nil
		case "web.1.task-one":
			c.Config.Labels = map[string]string{taskLabel: "task-one"}
			return c, nil
		case "both":
			return c, nil
		}
		return container.InspectResponse{}, notFound
	}
	return f
}

func TestTargets(t *testing.T) {
	e := web(t).endpoint(Options{})
	for name, want := range map[string]string{
		"web": "web.1 web.2", "web-id": "web.1 web.2", "web-": "web.1 web.2", "": "web.1",
		"web.1": "web.1", "task-one": "web.1", "web.1.task-one": "web.1", "ccccc": "web.1",
		"alone": "alone", "ddd": "alone", strings.Repeat("d", 64): "alone",
	} {
		found, err := e.Containers(t.Context(), peek.Target{Name: name})
		var names []string
		for _, c := range found {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%q: %q, want %q: %v", name, got, want, err)
		}
	}
	for name, text := range map[string]string{"none": "there is no service, task or container", "web.3": "there is no", "t": "several IDs begin so"} {
		_, err := e.Containers(t.Context(), peek.Target{Name: name})
		var failure *endpoint.Error
		if !errors.Is(err, endpoint.ErrNotFound) || !errors.As(err, &failure) || failure.Hint == "" || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := e.Containers(t.Context(), peek.Target{Type: "pod", Name: "web"}); !errors.Is(err, endpoint.ErrInvalid) {
		t.Error(err)
	}
}

// TestSeveralOfOneName: a whole name is preferred to the beginning of an ID, and no other is.
func TestSeveralOfOneName(t *testing.T) {
	f := web(t)
	inspect := f.inspect
	f.inspect = func(ctx context.Context, name string) (container.InspectResponse, error) {
		switch name {
		case "web":
			c, err := inspect(ctx, "alone")
			c.Name = "/web"
			return c, err
		case "web-":
			return inspect(ctx, "alone")
		}
		return inspect(ctx, name)
	}
	for name, text := range map[string]string{"web": "it may be service web or container web", "web-": "it may be service web or container alone"} {
		_, err := f.endpoint(Options{}).Containers(t.Context(), peek.Target{Name: name})
		if !errors.Is(err, endpoint.ErrNotFound) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if found, err := f.endpoint(Options{}).Containers(t.Context(), peek.Target{Name: "web-id"}); err != nil || len(found) != 2 {
		t.Error(found, err)
	}
}

func TestWants(t *testing.T) {
	found, err := web(t).endpoint(Options{}).Containers(t.Context(), peek.Target{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	template := "it is a template, which every task sees expanded"
	want := []peek.Container{
		{
			Object: "service web", Name: "web.1", Node: "node1", ID: "task-one", Started: startedAt, Directories: directories,
			Wants: []peek.Want{
				{How: peek.File, Secret: "p.v2", UID: "p-id", Path: "/run/secrets/p", Mode: 0o400, HasMode: true, FileUID: 1000, FileGID: 7, Owned: true},
				{How: peek.File, Secret: "q", UID: "q-id", Path: "/etc/q", Mode: 0o444, HasMode: true, Template: template},
				{How: peek.Pointer, Variable: "P_FILE", Path: "/run/secrets/p", Secret: "p.v2", UID: "p-id"},
				{How: peek.Pointer, Variable: "Q", Path: "/etc/q", Secret: "q", UID: "q-id", Template: template},
				{How: peek.Pointer, Variable: "NONE_FILE", Path: "/run/secrets/none"},
			},
		},
		{
			Object: "service web", Name: "web.2", Node: "node2", ID: "task-two", Directories: directories,
			Unseen: "its task was rejected: No such image: x", Hint: "docker service ps --no-trunc shows the history.",
		},
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("%+v\nwant %+v", found, want)
	}
	found, err = web(t).endpoint(Options{}).Containers(t.Context(), peek.Target{Name: "alone"})
	if err != nil || len(found) != 1 || found[0].Object != "container alone" || !found[0].Started.Equal(startedAt) || len(found[0].Wants) != 1 || found[0].Wants[0].Path != "/run/secrets/a" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestConsumers(t *testing.T) {
	f := web(t)
	tasks, err := f.taskList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := task("old", 1, 5, toStop, runs)
	old.Spec.ContainerSpec = &swarm.ContainerSpec{Secrets: []*swarm.SecretReference{
		{SecretID: "old-id", SecretName: "p", File: &swarm.SecretReferenceFileTarget{Name: "p"}},
	}}
	ours := old
	ours.ServiceID, ours.ID = "probe-id", "probe"
	over := old
	over.Status.State = stopped
	f.taskList = func(context.Context) ([]swarm.Task, error) { return append(tasks, old, ours, over), nil }
	f.serviceList = func(context.Context) ([]swarm.Service, error) {
		return []swarm.Service{
			{ID: "web-id", Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "web", Labels: map[string]string{stackLabel: "shop"}}, TaskTemplate: tasks[1].Spec},
				PreviousSpec: &swarm.ServiceSpec{TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{
					Secrets: append(slices.Clone(tasks[1].Spec.ContainerSpec.Secrets), old.Spec.ContainerSpec.Secrets...),
				}}}},
			{ID: "probe-id", Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "secretx-probe-x", Labels: map[string]string{ProbeLabel: "x"}}, TaskTemplate: old.Spec}},
			{ID: "none-id", Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "none"}}},
		}, nil
	}
	graph, err := f.endpoint(Options{}).Consumers(t.Context())
	now := []consumers.Use{
		{Secret: "p.v2", UID: "p-id", How: consumers.File, Target: "/run/secrets/p"},
		{Secret: "q", UID: "q-id", How: consumers.File, Target: "/etc/q"},
	}
	before := consumers.Use{Secret: "p", UID: "old-id", How: consumers.File, Target: "/run/secrets/p"}
	rollback := before
	rollback.Previous = true
	want := consumers.Graph{Consumers: []consumers.Consumer{
		{Kind: "service", Name: "web", Stack: "shop", Uses: append(slices.Clone(now), rollback)},
		{Kind: "task", Name: "web.1", Owner: "service/web", Stack: "shop", Running: true, Uses: now},
		{Kind: "task", Name: "web.1", Owner: "service/web", Stack: "shop", Running: true, Uses: []consumers.Use{before}},
	}}
	if err != nil || !reflect.DeepEqual(graph, want) {
		t.Errorf("%+v\nwant %+v\n%v", graph, want, err)
	}
}

// TestProbeImageArchive: the same each time, and its ID is that of what is written.
func TestProbeImageArchive(t *testing.T) {
	var a, b bytes.Buffer
	if err := ProbeImage(&a, "amd64"); err != nil {
		t.Skip(err) // built without it
	}
	if err := ProbeImage(&b, "amd64"); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("it differs", err)
	}
	if ProbeImage(&b, "mips") == nil {
		t.Error("there is one for mips")
	}
}
