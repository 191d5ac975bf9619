package metrics_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/metrics"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/storetest"
	"github.com/secretx/secretx/shared/watch"
)

func TestServe(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	m := metrics.New(false)
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
		"secretx_failures_total 1", "secretx_ready 0", "secretx_waiting 0", "secretx_comparison_seconds_count 1",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "a-name") {
		t.Error("the metrics name a secret")
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/else": 404} {
		if code, _ := get(path); code != want {
			t.Errorf("%s: %d", path, code)
		}
	}
	m.Watch([]*watch.Loop{watch.New(&mirror.Pair{}, watch.Options{})})
	if code, _ := get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("ready before anything was compared: %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	from, to := storetest.NewKubernetes("ns"), storetest.NewSwarm("swarm")
	loop := watch.New(&mirror.Pair{From: from, To: to, Wanted: []mirror.Wanted{{Options: plan.Options{All: true}}}}, watch.Options{Concurrency: 1, Resync: time.Hour})
	go func() { _ = loop.Run(ctx) }()
	m.Watch([]*watch.Loop{loop})
	for !loop.Synced() {
		time.Sleep(time.Millisecond)
	}
	if code, text := get("/readyz"); code != http.StatusOK {
		t.Errorf("not ready when everything was compared: %d %s", code, text)
	}
	if err := m.Serve(t.Context(), address); err == nil {
		t.Error("an address that is taken")
	}
}

// TestReplicas: one of several that doesn't lead is ready as long as it can take over, and says who does lead.
func TestReplicas(t *testing.T) {
	now := time.Now()
	for _, one := range []struct {
		heard endpoint.Leadership
		code  int
		says  string
		gauge string
	}{
		{endpoint.Leadership{}, 503, "standby, and the lease has not been seen yet", ""},
		{endpoint.Leadership{Holder: "b", At: now}, 200, "ok: standby, b leads", `secretx_leader{holder="b"} 0`},
		{endpoint.Leadership{At: now}, 200, "ok: standby, nobody leads", ""},
		{endpoint.Leadership{Holder: "b", At: now.Add(-time.Minute)}, 503, "has not been seen for 1m0s", `secretx_leader{holder="b"} 0`},
		{endpoint.Leadership{Holder: "a", Leading: true, At: now}, 503, "leading, nothing has been looked at yet", `secretx_leader{holder="a"} 1`},
	} {
		m := metrics.New(true)
		m.Lead(one.heard)
		answer := func(path string) (int, string) {
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			return w.Code, w.Body.String()
		}
		if code, text := answer("/readyz"); code != one.code || !strings.Contains(text, one.says) {
			t.Errorf("%+v: %d %s", one.heard, code, text)
		}
		if _, text := answer("/metrics"); !strings.Contains(text, one.gauge) || one.gauge == "" && strings.Contains(text, "secretx_leader{") {
			t.Errorf("%+v: no %s", one.heard, one.gauge)
		}
	}
}
