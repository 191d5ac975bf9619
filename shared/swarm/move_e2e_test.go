//go:build e2e

package swarm

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// hang is how long a test waits for what ought to come: no more than a guard.
const hang = 3 * time.Minute

// troupe is a service that uses a secret, and the next version of it.
type troupe struct {
	e        *Endpoint
	g        *engine
	id       string
	old, new secret.Ref
}

// perform makes a service that sleeps and has the first secret as the file s.
func perform(t *testing.T, e *Endpoint, change func(*swarm.ServiceSpec)) *troupe {
	t.Helper()
	refs := stand(t, e, []byte("old"), []byte("new"))
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr := &troupe{e: e, g: g, old: refs[0], new: refs[1]}
	replicas, grace := uint64(1), time.Duration(0)
	spec := swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: refs[0].Name[:12]},
		Mode:        swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Image: busybox, Command: []string{"sh", "-c", "trap exit TERM; while :; do sleep 1 & wait; done"},
				Secrets: []*swarm.SecretReference{reference(tr.old, "s", "7", "8", 0o440)}, StopGracePeriod: &grace,
			},
		},
		UpdateConfig: &swarm.UpdateConfig{Parallelism: 1, Monitor: time.Second, FailureAction: swarm.UpdateFailureActionPause},
	}
	if change != nil {
		change(&spec)
	}
	made, err := g.api.ServiceCreate(t.Context(), spec, swarm.ServiceCreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tr.id = made.ID
	t.Cleanup(func() {
		_ = g.api.ServiceRemove(context.Background(), made.ID)
		for range 100 { // its tasks hold the secrets
			if tasks, err := tr.tasks(context.Background()); cerrdefs.IsNotFound(err) || err == nil && len(tasks) == 0 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	if err := tr.settle(t, rollout.Moved{Step: rollout.Step{Workload: tr.workload(t)}, Nothing: true, Token: "0"}); err != nil {
		t.Fatalf("before anything was moved: %v", err)
	}
	return tr
}

func (tr *troupe) tasks(ctx context.Context) ([]swarm.Task, error) {
	return listTasks(ctx, tr.g, filters.NewArgs(filters.Arg("service", tr.id)))
}

func (tr *troupe) service(t *testing.T) swarm.Service {
	t.Helper()
	s, err := inspectService(t.Context(), tr.g, tr.id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (tr *troupe) workload(t *testing.T) rollout.Workload {
	t.Helper()
	all, err := tr.e.Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if w.UID == tr.id {
			return w
		}
	}
	t.Fatal("the service isn't among the workloads")
	return rollout.Workload{}
}

func (tr *troupe) forth(t *testing.T) rollout.Step {
	return rollout.Step{Workload: tr.workload(t), Replace: map[string]secret.Ref{tr.old.UID: tr.new}}
}

func (tr *troupe) back(t *testing.T) rollout.Step {
	return rollout.Step{Workload: tr.workload(t), Replace: map[string]secret.Ref{tr.new.UID: tr.old}}
}

func (tr *troupe) move(t *testing.T, step rollout.Step) rollout.Moved {
	t.Helper()
	moved, err := tr.e.Move(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	return moved
}

func (tr *troupe) settle(t *testing.T, moved rollout.Moved) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	start := time.Now()
	err := tr.e.Settle(ctx, moved, func(text string) { t.Logf("%6.1fs %s", time.Since(start).Seconds(), text) })
	t.Logf("%6.1fs settled: %v", time.Since(start).Seconds(), err)
	return err
}

// all checks that just the tasks that should run have the secret, and no other one.
func (tr *troupe) all(t *testing.T, want int, ref secret.Ref) {
	t.Helper()
	tasks, err := tr.tasks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range tasks {
		if !shouldRun(&tasks[i]) {
			continue
		}
		n++
		for _, r := range references(&tasks[i].Spec) {
			if r.SecretID != ref.UID || r.SecretName != ref.Name || tasks[i].Status.State != swarm.TaskStateRunning {
				t.Errorf("a task is %s and has %s instead of %s", tasks[i].Status.State, r.SecretName, ref.Name)
			}
		}
	}
	if n != want {
		t.Errorf("%d tasks instead of %d", n, want)
	}
}

func replicas(n uint64) swarm.ServiceMode {
	return swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &n}}
}

func TestMoves(t *testing.T) {
	e := connect(t, Options{})
	for name, c := range map[string]struct {
		tasks  int
		change func(*swarm.ServiceSpec)
	}{
		"one at a time":     {4, func(s *swarm.ServiceSpec) { s.Mode = replicas(4) }},
		"two at a time":     {4, func(s *swarm.ServiceSpec) { s.Mode = replicas(4); s.UpdateConfig.Parallelism = 2 }},
		"all, with a delay": {3, func(s *swarm.ServiceSpec) { s.Mode = replicas(3); s.UpdateConfig.Delay = time.Second }},
		"start first": {4, func(s *swarm.ServiceSpec) {
			s.Mode = replicas(4)
			s.UpdateConfig.Order = swarm.UpdateOrderStartFirst
		}},
		"no policy":   {2, func(s *swarm.ServiceSpec) { s.Mode = replicas(2); s.UpdateConfig = nil }},
		"none to run": {0, func(s *swarm.ServiceSpec) { s.Mode = replicas(0) }},
		"global":      {1, func(s *swarm.ServiceSpec) { s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}} }},
		"healthy": {2, func(s *swarm.ServiceSpec) {
			s.Mode = replicas(2)
			s.TaskTemplate.ContainerSpec.Healthcheck = health("true")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := perform(t, e, c.change)
			forth := tr.forth(t)
			moved := tr.move(t, forth)
			if err := tr.settle(t, moved); err != nil || moved.Nothing {
				t.Error(moved.Nothing, err)
			}
			tr.all(t, c.tasks, tr.new)
			again := tr.move(t, forth)
			if err := tr.settle(t, again); err != nil || !again.Nothing {
				t.Error("done again:", again.Nothing, err)
			}
			if err := tr.settle(t, tr.move(t, tr.back(t))); err != nil {
				t.Error(err)
			}
			tr.all(t, c.tasks, tr.old)
		})
	}
}

// health runs a command until it is happy, four times a second.
func health(command string) *container.HealthConfig {
	return &container.HealthConfig{Test: []string{"CMD-SHELL", command}, Interval: 250 * time.Millisecond, Timeout: 5 * time.Second, Retries: 2}
}

// same compares what two specs say.
func same(t *testing.T, want, got swarm.ServiceSpec) {
	t.Helper()
	a, errA := json.MarshalIndent(want, "", " ")
	b, errB := json.MarshalIndent(got, "", " ")
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("want\n%s\ngot\n%s", a, b)
	}
}
