package watch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
)

// compareAll looks at all of both ends, and writes what is to be written. It gives what failed.
func (l *Loop) compareAll(ctx context.Context) (map[key]bool, error) {
	began := time.Now()
	s, err := l.pair.Observe(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.places = s
	l.ends = [2]map[string]secret.Secret{byName(s.From.Secrets), byName(s.To.Secrets)}
	l.synced = true
	l.mu.Unlock()
	defer l.forget()
	l.targets = map[string]map[string]bool{}
	failed, states, err := l.write(ctx, s, true, func(w mirror.Wanted) (plan.Options, bool) { return w.Options, true }, func(plan.Item) time.Time { return time.Time{} })
	if err == nil {
		l.tell(Event{Kind: Compared, Took: time.Since(began), Items: states})
	}
	return failed, err
}

func byName(all []secret.Secret) map[string]secret.Secret {
	named := make(map[string]secret.Secret, len(all))
	for _, s := range all {
		named[s.Name] = s
	}
	return named
}

// forget drops the values of all that was looked at.
func (l *Loop) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range l.ends {
		for name, s := range end {
			if slices.ContainsFunc(s.Keys, func(k secret.Key) bool { return k.Value.Known() }) {
				end[name] = bare(s)
			}
		}
	}
	l.places.From.Secrets, l.places.To.Secrets = nil, nil
}

// bare is a secret without its values.
func bare(s secret.Secret) secret.Secret {
	keys := make([]secret.Key, len(s.Keys))
	for i, k := range s.Keys {
		keys[i].Name = k.Name
	}
	s.Keys = keys
	return s
}

// compareSome looks at those secrets that have changed and at what has to do with them.
func (l *Loop) compareSome(ctx context.Context, batch []key, began map[key]time.Time) (map[key]bool, error) {
	defer l.forget()
	touched, near, far := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, k := range batch {
		if k.far {
			far[k.name] = true
		} else {
			near[k.name] = true
			l.touch(touched, 0, k.name)
		}
	}
	if err := l.refreshFar(ctx, far, touched); err != nil {
		return nil, err
	}
	if len(touched) == 0 {
		return nil, nil
	}
	s := l.sides()
	ready := plan.Prepare(s.From, s.To)
	l.gathered(ready, touched)
	for name := range touched {
		near[name] = true
	}
	if err := l.refresh(ctx, 0, near); err != nil {
		return nil, err
	}
	for name := range near {
		l.touch(touched, 0, name) // what it is now may have another logical name
	}
	narrow := func(w mirror.Wanted) (plan.Options, bool) {
		options := w.Options
		options.Only = touched
		byName := len(options.Names) > 0
		return options, !byName || slices.ContainsFunc(options.Names, func(n string) bool { return touched[n] }) || options.Rules.Into != ""
	}
	if s.To.Place.Kind == secret.Kubernetes {
		if err := l.refreshTargets(ctx, narrow); err != nil {
			return nil, err
		}
	}
	since := func(item plan.Item) (at time.Time) {
		for _, source := range item.Sources {
			for _, name := range []string{source.Ref.Name, source.Secret} {
				if t, ok := began[key{name: name}]; ok && (at.IsZero() || t.Before(at)) {
					at = t
				}
			}
		}
		return at
	}
	failed, _, err := l.write(ctx, l.sides(), false, narrow, since)
	return failed, err
}

// touch adds the names by which an object of an end may be meant.
func (l *Loop) touch(touched map[string]bool, end int, name string) {
	touched[name] = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, known := l.ends[end][name]; known {
		touched[s.LogicalName()] = true
	}
}

// sides is what is known of both ends.
func (l *Loop) sides() mirror.Sides {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.places
	for i, side := range []*plan.Side{&s.From, &s.To} {
		side.Secrets = make([]secret.Secret, 0, len(l.ends[i]))
		for _, one := range l.ends[i] {
			side.Secrets = append(side.Secrets, one)
		}
	}
	return s
}

// refresh looks at some secrets of an end. Those that aren't there any more are forgotten.
func (l *Loop) refresh(ctx context.Context, end int, names map[string]bool) error {
	reader := l.pair.From
	if end == 1 {
		reader = l.pair.To
	}
	asked := make([]string, 0, len(names))
	for name := range names {
		asked = append(asked, name)
	}
	if len(asked) == 0 {
		return nil
	}
	slices.Sort(asked)
	found, err := reader.List(ctx, asked)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range asked {
		delete(l.ends[end], name)
	}
	for _, s := range found {
		if names[s.Name] {
			l.ends[end][s.Name] = s
		}
	}
	return nil
}

// refreshFar looks at what has changed at the far end, and touches the origins that are concerned. What is
// there as we wrote it concerns nobody.
func (l *Loop) refreshFar(ctx context.Context, far, touched map[string]bool) error {
	before := map[string]secret.Secret{}
	l.mu.Lock()
	for name := range far {
		if s, there := l.ends[1][name]; there {
			before[name] = s
		}
	}
	l.mu.Unlock()
	if err := l.refresh(ctx, 1, far); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range far {
		was, stood := before[name]
		is, stands := l.ends[1][name]
		if stood && stands && was.UID == is.UID && (was.Version == is.Version || l.places.To.Place.Kind == secret.Swarm && sameClaim(was.Mark, is.Mark)) {
			continue
		}
		for _, s := range []secret.Secret{was, is} {
			for part := range l.parts(s.Mark) {
				touched[part] = true
			}
			if s.Name != "" {
				for origin := range l.targets[strings.ToLower(s.LogicalName())] {
					touched[origin] = true
				}
			}
		}
		for origin := range l.targets[strings.ToLower(name)] {
			touched[origin] = true
		}
	}
	return nil
}

func sameClaim(a, b *secret.Mark) bool {
	return a != nil && b != nil && a.Origin == b.Origin && slices.EqualFunc(a.Parts, b.Parts, func(x, y secret.Part) bool {
		return x.Secret == y.Secret && x.OriginKey == y.OriginKey && x.UID == y.UID && x.Version == y.Version && x.Fingerprint == y.Fingerprint
	})
}

// parts are the origins that a mark names, as far as they are ours: not those that others mirror into the same
// place from elsewhere, nor, by names, any that wasn't named, which we may have no right to look at.
func (l *Loop) parts(m *secret.Mark) map[string]bool {
	names := map[string]bool{}
	from := l.places.From.Place // only the worker writes it
	if m == nil || m.Origin != from.Identity {
		return names
	}
	wanted := l.pair.Names()
	for _, p := range m.Parts {
		if from.Kind == secret.Swarm || wanted == nil || slices.Contains(wanted, p.Secret) {
			names[p.Secret] = true
		}
	}
	return names
}

// gathered touches all that goes into one mirror together with what is touched: that is written whole.
func (l *Loop) gathered(ready *plan.Observed, touched map[string]bool) {
	for _, w := range l.pair.Wanted {
		if w.Options.Rules.Into == "" {
			continue
		}
		for _, ref := range ready.Selected(w.Options) {
			l.touch(touched, 0, ref.Name)
		}
		l.mu.Lock()
		for _, s := range l.ends[1] {
			if strings.EqualFold(s.LogicalName(), w.Options.Rules.Into) {
				for name := range l.parts(s.Mark) {
					touched[name] = true
				}
			}
		}
		l.mu.Unlock()
	}
}

// refreshTargets looks at what stands in Kubernetes where something is to be compared: its values tell.
func (l *Loop) refreshTargets(ctx context.Context, narrow func(mirror.Wanted) (plan.Options, bool)) error {
	s := l.sides()
	ready := plan.Prepare(s.From, s.To)
	names := map[string]bool{}
	for _, w := range l.pair.Wanted {
		if options, wanted := narrow(w); wanted {
			options.Key = l.pair.Key
			p, err := l.planned(ready, options)
			if err != nil {
				continue // said when it is planned
			}
			for _, item := range p.Items {
				names[item.Name] = item.Name != ""
			}
		}
	}
	delete(names, "")
	return l.refresh(ctx, 1, names)
}

// planned is a plan without the names that stand nowhere: what may come yet is no mistake.
func (l *Loop) planned(ready *plan.Observed, options plan.Options) (plan.Plan, error) {
	p, err := ready.New(options)
	var absent *plan.NotFoundError
	if errors.As(err, &absent) {
		options.Names = slices.DeleteFunc(slices.Clone(options.Names), func(n string) bool { return slices.Contains(absent.Names, n) })
		return ready.New(options)
	}
	return p, err
}

// write plans and applies. It gives what failed, and how many mirrors there are in each state. What is written is
// rolled out, and where it is about all, also what stood already: whoever wrote it may not have come to that.
func (l *Loop) write(ctx context.Context, s mirror.Sides, all bool, narrow func(mirror.Wanted) (plan.Options, bool), since func(plan.Item) time.Time) (map[key]bool, map[plan.State]int, error) {
	ready := plan.Prepare(s.From, s.To)
	planned, err := l.pair.CompareOnly(ctx, s, ready, mirror.AskOwned, func(w mirror.Wanted) (plan.Options, bool) {
		options, wanted := narrow(w)
		if wanted && len(options.Names) > 0 {
			options.Names = ready.There(options.Names)
			wanted = len(options.Names) > 0
		}
		return options, wanted
	})
	if err != nil {
		return nil, nil, err
	}
	states := map[plan.State]int{}
	failed := map[key]bool{}
	claimed := map[string]string{} // logical names to the wanted mirror that has it
	plans, rolled := make([]plan.Plan, len(planned)), make([]plan.Plan, len(planned))
	rollOut := func() {
		for i := range rolled {
			if l.options.RollsOut != nil && l.options.RollsOut(planned[i].Name) {
				rolled[i].From, rolled[i].To = s.From.Place, s.To.Place
				l.offer(rolled[i])
			}
		}
	}
	for i, one := range planned {
		if one.Err != nil {
			l.tell(Event{Kind: Failure, Mirror: one.Name, Err: one.Err})
			continue
		}
		for _, item := range one.Plan.Items {
			states[item.State]++
			name := strings.ToLower(item.Mirror())
			for part := range l.origins(item) {
				if l.targets[name] == nil {
					l.targets[name] = map[string]bool{}
				}
				l.targets[name][part] = true
			}
			if item.State != plan.Orphan && name != "" {
				if other, taken := claimed[name]; taken && other != one.Name {
					l.tell(Event{Kind: Failure, Mirror: one.Name, Err: errTwice(item.Name, other, one.Name)})
					continue
				}
				claimed[name] = one.Name
			}
			switch {
			case item.Action != plan.Nothing:
				plans[i].Items = append(plans[i].Items, item)
			case item.State == plan.Conflict || item.State == plan.Unmappable || item.State == plan.Unknown:
				l.tell(Event{Kind: Left, Mirror: one.Name, Outcome: apply.Outcome{Item: item}})
			case all && item.State == plan.InSync && item.Owned:
				rolled[i].Items = append(rolled[i].Items, item)
			}
		}
	}
	if !slices.ContainsFunc(plans, func(p plan.Plan) bool { return len(p.Items) > 0 }) {
		rollOut()
		return failed, states, nil
	}
	outcomes, err := l.pair.Apply(ctx, s, plans, apply.Options{Concurrency: l.options.Concurrency})
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	for i := range outcomes {
		for _, o := range outcomes[i] {
			e := Event{Kind: Write, Mirror: planned[i].Name, Outcome: o}
			if at := since(o.Item); !at.IsZero() {
				e.Took = now.Sub(at)
			}
			if o.Result == apply.Done {
				l.wrote(o)
				rolled[i].Items = append(rolled[i].Items, o.Item)
			} else {
				l.retry(o.Item, failed)
			}
			l.tell(e)
		}
	}
	rollOut()
	return failed, states, nil
}

func (l *Loop) origins(item plan.Item) map[string]bool {
	names := map[string]bool{}
	for _, source := range item.Sources {
		if source.Secret != "" {
			names[source.Secret] = true
		}
	}
	if item.Existing != nil {
		for name := range l.parts(item.Existing.Mark) {
			names[name] = true
		}
	}
	return names
}

// wrote takes over what was written, so that its own event is no news.
func (l *Loop) wrote(o apply.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range o.Item.Retired {
		delete(l.ends[1], s.Name)
	}
	if o.Written.Name == "" {
		return
	}
	s := bare(o.Written)
	s.Mark, s.Lineage, s.Labels = o.Item.Desired.Mark, o.Item.Desired.Lineage, o.Item.Desired.Labels
	l.ends[1][s.Name] = s
}

// retry marks what an item is made of, and what stands in its place, for another look.
func (l *Loop) retry(item plan.Item, failed map[key]bool) {
	for name := range l.origins(item) {
		failed[key{name: name}] = true
	}
	if item.Name != "" {
		failed[key{far: true, name: item.Name}] = true
	}
}
