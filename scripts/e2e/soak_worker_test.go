//go:build soak

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killEngine ends the engine of a node as a power cut would, and gives what starts it again.
func killEngine(t *testing.T, node string) (revive func()) {
	t.Helper()
	folder := os.Getenv("SECRETX_TESTBED")
	text, err := os.ReadFile(folder + "/run/" + node + "/dockerd.pid")
	must(t, err)
	number, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	line, err := os.ReadFile("/proc/" + number + "/cmdline")
	if err != nil || !strings.Contains(string(line), folder) {
		t.Fatalf("%s isn't that engine: %q, %v", number, line, err)
	}
	pid, err := strconv.Atoi(number)
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	return func() {
		cmd := exec.Command("../../scripts/testbed", "docker", "start", node)
		cmd.Env = append(os.Environ(), "SECRETX_TESTBED_DIR="+folder)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %v", out, err)
		}
		for range 300 {
			out, err := exec.Command("docker", "node", "ls", "--format", "{{.Status}}").Output()
			if err == nil && !strings.Contains(string(out), "Down") && !strings.Contains(string(out), "Unknown") {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
		t.Error("not all nodes are back")
	}
}

// TestWorkerGoesDownInARotation: a node of three goes down in the middle of a rotation. It ends with all tasks
// that run on the new version, or all on the old one, and says which.
func TestWorkerGoesDownInARotation(t *testing.T) {
	if os.Getenv("SECRETX_TESTBED_NODE3") == "" {
		t.Skip("there are no three nodes: scripts/testbed up --nodes 3")
	}
	bringHelper(t)
	for name, flags := range map[string]string{
		"stop-first":  "--replicas 6",
		"start-first": "--replicas 6 --update-order start-first",
		"in-parallel": "--replicas 6 --update-parallelism 3",
		"global":      "--mode global",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := &rotating{world: w, t: t, name: w.prefix + "s", folder: shared(t), side: []string{"--in", "swarm"}}
			if code, out := r.run(append([]string{"create", r.name, "--from-file", r.value()}, r.side...)...); code != 0 {
				t.Fatal(out)
			}
			service := w.prefix + name
			shell(t, nil, fmt.Sprintf("docker service create -q --detach=false --no-resolve-image --name %s %s --update-delay 1s --update-monitor 500ms --secret %s secretx-test/busybox:1 sleep 10000", service, flags, r.name))
			run, err := start(nil, "docker", "secretx", "rotate", r.name, "--from-file", r.value(), "--format", "json")
			must(t, err)
			for began := time.Now(); !strings.Contains(shell(t, nil, "docker service inspect "+service), r.name+".v2"); time.Sleep(50 * time.Millisecond) {
				if time.Since(began) > time.Minute {
					t.Fatalf("it never begins: %s", &run.err)
				}
			}
			time.Sleep(1500 * time.Millisecond)
			killed := time.Now()
			revive := killEngine(t, "node3")
			back := false
			defer func() {
				if !back {
					revive()
				}
			}()
			select {
			case <-run.done:
			case <-time.After(6 * time.Minute):
				run.killAll()
				t.Fatalf("it hangs: %s", &run.err)
			}
			code := run.cmd.ProcessState.ExitCode()
			var d struct{ Result, Error string }
			if err := json.Unmarshal(run.out.Bytes(), &d); err != nil {
				t.Fatalf("exit %d: %s%s", code, &run.out, &run.err)
			}
			t.Logf("it ended %s after the node: exit %d, %s %s", time.Since(killed).Round(time.Second), code, d.Result, d.Error)
			want := ""
			switch {
			case code == 0 && (d.Result == "done" || d.Result == "unproven"):
				want = r.name + ".v2"
			case code == 1 && d.Result == "returned":
				want = r.name
			default:
				t.Errorf("exit %d: %s%s", code, &run.out, &run.err)
			}
			// What the tasks have that run, on nodes that are there.
			check := func(when string) {
				for _, id := range strings.Fields(shell(t, nil, "docker service ps -q --filter desired-state=running "+service)) {
					line := shell(t, nil, "docker inspect --type task "+id+" --format '{{.Status.State}} {{.NodeID}} {{range .Spec.ContainerSpec.Secrets}}{{.SecretName}}{{end}}'")
					fields := strings.Fields(line)
					node := shell(t, nil, "docker node inspect "+fields[1]+" --format '{{.Status.State}}'")
					if strings.TrimSpace(node) == "ready" && (fields[0] != "running" || fields[2] != want) {
						t.Errorf("%s a task is %s with %s instead of %s", when, fields[0], fields[2], want)
					}
				}
				if now := strings.TrimSpace(shell(t, nil, "docker secretx current "+r.name)); now != want {
					t.Errorf("%s the newest version is %s instead of %s", when, now, want)
				}
			}
			check("at its end")
			revive()
			back = true
			for began := time.Now(); ; time.Sleep(time.Second) {
				code, text := r.run("verify", r.name)
				if code == 0 {
					break
				}
				if time.Since(began) > time.Minute {
					t.Errorf("with the node back: %s", text)
					break
				}
			}
			check("with the node back")
		})
	}
}
