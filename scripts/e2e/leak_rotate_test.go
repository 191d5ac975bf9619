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
)

// rotateRuns runs the verbs that make, rotate and remove secrets.
func rotateRuns(t *testing.T, w *world, s *search, all *runs) {
	t.Helper()
	// Where values come from is not searched: in memory, and nowhere else.
	folder, err := os.MkdirTemp("/dev/shm", "e2e")
	must(t, err)
	defer func() { _ = os.RemoveAll(folder) }()
	value, other, lines := filepath.Join(folder, "value"), filepath.Join(folder, "other"), filepath.Join(folder, "lines")
	must(t, os.WriteFile(value, []byte(s.value), 0o600))
	must(t, os.WriteFile(other, []byte("another: "+s.value), 0o600))
	must(t, os.WriteFile(lines, []byte("KEY="+s.value+"\n"), 0o600))
	space := get[string](t)(w.namespace())
	one, service := w.prefix+"rotated", w.prefix+"rotating"
	sh := func(script string) {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Env = append(os.Environ(), all.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}

	// From a file, a pipe and lines; what is there already, and what can't be.
	all.both([]int{0, 2}, "create", one, "--in", "swarm", "--from-file", value)
	all.both([]int{0, 2}, "create", w.prefix+"lines", "--in", "k8s:/"+space, "--from-env-file", lines)
	all.both([]int{2}, "create", w.prefix+"UPPER", "--in", "k8s:/"+space, "--from-file", value)
	all.both([]int{2}, "create", w.prefix+"x", "--from-env-file", value)
	for _, host := range []string{"docker", "kubectl"} {
		cmd := exec.Command(host, "secretx", "create", w.prefix+"piped-"+host, "--in", "swarm")
		cmd.Env, cmd.Stdin = append(os.Environ(), all.env...), strings.NewReader(s.value+"\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", cmd, err, out)
		}
		all.look("piped", string(out))
	}

	// In a Swarm: one that arrives, one that goes back, one that is killed and then goes on.
	sh(fmt.Sprintf("docker service create -q --detach=false --no-resolve-image --name %s --update-monitor 200ms --secret source=%s,target=s secretx-test/busybox:1 sleep 1000", service, one))
	all.both([]int{0}, "rotate", one, "--in", "swarm", "--from-file", other)
	sh(fmt.Sprintf("docker service update -q --detach=false --no-resolve-image --health-cmd 'grep -q another /run/secrets/s' --health-interval 200ms --health-retries 1 %s", service))
	all.both([]int{1}, "rotate", one, "--in", "swarm", "--from-file", value)
	sh("docker service update -q --detach=false --no-resolve-image --no-healthcheck " + service)
	proxied, err := os.MkdirTemp("", "e2e")
	must(t, err)
	defer func() { _ = os.RemoveAll(proxied) }()
	p := get[*proxies](t)(newProxies(t, w.testbed, proxied, space))
	p.stallOn(func(request string) bool {
		return strings.Contains(request, "/services/") && strings.Contains(request, "/update")
	})
	killed := get[*process](t)(start(append(p.env(), all.env...), "kubectl", "secretx", "rotate", one, "--in", "swarm", "--from-file", value))
	pids := waitForStall(t, p, killed)
	must(t, syscall.Kill(pids[0], syscall.SIGKILL))
	<-killed.done
	p.stallOn(nil)
	all.look("killed", killed.out.String()+killed.err.String())
	all.both([]int{0}, "rotate", one, "--in", "swarm", "--from-file", value)

	// In Kubernetes, where a rotation keeps the old value in a Secret beside it; and by a mirror.
	two := w.prefix + "two"
	all.both([]int{0, 2}, "create", two, "--in", "k8s:/"+space, "--from-file", value)
	all.both([]int{0}, "rotate", two, "--in", "k8s:/"+space, "--from-file", other)
	all.both([]int{2}, "rotate", two, "--in", "k8s:/"+space, "--from-file", "nosuch="+value)
	all.both([]int{0}, "sync", two, "--from", "k8s:/"+space, "--to", "swarm", "--rollout")
	all.both([]int{0}, "rotate", two, "--in", "k8s:/"+space, "--from-file", value)
	all.both([]int{0}, "sync", two, "--from", "k8s:/"+space, "--to", "swarm", "--rollout")
	all.both([]int{2}, "rm", one, "--in", "swarm")
	all.both([]int{0}, "prune", "--dry-run", "--to", "k8s:/"+space, "--from", "swarm")
	all.both([]int{0, 2}, "rm", w.prefix+"lines", "--in", "kubernetes", "--from", "swarm", "--to", "k8s:/"+space)
	all.both([]int{0}, "current", one, "--in", "swarm")
}
