package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/secretx/secretx/shared/secret"
)

// crowd is an endpoint made of what its workloads refer to.
type crowd struct {
	mu      sync.Mutex
	refs    map[string][]string // IDs of secrets, by workload
	writes  int
	move    func(id string, write int) error
	settle  func(id string) error
	restart map[string]int
}

func (c *crowd) Workloads(context.Context) ([]Workload, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Workload
	for _, id := range slices.Sorted(maps.Keys(c.refs)) {
		w := Workload{ID: id, UID: "uid of " + id}
		for _, uid := range slices.Compact(slices.Sorted(slices.Values(c.refs[id]))) {
			w.Refs = append(w.Refs, Ref{Name: "name of " + uid, UID: uid})
		}
		all = append(all, w)
	}
	return all, nil
}

func (c *crowd) Move(ctx context.Context, step Step) (Moved, error) {
	if err := ctx.Err(); err != nil {
		return Moved{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.move != nil {
		if err := c.move(step.Workload.ID, c.writes); err != nil {
			return Moved{}, err
		}
	}
	moved := Moved{Step: step, Nothing: !step.Restart}
	refs := c.refs[step.Workload.ID]
	for i, uid := range refs {
		if to, replaced := step.Replace[uid]; replaced {
			refs[i], moved.Nothing = to.UID, false
		}
	}
	if !moved.Nothing {
		c.writes++
	}
	return moved, nil
}

func (c *crowd) Settle(ctx context.Context, moved Moved, _ func(string)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.settle != nil && !moved.Nothing {
		return c.settle(moved.Step.Workload.ID)
	}
	return nil
}

var (
	silently = Options{Concurrency: 4, Timeout: time.Minute, Say: func(string) {}}
	newest   = map[string]secret.Ref{"a1": {UID: "a2", Name: "a.v2"}, "b1": {UID: "b2", Name: "b.v2"}}
)

func threeWorkloads() *crowd {
	return &crowd{refs: map[string][]string{"service/a": {"a1"}, "service/both": {"a1", "x", "b1", "a1"}, "service/none": {"x"}}, restart: map[string]int{}}
}

func steps(t *testing.T, c *crowd) []Step {
	t.Helper()
	all, _ := c.Workloads(t.Context())
	steps, fixed := Steps(all, Change{Newest: newest})
	if len(fixed) > 0 {
		t.Fatal(fixed)
	}
	return steps
}

func results(outcomes []Outcome) string {
	var all []string
	for _, o := range outcomes {
		all = append(all, o.Workload.ID+" "+string(o.Result))
	}
	return strings.Join(all, ", ")
}

func TestEachWorkloadIsWrittenToOnce(t *testing.T) {
	c := threeWorkloads()
	outcomes, err := Run(t.Context(), c, steps(t, c), silently)
	if got := results(outcomes); err != nil || got != "service/a moved, service/both moved" || c.writes != 2 {
		t.Errorf("%s, %d writes, %v", got, c.writes, err)
	}
	if got := fmt.Sprint(c.refs); got != "map[service/a:[a2] service/both:[a2 x b2 a2] service/none:[x]]" {
		t.Error(got)
	}
	again := steps(t, c)
	if len(again) != 0 {
		t.Errorf("there are %d steps left", len(again))
	}
}

func TestAllGoBackTogether(t *testing.T) {
	boom := errors.New("unhealthy")
	for name, test := range map[string]struct {
		prepare func(*crowd, *Options)
		want    string
	}{
		"one doesn't settle": {func(c *crowd, _ *Options) {
			c.settle = func(id string) error {
				if id == "service/both" && c.refs[id][0] == "a2" {
					return boom
				}
				return nil
			}
		}, "service/a returned, service/both returned"},
		"one can't be written to": {func(c *crowd, _ *Options) {
			failed := false
			c.move = func(id string, _ int) error {
				if id == "service/both" && !failed {
					failed = true
					return boom
				}
				return nil
			}
		}, "service/a returned, service/both returned"},
		"it isn't proven": {func(_ *crowd, o *Options) { o.Prove = func(context.Context) error { return boom } }, "service/a returned, service/both returned"},
	} {
		c, options := threeWorkloads(), silently
		options.Concurrency = 1
		test.prepare(c, &options)
		undone := false
		options.Undo = func(context.Context) error { undone = true; return nil }
		outcomes, err := Run(t.Context(), c, steps(t, c), options)
		// Which one is written to first is chance: what was never written to is as it was.
		if got := strings.Replace(results(outcomes), "service/a unchanged", "service/a returned", 1); got != test.want || !errors.Is(err, boom) || !undone {
			t.Errorf("%s: %s, %v, undone: %v", name, got, err, undone)
		}
		if got := fmt.Sprint(c.refs); got != "map[service/a:[a1] service/both:[a1 x b1 a1] service/none:[x]]" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestInterrupted(t *testing.T) {
	c := threeWorkloads()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	options := silently
	options.Prove = func(context.Context) error { cancel(); return ctx.Err() }
	outcomes, err := Run(ctx, c, steps(t, c), options)
	if got := results(outcomes); got != "service/a returning, service/both returning" || !errors.Is(err, context.Canceled) {
		t.Errorf("%s, %v", got, err)
	}
	if got := fmt.Sprint(c.refs); got != "map[service/a:[a1] service/both:[a1 x b1 a1] service/none:[x]]" {
		t.Error(got)
	}
}

func TestNoReturn(t *testing.T) {
	c, options := threeWorkloads(), silently
	options.NoReturn = true
	c.settle = func(id string) error {
		if id == "service/a" {
			return errors.New("unhealthy")
		}
		time.Sleep(time.Millisecond)
		return nil
	}
	outcomes, err := Run(t.Context(), c, steps(t, c), options)
	if err == nil || outcomes[0].Result != Left || fmt.Sprint(c.refs["service/a"]) != "[a2]" {
		t.Errorf("%s, %v, %v", results(outcomes), err, c.refs)
	}
}

func TestStepsOfKubernetes(t *testing.T) {
	workloads := []Workload{
		{ID: "deployment/env", Refs: []Ref{{Name: "s"}}},
		{ID: "deployment/volume", Refs: []Ref{{Name: "s", Live: true}}},
		{ID: "deployment/other", Refs: []Ref{{Name: "o"}}},
		{ID: "pod/bare", Refs: []Ref{{Name: "s"}}, Fixed: "nobody would make it anew"},
		{ID: "deployment/fixed", Refs: []Ref{{Name: "i", Live: true}}},
	}
	steps, fixed := Steps(workloads, Change{Newest: map[string]secret.Ref{"i": {Name: "i.v2"}}, Written: map[string]bool{"s": true}})
	if len(steps) != 2 || !steps[0].Restart || steps[0].Workload.ID != "deployment/env" || steps[1].Restart || steps[1].Replace["i"].Name != "i.v2" || len(fixed) != 1 {
		t.Errorf("%+v, %+v", steps, fixed)
	}
	if back := steps[1].Back(); back.Replace["i.v2"].Name != "i" || len(back.Replace) != 1 {
		t.Errorf("%+v", back)
	}
}

// TestCutOff: what a run that was killed has moved already is waited for too, and goes back with the others.
func TestCutOff(t *testing.T) {
	for _, fails := range []bool{false, true} {
		c, options := threeWorkloads(), silently
		c.refs["service/a"] = []string{"a2"}
		if fails {
			options.Prove = func(context.Context) error { return errors.New("unhealthy") }
		}
		all, _ := c.Workloads(t.Context())
		steps, _ := Steps(all, Change{Newest: newest, Before: map[string]secret.Ref{"a2": {UID: "a1", Name: "a"}, "b2": {UID: "b1", Name: "b"}}})
		outcomes, err := Run(t.Context(), c, steps, options)
		want, refs := "service/a unchanged, service/both moved", "map[service/a:[a2] service/both:[a2 x b2 a2] service/none:[x]]"
		if fails {
			want, refs = "service/a returned, service/both returned", "map[service/a:[a1] service/both:[a1 x b1 a1] service/none:[x]]"
		}
		if got := results(outcomes); got != want || fmt.Sprint(c.refs) != refs || (err != nil) != fails {
			t.Errorf("%s, %v, %v", got, c.refs, err)
		}
	}
}

// TestAllOrNothing: whatever fails, all workloads end on the new versions or all on the old ones, as
// long as they can be written to at all.
func TestAllOrNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &crowd{refs: map[string][]string{}, restart: map[string]int{}}
		for i := range rapid.IntRange(1, 8).Draw(t, "workloads") {
			c.refs[fmt.Sprint("service/", i)] = rapid.SliceOfN(rapid.SampledFrom([]string{"a1", "b1", "x"}), 1, 4).Draw(t, "refs")
		}
		before := fmt.Sprint(c.refs)
		failing := rapid.IntRange(0, 10).Draw(t, "write that fails")
		stuck := fmt.Sprint("service/", rapid.IntRange(0, 12).Draw(t, "one that gets stuck"))
		c.move = func(_ string, n int) error {
			if n == failing {
				failing = -1
				return errors.New("refused")
			}
			return nil
		}
		c.settle = func(id string) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			if id == stuck && (slices.Contains(c.refs[id], "a2") || slices.Contains(c.refs[id], "b2")) {
				return &Stuck{Workload: id, Why: "unhealthy"}
			}
			return nil
		}
		all, _ := c.Workloads(context.Background())
		steps, _ := Steps(all, Change{Newest: newest})
		outcomes, err := Run(context.Background(), c, steps, Options{Concurrency: 3, Timeout: time.Minute, Say: func(string) {}})
		text := fmt.Sprint(c.refs)
		if err != nil && text != before {
			t.Fatalf("%v: %s is neither here nor there: %s", err, text, results(outcomes))
		}
		if err == nil && (strings.Contains(text, "a1") || strings.Contains(text, "b1")) {
			t.Fatalf("done, but %s", text)
		}
	})
}

// TestNoProofAndNoReturn: what settled and isn't as it should be is not called moved.
func TestNoProofAndNoReturn(t *testing.T) {
	options, c := silently, threeWorkloads()
	options.NoReturn, options.Prove = true, func(context.Context) error { return errors.New("no") }
	outcomes, err := Run(t.Context(), c, steps(t, c), options)
	if got := results(outcomes); err == nil || got != "service/a left, service/both left" {
		t.Errorf("%s, %v", got, err)
	}
}
