package metrics_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/metrics"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/watch"
)

func TestServe(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	var loops []*watch.Loop
	m := metrics.New(func() []*watch.Loop { return loops })
	if err := m.Serve(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		response, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	m.Record(watch.Event{Kind: watch.Write, Took: time.Millisecond, Outcome: apply.Outcome{Item: plan.Item{Name: "a-name", Action: plan.Create}, Result: apply.Done}})
	m.Record(watch.Event{Kind: watch.Compared, Took: time.Second, Items: map[plan.State]int{plan.InSync: 7}})
	m.Record(watch.Event{Kind: watch.Failure})
	_, text := get("/metrics")
	for _, line := range []string{
		`secretx_writes_total{action="create",result="done"} 1`, `secretx_change_seconds_count 1`, `state="in-sync",to=""} 7`,
		"secretx_failures_total 1", "secretx_ready 1", "secretx_waiting 0", "secretx_comparison_seconds_count 1",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "a-name") {
		t.Error("the metrics name a secret")
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/else": 404} {
		if code, _ := get(path); code != want {
			t.Errorf("%s: %d", path, code)
		}
	}
	loops = append(loops, watch.New(&mirror.Pair{}, watch.Options{}))
	if code, _ := get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("ready before anything was compared: %d", code)
	}
	if err := m.Serve(t.Context(), address); err == nil {
		t.Error("an address that is taken")
	}
}
