// Package mirror is two endpoints and the mirrors between them, as many as are wanted: it observes both
// ends once for all, has a plan made for each, puts their open questions to the two ends, and has the
// plans carried out in one go. It imports plan, apply, endpoint and secret.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
)

// Wanted is one set of mirrors that somebody asked for; its options are without key and proofs.
type Wanted struct {
	Name    string // empty where it has none
	Options plan.Options
}

// Pair is two endpoints, and what is wanted between them.
type Pair struct {
	From, To endpoint.Endpoint
	Wanted   []Wanted
	// Key is the installation key; where it isn't known it is looked for beside the secrets.
	Key secret.FingerprintKey
	// NoProbe forbids to ask a Swarm for values, but where a proof was asked for.
	NoProbe bool
	// Say is told what may be of interest; it may be nil.
	Say func(string)
}

// Sides is what was observed at both ends.
type Sides struct{ From, To plan.Side }

// sweeper is an endpoint that may have something of a run that crashed left lying about.
type sweeper interface {
	Sweep(ctx context.Context) error
}

// Places says where both ends are.
func (p *Pair) Places(ctx context.Context) (s Sides, err error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { s.From.Place, err = p.From.Place(groupCtx); return err })
	group.Go(func() (err error) { s.To.Place, err = p.To.Place(groupCtx); return err })
	if err := group.Wait(); err != nil {
		return s, err
	}
	if s.From.Place.Identity == s.To.Place.Identity {
		return s, fmt.Errorf("--from %s and --to %s are the same place", s.From.Place.Name, s.To.Place.Name)
	}
	return s, nil
}

// Observe looks at both ends at once.
func (p *Pair) Observe(ctx context.Context) (Sides, error) {
	s, err := p.Places(ctx)
	if err != nil {
		return s, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, e := range []endpoint.Endpoint{p.From, p.To} {
		if e, ok := e.(sweeper); ok {
			group.Go(func() error { return e.Sweep(groupCtx) })
		}
	}
	group.Go(func() error { return p.readKey(groupCtx, s) })
	if p.byName() {
		group.Go(func() error { return p.listNamed(groupCtx, &s) })
	} else {
		group.Go(func() (err error) { s.From.Secrets, err = p.From.List(groupCtx, nil); return err })
		group.Go(func() (err error) { s.To.Secrets, err = p.To.List(groupCtx, nil); return err })
	}
	return s, group.Wait()
}

// byName tells whether it is enough to look at the secrets that are named.
func (p *Pair) byName() bool {
	return !slices.ContainsFunc(p.Wanted, func(w Wanted) bool { return !plan.ByName(w.Options) })
}

// listNamed asks Kubernetes for the named secrets alone, which takes less and needs fewer rights. A
// Swarm always tells all: versions have names of their own.
func (p *Pair) listNamed(ctx context.Context, s *Sides) error {
	var names []string
	var err error
	if s.From.Place.Kind == secret.Kubernetes {
		names = p.Names()
	}
	if s.From.Secrets, err = p.From.List(ctx, names); err != nil {
		return err
	}
	names = nil
	if s.To.Place.Kind == secret.Kubernetes {
		if names, err = p.Targets(s.From); err != nil {
			return err
		}
	}
	s.To.Secrets, err = p.To.List(ctx, names)
	return err
}

// Names are those of the origins that are wanted, nil where it takes a look at all to know.
func (p *Pair) Names() []string {
	if !p.byName() {
		return nil
	}
	var names []string
	for _, w := range p.Wanted {
		names = append(names, w.Options.Names...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Targets are the names that the far side has to be asked about, nil where it is all.
func (p *Pair) Targets(from plan.Side) ([]string, error) {
	if !p.byName() {
		return nil, nil
	}
	kind := secret.Kubernetes // a Swarm is always asked about all
	var names []string
	for _, w := range p.Wanted {
		its, err := plan.Names(from, kind, w.Options)
		if err != nil {
			return nil, err
		}
		names = append(names, its...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// readKey finds the installation key beside the Kubernetes side of the pair, unless there is one; of two
// Kubernetes sides, beside the mirrors.
func (p *Pair) readKey(ctx context.Context, s Sides) (err error) {
	if keeper := p.keeper(s); keeper != nil && !p.Key.Known() {
		p.Key, err = keeper.FingerprintKey(ctx, false)
	}
	return err
}

func (p *Pair) keeper(s Sides) endpoint.Keeper {
	for _, end := range []struct {
		endpoint.Endpoint
		place endpoint.Place
	}{{p.To, s.To.Place}, {p.From, s.From.Place}} {
		if keeper, ok := end.Endpoint.(endpoint.Keeper); ok && end.place.Kind == secret.Kubernetes {
			return keeper
		}
	}
	return nil
}

// Planned is what was found of one set of mirrors, or why nothing could be.
type Planned struct {
	Wanted
	Plan plan.Plan
	Err  error
}

// Asking says which open questions may be put to the two ends.
type Asking int

// Who wants proof, or takes over what is proven, has all questions asked anyway.
const (
	AskNothing  Asking = iota // judge by claims alone
	AskOwned                  // of our own mirrors, where claims don't tell
	AskAnything               // of whatever stands there
)

// Compare makes a plan for each set of mirrors that is wanted, and has questions answered where it may.
func (p *Pair) Compare(ctx context.Context, s Sides, ask Asking) ([]Planned, error) {
	return p.CompareOnly(ctx, s, plan.Prepare(s.From, s.To), ask, func(w Wanted) (plan.Options, bool) { return w.Options, true })
}

// CompareOnly is Compare of what was prepared already, of those sets that narrow keeps, and under the
// options that it gives.
func (p *Pair) CompareOnly(ctx context.Context, s Sides, ready *plan.Observed, ask Asking, narrow func(Wanted) (plan.Options, bool)) ([]Planned, error) {
	var all []Planned
	var questions []plan.Question
	open := map[int]bool{}
	for _, w := range p.Wanted {
		options, wanted := narrow(w)
		if !wanted {
			continue
		}
		options.Key = p.Key
		one := Planned{Wanted: Wanted{w.Name, options}}
		one.Plan, one.Err = ready.New(options)
		for _, item := range one.Plan.Items {
			if p.mayAsk(item, options, ask) && len(item.Questions) > 0 {
				questions, open[len(all)] = append(questions, item.Questions...), true
			}
		}
		all = append(all, one)
	}
	if len(questions) == 0 {
		return all, nil
	}
	proofs, err := Prove(ctx, p.From, p.To, s, questions)
	if err != nil {
		return nil, err
	}
	for i := range open {
		all[i].Options.Proofs = proofs
		all[i].Plan, all[i].Err = ready.New(all[i].Options)
	}
	return all, nil
}

func (p *Pair) mayAsk(item plan.Item, options plan.Options, ask Asking) bool {
	if options.Prove || options.Adopt && !p.NoProbe {
		return true
	}
	return !p.NoProbe && (ask == AskAnything || ask == AskOwned && item.Owned)
}

// WriteKey makes the installation key when something is going to be written and there is none yet.
// Where that is not allowed, mirrors go without fingerprints.
func (p *Pair) WriteKey(ctx context.Context, s Sides, items []plan.Item) error {
	writes := slices.ContainsFunc(items, func(i plan.Item) bool {
		return i.Action != plan.Nothing && i.Action != plan.Remove
	})
	keeper := p.keeper(s)
	if p.Key.Known() || !writes || keeper == nil {
		return nil
	}
	key, err := keeper.FingerprintKey(ctx, true)
	if errors.Is(err, endpoint.ErrForbidden) {
		if p.Say != nil {
			p.Say("no fingerprints: " + err.Error())
		}
		return nil
	}
	p.Key = key
	return err
}

// Apply carries out plans of this pair in one go, and looks again at what another run may have done first.
// It gives the outcomes of each plan.
func (p *Pair) Apply(ctx context.Context, s Sides, plans []plan.Plan, options apply.Options) ([][]apply.Outcome, error) {
	todo := plan.Plan{From: s.From.Place, To: s.To.Place}
	for _, one := range plans {
		todo.Items = append(todo.Items, one.Items...)
	}
	if err := p.WriteKey(ctx, s, todo.Items); err != nil {
		return nil, err
	}
	options.Key = p.Key
	outcomes := apply.Run(ctx, todo, p.From, p.To, options)
	if slices.ContainsFunc(outcomes, Overtaken) {
		p.lookAgain(ctx, outcomes)
	}
	each := make([][]apply.Outcome, len(plans))
	for i, one := range plans {
		each[i], outcomes = outcomes[:len(one.Items):len(one.Items)], outcomes[len(one.Items):]
	}
	return each, nil
}

// lookAgain takes for done what another run of the same has written in between. Where that can't be seen,
// what is known is what was tried.
func (p *Pair) lookAgain(ctx context.Context, outcomes []apply.Outcome) {
	s, err := p.Observe(ctx)
	if err != nil {
		return
	}
	now, err := p.Compare(ctx, s, AskOwned)
	if err != nil {
		return
	}
	fine := map[string]bool{}
	for _, one := range now {
		for _, item := range one.Plan.Items {
			fine[item.Name] = item.State == plan.InSync && item.Owned
		}
	}
	for i, o := range outcomes {
		if Overtaken(o) && fine[o.Item.Name] {
			outcomes[i].Result, outcomes[i].Err = apply.Done, nil
			outcomes[i].Item.Reason = "another run wrote it"
		}
	}
}

// Overtaken tells whether somebody else wrote first.
func Overtaken(o apply.Outcome) bool {
	return errors.Is(o.Err, endpoint.ErrTaken) || errors.Is(o.Err, endpoint.ErrMoved)
}
