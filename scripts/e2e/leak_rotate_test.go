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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rotateRuns runs the verbs that make, rotate and remove secrets. It gives searches for the values that they
// made at random, which have looked at what these verbs have printed.
func rotateRuns(t *testing.T, w *world, s *search, all *runs) (made []*search) {
	t.Helper()
	// Where values come from is not searched: in memory, and nowhere else.
	folder, err := os.MkdirTemp("/dev/shm", "e2e")
	must(t, err)
	defer func() { _ = os.RemoveAll(folder) }()
	value, other, third, lines := filepath.Join(folder, "value"), filepath.Join(folder, "other"), filepath.Join(folder, "third"), filepath.Join(folder, "lines")
	must(t, os.WriteFile(value, []byte(s.value), 0o600))
	must(t, os.WriteFile(other, []byte("another: "+s.value), 0o600))
	must(t, os.WriteFile(third, []byte("yet another: "+s.value), 0o600))
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
	// kill has a verb killed as soon as it asks for something.
	kill := func(asks func(request string) bool, args ...string) {
		t.Helper()
		p.stallOn(asks)
		killed := get[*process](t)(start(append(p.env(), all.env...), "kubectl", append([]string{"secretx"}, args...)...))
		pids := waitForStall(t, p, killed)
		must(t, syscall.Kill(pids[0], syscall.SIGKILL))
		<-killed.done
		p.stallOn(nil)
		all.look("killed", killed.out.String()+killed.err.String())
		s.metadata(t, w)
	}
	kill(func(request string) bool {
		return strings.Contains(request, "/services/") && strings.Contains(request, "/update")
	},
		"rotate", one, "--in", "swarm", "--from-file", value)
	all.both([]int{0}, "rotate", one, "--in", "swarm", "--from-file", value)

	// In Kubernetes, where a rotation keeps the old value in a Secret beside it; and by a mirror.
	two := w.prefix + "two"
	all.both([]int{0, 2}, "create", two, "--in", "k8s:/"+space, "--from-file", value)
	all.both([]int{0}, "rotate", two, "--in", "k8s:/"+space, "--from-file", other)
	all.both([]int{2}, "rotate", two, "--in", "k8s:/"+space, "--from-file", "nosuch="+value)
	all.both([]int{0}, "sync", two, "--from", "k8s:/"+space, "--to", "swarm", "--rollout")
	sh(fmt.Sprintf("docker service create -q --detach=false --no-resolve-image --name %smirrored --update-monitor 200ms --secret source=%s.%s,target=s secretx-test/busybox:1 sleep 1000", w.prefix, two, two))
	all.both([]int{0}, "rotate", two, "--in", "k8s:/"+space, "--from-file", value)
	all.both([]int{0}, "sync", two, "--from", "k8s:/"+space, "--to", "swarm", "--rollout")

	// There too: one that goes back, one that is killed and goes on, one that is killed and undone. The value is
	// mounted by itself, so that its Deployment has to be restarted.
	three := w.prefix + "three"
	all.both([]int{0, 2}, "create", three, "--in", "k8s:/"+space, "--from-file", other)
	sh(fmt.Sprintf("kubectl apply -n %[1]s -f - <<END\n%[2]s\nEND\nkubectl rollout status -n %[1]s deployment/picky --timeout=60s", space, fmt.Sprintf(picky, three)))
	all.both([]int{1}, "rotate", three, "--in", "k8s:/"+space, "--from-file", value)
	restart := func(request string) bool {
		return strings.HasPrefix(request, "kubernetes PATCH ") && strings.Contains(request, "/deployments/picky")
	}
	kill(restart, "rotate", three, "--in", "kubernetes", "--from-file", third)
	all.both([]int{0}, "rotate", three, "--in", "k8s:/"+space, "--from-file", third)
	kill(restart, "rotate", three, "--in", "kubernetes", "--from-file", other)
	all.both([]int{0, 2}, "rotate", three, "--in", "k8s:/"+space, "--undo")

	// Values made at random.
	random := w.prefix + "random"
	for _, host := range []string{"docker", "kubectl"} {
		name := random + "-" + host
		for _, args := range [][]string{
			{"create", name, "--in", "both", "--generate", "40"},
			{"rotate", name, "--generate", "40"},
			{"sync", name, "--rollout"},
		} {
			cmd := append(append([]string{"secretx"}, args...), "--namespace", space)
			done := run(all.env, host, cmd...)
			if done.code != 0 {
				t.Errorf("%s %s: %s", host, strings.Join(cmd, " "), done)
			}
			all.look(host+" "+strings.Join(args, " "), done.out+done.err)
			// At the side that lets it be read.
			kept := get[*corev1.Secret](t)(w.kube.Secrets(space).Get(t.Context(), name, metav1.GetOptions{}))
			for _, v := range kept.Data {
				if len(v) != 40 {
					t.Fatalf("a value of %d bytes was made", len(v))
				}
				g := newSearch(canaryOf(string(v)))
				g.look("outputs", strings.Join(cmd, " "), []byte(done.out+done.err))
				made = append(made, g)
			}
		}
	}
	all.both([]int{0, 2}, "rm", random+"-docker", "--mirrors", "--in", "swarm", "--from", "swarm", "--to", "k8s:/"+space)

	all.both([]int{2}, "rm", one, "--in", "swarm")
	all.both([]int{0}, "prune", "--dry-run", "--to", "k8s:/"+space, "--from", "swarm")
	all.both([]int{0, 2}, "rm", w.prefix+"lines", "--in", "kubernetes", "--from", "swarm", "--to", "k8s:/"+space)
	all.both([]int{0}, "current", one, "--in", "swarm")
	all.both([]int{0}, "prune", one, "--keep", "0", "--yes", "--to", "k8s:/"+space, "--from", "swarm")
	all.both([]int{0, 1, 2}, "rm", one, "--in", "swarm", "--force", "--yes")
	return made
}

// picky is a Deployment that crashes when a secret of one key, of the same name, isn't another one.
const picky = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: picky}
spec:
  selector: {matchLabels: {app: picky}}
  template:
    metadata: {labels: {app: picky}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: secretx-test/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, "grep -q another /value && exec sleep 1000"]
        volumeMounts: [{name: s, mountPath: /value, subPath: %[1]s}]
      volumes: [{name: s, secret: {secretName: %[1]s}}]
`
