//go:build e2e

package swarm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/rollout"
)

// kill ends the engine of a node as a power cut would, until the test is over.
func kill(t *testing.T, g *engine, node string) {
	t.Helper()
	folder := os.Getenv("SECRETX_TESTBED")
	text, err := os.ReadFile(folder + "/run/" + node + "/dockerd.pid")
	if err != nil {
		t.Fatal(err)
	}
	number, _, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile("/proc/" + number + "/cmdline")
	if err != nil || !strings.Contains(string(line), folder) {
		t.Fatalf("%d isn't that engine: %q, %v", pid, line, err)
	}
	t.Logf("the engine of %s is killed: %v", node, syscall.Kill(pid, syscall.SIGKILL))
	t.Cleanup(func() { revive(t, g, node) })
}

// revive starts the engine of a node, and waits until the Swarm knows.
func revive(t *testing.T, g *engine, node string) {
	start := exec.Command("../../scripts/testbed", "docker", "start", node)
	start.Env = append(os.Environ(), "SECRETX_TESTBED_DIR="+os.Getenv("SECRETX_TESTBED"))
	if out, err := start.CombinedOutput(); err != nil {
		t.Errorf("%s %v", out, err)
	}
	for range 300 {
		nodes, err := listNodes(context.Background(), g)
		if err == nil && !slices.ContainsFunc(nodes, func(n swarm.Node) bool { return n.Status.State != swarm.NodeStateReady }) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Error("not all nodes are back")
}

// TestManagerRestarts: the only manager is killed while a service settles, and comes back.
func TestManagerRestarts(t *testing.T) {
	if os.Getenv("SECRETX_TESTBED_NODE3") == "" {
		t.Skip("not the testbed that others use")
	}
	tr := perform(t, connect(t, Options{}), func(s *swarm.ServiceSpec) { s.Mode = replicas(4) })
	moved := tr.move(t, tr.forth(t))
	settled := make(chan error, 1)
	go func() { settled <- tr.settle(t, moved) }()
	time.Sleep(2 * time.Second)
	kill(t, tr.g, "node1")
	revive(t, tr.g, "node1")
	if err := <-settled; err != nil {
		t.Error(err)
	}
	tr.all(t, 4, tr.new)
}

// TestWorkerGoesDown in the middle of an update: it ends fully on the new version or, after the step back,
// fully on the old one.
func TestWorkerGoesDown(t *testing.T) {
	if os.Getenv("SECRETX_TESTBED_NODE3") == "" {
		t.Skip("there are no three nodes: scripts/testbed up --nodes 3")
	}
	e := connect(t, Options{})
	for name, change := range map[string]func(*swarm.ServiceSpec){
		"stop first":  func(s *swarm.ServiceSpec) { s.Mode = replicas(6) },
		"start first": func(s *swarm.ServiceSpec) { s.Mode = replicas(6); s.UpdateConfig.Order = swarm.UpdateOrderStartFirst },
		"global":      func(s *swarm.ServiceSpec) { s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}} },
	} {
		t.Run(name, func(t *testing.T) {
			tr := perform(t, e, change)
			moved := tr.move(t, tr.forth(t))
			time.Sleep(time.Second)
			kill(t, tr.g, "node3")
			err := tr.settle(t, moved)
			now := tr.new
			if stuck := (*rollout.Stuck)(nil); errors.As(err, &stuck) {
				now = tr.old
				err = tr.settle(t, tr.move(t, tr.back(t)))
			}
			if err != nil {
				t.Error(err)
			}
			// With the node down from the start nothing waits for it.
			if err := tr.settle(t, tr.move(t, tr.forth(t))); err != nil {
				t.Error(err)
			}
			if err := tr.settle(t, tr.move(t, tr.back(t))); err != nil {
				t.Error(err)
			}
			now = tr.old
			// On a node that is down, a task of a global service has what it had.
			v := &view{nodes: map[string]*swarm.Node{}}
			nodes, err := listNodes(t.Context(), tr.g)
			if err != nil {
				t.Fatal(err)
			}
			for i := range nodes {
				v.nodes[nodes[i].ID] = &nodes[i]
			}
			tasks, err := tr.tasks(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range tasks {
				task := &tasks[i]
				for _, r := range references(&task.Spec) {
					if shouldRun(task) && !v.lost(task) && (r.SecretID != now.UID || task.Status.State != swarm.TaskStateRunning) {
						t.Errorf("task %s on %s is %s and has %s", slot(task), v.nodes[task.NodeID].Description.Hostname, task.Status.State, r.SecretName)
					}
				}
			}
		})
	}
}
