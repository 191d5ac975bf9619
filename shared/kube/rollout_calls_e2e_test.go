//go:build e2e

package kube_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// counter counts requests by their verbs, lists apart.
type counter struct {
	http.RoundTripper
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	what := r.Method
	if parts := strings.Split(r.URL.Path, "/namespaces/"); r.Method == http.MethodGet && len(parts) == 2 && strings.Count(parts[1], "/") == 1 {
		what = "LIST"
	}
	c.mu.Lock()
	c.n[what]++
	c.mu.Unlock()
	return c.RoundTripper.RoundTrip(r)
}

// One secret of twenty workloads takes twenty writes, twenty secrets of one workload take one; and all who
// wait look together.
func TestHowManyCallsARolloutTakes(t *testing.T) {
	c := newCluster(t)
	count := &counter{n: map[string]int{}}
	config := rest.CopyConfig(c.config)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { count.RoundTripper = inner; return count })
	e := c.openAs(config)
	const n = 20
	var manifests, variables []string
	newest := map[string]secret.Ref{}
	for i := range n {
		manifests = append(manifests, strings.ReplaceAll(strings.ReplaceAll(web, "NAME", "shared"), "web", fmt.Sprintf("web%d", i)))
		variables = append(variables, fmt.Sprintf("{name: V%d, valueFrom: {secretKeyRef: {name: s%d, key: value}}}", i, i))
		newest[fmt.Sprintf("s%d", i)] = secret.Ref{Name: fmt.Sprintf("s%d.v2", i)}
		for _, suffix := range []string{"", ".v2"} {
			manifests = append(manifests, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: s%d%s}\nstringData: {value: x}\n", i, suffix))
		}
	}
	manifests = append(manifests, "apiVersion: v1\nkind: Secret\nmetadata: {name: shared}\nstringData: {value: x}\n",
		strings.ReplaceAll(strings.ReplaceAll(web, "web", "all"), "[{name: A, valueFrom: {secretKeyRef: {name: NAME, key: value}}}]", "["+strings.Join(variables, ", ")+"]"))
	c.manifest(strings.Join(manifests, "\n---\n"))
	c.kubectl("", "wait", "--for=condition=Available", "deploy", "--all")
	for what, test := range map[string]struct {
		change rollout.Change
		writes int
	}{
		"one secret of 20 workloads": {rollout.Change{Written: map[string]bool{"shared": true}}, n},
		"20 secrets of one workload": {rollout.Change{Newest: newest}, 1},
	} {
		clear(count.n)
		began := time.Now()
		all, err := e.Workloads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		listed, lists := time.Since(began), count.n["LIST"]
		steps, fixed := rollout.Steps(all, test.change)
		if len(steps) != test.writes || len(fixed) > 0 {
			t.Fatalf("%d steps, %v", len(steps), fixed)
		}
		outcomes, err := rollout.Run(t.Context(), e, steps, rollout.Options{Concurrency: 8, Timeout: 2 * time.Minute, Say: func(string) {}})
		if err != nil || slices.ContainsFunc(outcomes, func(o rollout.Outcome) bool { return o.Result != rollout.Arrived }) {
			t.Fatal(err, outcomes)
		}
		took := time.Since(began)
		if count.n[http.MethodPatch] != test.writes || lists != 10 {
			t.Errorf("%s: %v, %d lists to find them", what, count.n, lists)
		}
		// Each look is three lists, however many wait.
		if looks := int(took/(500*time.Millisecond)) + 2; count.n["LIST"]-lists > 3*looks {
			t.Errorf("%s: %d lists in %s", what, count.n["LIST"], took)
		}
		t.Logf("%s: found in %s, done in %s, %v", what, listed.Round(time.Millisecond), took.Round(time.Millisecond), maps.Clone(count.n))
	}
}
