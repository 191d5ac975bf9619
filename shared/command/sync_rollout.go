package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// rollout brings what a plan's mirrors hold to all who use them, each of those once however many mirrors
// it uses. It goes by what stands there now and not by what this run has written, so that one that was cut
// off is brought to its end by the next.
func (p *pair) rollout(ctx context.Context, todo plan.Plan, options syncOptions) (*report.Rotation, error) {
	m, ok := p.To.(mover)
	if !ok {
		return nil, fmt.Errorf("%s has no workloads", p.toName)
	}
	r := options.roll.roller(p.host, m, todo.To, options.timeout, p.say)
	r.concurrency = min(options.concurrency, 32)
	d := &report.Rotation{APIVersion: report.APIVersion, Kind: report.KindRotate, Place: report.PlaceOf(todo.To), Workloads: []report.MovedWorkload{}}
	all, err := r.List(ctx, nil)
	if err != nil {
		return nil, err
	}
	families := scene{place: todo.To, secrets: all}.families()
	names := map[string]bool{}
	change := rollout.Change{Newest: map[string]secret.Ref{}, Before: map[string]secret.Ref{}, Instead: map[string]secret.Ref{}, Written: map[string]bool{}}
	var now []secret.Secret
	for _, item := range todo.Items {
		if item.Action == plan.Remove || item.Desired == nil && item.Existing == nil || !item.Owned && item.Action == plan.Nothing {
			continue
		}
		versions := families[cmp.Or(item.Desired, item.Existing).LogicalName()]
		if len(versions) == 0 {
			continue
		}
		newest := newestOf(versions)
		if newest.Mark == nil || newest.Mark.Origin != todo.From.Identity {
			continue
		}
		names[newest.LogicalName()] = true
		now = append(now, newest)
		if todo.To.Kind == secret.Swarm {
			one := changeTo(newest, versions, secret.Swarm)
			maps.Copy(change.Newest, one.Newest)
			maps.Copy(change.Before, one.Before)
			maps.Copy(change.Instead, one.Instead)
			continue
		}
		change.Written[newest.Name] = true
	}
	c, err := r.courseTo(ctx, change, now...)
	if err != nil {
		return nil, err
	}
	if todo.To.Kind == secret.Kubernetes {
		// The value of a mirror is its origin's: there is nothing to go back to.
		c.stays = true
		if len(c.steps) > 0 {
			if c, err = r.stale(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	d.Secrets = moved(c, now)
	if err := r.roll(ctx, d, c); err != nil {
		return d, nil
	}
	if todo.To.Kind == secret.Swarm && len(names) > 0 {
		if d.Removed, err = r.retire(ctx, slices.Collect(maps.Keys(names))); err != nil {
			d.Notes = append(d.Notes, "older versions were not removed: "+err.Error())
		}
	}
	return d, nil
}

// moved are the secrets that a course brings to somebody.
func moved(c course, now []secret.Secret) []report.Rotated {
	all := []report.Rotated{}
	seen := map[report.Rotated]bool{}
	for _, step := range c.steps {
		for _, ref := range step.Workload.Refs {
			for _, s := range now {
				to, replaced := step.Replace[ref.UID]
				one := report.Rotated{Name: s.LogicalName(), Old: ref.Name, New: s.Name}
				if (replaced && to.UID == s.UID || step.Restart && ref.Name == s.Name) && !seen[one] {
					seen[one] = true
					all = append(all, one)
				}
			}
		}
	}
	return all
}

// rotateFrom gives a mirror the value of its origin, and brings it to those who use it: a sync of just
// that, with its rollout.
func rotateFrom(ctx context.Context, host Host, options rotateOptions, name string, printer Printer) error {
	progress := newProgress(host)
	ends, err := options.complete(host, progress.say)
	if err != nil {
		return err
	}
	return runLong(ctx, func(ctx context.Context) error {
		versions, err := versionsOf(ctx, ends[0], name)
		if err != nil {
			return err
		}
		copied := newestOf(versions)
		if copied.Mark == nil {
			return fmt.Errorf("%q is no mirror, so that there is no origin to take a value from", copied.Name)
		}
		sync := syncOptions{concurrency: options.roll.concurrency, roll: options.roll, rollout: true, dryRun: "none"}
		sync.from, sync.to, sync.timeout = options.from, options.in, options.timeout
		sync.request.NoProbe, sync.probeImage = options.open.NoProbe, options.open.ProbeImage
		var names []string
		for _, part := range copied.Mark.Parts {
			if !slices.Contains(names, part.Secret) {
				names = append(names, part.Secret)
			}
		}
		p, err := sync.complete(host, names, progress.say)
		if err != nil {
			return err
		}
		place, err := p.From.Place(ctx)
		if err != nil {
			return err
		}
		if place.Identity != copied.Mark.Origin {
			return fmt.Errorf("%q is a mirror of what stands at %s, and not at %s", copied.Name, copied.Mark.Place, place.Name)
		}
		s, todo, err := p.look(ctx, mirror.AskOwned)
		if err != nil {
			return err
		}
		outcomes, err := p.apply(ctx, s, todo, sync.concurrency, progress)
		if err != nil {
			return err
		}
		for _, o := range outcomes {
			if o.Err != nil {
				return o.Err
			}
		}
		d, err := p.rollout(ctx, todo, sync)
		if err != nil {
			return err
		}
		if err := show(host, printer, *d); err != nil {
			return err
		}
		return rolledOut(d)
	})
}

// rolledOut is the exit code that a rollout ends with.
func rolledOut(d *report.Rotation) error {
	switch d.Result {
	case report.RolloutDone, report.RolloutUnproven:
		return nil
	case report.RolloutInterrupted:
		return &ExitError{Code: ExitInterrupted}
	}
	return &ExitError{Code: ExitDifferent}
}

// showRollout prints what became of a rollout below what became of the mirrors.
func showRollout(host Host, printer Printer, d *report.Rotation) error {
	if !printer.Human() {
		return nil // it is in the document
	}
	if len(d.Workloads) > 0 {
		if _, err := fmt.Fprintln(host.Out); err != nil {
			return err
		}
		if err := report.Table(host.Out, report.RotationColumns, d.Rows(), report.TableOptions{}); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(host.Err, "rollout: "+d.Text())
	return err
}

var errRolloutPlan = errors.New("--rollout goes with a sync that writes: leave out --dry-run")
