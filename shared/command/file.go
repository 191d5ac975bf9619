package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/mirrorfile"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
)

func addFileFlag(flags *pflag.FlagSet, files *[]string) {
	flags.StringArrayVarP(files, "file", "f", nil, "Mirrors that this `file` declares, - for standard input; may be given several times")
}

// answered are the flags that a file answers for each of its mirrors.
var answered = []string{"from", "to", "all", "selector", "into", "name-template", "prune", "adopt", "plan", "save-plan"}

// group is the mirrors of files that have both endpoints in common, so that one look at these does for all.
type group struct {
	*pair
	declared []mirrorfile.Mirror

	sides   mirror.Sides
	planned []mirror.Planned
	err     error // of the endpoints: nothing is known of any of the mirrors

	verified report.Verify
}

// groups reads the files and opens the endpoints.
func (o *pairOptions) groups(host Host, files []string, flags *pflag.FlagSet, names []string, say func(string)) ([]*group, error) {
	if len(names) > 0 {
		return nil, errors.New("-f has its own secrets: leave out the names")
	}
	for _, name := range answered {
		if flags.Changed(name) {
			return nil, fmt.Errorf("-f has its own endpoints and secrets: leave out --%s", name)
		}
	}
	declared, err := mirrorfile.Read(files, host.In)
	if err != nil {
		return nil, err
	}
	type ends struct{ from, to endpoint.Address }
	at := map[ends]*group{}
	var all []*group
	for _, m := range declared {
		key := ends{m.From, m.To}
		g := at[key]
		if g == nil {
			g = &group{pair: &pair{
				host: host, fromName: m.From, toName: m.To, say: say, request: o.request,
				Pair: mirror.Pair{NoProbe: o.request.NoProbe, Say: say},
			}}
			if err := o.open(g.pair); err != nil {
				return nil, fmt.Errorf("%s: %w", m.At, err)
			}
			at[key], all = g, append(all, g)
		}
		m.Request.Prove, m.Request.NoProbe, m.Request.Force = o.request.Prove, o.request.NoProbe, o.request.Force
		options, err := planOptions(m.Request, m.From.Kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.At, err)
		}
		g.declared = append(g.declared, m)
		g.Wanted = append(g.Wanted, mirror.Wanted{Name: m.Name, Options: options})
	}
	return all, nil
}

func (g *group) rollsOut() bool {
	return slices.ContainsFunc(g.declared, func(m mirrorfile.Mirror) bool { return m.Rollout })
}

// mostPairs is how many pairs of endpoints are looked at, or written to, at a time.
const mostPairs = 8

// each calls do for all groups, some at a time.
func each(groups []*group, do func(*group)) {
	var running sync.WaitGroup
	slots := make(chan struct{}, mostPairs)
	for _, g := range groups {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			do(g)
		})
	}
	running.Wait()
}

// lookAtAll makes the plans of all groups. What is wrong with one doesn't keep the others from being
// looked at, but two mirrors that would write one object do: it would depend on chance which of them wins.
func lookAtAll(ctx context.Context, groups []*group, ask mirror.Asking) error {
	each(groups, func(g *group) {
		if g.sides, g.err = g.Observe(ctx); g.err == nil {
			g.planned, g.err = g.Compare(ctx, g.sides, ask)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	return collisions(groups)
}

func collisions(groups []*group) error {
	type object struct{ place, name string }
	taken := map[object]mirrorfile.Mirror{}
	var problems mirrorfile.Problems
	for _, g := range groups {
		for i, one := range g.planned {
			for _, item := range one.Plan.Items {
				name := item.Mirror()
				if name == "" || item.State == plan.Orphan {
					continue
				}
				key := object{g.sides.To.Place.Identity, strings.ToLower(name)}
				if other, there := taken[key]; there && other.Name != one.Name {
					problems = append(problems, mirrorfile.Problem{At: g.declared[i].At, Text: fmt.Sprintf(
						"%s and %s, at %s, would both write %q at %s: choose fewer secrets, or name the mirrors by nameTemplate",
						one.Name, other.Name, other.At, name, g.sides.To.Place.Name)})
					break // one for each mirror is enough
				}
				taken[key] = g.declared[i]
			}
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// documents are the results of all mirrors, by pairs of endpoints; with outcomes, what became of them.
func documents(kind string, groups []*group, outcomes map[*group][][]apply.Outcome) []report.Comparison {
	var all []report.Comparison
	for _, g := range groups {
		for i, m := range g.declared {
			d := report.Comparison{APIVersion: report.APIVersion, Kind: kind, Items: []report.Item{}, Summary: report.Summary{States: map[string]int{}}}
			d.From, d.To = placeAt(m.From, g.sides.From.Place), placeAt(m.To, g.sides.To.Place)
			switch {
			case g.err != nil:
				d.Error = g.err.Error()
			case g.planned[i].Err != nil:
				d.Error = g.planned[i].Err.Error()
			case outcomes != nil:
				d = report.OfOutcomes(kind, g.sides.From.Place, g.sides.To.Place, outcomes[g][i])
			default:
				d = report.OfPlan(kind, g.planned[i].Plan)
			}
			d.SecretMirror, d.Proven = m.Name, g.request.Prove
			all = append(all, d)
		}
	}
	return all
}

// placeAt is a place that may not have been reached.
func placeAt(a endpoint.Address, found endpoint.Place) report.Place {
	if found.Name == "" {
		found.Kind, found.Name = a.Kind, a.String()
	}
	return report.PlaceOf(found)
}

func runDiffFiles(ctx context.Context, groups []*group, host Host, printer Printer) error {
	if err := lookAtAll(ctx, groups, mirror.AskNothing); err != nil {
		return err
	}
	d := report.OfComparisons(report.KindDiffs, documents(report.KindDiff, groups, nil))
	if err := show(host, printer, d); err != nil {
		return err
	}
	switch {
	case d.Summary.Errors > 0:
		return &ExitError{Code: ExitUsage}
	case !d.Same():
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

func runSyncFiles(ctx context.Context, groups []*group, options syncOptions, host Host, printer Printer, progress *progress) error {
	if err := lookAtAll(ctx, groups, mirror.AskOwned); err != nil {
		return err
	}
	if options.dryRun != "none" {
		items := documents(report.KindSync, groups, nil)
		for i := range items {
			items[i].DryRun = true
		}
		d := report.OfComparisons(report.KindSyncs, items)
		if err := show(host, printer, d); err != nil {
			return err
		}
		return leftOverOfAll(d)
	}
	var todo plan.Plan // of all, to ask and to count
	for _, g := range groups {
		for _, one := range g.planned {
			todo.Items = append(todo.Items, one.Plan.Items...)
		}
	}
	todo.To.Name = "the endpoints of these files"
	if err := options.confirm(host, todo); err != nil {
		return err
	}
	tell, telling := progress.each(todo), sync.Mutex{}
	outcomes := make(map[*group][][]apply.Outcome, len(groups))
	each(groups, func(g *group) {
		if g.err != nil {
			return
		}
		made, err := g.Apply(ctx, g.sides, plansOf(g.planned), apply.Options{Concurrency: options.concurrency, Each: func(o apply.Outcome) {
			telling.Lock()
			defer telling.Unlock()
			tell(o)
		}})
		telling.Lock()
		defer telling.Unlock()
		outcomes[g], g.err = made, err
	})
	items := documents(report.KindSync, groups, outcomes)
	i := 0
	var rolled []error
	for _, g := range groups {
		for j, m := range g.declared {
			if (m.Rollout || options.rollout) && items[i].Error == "" && ctx.Err() == nil {
				var err error
				if items[i].Rollout, err = g.rollout(ctx, g.planned[j].Plan, options); err != nil {
					items[i].Rollout = &report.Rotation{Result: report.RolloutFailed, Error: err.Error()}
				}
				rolled = append(rolled, rolledOut(items[i].Rollout))
			}
			i++
		}
	}
	d := report.OfComparisons(report.KindSyncs, items)
	if err := show(host, printer, d); err != nil {
		return err
	}
	for _, one := range items {
		if one.Rollout != nil {
			if err := showRollout(host, printer, one.Rollout); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(rolled...); err != nil {
		return rolled[slices.IndexFunc(rolled, func(err error) bool { return err != nil })]
	}
	return leftOverOfAll(d)
}

func plansOf(planned []mirror.Planned) []plan.Plan {
	plans := make([]plan.Plan, len(planned))
	for i, one := range planned {
		plans[i] = one.Plan
	}
	return plans
}

// leftOverOfAll is leftOver for many: when nothing could be done about any, that is what happened.
func leftOverOfAll(d report.Comparisons) error {
	if d.Summary.Errors > 0 && d.Summary.Done == 0 && d.Summary.Total == 0 {
		return &ExitError{Code: ExitUsage}
	}
	worst := error(nil)
	if d.Summary.Errors > 0 {
		worst = &ExitError{Code: ExitDifferent}
	}
	if d.Summary.Failed > 0 && d.Summary.Done == 0 && d.Summary.Errors == 0 {
		return &ExitError{Code: ExitUsage}
	}
	for _, one := range d.Items {
		if leftOver(one) != nil {
			worst = &ExitError{Code: ExitDifferent}
		}
	}
	return worst
}
