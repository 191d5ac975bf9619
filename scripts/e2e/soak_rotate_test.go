//go:build soak

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	return append([]string{"rotate", r.name, "--from-file", file, "--timeout", "90s"}, r.side...)
}

// fine checks that all who use the secret have its newest version, and that no rollout is left.
func (r *rotating) fine() string {
	r.t.Helper()
	code, text := r.run("verify", r.name, "-o", "json")
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
        env: [{name: VALUE, valueFrom: {secretKeyRef: {name: %[2]s, key: value}}}]
        volumeMounts: [{name: out, mountPath: /out}]
      volumes: [{name: out, hostPath: {path: %[5]s}}]
`

// inSwarm makes a secret and two services that use it.
func inSwarm(t *testing.T) *rotating {
	w := newWorld(t)
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
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := shell(t, nil, "kubectl config view --raw")
	must(t, os.WriteFile(kubeconfig, []byte(text), 0o600))
	r := &rotating{world: w, t: t, name: w.prefix + "s", folder: shared(t), side: []string{"--in", "kubernetes"}}
	r.env = []string{"KUBECONFIG=" + kubeconfig}
	shell(t, r.env, "kubectl config set-context --current --namespace="+namespace)
	shell(t, r.env, fmt.Sprintf("kubectl create secret generic %s --from-file=value=%s", r.name, r.value()))
	for _, name := range []string{"a", "b"} {
		cmd := exec.Command("kubectl", "apply", "-f", "-")
		cmd.Env = append(os.Environ(), r.env...)
		cmd.Stdin = strings.NewReader(fmt.Sprintf(deployment, name, r.name, "sleep 10000", 1, r.folder))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		shell(t, r.env, "kubectl rollout status deployment/"+name+" --timeout=60s")
	}
	return r
}

// TestKilledRotations kills a rotation right before each of its requests in turn. The next run must
// bring it to its end, or undo it.
func TestKilledRotations(t *testing.T) {
	for side, setup := range map[string]func(*testing.T) *rotating{"swarm": inSwarm, "kubernetes": inKubernetes} {
		t.Run(side, func(t *testing.T) {
			r := setup(t)
			folder, err := os.MkdirTemp("", "e2e")
			must(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(folder) })
			namespace := "default"
			if len(r.namespaces) > 0 {
				namespace = r.namespaces[0]
			}
			p, err := newProxies(t, r.testbed, folder, namespace)
			must(t, err)
			for n := 1; ; n++ {
				file := r.value()
				seen := 0
				p.stallOn(func(string) bool { seen++; return seen == n })
				run, err := start(append(r.env, p.env()...), "kubectl-secretx", r.rotate(file)...)
				must(t, err)
				at := ""
				select {
				case at = <-p.stalled:
					run.killAll()
				case <-run.done:
				case <-time.After(3 * time.Minute):
					run.killAll()
					t.Fatalf("it hangs: %s", &run.err)
				}
				p.stallOn(nil)
				p.taken()
				if at == "" {
					if code := run.cmd.ProcessState.ExitCode(); code != 0 {
						t.Errorf("undisturbed: exit %d\n%s", code, &run.err)
					}
					t.Logf("%d requests in all", n-1)
					break
				}
				what := "completes"
				again := r.rotate(file)
				if n%3 == 0 {
					what, again = "undoes", append([]string{"rotate", r.name, "--undo"}, r.side...)
				}
				code, text := r.run(again...)
				if what == "undoes" && code == 2 && strings.Contains(text, "nothing to undo") {
					what, code = "finds nothing to undo", 0
				}
				state := "good"
				if wrong := r.fine(); code != 0 || wrong != "" {
					state = fmt.Sprintf("exit %d: %s\n%s", code, text, wrong)
					t.Errorf("killed before request %d: %s", n, state)
				}
				method, path, _ := strings.Cut(strings.TrimPrefix(at, side+" "), "?")
				_ = path
				t.Logf("%3d | %-60.60s | the next run %s | %s", n, strings.ReplaceAll(method, r.prefix, ""), what, state)
				if t.Failed() && n > 3 {
					return
				}
			}
		})
	}
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
			cmd := exec.Command("kubectl", "apply", "-f", "-")
			cmd.Env = append(os.Environ(), r.env...)
			cmd.Stdin = strings.NewReader(fmt.Sprintf(deployment, "reader", r.name, fmt.Sprintf(reads, `echo "$VALUE"`), 4, r.folder))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			shell(t, r.env, "kubectl rollout status deployment/reader --timeout=60s")
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
