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

// TestWatchCampaign: 2,000 mirrors watched. A change stands in the Swarm in under a second at the 99th percentile of
// 500; the engine and the API server are each away for a minute,
// and all is caught up with, without a lost change or a doubled version. Whoever else uses this testbed
// will notice.
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

	var said lines
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	cmd := exec.Command("kubectl-secretx", "sync", "--all", "--watch", "-n", namespace, "--audit", log)
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	wait := func(what string, atMost time.Duration, holds func() bool) time.Duration {
		t.Helper()
		for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			if holds() {
				return time.Since(began)
			}
			if time.Since(began) > atMost {
				text := said.String()
				t.Fatalf("not within %s: %s\n%s", atMost, what, text[max(0, len(text)-2000):])
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
	t.Logf("%d mirrors made in %s", mirrors, wait("all are mirrored", 5*time.Minute, func() bool { return len(newest()) == mirrors && strings.Contains(said.String(), "compared") }))
	t.Logf("memory: %s", memoryOf(cmd.Process.Pid))

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
	t.Logf("memory: %s", memoryOf(cmd.Process.Pid))
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
	select {
	case err := <-over:
		t.Fatalf("it ended by itself: %v", err)
	default:
	}
	began := time.Now()
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := <-over; err != nil || time.Since(began) > time.Second {
		t.Errorf("after SIGTERM it ended with %v in %s", err, time.Since(began))
	}
	checkAudit(t, log)
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
