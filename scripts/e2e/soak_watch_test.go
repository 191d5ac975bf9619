//go:build soak

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// replica is one of those that keep mirrors in line.
type replica struct {
	name  string
	said  lines
	cmd   *exec.Cmd
	over  chan error
	audit string
}

func startReplica(t *testing.T, name, namespace string, env []string) *replica {
	t.Helper()
	r := &replica{name: name, over: make(chan error, 1), audit: filepath.Join(t.TempDir(), "audit.jsonl")}
	r.cmd = exec.Command("kubectl-secretx", "sync", "--all", "--watch", "--events", "-n", namespace, "--leader-elect", namespace+"/watch", "--audit", r.audit)
	r.cmd.Stdout, r.cmd.Stderr, r.cmd.Env = &r.said, &r.said, append(os.Environ(), env...)
	must(t, r.cmd.Start())
	go func() { r.over <- r.cmd.Wait() }()
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

func (r *replica) leads() bool {
	text := r.said.String()
	return strings.LastIndex(text, "leading, by the lease") > strings.LastIndex(text, "not leading any more")
}

func (r *replica) end(t *testing.T) {
	t.Helper()
	began := time.Now()
	must(t, r.cmd.Process.Signal(syscall.SIGTERM))
	if err := <-r.over; err != nil || time.Since(began) > 1500*time.Millisecond {
		t.Errorf("after SIGTERM %s ended with %v in %s", r.name, err, time.Since(began))
	}
	checkAudit(t, r.audit)
}

// TestWatchCampaign: 2,000 mirrors watched by two replicas. A change stands in the Swarm in under a second at the 99th
// percentile of 500; the engine and the API server are each away for a minute, the leader is killed, another
// one ends, and all is caught up with, without a lost change or a doubled version. Idle, nothing is asked but for
// what the watches and the Lease take. Whoever else uses this testbed will notice.
func TestWatchCampaign(t *testing.T) {
	const mirrors, changes, limit = 2000, 500, time.Second
	w := newWorld(t)
	namespace := get[string](t)(w.namespace())
	name := func(i int) string { return fmt.Sprintf("%s%04d", w.prefix, i) }
	put := func(i int, value string) error {
		return w.putKube(namespace, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name(i)}, Data: map[string][]byte{"k": []byte(value)}})
	}
	all := make([]int, mirrors)
	for i := range all {
		all[i] = i
	}
	must(t, each(all, func(i int) error { return put(i, "one") }))

	replicas := []*replica{startReplica(t, "the first", namespace, nil)}
	said := func() (text string) {
		for _, r := range replicas {
			now := r.said.String()
			text += r.name + ":\n" + now[max(0, len(now)-2000):] + "\n"
		}
		return text
	}
	leader := func() *replica {
		for _, r := range replicas {
			if r.leads() {
				return r
			}
		}
		return nil
	}
	wait := func(what string, atMost time.Duration, holds func() bool) time.Duration {
		t.Helper()
		for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			if holds() {
				return time.Since(began)
			}
			if time.Since(began) > atMost {
				t.Fatalf("not within %s: %s\n%s", atMost, what, said())
			}
		}
	}
	newest := func() map[string]int { // versions by logical name
		found, err := w.swarm.SecretList(context.Background(), swarm.SecretListOptions{Filters: filters.NewArgs(filters.Arg("name", w.prefix))})
		if err != nil {
			return nil
		}
		versions := map[string]int{}
		for _, s := range found {
			versions[s.Spec.Labels["io.github.secretx.secret"]]++
		}
		return versions
	}
	t.Logf("%d mirrors made in %s", mirrors, wait("all are mirrored", 5*time.Minute, func() bool {
		return len(newest()) == mirrors && strings.Contains(replicas[0].said.String(), "compared")
	}))
	replicas = append(replicas, startReplica(t, "the second", namespace, nil))
	wait("there are two", 30*time.Second, func() bool { return strings.Contains(replicas[1].said.String(), "standby: ") })
	memory := func() {
		t.Helper()
		for _, r := range replicas {
			t.Logf("memory of %s (it leads: %v): %s", r.name, r.leads(), memoryOf(r.cmd.Process.Pid))
		}
	}
	memory()

	// Changes, timed by the engine's own events.
	arrived := make(chan events.Message, changes)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages, _ := w.swarm.Events(ctx, events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "secret"))})
	go func() {
		for m := range messages {
			arrived <- m
		}
	}()
	var took []time.Duration
	for n := range changes {
		i := n * 3 % mirrors
		began := time.Now()
		must(t, put(i, fmt.Sprint("changed ", n)))
		for timeout := time.After(30 * time.Second); ; {
			var m events.Message
			select {
			case m = <-arrived:
			case <-timeout:
				t.Fatalf("the change of %s never arrived", name(i))
			}
			if strings.HasPrefix(m.Actor.Attributes["name"], name(i)+".k.v") {
				took = append(took, time.Since(began))
				break
			}
		}
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("%d changes, from the write in Kubernetes to the version in the Swarm: median %s, p99 %s, most %s", changes, took[len(took)/2], p99, took[len(took)-1])
	if p99 > limit {
		t.Errorf("p99 is %s", p99)
	}
	memory()
	want := newest()

	// Each side is away for a minute, with changes in the meantime as far as there can be any.
	for _, side := range [][]string{{"docker"}, {"kube"}} {
		testbedDo(t, side, "stop")
		if side[0] == "docker" {
			must(t, each(all[:50], func(i int) error { return put(i, "while the engine was away") }))
		}
		time.Sleep(time.Minute)
		testbedDo(t, side, "start")
		up := time.Now()
		if side[0] == "kube" {
			wait("the API server takes writes", time.Minute, func() bool { return each(all[:50], func(i int) error { return put(i, "after the API server") }) == nil })
		}
		for _, i := range all[:50] {
			want[name(i)]++
		}
		wait("all is caught up with", 3*time.Minute, func() bool {
			now := newest()
			for _, i := range all[:50] {
				if now[name(i)] < want[name(i)] {
					return false
				}
			}
			return true
		})
		t.Logf("%s was away for a minute: caught up %s after it was back", side[0], time.Since(up).Round(time.Millisecond))
		time.Sleep(5 * time.Second)
		for n, v := range newest() {
			if v != want[n] {
				t.Errorf("%s has %d versions, want %d", n, v, want[n])
			}
		}
	}
	for _, r := range replicas {
		select {
		case err := <-r.over:
			t.Fatalf("%s ended by itself: %v\n%s", r.name, err, said())
		default:
		}
	}
	exact := func() {
		t.Helper()
		time.Sleep(3 * time.Second)
		for n, v := range newest() {
			if v != want[n] {
				t.Errorf("%s has %d versions, want %d", n, v, want[n])
			}
		}
	}
	stands := func(i int) func() bool { return func() bool { return newest()[name(i)] == want[name(i)] } }
	change := func(i int, value string) {
		t.Helper()
		must(t, put(i, value))
		want[name(i)]++
	}

	// The leader is killed: its lease runs out, and then the other one begins.
	first := leader()
	if first == nil {
		t.Fatalf("nobody leads\n%s", said())
	}
	must(t, first.cmd.Process.Kill())
	<-first.over
	change(60, "after the kill")
	t.Logf("the leader was killed: the next change stood %s later", wait("the other one takes over", time.Minute, stands(60)).Round(time.Millisecond))
	replicas = slices.DeleteFunc(replicas, func(r *replica) bool { return r == first })
	exact()

	// The one that leads now is told to end, and a third one, which is listened to, takes over at once.
	folder := get[string](t)(os.MkdirTemp("", "e2e"))
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := get[*proxies](t)(newProxies(t, w.testbed, folder, namespace))
	replicas = append(replicas, startReplica(t, "the third", namespace, p.env()))
	wait("there are two again", 30*time.Second, func() bool { return strings.Contains(replicas[1].said.String(), "standby: ") })
	replicas[0].end(t)
	change(61, "after the end")
	t.Logf("the leader ended: the next change stood %s later", wait("the third one takes over", 20*time.Second, stands(61)).Round(time.Millisecond))
	replicas = replicas[1:]
	exact()

	// Idle.
	wait("all has been compared", time.Minute, func() bool { return strings.Contains(replicas[0].said.String(), "compared") })
	time.Sleep(5 * time.Second)
	p.taken()
	const idle = 3 * time.Minute
	time.Sleep(idle)
	count := map[string]int{}
	for _, request := range p.taken() {
		switch {
		case strings.Contains(request, "watch=true"):
			count["watches of the API server"]++
		case strings.Contains(request, "docker GET ") && strings.Contains(request, "/events?"):
			count["streams of the engine's events"]++
		case strings.Contains(request, "kubernetes PATCH ") && strings.Contains(request, "/leases/watch"):
			count["renewals of the Lease"]++
		default:
			t.Errorf("idle, it asked for %s", request)
		}
	}
	t.Logf("requests in %s without a change: %v", idle, count)
	memory()
	replicas[0].end(t)
	if holder := run(nil, "kubectl", "get", "lease", "watch", "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}"); holder.out != "" {
		t.Errorf("the lease was not given back: %s", holder)
	}
}

// memoryOf is what a process takes.
func memoryOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			found = append(found, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(found, ", ")
}

// checkAudit reads every line of the log.
func checkAudit(t *testing.T, path string) {
	text := get[[]byte](t)(os.ReadFile(path))
	if bytes.Contains(text, []byte("changed 7")) {
		t.Error("a value is in the audit log")
	}
	for line := range bytes.Lines(text) {
		var fields struct{ Time, Msg, From, To string }
		if err := json.Unmarshal(line, &fields); err != nil || fields.Time == "" || fields.Msg == "" {
			t.Errorf("not a line of an audit log: %s", line)
		}
	}
}
