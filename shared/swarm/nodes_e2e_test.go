//go:build e2e

package swarm

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/rollout"
)

// kill ends the engine of a node as a power cut would, until the test is over.
func kill(t *testing.T, node string) {
	t.Helper()
	folder := os.Getenv("SECRETX_TESTBED")
	text, err := os.ReadFile(folder + "/run/" + node + "/dockerd.pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the engine of %s is killed: %v", node, syscall.Kill(pid, syscall.SIGKILL))
	t.Cleanup(func() {
		start := exec.Command("../../scripts/testbed", "docker", "start", node)
		start.Env = append(os.Environ(), "SECRETX_TESTBED_DIR="+folder)
		out, err := start.CombinedOutput()
		t.Logf("%s %v", out, err)
	})
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
			kill(t, "node3")
			err := tr.settle(t, moved)
			now := tr.new
			if stuck := (*rollout.Stuck)(nil); errors.As(err, &stuck) {
				now = tr.old
				err = tr.settle(t, tr.move(t, tr.back(t)))
			}
			if err != nil {
				t.Error(err)
			}
			tasks, err := tr.tasks(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range tasks {
				for _, r := range references(&tasks[i].Spec) {
					if shouldRun(&tasks[i]) && r.SecretID != now.UID {
						t.Logf("task %d on %s, %s, %s: %s", tasks[i].Slot, tasks[i].NodeID, tasks[i].DesiredState, tasks[i].Status.State, r.SecretName)
					}
				}
			}
		})
	}
}
