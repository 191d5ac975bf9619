package kube

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
)

// Leader election as Kubernetes' own components do it, by a Lease that only its holder renews. client-go's
// leaderelection is not used: it brings the whole clientset (14 MB, and a quarter of the time to start), and where
// it gives a lease back after a failed renewal, it does so before it ends the work.

// terms are the times of an election. Who can't renew the lease stops after the deadline, and nobody else begins
// before the duration is over: what lies between the two is the time to stop in.
type terms struct{ duration, deadline, period time.Duration }

// usual are the times that Kubernetes' own components take.
var usual = terms{duration: 15 * time.Second, deadline: 10 * time.Second, period: 2 * time.Second}

// patience is how long one request may take: one that hangs must leave time for others.
func (t terms) patience() time.Duration { return t.deadline / 3 }

// lease is what the object says. Its times are other machines', for people: none is relied on.
type lease struct {
	uid, version      string // empty when there is no object
	holder            string
	duration          time.Duration
	acquired, renewed time.Time
	transitions       int32
}

func (l lease) same(other lease) bool {
	return l.uid == other.uid && l.holder == other.holder && l.transitions == other.transitions && l.renewed.Equal(other.renewed)
}

// leases keep one lease.
type leases interface {
	get(ctx context.Context) (lease, error)
	// put writes it if it stands as it was read; errMoved otherwise.
	put(ctx context.Context, l lease) (lease, error)
	// watch tells what it becomes after a version, until ctx or the watch ends.
	watch(ctx context.Context, version string, each func(lease)) error
}

// errMoved is for a lease that somebody else has written in the meantime.
var errMoved = errors.New("somebody else has written the lease")

// errStillBusy ends a process whose lease may be another's while its work goes on.
var errStillBusy = errors.New("the lease is lost, and what was being written has not ended in time")

// election is one candidate.
type election struct {
	endpoint.Election
	terms
	leases

	seen    lease
	since   time.Time // when it was first seen like that, by our clock
	leading bool
}

// run takes part until ctx ends.
func (e *election) run(ctx context.Context) error {
	for {
		began, elected := e.candidate(ctx)
		if !elected {
			return nil
		}
		if err := e.lead(ctx, began); err != nil {
			return err
		}
	}
}

// candidate waits until the lease is ours. It gives the moment from which that counts.
func (e *election) candidate(ctx context.Context) (began time.Time, elected bool) {
	for ctx.Err() == nil {
		if err := e.look(ctx); err != nil {
			e.problem(ctx, err)
			e.wait(ctx)
			continue
		}
		// What is our own is left from a term that has ended.
		if e.seen.holder != "" && e.seen.holder != e.Identity && time.Since(e.since) < e.seen.duration {
			e.await(ctx)
			continue
		}
		began = time.Now()
		err := e.write(ctx, e.Identity)
		if err == nil {
			return began, true
		}
		if !errors.Is(err, errMoved) {
			e.problem(ctx, err)
			e.wait(ctx)
		}
	}
	return began, false
}

// await returns when the lease is free, has run out, or can't be watched any more.
func (e *election) await(ctx context.Context) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	runsOut := time.AfterFunc(time.Until(e.since.Add(e.seen.duration)), cancel)
	defer runsOut.Stop()
	began := time.Now()
	err := e.watch(watching, e.seen.version, func(now lease) {
		if e.observe(now); now.holder == "" {
			cancel()
			return
		}
		runsOut.Reset(time.Until(e.since.Add(now.duration)))
	})
	if watching.Err() != nil {
		return
	}
	if err != nil {
		e.problem(ctx, err)
	}
	if time.Since(began) < e.period { // what ends at once must not become a loop
		e.wait(ctx)
	}
}

// lead has the work done until the lease is lost, ctx ends or the work does.
func (e *election) lead(ctx context.Context, began time.Time) error {
	term, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{})
	e.leading = true
	e.tell()
	go func() {
		defer close(over)
		e.Do(term)
	}()
	began, held := e.hold(term, began, over)
	stop()
	// Others may begin when the duration is over; some of it is left for what is on its way already.
	lastMoment := time.NewTimer(time.Until(began.Add(e.deadline + (e.duration-e.deadline)*4/5)))
	defer lastMoment.Stop()
	select {
	case <-over:
	case <-lastMoment.C:
		return errStillBusy
	}
	e.leading = false
	e.tell()
	if held {
		e.release(ctx)
	}
	return nil
}

// hold renews the lease until ctx or the work ends, or until it is lost. It gives the moment from which it was
// certainly held last.
func (e *election) hold(ctx context.Context, began time.Time, over <-chan struct{}) (time.Time, bool) {
	for {
		next := time.NewTimer(min(e.period, time.Until(began.Add(e.deadline))))
		select {
		case <-over:
			next.Stop()
			return began, true
		case <-ctx.Done():
			next.Stop()
			return began, true
		case <-next.C:
		}
		now := time.Now()
		left := began.Add(e.deadline).Sub(now)
		if left <= 0 {
			return began, false
		}
		err := within(ctx, min(left, e.patience()), e.renew)
		switch {
		case err == nil:
			began = now
		case errors.Is(err, errMoved):
			e.problem(ctx, err)
			return began, false
		default:
			e.problem(ctx, err)
		}
	}
}

// renew writes the lease anew; errMoved when it isn't ours any more.
func (e *election) renew(ctx context.Context) error {
	err := e.write(ctx, e.Identity)
	if !errors.Is(err, errMoved) {
		return err
	}
	// A renewal whose answer was lost, or somebody's label, is no reason to stop.
	if err := e.look(ctx); err != nil {
		return err
	}
	if e.seen.holder != e.Identity {
		return errMoved
	}
	return e.write(ctx, e.Identity)
}

// release gives the lease back, so that nobody need wait until it has run out.
func (e *election) release(ctx context.Context) {
	err := within(context.WithoutCancel(ctx), e.period/4, func(ctx context.Context) error {
		err := e.write(ctx, "")
		if !errors.Is(err, errMoved) {
			return err
		}
		if err := e.look(ctx); err != nil || e.seen.holder != e.Identity {
			return err
		}
		return e.write(ctx, "")
	})
	if err != nil {
		e.Failed(err)
	}
}

func (e *election) look(ctx context.Context) error {
	return within(ctx, e.patience(), func(ctx context.Context) error {
		now, err := e.get(ctx)
		if err == nil {
			e.observe(now)
		}
		return err
	})
}

// write makes the lease that of a holder, nobody's where that is empty.
func (e *election) write(ctx context.Context, holder string) error {
	next, now := e.seen, time.Now()
	if next.holder != holder && holder != "" {
		next.acquired, next.transitions = now, next.transitions+1
	}
	next.holder, next.renewed, next.duration = holder, now, e.duration
	return within(ctx, e.patience(), func(ctx context.Context) error {
		written, err := e.put(ctx, next)
		if err == nil {
			e.observe(written)
		}
		return err
	})
}

// observe takes note of what the lease is.
func (e *election) observe(now lease) {
	if !now.same(e.seen) || e.since.IsZero() {
		e.since = time.Now()
	}
	e.seen = now
	e.tell()
}

func (e *election) tell() {
	e.Heard(endpoint.Leadership{Holder: e.seen.holder, UID: e.seen.uid, Leading: e.leading, At: time.Now()})
}

func (e *election) problem(ctx context.Context, err error) {
	if ctx.Err() == nil {
		e.Failed(err)
	}
}

// wait lets about a period go by, not at the same time as others do.
func (e *election) wait(ctx context.Context) { _ = pause(ctx, e.period/2+rand.N(e.period)) }
