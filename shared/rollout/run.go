package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
)

// Result is what became of one workload.
type Result string

// The results of a workload.
const (
	Arrived   Result = "moved"     // it has settled with the new version
	Unchanged Result = "unchanged" // there was nothing to do to it
	Returned  Result = "returned"  // it is back where it was
	Returning Result = "returning" // it was taken back, and nobody waited for it to settle
	Unwell    Result = "unwell"    // it is back where it was, and doesn't settle there
	Gone      Result = "gone"      // it was removed in the meantime
	Stranded  Result = "stranded"  // it could not be taken back
	Left      Result = "left"      // it failed, and stays as it is
)

// Outcome is what became of one workload, and why.
type Outcome struct {
	Workload Workload
	Result   Result
	Err      error
}

// Options say how a rollout is run.
type Options struct {
	// Concurrency is how many workloads are written to at a time; they settle all at once.
	Concurrency int
	// Timeout bounds moving, settling and proving; taking back is not part of it.
	Timeout time.Duration
	// Prove is asked when all have settled whether their containers have the new value; nil: nobody is.
	Prove func(context.Context) error
	// Undo is called before anything is taken back; nil: there is nothing else to undo.
	Undo func(context.Context) error
	// NoReturn leaves what failed as it is: there is nothing to go back to.
	NoReturn bool
	// Say is told what happens, a line each; never nil.
	Say func(string)
}

const (
	// farewell is how long taking back may take when nobody waits for it any more.
	farewell = 10 * time.Second
	// patience is how long workloads may take to settle when they are taken back.
	patience = 3 * time.Minute
)

// Run carries the steps out. It returns nil when all workloads have arrived and that was proven;
// otherwise why not, once all are back where they were, or it is known of which that can't be. When
// ctx ends everything is taken back at once, and not waited for.
func Run(ctx context.Context, m Mover, steps []Step, options Options) ([]Outcome, error) {
	moving, cancel := context.WithTimeoutCause(ctx, options.Timeout, fmt.Errorf("not done within %s (--timeout)", options.Timeout))
	defer cancel()
	outcomes := make([]Outcome, len(steps))
	moved := make([]Moved, len(steps))
	written := make([]bool, len(steps)) // or maybe written
	err := each(moving, len(steps), options.Concurrency, func(ctx context.Context, i int) error {
		var err error
		moved[i], err = m.Move(ctx, steps[i])
		written[i] = err == nil || !moved[i].Nothing
		if err != nil {
			return err
		}
		if !moved[i].Nothing {
			options.Say(steps[i].Workload.ID + " is on its way")
		}
		return nil
	}, outcomes, steps)
	if err == nil {
		err = each(moving, len(steps), len(steps), func(ctx context.Context, i int) error {
			if err := m.Settle(ctx, moved[i], options.Say); err != nil {
				return err
			}
			outcomes[i].Result = Arrived
			if moved[i].Nothing {
				outcomes[i].Result = Unchanged
			}
			return nil
		}, outcomes, steps)
	}
	if err == nil && options.Prove != nil {
		if err = options.Prove(moving); err != nil && moving.Err() == nil {
			err = fmt.Errorf("what the containers have was not proven to be the new value: %w", err)
		}
	}
	if err == nil {
		return outcomes, nil
	}
	if moving.Err() != nil {
		err = context.Cause(moving)
	}
	if options.NoReturn {
		settled := !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Result == "" })
		for i := range outcomes {
			if settled || outcomes[i].Result == "" { // all have settled: what failed is the proof
				outcomes[i].Result = Left
			}
		}
		return outcomes, err
	}
	return outcomes, errors.Join(err, back(ctx, m, steps, written, options, outcomes))
}

// each does something to all steps, some of them at a time. The first failure ends the others; each one's
// own is noted in its outcome.
func each(ctx context.Context, n, limit int, do func(context.Context, int) error, outcomes []Outcome, steps []Step) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	slots := make(chan struct{}, max(1, limit))
	for i := range n {
		outcomes[i].Workload = steps[i].Workload
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			err := do(ctx, i)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
				cancel()
			}
			if !errors.Is(err, context.Canceled) {
				outcomes[i].Err = err
			}
		})
	}
	group.Wait()
	if first == nil {
		first = ctx.Err()
	}
	return first
}

// back takes all workloads that may have been written to where they were.
func back(ctx context.Context, m Mover, steps []Step, written []bool, options Options, outcomes []Outcome) error {
	options.Say("going back to the old version")
	hurry := ctx.Err() != nil
	limit := patience
	if hurry {
		limit = farewell
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if options.Undo != nil {
		if err := options.Undo(ctx); err != nil {
			for i := range outcomes {
				outcomes[i].Result = Stranded
			}
			return fmt.Errorf("the old value could not be put back: %w", err)
		}
	}
	failures := make([]error, len(steps))
	var group sync.WaitGroup
	slots := make(chan struct{}, max(1, options.Concurrency))
	for i, step := range steps {
		if !written[i] {
			outcomes[i].Result = Unchanged
			continue
		}
		group.Go(func() {
			slots <- struct{}{}
			moved, err := moveBack(ctx, m, step)
			<-slots
			if err == nil && !hurry {
				err = m.Settle(ctx, moved, options.Say)
			}
			var stuck *Stuck
			switch {
			case errors.As(err, &stuck):
				outcomes[i].Result, outcomes[i].Err = Unwell, err
			case errors.Is(err, endpoint.ErrNotFound):
				outcomes[i].Result, outcomes[i].Err = Gone, err
			case err != nil:
				outcomes[i].Result = Stranded
				failures[i] = fmt.Errorf("%s could not be taken back: %w", step.Workload.ID, err)
			case hurry:
				outcomes[i].Result = Returning
			default:
				outcomes[i].Result = Returned
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// attempts is how often a workload is tried to be taken back: to leave it behind is worse than to wait.
const attempts = 5

func moveBack(ctx context.Context, m Mover, step Step) (moved Moved, err error) {
	for try := range attempts {
		if moved, err = m.Move(ctx, step.Back()); err == nil || errors.Is(err, endpoint.ErrNotFound) {
			return moved, err
		}
		select {
		case <-ctx.Done():
			return moved, err
		case <-time.After(100 * time.Millisecond << try):
		}
	}
	return moved, err
}
