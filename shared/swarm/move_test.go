package swarm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// attached is a reference to the secret that is named like its ID, but for the -id.
func attached(name, target string) *swarm.SecretReference {
	return &swarm.SecretReference{SecretID: name + "-id", SecretName: name, File: &swarm.SecretReferenceFileTarget{Name: target, UID: "7", GID: "8", Mode: 0o440}}
}

func webWith(refs ...*swarm.SecretReference) swarm.Service {
	n := uint64(2)
	return swarm.Service{
		ID: "web-id", Meta: swarm.Meta{Version: swarm.Version{Index: 10}},
		Spec: swarm.ServiceSpec{
			Annotations:  swarm.Annotations{Name: "web", Labels: map[string]string{stackLabel: "shop"}},
			Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &n}},
			TaskTemplate: swarm.TaskSpec{ForceUpdate: 3, ContainerSpec: &swarm.ContainerSpec{Image: "web@sha256:1", Env: []string{"A=b"}, Secrets: refs}},
		},
	}
}

func ref(name string) secret.Ref { return secret.Ref{UID: name + "-id", Name: name, Key: name} }

func stepOfWeb(with map[string]secret.Ref) rollout.Step {
	return rollout.Step{Workload: rollout.Workload{ID: "service/web", UID: "web-id"}, Replace: with}
}

var toV2 = stepOfWeb(map[string]secret.Ref{"pw-id": ref("pw.v2")})

// serving is a fake with one service that can be updated.
func serving(t *testing.T, service *swarm.Service) *fake {
	f := newFake(t, nil)
	f.serviceInspect = func(context.Context, string) (own swarm.Service, err error) {
		raw, err := json.Marshal(service)
		return own, errors.Join(err, json.Unmarshal(raw, &own))
	}
	f.serviceUpdate = func(_ context.Context, id string, v swarm.Version, spec swarm.ServiceSpec, o swarm.ServiceUpdateOptions) error {
		if id != service.ID || o != (swarm.ServiceUpdateOptions{RegistryAuthFrom: swarm.RegistryAuthFromSpec}) {
			t.Errorf("%s is updated with %+v", id, o)
		}
		if v != service.Version {
			return outOfSequence
		}
		service.Spec = spec
		service.Version.Index += 5
		return nil
	}
	return f
}

func TestMoveKeepsAllElse(t *testing.T) {
	service := webWith(attached("pw", "pw"), attached("pw", "/etc/pw"), attached("other", "other"), nil)
	want := webWith(attached("pw.v2", "pw"), attached("pw.v2", "/etc/pw"), attached("other", "other"), nil).Spec
	e := serving(t, &service).endpoint(Options{})
	moved, err := e.Move(t.Context(), toV2)
	if err != nil || moved.Nothing || moved.Token != "10" || !reflect.DeepEqual(service.Spec, want) {
		t.Errorf("%+v, %v: %+v", moved, err, service.Spec)
	}
	again, err := e.Move(t.Context(), toV2)
	if err != nil || !again.Nothing || again.Token != "15" || service.Version.Index != 15 {
		t.Errorf("done twice: %+v, %v", again, err)
	}
}

// TestMoveAmidOthers: what somebody else has changed since the first read is kept.
func TestMoveAmidOthers(t *testing.T) {
	service := webWith(attached("pw", "pw"))
	f := serving(t, &service)
	update, others := f.serviceUpdate, 0
	f.serviceUpdate = func(ctx context.Context, id string, v swarm.Version, s swarm.ServiceSpec, o swarm.ServiceUpdateOptions) error {
		if others < 3 {
			others++
			service.Version.Index++
			service.Spec.TaskTemplate.ForceUpdate++
		}
		return update(ctx, id, v, s, o)
	}
	moved, err := f.endpoint(Options{}).Move(t.Context(), toV2)
	if err != nil || moved.Token != "13" || service.Spec.TaskTemplate.ForceUpdate != 6 || workloadRefs(&service.Spec)[0].Name != "pw.v2" {
		t.Errorf("%+v, %v: %+v", moved, err, service.Spec.TaskTemplate)
	}
	service, others = webWith(attached("pw", "pw")), -1000
	_, err = f.endpoint(Options{}).Move(t.Context(), toV2)
	if !errors.Is(err, endpoint.ErrMoved) || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("never in sequence: %v", err)
	}
}

// TestMoveInDoubt: the connection breaks before or after the write.
func TestMoveInDoubt(t *testing.T) {
	for name, after := range map[string]bool{"before": false, "after": true} {
		service := webWith(attached("pw", "pw"))
		f := serving(t, &service)
		update, calls := f.serviceUpdate, 0
		f.serviceUpdate = func(ctx context.Context, id string, v swarm.Version, s swarm.ServiceSpec, o swarm.ServiceUpdateOptions) error {
			if calls++; calls > 1 {
				return update(ctx, id, v, s, o)
			}
			if after {
				return errors.Join(update(ctx, id, v, s, o), io.ErrUnexpectedEOF)
			}
			return io.ErrUnexpectedEOF
		}
		moved, err := f.endpoint(Options{}).Move(t.Context(), toV2)
		if err != nil || moved.Nothing || moved.Token != "10" || service.Version.Index != 15 {
			t.Errorf("%s: %+v, %v", name, moved, err)
		}
	}
}

func TestMoveFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fake)
		reason error
		text   string
	}{
		"gone": {func(f *fake) {
			f.serviceInspect = func(context.Context, string) (swarm.Service, error) { return swarm.Service{}, notFound }
		}, endpoint.ErrNotFound, "it was removed"},
		"another one": {func(f *fake) {
			f.serviceInspect = func(context.Context, string) (swarm.Service, error) { return swarm.Service{ID: "another"}, nil }
		}, endpoint.ErrNotFound, "it was removed"},
		"no such secret": {func(f *fake) {
			f.serviceUpdate = func(context.Context, string, swarm.Version, swarm.ServiceSpec, swarm.ServiceUpdateOptions) error {
				return refused{"rpc error: code = InvalidArgument desc = secret not found: pw.v2", nil}
			}
		}, endpoint.ErrMoved, "docker secret ls"},
		"refused": {func(f *fake) {
			f.serviceUpdate = func(context.Context, string, swarm.Version, swarm.ServiceSpec, swarm.ServiceUpdateOptions) error {
				return denied
			}
		}, endpoint.ErrForbidden, "authorization denied"},
		"newer engine": {func(f *fake) {
			f.more = func(raw []byte) []byte {
				return bytes.Replace(raw, []byte(`"ForceUpdate":3`), []byte(`"ForceUpdate":3,"Resources":{"SwapBytes":5,"None":null,"Zero":0}`), 1)
			}
		}, endpoint.ErrInvalid, "TaskTemplate.Resources.SwapBytes"},
	} {
		service := webWith(attached("pw", "pw"))
		f := serving(t, &service)
		c.change(f)
		_, err := f.endpoint(Options{}).Move(t.Context(), toV2)
		if !errors.Is(err, c.reason) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), `"service/web" at swarm:test`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWorkloads(t *testing.T) {
	f := newFake(t, nil)
	web, plain, probe, job := webWith(attached("pw", "a"), attached("pw", "b"), attached("x", "x")), webWith(), webWith(attached("pw", "a")), webWith(attached("pw", "a"))
	probe.Spec.Labels = map[string]string{ProbeLabel: "run"}
	job.Spec.Name, job.Spec.Mode, job.Spec.Labels = "job", swarm.ServiceMode{ReplicatedJob: &swarm.ReplicatedJob{}}, nil
	f.serviceList = func(context.Context) ([]swarm.Service, error) { return []swarm.Service{web, plain, probe, job}, nil }
	all, err := f.endpoint(Options{}).Workloads(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	want := rollout.Workload{ID: "service/web", UID: "web-id", Stack: "shop", Refs: []rollout.Ref{{Name: "pw", UID: "pw-id"}, {Name: "x", UID: "x-id"}}}
	if !reflect.DeepEqual(all[0], want) || all[1].ID != "service/job" || !strings.Contains(all[1].Fixed, "docker service update") {
		t.Errorf("%+v", all)
	}
}

// tasksWith are tasks of web, each in a slot of its own, with a secret.
func tasksWith(name string, tasks ...swarm.Task) (all []*swarm.Task) {
	for i := range tasks {
		tasks[i].Spec.ContainerSpec = &swarm.ContainerSpec{Secrets: []*swarm.SecretReference{attached(name, "pw")}}
		tasks[i].Version.Index = 12
		all = append(all, &tasks[i])
	}
	return all
}

func TestJudge(t *testing.T) {
	with := func(state swarm.UpdateState, message, name string) *swarm.Service {
		s := webWith(attached(name, "pw"))
		s.Version.Index = 20
		if state != "" {
			s.UpdateStatus = &swarm.UpdateStatus{State: state, Message: message}
		}
		return &s
	}
	updating, completed := swarm.UpdateStateUpdating, swarm.UpdateStateCompleted
	paused, undone := swarm.UpdateStatePaused, swarm.UpdateStateRollbackCompleted
	broken := func(id string, number int) swarm.Task {
		b := task(id, number, 1, toStop, failed)
		b.Status.Err = "task: non-zero exit (1)"
		return b
	}
	unplaced := task("p", 2, 0, toRun, swarm.TaskStatePending)
	unplaced.Status.Err, unplaced.NodeID = "no suitable node", ""
	onDown := task("d", 2, 0, toRun, runs)
	onDown.NodeID = "down"
	hung := task("h", 2, 1, toStop, swarm.TaskStateReady)
	hung.NodeID = "down"
	two := func() []*swarm.Task {
		return tasksWith("pw.v2", task("a", 1, 0, toRun, runs), task("b", 2, 0, toRun, runs))
	}
	one := func(more ...swarm.Task) []*swarm.Task {
		return append(tasksWith("pw.v2", task("a", 1, 0, toRun, runs)), tasksWith("pw.v2", more...)...)
	}
	old := func(tasks []*swarm.Task) []*swarm.Task {
		for _, t := range tasks {
			t.Version.Index = 9
		}
		return tasks
	}
	once := with(completed, "", "pw.v2")
	once.Spec.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone}
	for name, c := range map[string]struct {
		service *swarm.Service
		tasks   []*swarm.Task
		nothing bool
		after   time.Duration // since the first look
		want    string        // "done", or what it says, or its error
	}{
		"all":                               {with(completed, "", "pw.v2"), two(), false, 0, "done"},
		"all, and no update":                {with("", "", "pw.v2"), two(), false, 0, "done"},
		"all, still watched":                {with(updating, "", "pw.v2"), two(), false, 0, "all tasks have it, and are watched by its update policy"},
		"one":                               {with(updating, "", "pw.v2"), append(one(), tasksWith("pw", task("o", 2, 0, toRun, runs))...), false, 0, "1 of 2 tasks have it"},
		"none yet":                          {with("", "", "pw.v2"), nil, false, 0, "0 of 2 tasks have it"},
		"starts first":                      {with(updating, "", "pw.v2"), append(two(), tasksWith("pw", task("o", 2, 0, toRun, runs))...), false, 0, "1 of 2 tasks have it"},
		"old one on its way out":            {with(completed, "", "pw.v2"), append(two(), tasksWith("pw", task("o", 2, 3, toStop, runs))...), false, 0, "done"},
		"paused":                            {with(paused, "", "pw.v2"), one(broken("f", 2)), false, 0, "its update is paused: task web.2 on node host failed: non-zero exit (1)"},
		"paused, though all run":            {with(paused, "", "pw.v2"), two(), false, 0, "its update is paused"},
		"paused long ago":                   {with(paused, "", "pw.v2"), two(), true, 0, "done"},
		"rolled back by its policy":         {with(undone, "", "pw"), append(tasksWith("pw", task("a", 1, 0, toRun, runs)), tasksWith("pw.v2", broken("f", 2))...), false, 0, "rolled back by its own update policy"},
		"rolled back by hand":               {with(undone, "", "pw"), tasksWith("pw", task("a", 1, 0, toRun, runs)), false, 0, "somebody rolled it back"},
		"given the old one":                 {with("", "", "pw"), two(), false, 0, "somebody gave it the old version again"},
		"fails and fails":                   {with(updating, "", "pw.v2"), one(broken("f", 2), broken("g", 2), broken("h", 2), task("n", 2, 0, toRun, swarm.TaskStateStarting)), false, 0, "3 tasks in its place have failed"},
		"failed twice":                      {with(updating, "", "pw.v2"), one(broken("f", 2), broken("g", 2), task("n", 2, 0, toRun, swarm.TaskStateStarting)), false, 0, "1 of 2 tasks have it"},
		"failed, then runs":                 {with(completed, "", "pw.v2"), one(broken("f", 2), task("n", 2, 0, toRun, runs)), false, 0, "1 of 2 tasks have it"},
		"failed, then runs for good":        {with(completed, "", "pw.v2"), one(broken("f", 2), task("n", 2, 0, toRun, runs)), false, time.Minute, "done"},
		"failed before it was moved":        {with(completed, "", "pw.v2"), append(two(), old(one(broken("f", 2), broken("g", 2), broken("h", 2))[1:])...), false, 0, "done"},
		"isn't started again":               {once, one(broken("f", 2)), false, 10 * time.Second, "by its restart policy it isn't started again"},
		"will be started again":             {with(completed, "", "pw.v2"), one(broken("f", 2)), false, 10 * time.Second, "1 of 2 tasks have it"},
		"should have been started again":    {with(completed, "", "pw.v2"), one(broken("f", 2)), false, time.Minute, "nothing was started in its place"},
		"ended well":                        {with(completed, "", "pw.v2"), one(task("c", 2, 0, toStop, swarm.TaskStateComplete)), false, 0, "done"},
		"no node, for a moment":             {with(updating, "", "pw.v2"), one(unplaced), false, 0, "1 of 2 tasks have it"},
		"no node":                           {with(updating, "", "pw.v2"), one(unplaced), false, time.Minute, "web.2 finds no place: no suitable node"},
		"no node while the other one stops": {with(updating, "", "pw.v2"), append(one(unplaced), tasksWith("pw", task("o", 2, 3, toStop, runs))...), false, time.Minute, "1 of 2 tasks have it"},
		"node down":                         {with(updating, "", "pw.v2"), one(onDown), false, time.Minute, "1 of 2 tasks have it"},
		"hangs":                             {with(updating, "", "pw.v2"), append(one(hung), tasksWith("pw", task("o", 3, 0, toRun, runs))...), false, time.Minute, "waits for a task on a node that is down: away"},
		"gone":                              {nil, nil, false, 0, "it was removed"},
	} {
		s, err := newSettling(rollout.Moved{Step: toV2, Nothing: c.nothing, Token: "10"})
		if err != nil {
			t.Fatal(err)
		}
		v := &view{
			services: map[string]*swarm.Service{"web-id": c.service}, tasks: map[string][]*swarm.Task{"web-id": c.tasks},
			nodes: map[string]*swarm.Node{
				"node": {Description: swarm.NodeDescription{Hostname: "host"}, Status: swarm.NodeStatus{State: swarm.NodeStateReady}},
				"down": {Description: swarm.NodeDescription{Hostname: "away"}, Status: swarm.NodeStatus{State: swarm.NodeStateDown}},
			},
		}
		got, done, err := s.judge(v, startedAt)
		if c.after > 0 && err == nil && !done {
			got, done, err = s.judge(v, startedAt.Add(c.after))
		}
		switch {
		case done:
			got = "done"
		case err != nil:
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || c.want == "done" && got != "done" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestSettleTogether: many who wait make the calls of one, and one that ends early ends alone.
func TestSettleTogether(t *testing.T) {
	const many = 50
	f := newFake(t, nil)
	var mu sync.Mutex
	calls := 0
	f.nodeList = func(context.Context) ([]swarm.Node, error) {
		return []swarm.Node{{ID: "node", Status: swarm.NodeStatus{State: swarm.NodeStateReady}}}, nil
	}
	f.serviceList = func(context.Context) (all []swarm.Service, err error) {
		for i := range many {
			s := webWith(attached("pw.v2", "pw"))
			s.ID += strconv.Itoa(i)
			all = append(all, s)
		}
		return all, nil
	}
	f.taskList = func(context.Context) (all []swarm.Task, err error) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		if calls == 2 {
			return nil, io.ErrUnexpectedEOF // passes
		}
		state := swarm.TaskStateStarting
		if calls > 4 {
			state = runs
		}
		for i := range many {
			for _, one := range tasksWith("pw.v2", task("a", 1, 0, toRun, state), task("b", 2, 0, toRun, state)) {
				one.ServiceID += strconv.Itoa(i)
				all = append(all, *one)
			}
		}
		return all, nil
	}
	e := f.endpoint(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var group sync.WaitGroup
	for i := range many {
		group.Go(func() {
			moved := rollout.Moved{Step: toV2, Token: "1"}
			moved.Step.Workload.UID += strconv.Itoa(i)
			if err := e.Settle(ctx, moved, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			err := e.Settle(t.Context(), moved, func(text string) {
				if text != "service/web: 0 of 2 tasks have it" {
					t.Errorf("it said %q", text)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	// Some join while the first look is under way, which doesn't show them.
	if calls > 12 {
		t.Errorf("%d calls", calls)
	}
	if !e.waiting.Idle() {
		t.Error("something is left of the wait")
	}
}
