// Package apply runs a plan. It decides nothing: each item of the plan is one object written, with
// the values that the plan says, and every item comes back with what became of it. It imports plan,
// mapping, endpoint and secret.
package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
)

// Result is what became of one item.
type Result string

// An item without an action has the Result None; all others end as one of the rest.
const (
	None        Result = ""
	Done        Result = "done"
	Failed      Result = "failed"
	Interrupted Result = "interrupted" // not begun, because the run was stopped
)

// Outcome is an item and what became of it.
type Outcome struct {
	Item   plan.Item
	Result Result
	Err    error // of Failed and Interrupted
	// Written is what stands there since, as far as the endpoint tells; of Done.
	Written secret.Secret
}

// Options of a run.
type Options struct {
	// Concurrency is how many objects are written at a time, at least 1.
	Concurrency int
	// Key makes the fingerprints; where it is not known there are none.
	Key secret.FingerprintKey
	// Each, if set, is told of every outcome as it comes, one at a time.
	Each func(Outcome)
}

// Run carries out the plan and gives the outcome of each item, in the plan's order. Values that
// only the origin's side can read are read in one go, and written as they arrive. One failure stops
// nothing else; when ctx ends, what has not begun is left alone.
func Run(ctx context.Context, p plan.Plan, from endpoint.Reader, to endpoint.Writer, options Options) []Outcome {
	r := &run{ctx: ctx, plan: p, to: to, options: options, outcomes: make([]Outcome, len(p.Items)), waiting: map[secret.Ref][]int{}}
	group := &errgroup.Group{}
	group.SetLimit(max(1, options.Concurrency))

	left := make([]int, len(p.Items)) // values that an item still waits for
	var refs []secret.Ref
	var ready []int
	for i, item := range p.Items {
		r.outcomes[i] = Outcome{Item: item}
		if item.Action == plan.Nothing {
			continue
		}
		for _, ref := range unread(item) {
			if len(r.waiting[ref]) == 0 {
				refs = append(refs, ref)
			}
			r.waiting[ref] = append(r.waiting[ref], i)
			left[i]++
		}
		if left[i] == 0 {
			ready = append(ready, i)
		}
	}
	begin := func(i int) {
		group.Go(func() error {
			written, err := r.write(&r.outcomes[i].Item)
			r.outcomes[i].Written = written
			r.finish(i, err)
			return nil
		})
	}
	var reading sync.WaitGroup
	var readErr error
	if len(refs) > 0 {
		// The reader must never wait for the writers: what it reads comes from a log that is followed.
		arrived := make(chan int, len(p.Items))
		reading.Go(func() {
			defer close(arrived)
			readErr = from.Values(ctx, refs, func(ref secret.Ref, v secret.Value) error {
				all := r.waiting[ref]
				delete(r.waiting, ref)
				for _, i := range all {
					fill(&r.outcomes[i].Item, ref, v)
					if left[i]--; left[i] == 0 {
						arrived <- i
					}
				}
				return nil
			})
		})
		for _, i := range ready {
			begin(i)
		}
		for i := range arrived {
			begin(i)
		}
		reading.Wait()
	} else {
		for _, i := range ready {
			begin(i)
		}
	}
	_ = group.Wait() // no member fails
	for i := range r.outcomes {
		if r.outcomes[i].Item.Action != plan.Nothing && r.outcomes[i].Result == None {
			r.finish(i, notRead(readErr, r.outcomes[i].Item))
		}
	}
	return r.outcomes
}

// notRead says why an item has no values: of all that went wrong with reading, what concerns its
// own origins, if that can be told.
func notRead(err error, item plan.Item) error {
	if err == nil {
		err = errors.New("the origin's side gave no value and no reason")
	}
	own := func(e *endpoint.Error) bool {
		return slices.ContainsFunc(item.Sources, func(s mapping.OriginKey) bool { return s.Ref.Name == e.Object })
	}
	// What errors.Join made, and not what an error in it may have joined.
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			var e *endpoint.Error
			if errors.As(one, &e) && own(e) {
				err = one
				break
			}
		}
	}
	return fmt.Errorf("the value could not be read: %w", err)
}

type run struct {
	ctx     context.Context
	plan    plan.Plan
	to      endpoint.Writer
	options Options
	waiting map[secret.Ref][]int // the items that a value is for

	mu       sync.Mutex
	outcomes []Outcome
}

// unread lists the values that an action needs and nobody has read yet.
func unread(item plan.Item) []secret.Ref {
	switch item.Action {
	case plan.Remove, plan.Refresh, plan.Adopt:
		return nil // what is proven equal needs only its mark
	}
	var refs []secret.Ref
	for i, source := range item.Sources {
		if source.Ref != (secret.Ref{}) && !item.Desired.Keys[i].Value.Known() {
			refs = append(refs, source.Ref)
		}
	}
	return refs
}

func fill(item *plan.Item, ref secret.Ref, v secret.Value) {
	for i, source := range item.Sources {
		if source.Ref == ref {
			item.Desired.Keys[i].Value = v
		}
	}
}

func (r *run) finish(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &r.outcomes[i]
	o.Err, o.Result = err, Done
	switch {
	case err != nil && r.ctx.Err() != nil:
		o.Result = Interrupted
	case err != nil:
		o.Result = Failed
	}
	if r.options.Each != nil {
		r.options.Each(*o)
	}
}

// write carries out one item.
func (r *run) write(item *plan.Item) (written secret.Secret, err error) {
	if err := r.ctx.Err(); err != nil {
		return written, err
	}
	if item.Action == plan.Remove {
		for _, s := range item.Retired {
			if err := r.to.Remove(r.ctx, s); err != nil {
				return written, err
			}
		}
		return written, nil
	}
	if item.Action == plan.Refresh || item.Action == plan.Adopt {
		settle(item)
	}
	values := make([]secret.Value, len(item.Desired.Keys))
	for i, k := range item.Desired.Keys {
		values[i] = k.Value
	}
	if why := mapping.TooLarge(r.plan.To.Kind, values); why != "" {
		return written, errors.New(why)
	}
	r.fingerprint(item)
	return r.store(item)
}

// settle takes values that are proven equal from where they are known.
func settle(item *plan.Item) {
	for i, k := range item.Desired.Keys {
		if !k.Value.Known() {
			have, _ := item.Existing.Key(k.Name)
			item.Desired.Keys[i].Value = have.Value
		}
	}
}

// fingerprint fills in the claims about values, now that they are known. What a mirror merely keeps
// has its claim already.
func (r *run) fingerprint(item *plan.Item) {
	if !r.options.Key.Known() {
		return
	}
	for i, source := range item.Sources {
		part, v := &item.Desired.Mark.Parts[i], item.Desired.Keys[i].Value
		if source.Ref != (secret.Ref{}) && v.Known() {
			part.Fingerprint = r.options.Key.Fingerprint(r.plan.To.Identity, item.Desired.Name, part.Key, v)
		}
	}
}

func (r *run) store(item *plan.Item) (written secret.Secret, err error) {
	switch item.Action {
	case plan.Create:
		written, err = r.to.Create(r.ctx, *item.Desired)
	case plan.AddVersion:
		if item.Existing.Mark == nil {
			// A stranger's secret that is written over becomes version 1, of unknown content.
			if _, err = r.to.Update(r.ctx, *item.Existing, taken(item)); err != nil {
				return written, err
			}
		}
		written, err = r.to.Create(r.ctx, *item.Desired)
	case plan.Replace:
		if err = r.to.Remove(r.ctx, *item.Existing); err == nil {
			written, err = r.to.Create(r.ctx, *item.Desired)
		}
	case plan.Update, plan.Adopt, plan.Refresh:
		written, err = r.to.Update(r.ctx, *item.Existing, *item.Desired)
	}
	return written, err
}

func taken(item *plan.Item) secret.Secret {
	s := *item.Existing
	mark := *item.Desired.Mark
	s.Lineage = secret.Lineage{Name: item.Desired.Lineage.Name, Sequence: 1}
	part := mark.Parts[0]
	part.Key, part.UID, part.Version, part.Fingerprint = s.Name, "", "", ""
	mark.Parts = []secret.Part{part}
	s.Mark = &mark
	return s
}
