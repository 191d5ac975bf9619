// Package watch keeps mirrors in line with their origins for as long as it runs. It is told of changes by
// the watches of both ends, plans anew what has to do with what changed, and nothing else, and compares
// everything only when it begins, when a watch has missed something, and once in a while to be safe. It
// imports mirror, plan, apply, endpoint, secret, and the work queue of client-go.
package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
)

// Options of a loop.
type Options struct {
	// Concurrency is how many secrets are written at a time.
	Concurrency int
	// Resync is about how long it takes until everything is compared although nothing was missed.
	Resync time.Duration
	// Tell is told what happens, one at a time.
	Tell func(Event)
	// Rollout, if set, brings what was written to those who use it. It is given plans of those mirrors alone
	// that want it.
	Rollout func(context.Context, plan.Plan) error
	// RollsOut tells which of the wanted mirrors want a rollout.
	RollsOut func(name string) bool
}

// Event is one thing that happened.
type Event struct {
	Kind     Kind
	Mirror   string // of the wanted ones, where they have names
	From, To endpoint.Place
	Outcome  apply.Outcome // of a Write; of something Left, its item
	Err      error         // of a Failure
	Took     time.Duration // Write: since the change was seen, 0 when that isn't known; Compared: the time for it
	Items    map[plan.State]int
}

// Kind says what happened.
type Kind string

// What may happen.
const (
	Compared Kind = "compared" // everything was
	Write    Kind = "write"    // an object was, or could not be
	Left     Kind = "left"     // an object, as its state needs somebody's decision
	Failure  Kind = "failure"  // a watch, a look or a plan
	Rolled   Kind = "rollout"  // was brought to those who use it, or not
)

// key is what has to be looked at: one secret at one end, or everything.
type key struct {
	far  bool // at the far end
	name string
}

var everything = key{}

// How long is waited before something is tried again.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Loop watches one pair of endpoints.
type Loop struct {
	pair    *mirror.Pair
	options Options
	queue   workqueue.TypedRateLimitingInterface[key]

	mu     sync.Mutex
	places mirror.Sides
	ends   [2]map[string]secret.Secret // what stands at each end, by name, without values
	seen   map[key]time.Time           // when a change was, until it is dealt with
	begun  [2]bool                     // the watch of an end has
	synced bool

	// targets are the origins of each logical name at the far end, in lower case: who is concerned when what
	// stands there changes. Only the worker uses it.
	targets map[string]map[string]bool
	rolls   chan plan.Plan
}

// New makes the loop of a pair.
func New(pair *mirror.Pair, options Options) *Loop {
	return &Loop{
		pair: pair, options: options, seen: map[key]time.Time{}, rolls: make(chan plan.Plan, 1),
		queue: workqueue.NewTypedRateLimitingQueue[key](workqueue.NewTypedItemExponentialFailureRateLimiter[key](firstPause, lastPause)),
	}
}

// Synced tells whether everything has been compared since the loop began.
func (l *Loop) Synced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// Waiting is how many secrets have to be looked at.
func (l *Loop) Waiting() int { return l.queue.Len() }

// Run keeps the mirrors in line until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	var ends [2]endpoint.Watcher
	for i, e := range []endpoint.Endpoint{l.pair.From, l.pair.To} {
		w, ok := e.(endpoint.Watcher)
		if !ok {
			return errors.New("this endpoint can't be watched")
		}
		ends[i] = w
	}
	names, targets, err := l.names(ctx)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, wanted := range [][]string{names, targets} {
		group.Go(func() {
			ends[i].Watch(ctx, wanted, func(c endpoint.Change) { l.changed(i, c) }, func(err error) { l.failed(err) })
		})
	}
	group.Go(func() { l.resync(ctx) })
	group.Go(func() { l.rollOut(ctx) })
	context.AfterFunc(ctx, l.queue.ShutDown)
	for l.work(ctx) {
	}
	return ctx.Err()
}

// names are those that have to be watched at each end, nil where it is all. It waits until that is known.
func (l *Loop) names(ctx context.Context) (names, targets []string, err error) {
	if names = l.pair.Names(); names == nil {
		return nil, nil, nil
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		s, err := l.pair.Places(ctx)
		if err == nil && s.To.Place.Kind == secret.Swarm {
			return names, nil, nil
		}
		if err == nil {
			var asked []string
			if s.From.Place.Kind == secret.Kubernetes {
				asked = names
			}
			if s.From.Secrets, err = l.pair.From.List(ctx, asked); err == nil {
				if targets, err = l.pair.Targets(s.From); err == nil {
					return names, targets, nil
				}
			}
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		l.failed(err)
		if !sleep(ctx, pause) {
			return nil, nil, ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// changed is told by the watch of an end.
func (l *Loop) changed(end int, c endpoint.Change) {
	l.mu.Lock()
	k := key{far: end == 1, name: c.Name}
	if c.Name == "" {
		l.begun[end] = true
		both := l.begun[0] && l.begun[1]
		l.mu.Unlock()
		if both {
			l.queue.Add(everything)
		}
		return
	}
	// What we know already, as we made it, is no news. A Swarm's watch tells no versions, so that a change of
	// labels looks like a creation: that of what we have just made ourselves is no news, as content can't change.
	known, there := l.ends[end][c.Name]
	news := !there || c.UID == "" || known.UID != c.UID || c.Version != known.Version && (c.Version != "" || known.Version != "")
	if _, waits := l.seen[k]; news && !waits {
		l.seen[k] = time.Now()
	}
	l.mu.Unlock()
	if news {
		l.queue.Add(k)
	}
}

func (l *Loop) failed(err error) { l.tell(Event{Kind: Failure, Err: err}) }

func (l *Loop) tell(e Event) {
	l.mu.Lock()
	e.From, e.To = l.places.From.Place, l.places.To.Place
	l.mu.Unlock()
	if l.options.Tell != nil {
		l.options.Tell(e)
	}
}

// resync has everything compared once in a while, not at the same time as others do.
func (l *Loop) resync(ctx context.Context) {
	for sleep(ctx, l.options.Resync/2+rand.N(l.options.Resync)) {
		l.queue.Add(everything)
	}
}

// most are dealt with at a time.
const most = 500

// work deals with all that waits; false when the queue was shut down.
func (l *Loop) work(ctx context.Context) bool {
	first, over := l.queue.Get()
	if over {
		return false
	}
	batch := []key{first}
	for len(batch) < most && l.queue.Len() > 0 {
		k, over := l.queue.Get()
		if over {
			break
		}
		batch = append(batch, k)
	}
	defer func() {
		for _, k := range batch {
			l.queue.Done(k)
		}
	}()
	began := map[key]time.Time{}
	l.mu.Lock()
	whole := !l.synced
	for _, k := range batch {
		whole = whole || k == everything
		if at, ok := l.seen[k]; ok {
			began[k] = at
			delete(l.seen, k)
		}
	}
	l.mu.Unlock()
	var failed map[key]bool
	var err error
	if whole {
		failed, err = l.compareAll(ctx)
	} else {
		failed, err = l.compareSome(ctx, batch, began)
	}
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		l.failed(err)
	}
	for _, k := range batch {
		if err != nil && !whole {
			l.again(k, began[k])
			continue
		}
		if !failed[k] {
			l.queue.Forget(k)
		}
	}
	if err != nil && whole {
		l.mu.Lock()
		l.synced = false // what changed in the meantime is part of the next comparison
		l.mu.Unlock()
		l.queue.AddRateLimited(everything)
	} else if whole {
		l.queue.Forget(everything)
	}
	for k := range failed {
		l.again(k, began[k])
	}
	return true
}

func (l *Loop) again(k key, since time.Time) {
	l.mu.Lock()
	if _, waits := l.seen[k]; !since.IsZero() && !waits {
		l.seen[k] = since
	}
	l.mu.Unlock()
	l.queue.AddRateLimited(k)
}

// rollOut brings what was written to those who use it, one plan after the other.
func (l *Loop) rollOut(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-l.rolls:
			l.tell(Event{Kind: Rolled, Err: l.options.Rollout(ctx, p)})
		}
	}
}

// offer adds items to what is to be rolled out.
func (l *Loop) offer(p plan.Plan) {
	if l.options.Rollout == nil || len(p.Items) == 0 {
		return
	}
	for {
		select {
		case l.rolls <- p:
			return
		case waiting := <-l.rolls:
			p.Items = append(waiting.Items, p.Items...)
		}
	}
}

// errTwice is for two wanted mirrors that would write one object.
func errTwice(name, a, b string) error {
	return fmt.Errorf("%q would be written by both %s and %s: neither does", name, a, b)
}
