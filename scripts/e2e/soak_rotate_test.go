//go:build soak

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rotating is one secret at one side, and workloads that use it.
type rotating struct {
	*world
	t      *testing.T
	name   string
	folder string
	side   []string // flags that say where
	origin string   // where it is rotated, if that is not where it is used
	env    []string
	n      int // of the value
}

// value writes the next value to a file and gives its path.
func (r *rotating) value() string {
	r.t.Helper()
	r.n++
	path := filepath.Join(r.folder, "value")
	must(r.t, os.WriteFile(path, []byte("value-"+strconv.Itoa(r.n)), 0o600))
	return path
}

// run runs a verb of kubectl secretx, which is one process, and gives its exit code.
func (r *rotating) run(args ...string) (code int, out string) {
	r.t.Helper()
	cmd := exec.Command("kubectl-secretx", args...)
	cmd.Env = append(os.Environ(), r.env...)
	text, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(text)
}

func (r *rotating) rotate(file string) []string {
	return append([]string{"rotate", r.name, "--from-file", file, "--timeout", "5m"}, r.side...)
}

// fine checks that all who use the secret have its newest version, and that no rollout is left.
func (r *rotating) fine() string {
	r.t.Helper()
	code, text := r.run("verify", r.name, "-o", "json")
	// On a machine with too much to do it may take its time until a container can be looked into.
	for try := 0; code != 0 && try < 5 && strings.Contains(text, "unverifiable") && !strings.Contains(text, "stale"); try++ {
		time.Sleep(5 * time.Second)
		code, text = r.run("verify", r.name, "-o", "json")
	}
	if code != 0 {
		return "verify: " + text
	}
	code, text = r.run("inspect", r.name, "-o", "json")
	var d struct {
		Objects []struct{ Name, Rollout string }
	}
	if err := json.Unmarshal([]byte(text[strings.IndexByte(text, '{'):]), &d); err != nil || code != 0 {
		return "inspect: " + text
	}
	for _, o := range d.Objects {
		if o.Rollout == "pending" {
			return o.Name + " is still pending"
		}
	}
	return ""
}

func shell(t *testing.T, env []string, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// shared is a folder that engine and kubelet see too, which have a /tmp of their own.
func shared(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp(os.Getenv("SECRETX_TESTBED"), "campaign")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	must(t, os.Chmod(folder, 0o777))
	return folder
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[4]d
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 2}}
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: secretx-test/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, %[3]q]
        env: [{name: VALUE, valueFrom: {secretKeyRef: {name: %[2]s, key: %[6]s}}}]
        volumeMounts: [{name: out, mountPath: /out}]
      volumes: [{name: out, hostPath: {path: %[5]s}}]
`

// inSwarm makes a secret and two services that use it.
func inSwarm(t *testing.T) *rotating {
	w := newWorld(t)
	bringHelper(t)
	r := &rotating{world: w, t: t, name: w.prefix + "s", folder: shared(t), side: []string{"--in", "swarm"}}
	r.env = []string{"DOCKER_HOST=" + w.swarm.DaemonHost()}
	if code, out := r.run(append([]string{"create", r.name, "--from-file", r.value()}, r.side...)...); code != 0 {
		t.Fatal(out)
	}
	for _, service := range []string{"a", "b"} {
		shell(t, r.env, fmt.Sprintf("docker service create -q --detach=false --no-resolve-image --name %s%s --update-monitor 100ms --secret %s secretx-test/busybox:1 sleep 10000", w.prefix, service, r.name))
	}
	return r
}

// inKubernetes makes a Secret and two Deployments that have it in their environment.
func inKubernetes(t *testing.T) *rotating {
	w := newWorld(t)
	namespace := get[string](t)(w.namespace())
	r := &rotating{world: w, t: t, name: w.prefix + "s", folder: shared(t), side: []string{"--in", "kubernetes"}}
	r.env = []string{"KUBECONFIG=" + kubeconfigIn(t, t.TempDir(), namespace)}
	shell(t, r.env, fmt.Sprintf("kubectl create secret generic %s --from-file=value=%s", r.name, r.value()))
	for _, name := range []string{"a", "b"} {
		r.deploy(name, "value", "sleep 10000", 1)
	}
	return r
}

// deploy makes a Deployment that has a key of the Secret in its environment, and waits until it runs.
func (r *rotating) deploy(name, key, script string, replicas int) {
	r.t.Helper()
	cmd := exec.Command("kubectl", "apply", "-f", "-")
	cmd.Env = append(os.Environ(), r.env...)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(deployment, name, r.name, script, replicas, r.folder, key))
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
	shell(r.t, r.env, "kubectl rollout status deployment/"+name+" --timeout=300s")
}

// immutable makes the Secret of inKubernetes one that never changes.
func immutable(t *testing.T) *rotating {
	r := inKubernetes(t)
	shell(t, r.env, fmt.Sprintf(`kubectl patch secret %s -p '{"immutable":true}'`, r.name))
	return r
}

// mirrored makes a Secret, and two services that use its mirror in the Swarm.
func mirrored(t *testing.T) *rotating {
	r := inKubernetes(t)
	bringHelper(t)
	r.env, r.side, r.origin = append(r.env, "DOCKER_HOST="+r.swarm.DaemonHost()), nil, "kubernetes"
	shell(t, r.env, "kubectl delete deployment a b")
	if code, out := r.run("sync", r.name); code != 0 {
		t.Fatal(out)
	}
	for _, service := range []string{"a", "b"} {
		shell(t, r.env, fmt.Sprintf("docker service create -q --detach=false --no-resolve-image --name %s%s --update-monitor 100ms --secret %s.value secretx-test/busybox:1 sleep 10000", r.prefix, service, r.name))
	}
	return r
}

// mirroredBack makes a Swarm secret, and two Deployments that have its mirror in their environment.
func mirroredBack(t *testing.T) *rotating {
	w := newWorld(t)
	namespace := get[string](t)(w.namespace())
	r := &rotating{world: w, t: t, name: w.prefix + "s", folder: shared(t), origin: "swarm"}
	r.env = []string{"KUBECONFIG=" + kubeconfigIn(t, t.TempDir(), namespace), "DOCKER_HOST=" + w.swarm.DaemonHost()}
	for _, args := range [][]string{{"create", r.name, "--in", "swarm", "--from-file", r.value()}, {"sync", r.name, "--from", "swarm", "--to", "kubernetes"}} {
		if code, out := r.run(args...); code != 0 {
			t.Fatal(out)
		}
	}
	for _, name := range []string{"a", "b"} {
		r.deploy(name, r.name, "sleep 10000", 1)
	}
	return r
}

// killing is a rotation that is killed at many points.
type killing struct {
	setup func(*testing.T) *rotating
	// every: before each request in turn; otherwise before each write, and after it.
	every bool
	// code is the exit code of an undisturbed run.
	code int
	// forth is what is killed, and run again: nil stands for rotate.
	forth func(r *rotating, file string) []string
	// undo tells that every third time the next run undoes it.
	undo bool
}

// throughSync brings the value of a file to the origin, and gives the verb that brings it to the mirrors and to
// all who use those.
func throughSync(r *rotating, file string) []string {
	if r.origin == "swarm" {
		if code, out := r.run("rotate", r.name, "--in", "swarm", "--from-file", file, "--retain", "0"); code != 0 {
			r.t.Fatal(out)
		}
	} else {
		shell(r.t, r.env, fmt.Sprintf("kubectl create secret generic %s --from-file=value=%s --dry-run=client -o yaml | kubectl replace -f -", r.name, file))
	}
	args := []string{"sync", r.name, "--rollout", "--timeout", "5m"}
	if r.origin == "swarm" {
		args = append(args, "--from", "swarm", "--to", "kubernetes")
	}
	return args
}

// unhealthy has two services of which one is unhealthy with any other value.
func unhealthy(t *testing.T) *rotating {
	r := inSwarm(t)
	shell(t, r.env, fmt.Sprintf("docker service update -q --detach=false --no-resolve-image --health-cmd 'grep -qx value-1 /run/secrets/*' --health-interval 200ms --health-retries 1 --update-monitor 1s %sb", r.prefix))
	return r
}

// TestKilledRotations kills a rotation right before each of its requests in turn, or around each of its writes. The
// next run must bring it to its end, or undo it.
func TestKilledRotations(t *testing.T) {
	for name, c := range map[string]killing{
		"swarm":              {setup: inSwarm, every: true, undo: true},
		"kubernetes":         {setup: inKubernetes, every: true, undo: true},
		"swarm, unhealthy":   {setup: unhealthy, code: 1, undo: true},
		"immutable":          {setup: immutable, undo: true},
		"sync to a swarm":    {setup: mirrored, forth: throughSync},
		"sync to kubernetes": {setup: mirroredBack, forth: throughSync},
	} {
		t.Run(strings.ReplaceAll(strings.ReplaceAll(name, ",", ""), " ", "-"), func(t *testing.T) { c.run(t) })
	}
}

func (c killing) run(t *testing.T) {
	r := c.setup(t)
	folder, err := os.MkdirTemp("", "e2e")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	namespace := "default"
	if len(r.namespaces) > 0 {
		namespace = r.namespaces[0]
	}
	p, err := newProxies(t, r.testbed, folder, namespace)
	must(t, err)
	if c.forth == nil {
		c.forth = (*rotating).rotate
	}
	points, good := 0, 0
	for n := 1; ; n++ {
		file := r.value()
		again := c.forth(r, file)
		at, code := c.kill(t, r, p, again, n)
		if at == "" {
			if code != c.code {
				t.Errorf("undisturbed: exit %d", code)
			}
			break
		}
		points++
		what, wanted := "completes", c.code
		if c.code != 0 {
			what = "goes back"
		}
		if c.undo && n%3 == 0 {
			what, wanted, again = "undoes", 0, append([]string{"rotate", r.name, "--undo"}, r.side...)
		}
		code, text := r.run(again...)
		if what == "undoes" && code == 2 && strings.Contains(text, "nothing to undo") {
			what, code = "finds nothing to undo", 0
		}
		state := "good"
		if wrong := r.fine(); code != wanted || wrong != "" {
			state = fmt.Sprintf("exit %d: %s\n%s", code, text, wrong)
			t.Errorf("killed at point %d: %s", n, state)
		} else {
			good++
		}
		t.Logf("%3d | %-66.66s | the next run %s | %s", n, at, what, state)
		if points-good > 3 {
			return
		}
	}
	t.Logf("%d points, %d good", points, good)
}

// kill runs a verb and kills it at the n-th point; where there is none it gives the exit code.
func (c killing) kill(t *testing.T, r *rotating, p *proxies, args []string, n int) (at string, code int) {
	t.Helper()
	seen, when := 0, ""
	turn := func(request string) bool {
		write := !strings.Contains(request, " GET ") && !strings.HasSuffix(request, "/attach") && !strings.Contains(request, "/attach?") && !strings.Contains(request, "/exec?") && !strings.Contains(request, " HEAD ")
		if !c.every && !write {
			return false
		}
		seen++
		switch {
		case c.every:
			when = "before "
			return seen == n
		case n%2 == 1:
			when = "before "
		default:
			when = "after "
		}
		return seen == (n+1)/2
	}
	if c.every || n%2 == 1 {
		p.stallOn(turn)
	} else {
		p.swallowOn(turn)
	}
	run, err := start(append(slices.Clone(r.env), p.env()...), "kubectl-secretx", args...)
	must(t, err)
	select {
	case at = <-p.stalled:
		run.killAll()
	case <-run.done:
	case <-time.After(12 * time.Minute):
		run.killAll()
		t.Fatalf("it hangs: %s", &run.err)
	}
	p.stallOn(nil)
	p.taken()
	if at == "" {
		return "", run.cmd.ProcessState.ExitCode()
	}
	request, _, _ := strings.Cut(at, "?")
	request = strings.ReplaceAll(strings.ReplaceAll(request, r.prefix, ""), "/api/v1/namespaces", "")
	return when + request, 0
}

// TestHundredRotations: whoever reads the secret ten times a second never fails to, and reads at each moment
// the value before or the one that is being brought.
func TestHundredRotations(t *testing.T) {
	rounds := 100
	if text := os.Getenv("SECRETX_ROTATIONS"); text != "" {
		rounds, _ = strconv.Atoi(text)
	}
	const reads = `while :; do v=$(%s) || v=FAILED; echo "$(date +%%s) ${v:-EMPTY}" >>/out/$HOSTNAME; usleep 100000; done`
	for side, setup := range map[string]func(*testing.T) *rotating{
		"swarm": func(t *testing.T) *rotating {
			r := inSwarm(t)
			shell(t, r.env, fmt.Sprintf("docker service create -q --detach=false --no-resolve-image --name %sreader --replicas 4 --update-monitor 100ms --update-parallelism 2 --update-order start-first --secret source=%s,target=s --mount type=bind,source=%s,target=/out secretx-test/busybox:1 sh -c '%s'",
				r.prefix, r.name, r.folder, fmt.Sprintf(reads, "cat /run/secrets/s")))
			return r
		},
		"kubernetes": func(t *testing.T) *rotating {
			r := inKubernetes(t)
			r.deploy("reader", "value", fmt.Sprintf(reads, `echo "$VALUE"`), 4)
			return r
		},
	} {
		t.Run(side, func(t *testing.T) {
			r := setup(t)
			began, ended := map[string]int64{"value-1": 0}, map[string]int64{}
			last := "value-1"
			for range rounds {
				file := r.value()
				now := fmt.Sprint("value-", r.n)
				began[now] = time.Now().Unix()
				if code, out := r.run(r.rotate(file)...); code != 0 {
					t.Fatalf("rotation %d: exit %d\n%s", r.n, code, out)
				}
				ended[last] = time.Now().Unix()
				last = now
			}
			if wrong := r.fine(); wrong != "" {
				t.Error(wrong)
			}
			lines, values := 0, map[string]bool{}
			files, _ := filepath.Glob(r.folder + "/*")
			for _, f := range files {
				if filepath.Base(f) == "value" {
					continue
				}
				text, err := os.ReadFile(f)
				must(t, err)
				for line := range strings.Lines(string(text)) {
					stamp, value, whole := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
					if !whole || !strings.HasSuffix(line, "\n") {
						continue // it was stopped there
					}
					lines++
					values[value] = true
					at, _ := strconv.ParseInt(stamp, 10, 64)
					from, known := began[value]
					until, over := ended[value]
					if !known || at < from-1 || over && at > until+1 {
						t.Errorf("%s: %q", filepath.Base(f), line)
					}
				}
			}
			if len(values) < rounds/2 {
				t.Errorf("only %d values were ever read", len(values))
			}
			t.Logf("%d rotations, %d reads by %d containers, %d values", rounds, lines, len(files)-1, len(values))
		})
	}
}
