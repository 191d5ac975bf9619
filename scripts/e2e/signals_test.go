//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// soon is how long a user waits for the end of what was told to end.
const soon = time.Second

// TestSignals stops syncs at each stage, in each way in which a signal can arrive. Whatever the stage,
// nothing runs on, no job is left behind, and the next run goes on from there.
func TestSignals(t *testing.T) {
	w := newWorld(t)
	from, to := get[string](t)(w.namespace()), get[string](t)(w.namespace())
	secretName, key := w.prefix+"k", w.prefix+"s"
	must(t, w.putKube(from, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName}, Data: map[string][]byte{"v": []byte("value")}}))
	must(t, putSwarm(w.swarm, key, []byte("value"), nil))

	toSwarm := []string{"sync", "--from", "kubernetes:/" + from, "--to", "swarm", secretName}
	toKube := []string{"sync", "--from", "swarm", "--to", "kubernetes:/" + to, key}
	stages := []struct {
		name  string
		stall func(request string) bool
		args  []string
	}{
		{"connecting to the engine", request("docker HEAD", "/_ping"), toSwarm},
		{"looking at the namespace", request("kubernetes GET", "/namespaces/"+from), toSwarm},
		{"listing the Swarm", request("docker GET", "/secrets"), toKube},
		{"reading from Kubernetes", request("kubernetes GET", "/secrets/"), toSwarm},
		{"writing to the Swarm", request("docker POST", "/secrets/create"), toSwarm},
		{"writing to Kubernetes", request("kubernetes PATCH", "/secrets/"), toKube},
		{"making the probe", request("docker POST", "/services/create"), toKube},
		{"reading from the probe", request("docker GET", "/logs"), toKube},
	}
	ways := []struct {
		name, host string
		send       func(*process) error
		code       int // -1: nobody sees it
	}{
		{"SIGINT to kubectl", "kubectl", func(p *process) error { return p.cmd.Process.Signal(os.Interrupt) }, 130},
		{"SIGTERM to kubectl", "kubectl", func(p *process) error { return p.cmd.Process.Signal(syscall.SIGTERM) }, 130},
		{"SIGINT to docker", "docker", func(p *process) error { return p.cmd.Process.Signal(os.Interrupt) }, 130},
		{"SIGTERM to docker", "docker", func(p *process) error { return p.cmd.Process.Signal(syscall.SIGTERM) }, 130},
		{"SIGTERM to the plugin of docker", "docker", func(p *process) error { return syscall.Kill(p.plugin(), syscall.SIGTERM) }, 130},
		{"SIGKILL to docker", "docker", func(p *process) error { return p.cmd.Process.Kill() }, -1},
		{"SIGKILL to an old docker", oldDocker, func(p *process) error { return p.cmd.Process.Kill() }, -1},
	}
	slowest := time.Duration(0)
	for _, stage := range stages {
		folder, err := os.MkdirTemp("", "e2e")
		must(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(folder) })
		p := get[*proxies](t)(newProxies(t, w.testbed, folder, from))
		// The run before has written the mirrors.
		for _, s := range get2(w.ours(w.swarm))(t) {
			if s.Spec.Name != key {
				must(t, w.swarm.SecretRemove(t.Context(), s.ID))
			}
		}
		if err := w.kube.Secrets(to).Delete(t.Context(), key, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		p.stallOn(stage.stall)
		for _, way := range ways {
			t.Run(strings.ReplaceAll(stage.name+", "+way.name, " ", "-"), func(t *testing.T) {
				run := get[*process](t)(startVerb(p.env(), way.host, stage.args...))
				pids := waitForStall(t, p, run)
				began := time.Now()
				must(t, way.send(run))
				took := allGone(t, pids, began)
				slowest = max(slowest, took)
				<-run.done
				if code := run.cmd.ProcessState.ExitCode(); code != way.code {
					t.Errorf("exit code %d, not %d: %s", code, way.code, run.err.String())
				}
				if way.code == 130 && !strings.Contains(run.err.String(), "interrupted") {
					t.Errorf("it doesn't say that it was interrupted: %q", run.err.String())
				}
				noProbeOf(t, w, pids)
			})
		}
		p.stallOn(nil)
		for host := range hosts { // whatever was left, the next run goes on from there
			if _, r := secretx(host, stage.args...); r.code != 0 {
				t.Errorf("%s: the next sync through %s: %s", stage.name, host, r)
			}
		}
	}
	t.Logf("the slowest of %d ended %s after the signal", len(stages)*len(ways), slowest.Round(time.Millisecond))
}

// TestInterruptInTheMiddle interrupts a sync that has written some of many: it says which, and those
// stand.
func TestInterruptInTheMiddle(t *testing.T) {
	const all, concurrency = 120, 2
	w := newWorld(t)
	from := get[string](t)(w.namespace())
	var names []string
	for i := range all {
		names = append(names, fmt.Sprintf("%sm%03d", w.prefix, i))
	}
	must(t, each(names, func(name string) error {
		return w.putKube(from, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": []byte(name)}})
	}))
	folder, err := os.MkdirTemp("", "e2e")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := get[*proxies](t)(newProxies(t, w.testbed, folder, from))
	written, done, underWay := 0, 0, 0 // by earlier rounds
	for host, format := range hosts {
		p.taken()
		args := append([]string{"sync", "--all", "--from", "kubernetes", "--to", "swarm", "--concurrency", strconv.Itoa(concurrency)}, format...)
		run := get[*process](t)(startVerb(p.env(), host, args...))
		for !run.over() && writes(p) < 30 {
			time.Sleep(time.Millisecond)
		}
		pids, began := append([]int{run.pid()}, descendants(run.pid())...), time.Now()
		must(t, run.cmd.Process.Signal(syscall.SIGTERM))
		allGone(t, pids, began)
		<-run.done
		if code := run.cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("%s: exit code %d: %s", host, code, run.err.String())
		}
		var said document
		must(t, json.Unmarshal(run.out.Bytes(), &said))
		stands := map[string]bool{}
		for _, s := range get2(w.ours(w.swarm))(t) {
			stands[s.Spec.Name] = true
		}
		for _, item := range said.Items {
			if item.Result == "done" && !stands[item.Mirror] {
				t.Errorf("%s: %s is said to be done and isn't there", host, item.Mirror)
			}
		}
		// What was under way when the signal came may be carried out, even after we have looked.
		done, underWay = done+said.Summary.Done, underWay+concurrency
		if unsaid := len(stands) - done; unsaid < 0 || unsaid > underWay {
			t.Errorf("%s: %d stand, %d before, and %d in all are said to be done", host, len(stands), written, done)
		}
		if said.Summary.Done == 0 || said.Summary.Failed == 0 {
			t.Errorf("%s: it was not in the middle: %d done, %d not", host, said.Summary.Done, said.Summary.Failed)
		}
		written = len(stands)
	}
	for _, code := range []string{"sync", "diff"} {
		if d, r := secretx("kubectl", code, "--all", "--from", "kubernetes:/"+from, "--to", "swarm"); r.code != 0 || d.Summary.Total != all {
			t.Errorf("the next %s: %d mirrors, %s", code, d.Summary.Total, r)
		}
	}
	if n := len(get2(w.ours(w.swarm))(t)); n != all {
		t.Errorf("%d secrets in the Swarm, not %d", n, all)
	}
}

// oldDocker stands for a docker CLI that has no socket to its plugins, whose end they have to notice
// by themselves.
const oldDocker = "old docker"

func startVerb(env []string, host string, args ...string) (*process, error) {
	if host == oldDocker {
		return start(env, "sh", append([]string{"-c", `"$DOCKER_CONFIG"/cli-plugins/docker-secretx secretx "$@"; exit`, "docker"}, args...)...)
	}
	return start(env, host, append([]string{"secretx"}, args...)...)
}

// TestInterruptOnTerminal presses Ctrl-C, which reaches all that runs on the terminal.
func TestInterruptOnTerminal(t *testing.T) {
	w := newWorld(t)
	from := get[string](t)(w.namespace())
	must(t, putSwarm(w.swarm, w.prefix+"s", []byte("value"), nil))
	folder, err := os.MkdirTemp("", "e2e")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := get[*proxies](t)(newProxies(t, w.testbed, folder, from))
	p.stallOn(request("docker GET", "/logs"))
	for host := range hosts {
		t.Run(host, func(t *testing.T) {
			run := &process{done: make(chan struct{})}
			run.cmd = exec.Command("script", "-qefc", host+" secretx sync --from swarm --to kubernetes "+w.prefix+"s", "/dev/null")
			run.cmd.Env = append(os.Environ(), p.env()...)
			run.cmd.Stdout, run.cmd.Stderr, run.cmd.WaitDelay = &run.out, &run.err, 10*time.Millisecond
			keyboard := get[io.WriteCloser](t)(run.cmd.StdinPipe())
			must(t, run.cmd.Start())
			go func() { _ = run.cmd.Wait(); close(run.done) }()
			pids := waitForStall(t, p, run)
			began := time.Now()
			_, err := keyboard.Write([]byte{3})
			must(t, err)
			took := allGone(t, pids[1:], began) // all but script itself
			<-run.done
			if code := run.cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit code %d, not 130: %s", code, run.out.String())
			}
			noProbeOf(t, w, pids)
			t.Logf("ended %s after Ctrl-C", took.Round(time.Millisecond))
		})
	}
}

// request finds requests by how they begin and how their path ends or goes on.
func request(begins, path string) func(string) bool {
	return func(request string) bool {
		rest, found := strings.CutPrefix(request, begins+" ")
		rest, _, _ = strings.Cut(rest, "?")
		return found && (strings.HasSuffix(rest, path) || strings.HasSuffix(path, "/") && strings.Contains(rest, path))
	}
}

// waitForStall waits until the verb hangs, and gives the processes that it is made of.
func waitForStall(t *testing.T, p *proxies, run *process) []int {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case <-p.stalled:
			if run.plugin() == 0 {
				continue // it was docker itself that asked
			}
		case <-run.done:
			t.Fatalf("it ended before it got stuck: %s%s", run.out.String(), run.err.String())
		case <-deadline:
			run.killAll()
			t.Fatalf("it never got stuck: %v", p.taken())
		}
		break
	}
	time.Sleep(50 * time.Millisecond) // for what is done at the same time
	for len(p.stalled) > 0 {
		<-p.stalled
	}
	return append([]int{run.pid()}, descendants(run.pid())...)
}

// allGone waits for the end of processes.
func allGone(t *testing.T, pids []int, began time.Time) time.Duration {
	t.Helper()
	for _, pid := range pids {
		for alive(pid) {
			if time.Since(began) > 20*time.Second {
				t.Errorf("process %d still runs", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	took := time.Since(began)
	if took > soon {
		t.Errorf("it took %s", took)
	}
	return took
}

// noProbeOf expects that none of the processes left a job behind.
func noProbeOf(t *testing.T, w *world, pids []int) {
	t.Helper()
	for _, cli := range []*client.Client{w.swarm, w.other} {
		for _, left := range get[[]string](t)(leftProbes(cli)) {
			for _, pid := range pids {
				if strings.HasSuffix(left, fmt.Sprintf(" of process %d", pid)) {
					t.Errorf("a probe is left: %s", left)
				}
			}
		}
	}
}
