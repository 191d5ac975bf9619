// Package metrics tells over HTTP how a watch is doing: /healthz, /readyz, and /metrics in the words of
// Prometheus. Nothing in it names a secret. It imports watch, apply, and Prometheus' client.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/watch"
)

// Metrics are those of all loops of a process.
type Metrics struct {
	registry *prometheus.Registry
	loops    func() []*watch.Loop
	writes   *prometheus.CounterVec
	found    *prometheus.GaugeVec
	failures prometheus.Counter
	compared prometheus.Histogram
	changes  prometheus.Histogram
}

// New makes metrics of loops, which may come about later.
func New(loops func() []*watch.Loop) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), loops: loops,
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "secretx_writes_total", Help: "Objects that were written, or could not be, by action and result.",
		}, []string{"action", "result"}),
		found: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "secretx_mirrors", Help: "Mirrors by the state that the last comparison of everything found them in.",
		}, []string{"from", "to", "state"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "secretx_failures_total", Help: "Watches, looks and plans that failed; each is tried again.",
		}),
		compared: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "secretx_comparison_seconds", Help: "How long comparisons of everything took.", Buckets: prometheus.ExponentialBuckets(0.01, 3, 10),
		}),
		changes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "secretx_change_seconds", Help: "From the moment that a change was seen to its mirror standing.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}),
	}
	m.registry.MustRegister(m.writes, m.found, m.failures, m.compared, m.changes, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "secretx_waiting", Help: "Secrets that have changed and wait to be looked at."}, func() float64 {
			n := 0
			for _, l := range loops() {
				n += l.Waiting()
			}
			return float64(n)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "secretx_ready", Help: "1 when everything was compared since the start, or the last time that a watch was cut off."}, func() float64 {
			if m.ready() {
				return 1
			}
			return 0
		}))
	return m
}

func (m *Metrics) ready() bool {
	for _, l := range m.loops() {
		if !l.Synced() {
			return false
		}
	}
	return true
}

// Record counts what happened.
func (m *Metrics) Record(e watch.Event) {
	switch e.Kind {
	case watch.Write:
		m.writes.WithLabelValues(string(e.Outcome.Item.Action), string(e.Outcome.Result)).Inc()
		if e.Took > 0 && e.Outcome.Result == apply.Done {
			m.changes.Observe(e.Took.Seconds())
		}
	case watch.Compared:
		m.compared.Observe(e.Took.Seconds())
		m.found.DeletePartialMatch(prometheus.Labels{"from": e.From.Name, "to": e.To.Name})
		for state, n := range e.Items {
			m.found.WithLabelValues(e.From.Name, e.To.Name, string(state)).Set(float64(n))
		}
	case watch.Failure:
		m.failures.Inc()
	}
}

// Serve answers at an address until ctx ends. It listens when it returns.
func (m *Metrics) Serve(ctx context.Context, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.ready() {
			http.Error(w, "not everything has been compared yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			m.failures.Inc()
		}
	}()
	return nil
}
