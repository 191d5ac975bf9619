// Package metrics tells over HTTP how a watch is doing: /healthz, /readyz, and /metrics in the words of
// Prometheus. Nothing in it names a secret. It imports watch, apply, endpoint, and Prometheus' client.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/watch"
)

// Metrics are those of all loops of a process.
type Metrics struct {
	registry *prometheus.Registry
	leader   *prometheus.GaugeVec
	writes   *prometheus.CounterVec
	found    *prometheus.GaugeVec
	failures prometheus.Counter
	compared prometheus.Histogram
	changes  prometheus.Histogram

	mu      sync.Mutex
	loops   []*watch.Loop
	elected bool // several processes take turns
	heard   endpoint.Leadership
}

// New makes metrics of a process that has no loops yet, and which may be one of several that take turns.
func New(elected bool) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), elected: elected,
		leader: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "secretx_leader", Help: "1 where the holder of the Lease is this process, 0 where it is another one.",
		}, []string{"holder"}),
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
	m.registry.MustRegister(m.leader, m.writes, m.found, m.failures, m.compared, m.changes, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "secretx_waiting", Help: "Secrets that have changed and wait to be looked at."}, func() float64 {
			n := 0
			for _, l := range m.running() {
				n += l.Waiting()
			}
			return float64(n)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "secretx_ready", Help: "1 when /readyz says ok."}, func() float64 {
			if ready, _ := m.state(); ready {
				return 1
			}
			return 0
		}))
	return m
}

// Watch takes over the loops that run from now on; nil: none.
func (m *Metrics) Watch(loops []*watch.Loop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loops = loops
	m.found.Reset()
}

// Lead takes over what is known of the one that leads.
func (m *Metrics) Lead(heard endpoint.Leadership) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = heard
	m.leader.Reset()
	switch {
	case heard.Leading:
		m.leader.WithLabelValues(heard.Holder).Set(1)
	case heard.Holder != "":
		m.leader.WithLabelValues(heard.Holder).Set(0)
	}
}

func (m *Metrics) running() []*watch.Loop {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loops
}

// silence is how long nothing may be heard of the Lease by one that can take over.
const silence = 20 * time.Second

// state tells whether the process does, or could begin with, what it is there for, and what that is.
func (m *Metrics) state() (ready bool, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	who := ""
	if m.elected {
		if who = "leading, "; !m.heard.Leading {
			switch quiet := time.Since(m.heard.At).Round(time.Second); {
			case m.heard.At.IsZero():
				return false, "standby, and the lease has not been seen yet"
			case quiet > silence:
				return false, fmt.Sprintf("standby, and the lease has not been seen for %s", quiet)
			case m.heard.Holder == "":
				return true, "standby, nobody leads"
			}
			return true, "standby, " + m.heard.Holder + " leads"
		}
	}
	if len(m.loops) == 0 {
		return false, who + "nothing has been looked at yet"
	}
	for _, l := range m.loops {
		if !l.Synced() {
			return false, who + "not everything has been compared yet"
		}
	}
	return true, who + "everything has been compared"
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
	server := &http.Server{Handler: m.Handler(), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			m.failures.Inc()
		}
	}()
	return nil
}

// Handler answers what is served.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, what := m.state()
		if !ready {
			http.Error(w, "not ready: "+what, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok: "+what)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}
