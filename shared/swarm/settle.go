package swarm

import (
	"context"
	"errors"
	"strconv"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
)

const (
	// interval is how often those who wait look, at most.
	interval = 400 * time.Millisecond
	// outage is how long the managers may not answer: an engine that is restarted takes so long.
	outage = 30 * time.Second
)

// Settle implements rollout.Mover. It looks at what stands, not at what happens, so that it may be begun
// at any time, and anew: after a crash, or for a step that found nothing to do.
func (e *Endpoint) Settle(ctx context.Context, moved rollout.Moved, say func(string)) error {
	const op = "wait for"
	w := moved.Step.Workload
	g, err := e.connect(ctx)
	if err != nil {
		return err
	}
	s, err := newSettling(moved)
	if err != nil {
		return &endpoint.Error{Op: op, Object: w.ID, Place: e.name, Reason: endpoint.ErrInvalid, Cause: err}
	}
	defer e.waiting.Join(w.UID)()
	seen, said := time.Now(), ""
	answered := seen
	for {
		v, err := e.waiting.See(ctx, w.UID, seen, g.view)
		switch {
		case ctx.Err() != nil:
			return e.fail(ctx, op, w.ID, ctx.Err())
		case err == nil:
			answered = time.Now()
			progress, done, err := s.judge(v.Shown, answered)
			if failure := (*endpoint.Error)(nil); errors.As(err, &failure) {
				failure.Op, failure.Object, failure.Place = op, w.ID, e.name
			}
			if done || err != nil {
				return err
			}
			if progress != said && say != nil {
				say(w.ID + ": " + progress)
			}
			said = progress
		default:
			failure := e.fail(ctx, op, w.ID, err)
			bearable := passing(err) || cerrdefs.IsNotFound(err) || errors.Is(failure, endpoint.ErrUnreachable)
			if !bearable || time.Since(answered) > outage {
				return failure
			}
		}
		seen = v.Began
		if sleep(ctx, max(interval, 2*v.Took)) != nil {
			return e.fail(ctx, op, w.ID, ctx.Err())
		}
	}
}

// newSettling begins to wait for what came of a step.
func newSettling(moved rollout.Moved) (*settling, error) {
	since, err := strconv.ParseUint(moved.Token, 10, 64)
	if err != nil {
		return nil, errors.New("its token is none of this endpoint's")
	}
	s := &settling{
		moved: moved, since: since,
		old: map[string]bool{}, failed: map[string]map[string]bool{}, first: map[string]time.Time{},
	}
	for was := range moved.Step.Replace {
		s.old[was] = true
	}
	for _, now := range moved.Step.Replace {
		delete(s.old, now.UID)
	}
	return s, nil
}
