package rollout

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Together lets all who wait for workloads look together: a few calls, however many wait. K is what one waits for,
// and V what a look at some of these shows.
type Together[K comparable, V any] struct {
	mu      sync.Mutex
	waiting map[K]int // to how many wait for it
	last    *View[K, V]
}

// View is what some of what is waited for looks like at a moment.
type View[K comparable, V any] struct {
	Began time.Time
	Took  time.Duration
	Shown V

	of   map[K]bool
	done chan struct{} // closed when what it took, shows and failed with is known
	err  error
}

// Join has the views show something until leave is called.
func (t *Together[K, V]) Join(k K) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = map[K]int{}
	}
	t.waiting[k]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.waiting[k]--; t.waiting[k] == 0 {
			delete(t.waiting, k)
		}
		if len(t.waiting) == 0 {
			t.last = nil
		}
	}
}

// Idle tells that nobody waits, and nothing is kept.
func (t *Together[K, V]) Idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last == nil && len(t.waiting) == 0
}

// See gives a view of something that began after the given moment: one that another one has asked for or,
// where there is none, a new one. Looking doesn't end with ctx, as others may wait for it.
func (t *Together[K, V]) See(ctx context.Context, k K, after time.Time, look func(context.Context, map[K]bool) (V, error)) (*View[K, V], error) {
	for {
		t.mu.Lock()
		v := t.last
		if v == nil || v.over() && !v.shows(k, after) {
			v = &View[K, V]{Began: time.Now(), of: map[K]bool{}, done: make(chan struct{})}
			for other := range maps.Keys(t.waiting) {
				v.of[other] = true
			}
			t.last = v
			go func() {
				defer close(v.done)
				v.Shown, v.err = look(context.WithoutCancel(ctx), v.of)
				v.Took = time.Since(v.Began)
			}()
		}
		t.mu.Unlock()
		select {
		case <-v.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if v.shows(k, after) {
			return v, v.err
		}
	}
}

func (v *View[K, V]) over() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

func (v *View[K, V]) shows(k K, after time.Time) bool { return v.of[k] && v.Began.After(after) }
