//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptedRotation: Ctrl-C in the middle of a rollout has all services told to go back, before the
// process ends, and the old version is still there.
func TestInterruptedRotation(t *testing.T) {
	for name, stop := range map[string]syscall.Signal{"interrupt": syscall.SIGINT, "terminate": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			secret, service := w.prefix+"s", w.prefix+"web"
			value := filepath.Join(t.TempDir(), "value")
			sh := func(script string) string {
				t.Helper()
				out, err := exec.Command("sh", "-ec", script).CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", script, err, out)
				}
				return string(out)
			}
			must(t, os.WriteFile(value, []byte("old"), 0o600))
			sh(fmt.Sprintf("docker secretx create %s --from-file %s", secret, value))
			sh(fmt.Sprintf("docker service create -q --detach=false --no-resolve-image --name %s --replicas 3 --update-delay 30s --update-monitor 100ms --secret %s secretx-test/busybox:1 sleep 1000", service, secret))
			must(t, os.WriteFile(value, []byte("new"), 0o600))
			run, err := start(nil, "docker", "secretx", "rotate", secret, "--from-file", value)
			must(t, err)
			refers := func() string {
				return strings.TrimSpace(sh("docker service inspect " + service + " --format '{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}}{{end}}'"))
			}
			for began := time.Now(); refers() != secret+".v2"; time.Sleep(100 * time.Millisecond) {
				if time.Since(began) > time.Minute {
					t.Fatalf("it never got there: %s", &run.err)
				}
			}
			must(t, syscall.Kill(run.pid(), stop))
			select {
			case <-run.done:
			case <-time.After(30 * time.Second):
				run.killAll()
				t.Fatal("it doesn't end")
			}
			if code := run.cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(run.out.String()+run.err.String(), "returning") {
				t.Errorf("exit %d\n%s%s", code, &run.out, &run.err)
			}
			for began := time.Now(); refers() != secret; time.Sleep(100 * time.Millisecond) {
				if time.Since(began) > 30*time.Second {
					t.Fatalf("it refers to %s", refers())
				}
			}
			if now := strings.TrimSpace(sh("docker secretx current " + secret)); now != secret {
				t.Errorf("the newest version is %s", now)
			}
		})
	}
}
