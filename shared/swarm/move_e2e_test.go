//go:build e2e

package swarm

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
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

// returns moves the service back, and waits until it has settled. The newest engines count a start that this cuts off
// as a failure, so that the service's policy may pause the update: it goes on as the error says.
func (tr *troupe) returns(t *testing.T) {
	t.Helper()
	moved := tr.move(t, tr.back(t))
	err := tr.settle(t, moved)
	if err != nil && strings.Contains(err.Error(), "context canceled; docker service update") {
		s := tr.service(t)
		if _, err := tr.g.api.ServiceUpdate(t.Context(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		err = tr.settle(t, moved)
	}
	if err != nil {
		t.Error(err)
	}
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
		"global":      {0, func(s *swarm.ServiceSpec) { s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}} }},
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
			if name == "global" {
				nodes, err := listNodes(t.Context(), tr.g)
				if err != nil {
					t.Fatal(err)
				}
				c.tasks = len(nodes)
			}
			if err := tr.settle(t, moved); err != nil || moved.Nothing {
				t.Error(moved.Nothing, err)
			}
			tr.all(t, c.tasks, tr.new)
			again := tr.move(t, forth)
			if err := tr.settle(t, again); err != nil || !again.Nothing {
				t.Error("done again:", again.Nothing, err)
			}
			tr.returns(t)
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

// TestKeepsTheWholeSpec: of a service with all that docker service create can say, the engine says the
// same after a move, but for the secret.
func TestKeepsTheWholeSpec(t *testing.T) {
	e := connect(t, Options{})
	tr := perform(t, e, nil)
	name := tr.old.Name[:12] + "-whole"
	docker := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %s: %v: %s", args, err, out)
		}
	}
	docker("network", "create", "-d", "overlay", name)
	t.Cleanup(func() {
		for range 50 { // its endpoints go a little later than the tasks
			if exec.Command("docker", "network", "rm", name).Run() == nil {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	docker("service", "create", "--detach", "--no-resolve-image", "--name", name, "--replicas", "0",
		"--secret", "source="+tr.old.Name+",target=/etc/one,uid=5,gid=6,mode=0400", "--secret", "source="+tr.old.Name+",target=two",
		"--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "--constraint", "node.role==manager", "--container-label", "a=b", "--dns", "9.9.9.9",
		"--dns-option", "ndots:2", "--dns-search", "example.com", "--endpoint-mode", "dnsrr", "--entrypoint", "sleep 1", "--env", "A=b", "--group", "7",
		"--health-cmd", "true", "--health-interval", "7s", "--health-retries", "4", "--health-start-period", "3s", "--health-timeout", "2s",
		"--host", "a:1.2.3.4", "--hostname", "h-{{.Task.Slot}}", "--init", "--isolation", "default", "--label", "c=d", "--limit-cpu", ".5", "--limit-memory", "50M",
		"--limit-pids", "99", "--log-driver", "json-file", "--log-opt", "max-size=1m", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1000000,tmpfs-mode=1770",
		"--mount", "type=volume,src=v,dst=/v,volume-label=x=y,volume-nocopy", "--mount", "type=bind,src=/tmp,dst=/b,readonly,bind-propagation=rslave",
		"--network", "name="+name+",alias=other,driver-opt=a=b", "--placement-pref", "spread=node.labels.zone", "--publish", "mode=host,published=45678,target=80,protocol=udp",
		"--read-only", "--replicas-max-per-node", "3", "--reserve-cpu", ".1", "--reserve-memory", "10M", "--restart-condition", "on-failure", "--restart-delay", "3s",
		"--restart-max-attempts", "4", "--restart-window", "9s", "--rollback-delay", "1s", "--rollback-failure-action", "continue", "--rollback-max-failure-ratio", ".2",
		"--rollback-monitor", "4s", "--rollback-order", "start-first", "--rollback-parallelism", "2", "--stop-grace-period", "7s", "--stop-signal", "INT",
		"--sysctl", "net.core.somaxconn=1000", "--tty", "--ulimit", "nofile=10:20", "--update-delay", "1s", "--update-failure-action", "rollback", "--update-max-failure-ratio", ".3",
		"--update-monitor", "6s", "--update-order", "start-first", "--update-parallelism", "3", "--user", "8", "--workdir", "/w", busybox, "x", "{{.Service.Name}}")
	t.Cleanup(func() { _ = tr.g.api.ServiceRemove(context.Background(), name) })
	spec := func() string {
		t.Helper()
		service, raw, err := tr.g.api.ServiceInspectWithRaw(t.Context(), name, swarm.ServiceInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tr.id = service.ID
		var said struct{ Spec json.RawMessage }
		if err := json.Unmarshal(raw, &said); err != nil {
			t.Fatal(err)
		}
		return string(said.Spec)
	}
	first := tr.id
	defer func() { tr.id = first }()
	before := spec()
	tr.move(t, tr.forth(t))
	want := strings.NewReplacer(tr.old.UID, tr.new.UID, tr.old.Name, tr.new.Name).Replace(before)
	if after := spec(); after != want || after == before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	t.Logf("%d bytes", len(before))
	tr.move(t, tr.back(t))
	if back := spec(); back != before {
		t.Errorf("before\n%s\nback again\n%s", before, back)
	}
	// Its rollback is there, too.
	service := tr.service(t)
	if _, err := tr.g.api.ServiceUpdate(t.Context(), service.ID, service.Version, service.Spec, swarm.ServiceUpdateOptions{Rollback: "previous"}); err != nil || spec() != want {
		t.Errorf("rolled back: %v", err)
	}
}
