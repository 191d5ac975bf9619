package kube

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/secretx/secretx/shared/endpoint"
)

// keptLease is a lease in memory.
type keptLease struct {
	mu      sync.Mutex
	is      lease
	version int
	changed chan struct{} // closed with each change
}

// line is how one candidate reaches the lease.
type line struct {
	*keptLease
	mu    sync.Mutex
	state string // "": it works; "cut": no request comes through; "deaf": no answer does; "refused": it fails at once
}

func (l *line) set(state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
}

func (l *line) is(state string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == state
}

var errRefused = errors.New("connection refused")

// call makes a request, as the state of the line lets it.
func (l *line) call(ctx context.Context, do func() (lease, error)) (lease, error) {
	time.Sleep(time.Millisecond)
	switch {
	case l.is("refused"):
		return lease{}, errRefused
	case l.is("cut"):
		<-ctx.Done()
		return lease{}, ctx.Err()
	}
	got, err := do()
	if l.is("deaf") {
		<-ctx.Done()
		return lease{}, ctx.Err()
	}
	return got, err
}

func (l *line) get(ctx context.Context) (lease, error) {
	return l.call(ctx, func() (lease, error) {
		l.keptLease.mu.Lock()
		defer l.keptLease.mu.Unlock()
		return l.keptLease.is, nil
	})
}

func (l *line) put(ctx context.Context, next lease) (lease, error) {
	return l.call(ctx, func() (lease, error) {
		k := l.keptLease
		k.mu.Lock()
		defer k.mu.Unlock()
		if next.version != k.is.version {
			return lease{}, errMoved
		}
		k.version++
		next.uid, next.version = "uid", strconv.Itoa(k.version)
		k.is = next
		close(k.changed)
		k.changed = make(chan struct{})
		return next, nil
	})
}

func (l *line) watch(ctx context.Context, version string, each func(lease)) error {
	for {
		l.keptLease.mu.Lock()
		is, changed := l.keptLease.is, l.changed
		l.keptLease.mu.Unlock()
		if l.is("refused") {
			return errRefused
		}
		if is.version != version && !l.is("cut") && !l.is("deaf") {
			version = is.version
			each(is)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// candidates are some that stand in one election.
type candidates struct {
	lines   []*line
	cancels []context.CancelFunc
	ended   []chan error
	mu      sync.Mutex
	busy    map[string]bool
	leader  string
	twice   []string
}

// stands has n candidates begin, whose work goes on for a while after it was told to end.
func stands(ctx context.Context, n int, slow time.Duration) *candidates {
	c := &candidates{busy: map[string]bool{}}
	kept := &keptLease{changed: make(chan struct{})}
	for i := range n {
		c.lines, c.ended = append(c.lines, &line{keptLease: kept}), append(c.ended, make(chan error, 1))
		own, cancel := context.WithCancel(ctx)
		c.cancels = append(c.cancels, cancel)
		name := fmt.Sprint("candidate ", i)
		e := &election{terms: usual, leases: c.lines[i], Election: endpoint.Election{
			Identity: name, Heard: func(endpoint.Leadership) {}, Failed: func(error) {},
			Do: func(ctx context.Context) {
				c.work(name, true)
				<-ctx.Done()
				time.Sleep(slow)
				c.work(name, false)
			},
		}}
		go func() { c.ended[i] <- e.run(own) }()
	}
	return c
}

func (c *candidates) work(name string, begins bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !begins {
		delete(c.busy, name)
		return
	}
	for other := range c.busy {
		c.twice = append(c.twice, fmt.Sprintf("%s begins while %s works", name, other))
	}
	c.busy[name], c.leader = true, name
}

// over waits until a candidate has ended, which is no error.
func (c *candidates) over(t *testing.T, i int) {
	t.Helper()
	if err := <-c.ended[i]; err != nil {
		t.Errorf("candidate %d: %v", i, err)
	}
}

// leads is the one that works, -1 if none does.
func (c *candidates) leads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.lines {
		if c.busy[fmt.Sprint("candidate ", i)] {
			return i
		}
	}
	return -1
}

// TestElections: whatever becomes of the candidates' connections, no two work at a time, and one does once they are
// whole.
func TestElections(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type step struct {
			line  int
			state string
			lasts time.Duration
		}
		slow := time.Duration(rapid.IntRange(0, 3900).Draw(r, "slow")) * time.Millisecond
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{
				rapid.IntRange(0, 2).Draw(r, "line"), rapid.SampledFrom([]string{"", "cut", "deaf", "refused"}).Draw(r, "state"),
				time.Duration(rapid.IntRange(1, 40_000).Draw(r, "ms")) * time.Millisecond,
			}
		}), 1, 20).Draw(r, "steps")
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := stands(ctx, 3, slow)
			for _, s := range steps {
				c.lines[s.line].set(s.state)
				time.Sleep(s.lasts)
			}
			for _, l := range c.lines {
				l.set("")
			}
			time.Sleep(usual.duration + 2*usual.period)
			if c.leads() < 0 {
				r.Errorf("nobody leads")
			}
			cancel()
			for i := range c.ended {
				if err := <-c.ended[i]; err != nil {
					r.Errorf("candidate %d: %v", i, err)
				}
			}
			if len(c.twice) > 0 {
				r.Errorf("%q", c.twice)
			}
		})
	})
}

// TestHandover: who is told to end gives the lease back, and another one begins at once; who just vanishes is
// waited for as long as its lease holds.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := stands(ctx, 2, 0)
		time.Sleep(10 * usual.duration)
		first := c.leads()
		began := time.Now()
		c.cancels[first]()
		c.over(t, first)
		for c.leads() != 1-first {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("handed over after %s", took)
		}
		cancel()
		c.over(t, 1-first)
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := stands(ctx, 2, 0)
		time.Sleep(10 * usual.duration)
		first := c.leads()
		c.lines[first].set("cut") // as good as gone
		began := time.Now()
		for c.leads() != 1-first {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took < usual.duration-usual.period || took > usual.duration+usual.period {
			t.Errorf("taken over after %s", took)
		}
		cancel()
		c.over(t, 0)
		c.over(t, 1)
	})
}

// TestWorkThatGoesOn: whose work doesn't end with its lease says so before another one may begin.
func TestWorkThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := stands(ctx, 2, time.Hour)
		time.Sleep(usual.duration)
		first := c.leads()
		c.lines[first].set("refused")
		began := time.Now()
		if err := <-c.ended[first]; !errors.Is(err, errStillBusy) || time.Since(began) >= usual.duration {
			t.Errorf("it says %v after %s", err, time.Since(began))
		}
		if len(c.twice) > 0 {
			t.Errorf("%q", c.twice)
		}
		cancel()
		time.Sleep(2 * time.Hour)
		t.Log(<-c.ended[1-first]) // its work goes on, too
	})
}
