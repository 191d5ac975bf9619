package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/owner"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

type rotateOptions struct {
	inOptions
	values      valueOptions
	roll        rollOptions
	from        string
	adopt, undo bool
}

func newRotateCommand(host Host) *cobra.Command {
	var options rotateOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Give a secret a new value, and bring it to all who use it",
		Long: `Give a secret a new value, and bring it to all who use it, without a moment in which a
running task lacks the secret.

In a Swarm, a new version is made beside the old one (name.v2), each service that uses
the secret is updated once under its own update policy, keeping target, owner and mode,
and its containers are looked into for proof. If anything fails, or on Ctrl-C, all
services go back to the old version. Versions that no service, no rollback and no task
needs are removed, but for those that --retain keeps.

In Kubernetes, the value is written and volumes follow by themselves; workloads that
have it in their environment, by subPath, or in an immutable Secret are restarted or
moved to a new version, and only those.

A rotation that was cut off at any point is brought to its end by the next one, or
undone with --undo.

Exits 0 when all have the new value, 1 when all are back on the old one, or some could
not be moved, 2 when nothing was done.`,
		Example: examples(host,
			"rotate OWN KEY --generate 32", "A random value",
			"rotate SPARE --from-file - <token.txt", "From standard input",
			"rotate user-pass --in kubernetes --from-file password=./pass", "One key of a Secret",
			"rotate OWN --undo", "Back to the old version, where a rotation was cut off",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			if err := options.check(); err != nil {
				return err
			}
			if options.from != "" {
				return rotateFrom(cmd.Context(), host, options, args[0], printer)
			}
			progress := newProgress(host)
			ends, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return runLong(cmd.Context(), func(ctx context.Context) error {
				return runRotate(ctx, host, ends[0], options, args[0], printer, progress)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native, false)
	options.values.addFlags(flags)
	options.roll.addFlags(flags)
	flags.StringVar(&options.from, "from", "", "Take the value from the origin at this `endpoint`, of which the secret is a mirror")
	flags.BoolVar(&options.adopt, "adopt", false, "Take a Swarm secret that secretx did not make for its first version")
	flags.BoolVar(&options.undo, "undo", false, "Undo a rotation that was cut off")
	printer = host.Printer(flags, report.RotationColumns)
	return cmd
}

func (o *rotateOptions) check() error {
	switch {
	case o.in == inBoth:
		return errors.New("--in both: rotate the origin, then sync --rollout brings it to its mirrors")
	case o.undo && (o.values.given() || o.from != ""):
		return errors.New("--undo takes no value")
	case o.from != "" && o.values.given():
		return errors.New("--from takes the value from the origin, so it takes no other")
	}
	return errors.Join(o.values.check(), o.roll.check())
}

// rotation is one secret on its way to a new value.
type rotation struct {
	*roller
	options rotateOptions
	d       report.Rotation
}

func runRotate(ctx context.Context, host Host, e opened, options rotateOptions, name string, printer Printer, progress *progress) error {
	m, ok := e.Endpoint.(mover)
	if !ok {
		return fmt.Errorf("%s has no workloads", e.name)
	}
	versions, err := versionsOf(ctx, e, name)
	if err != nil {
		return err
	}
	place, err := e.Place(ctx)
	if err != nil {
		return err
	}
	r := &rotation{roller: options.roll.roller(host, m, place, options.timeout, progress.say), options: options}
	r.d = report.Rotation{APIVersion: report.APIVersion, Kind: report.KindRotate, Place: report.PlaceOf(place), Workloads: []report.MovedWorkload{}}
	now := newestOf(versions)
	if now.Mark != nil && !options.undo {
		return fmt.Errorf("%q is a mirror of what stands at %s: rotate that and sync --rollout, or rotate --from ENDPOINT", now.Name, now.Mark.Place)
	}
	if now.Damaged != "" {
		return errors.New(now.Damaged)
	}
	if place.Kind == secret.Swarm || now.Immutable {
		err = r.byVersion(ctx, versions)
	} else {
		err = r.inPlace(ctx, now)
	}
	if err != nil {
		return err
	}
	if err := show(host, printer, r.d); err != nil {
		return err
	}
	return rolledOut(&r.d)
}

// newestOf is the newest of versions; a slice of them is never empty.
func newestOf(versions []secret.Secret) secret.Secret { return mapping.Newest(versions)[0] }

// busy says that somebody else's rotation of the secret is under way. A rollout is somebody's as long
// as its process runs, where that can be seen, or its time isn't over.
func busy(s secret.Secret) error {
	is, known := owner.Alive(s.Lineage.Owner)
	age := time.Since(s.Created)
	if known && !is || !known && age > s.Lineage.Lifetime {
		return nil
	}
	return fmt.Errorf("another rotation of %q is under way: nothing was changed. If it was cut off on another machine, try again in %s",
		s.LogicalName(), max(0, s.Lineage.Lifetime-age).Round(time.Second))
}

// slack is what a rollout may take beyond its time limit: to go back.
const slack = 5 * time.Minute

// pending is the lineage of a version that this process brings to all; its lifetime counts from when the
// version was made, by whomever.
func (r *rotation) pending(name string, sequence int, made time.Time) secret.Lineage {
	age := max(0, time.Since(made).Round(time.Second))
	return secret.Lineage{Name: name, Sequence: sequence, Rollout: secret.Pending, Owner: owner.Self(), Lifetime: age + r.timeout + slack}
}

// byVersion makes a new version and moves all who use any other one to it.
func (r *rotation) byVersion(ctx context.Context, versions []secret.Secret) error {
	old := newestOf(versions)
	for _, v := range slices.Backward(versions) { // the last one is who goes on with what was before
		if v.Lineage.Rollout == secret.Pending {
			if err := busy(v); err != nil {
				return err
			}
			return r.resumeVersion(ctx, versions, v)
		}
	}
	if r.options.undo {
		return fmt.Errorf("no rotation of %q was cut off: there is nothing to undo", old.LogicalName())
	}
	values, err := r.options.values.read(ctx, r.host)
	if err != nil {
		return err
	}
	target, err := r.next(old, versions, values)
	if err != nil {
		return err
	}
	if err := r.seesWorkloads(ctx); err != nil {
		return err
	}
	if !old.Lineage.Known() {
		if old, err = r.number(ctx, old); err != nil {
			return err
		}
	}
	return r.toNew(ctx, versions, target)
}

// toNew makes a version and moves all to it.
func (r *rotation) toNew(ctx context.Context, versions []secret.Secret, target secret.Secret) error {
	made, err := r.Create(ctx, target)
	if errors.Is(err, endpoint.ErrTaken) {
		return fmt.Errorf("another rotation of %q is quicker, or something else has the name %q: nothing was changed", target.LogicalName(), target.Name)
	}
	if err != nil {
		return err
	}
	made.Keys, made.Created = target.Keys, time.Now()
	return r.toVersion(ctx, versions, made)
}

// seesWorkloads is asked before anything is written: whoever may not see who uses a secret changes nothing.
func (r *rotation) seesWorkloads(ctx context.Context) error {
	_, err := r.Workloads(ctx)
	return err
}

// number notes on a secret that it is the first version of itself.
func (r *rotation) number(ctx context.Context, old secret.Secret) (secret.Secret, error) {
	if !r.options.adopt && r.place.Kind == secret.Swarm {
		return old, fmt.Errorf("secretx did not make %q: --adopt takes it for the first version of itself", old.Name)
	}
	numbered := old
	numbered.Lineage = secret.Lineage{Name: old.Name, Sequence: 1}
	numbered, err := r.Update(ctx, old, numbered)
	if errors.Is(err, endpoint.ErrMoved) {
		err = tooLate(old.Name)
	}
	return numbered, err
}

// tooLate is for a secret that isn't any more what it was when it was read.
func tooLate(name string) error {
	return fmt.Errorf("another rotation of %q is quicker, or something else has changed it: nothing was changed", name)
}

// next is the version to make: what the old one is, but for the new values.
func (r *rotation) next(old secret.Secret, versions []secret.Secret, values []keyed) (secret.Secret, error) {
	name, sequence := old.LogicalName(), 1
	for _, v := range versions {
		sequence = max(sequence, v.Lineage.Sequence)
	}
	target := secret.Secret{
		Name: mapping.VersionName(name, sequence+1), Type: old.Type, Immutable: old.Immutable, Labels: old.Labels,
		Lineage: r.pending(name, sequence+1, time.Now()),
	}
	if r.place.Kind == secret.Swarm {
		if len(values) != 1 || values[0].value.Len() == 0 {
			return target, errors.New("a Swarm secret is one value, and not an empty one")
		}
		target.Keys = []secret.Key{{Name: target.Name, Value: values[0].value}}
		r.d.Secrets = []report.Rotated{{Name: name, Old: old.Name, New: target.Name}}
		return target, nil
	}
	keys, changed, err := merged(old, values)
	target.Keys = keys
	r.d.Secrets = []report.Rotated{{Name: name, Key: changed, Old: old.Name, New: target.Name}}
	return target, err
}

// merged are the keys of a Secret with new values for some of them, and the name of the one that changed, if
// it is one. Where it has but one key, a value needs no name.
func merged(old secret.Secret, values []keyed) (keys []secret.Key, changed string, err error) {
	keys = slices.Clone(old.Keys)
	for _, v := range values {
		if v.key == "" {
			if len(old.Keys) != 1 {
				return nil, "", fmt.Errorf("%q has %d keys: say which one is to change (--key, --from-file KEY=PATH)", old.Name, len(old.Keys))
			}
			v.key = old.Keys[0].Name
		}
		at := slices.IndexFunc(keys, func(k secret.Key) bool { return k.Name == v.key })
		if at < 0 {
			return nil, "", fmt.Errorf("%q has no key %q to change", old.Name, v.key)
		}
		keys[at].Value = v.value
		changed = v.key
	}
	if len(values) != 1 {
		changed = ""
	}
	return keys, changed, nil
}

// resumeVersion brings a rotation to its end that was cut off, or undoes it.
func (r *rotation) resumeVersion(ctx context.Context, versions []secret.Secret, target secret.Secret) error {
	r.d.Resumed = true
	old := newestOf(versions)
	r.d.Secrets = []report.Rotated{{Name: target.LogicalName(), Old: old.Name, New: target.Name}}
	mine := target
	mine.Lineage = r.pending(target.LogicalName(), target.Lineage.Sequence, target.Created)
	if r.options.undo {
		r.say("undoing a rotation that was cut off")
		return r.undoVersion(ctx, versions, old, target, mine)
	}
	// A value that is made at random was made by the run that was cut off. Another one is either the
	// same again, or goes on top of what that run has made.
	if r.options.values.generate == "" && (r.options.values.given() || !r.host.Terminal()) {
		values, err := r.options.values.read(ctx, r.host)
		switch {
		case err != nil && r.options.values.given():
			return err
		case err == nil:
			same, err := r.same(ctx, target, values)
			if err != nil {
				return err
			}
			if !same {
				next, err := r.next(old, versions, values)
				if err != nil {
					return err
				}
				return r.toNew(ctx, versions, next)
			}
		}
	}
	r.say("going on with a rotation that was cut off")
	taken, err := r.takeVersion(ctx, target, mine)
	if err != nil {
		return err
	}
	return r.toVersion(ctx, versions, taken)
}

// takeVersion makes a rotation that was cut off ours: of two that want to go on with it, one can.
func (r *rotation) takeVersion(ctx context.Context, target, mine secret.Secret) (secret.Secret, error) {
	taken, err := r.Update(ctx, target, mine)
	if errors.Is(err, endpoint.ErrMoved) {
		return taken, fmt.Errorf("another run goes on with the rotation of %q: nothing was changed", target.LogicalName())
	}
	taken.Keys = target.Keys
	return taken, err
}

// supersede notes of versions whose rotation was cut off, and that another one is made in place of, that
// they came to nothing.
func (r *rotation) supersede(ctx context.Context, versions []secret.Secret, by secret.Secret) error {
	for _, v := range versions {
		if v.UID == by.UID || v.Lineage.Rollout != secret.Pending {
			continue
		}
		failed := v
		failed.Lineage = secret.Lineage{Name: v.LogicalName(), Sequence: v.Lineage.Sequence, Rollout: secret.Failed}
		if _, err := r.Update(ctx, v, failed); err != nil {
			return err
		}
	}
	return nil
}

// same tells whether a version holds just these values.
func (r *rotation) same(ctx context.Context, target secret.Secret, values []keyed) (bool, error) {
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails
	wanted := map[secret.Ref]secret.Value{}
	for _, v := range values {
		key := v.key
		if r.place.Kind == secret.Swarm || key == "" && len(target.Keys) == 1 {
			key = target.Keys[0].Name
		}
		wanted[target.Ref(key)] = v.value
	}
	made, err := mirror.Digests(ctx, r, plan.Side{Place: r.place, Secrets: []secret.Secret{target}}, slices.Collect(maps.Keys(wanted)), nonce)
	if err != nil {
		return false, err
	}
	for ref, value := range wanted {
		if !made[ref].Equal(value.Digest(nonce)) {
			return false, nil
		}
	}
	return true, nil
}

// changeTo brings all versions but one to it, and from there back to where each was; what came there by a
// rollout that did not end well goes back to what was the newest before.
func changeTo(to secret.Secret, versions []secret.Secret, kind secret.Kind) rollout.Change {
	change := rollout.Change{Newest: map[string]secret.Ref{}, Before: map[string]secret.Ref{}, Instead: map[string]secret.Ref{}}
	ref := func(s secret.Secret) (key string, r secret.Ref) {
		if kind == secret.Swarm {
			return s.UID, secret.Ref{Name: s.Name, UID: s.UID}
		}
		return s.Name, secret.Ref{Name: s.Name}
	}
	key, target := ref(to)
	var before []secret.Secret
	for _, v := range versions {
		if v.UID != to.UID {
			old, _ := ref(v)
			change.Newest[old] = target
			before = append(before, v)
		}
	}
	if len(before) == 0 {
		return change
	}
	_, last := ref(newestOf(before))
	change.Before[key] = last
	for _, v := range before {
		if v.Lineage.Rollout != "" {
			bad, _ := ref(v)
			change.Instead[bad] = last
		}
	}
	return change
}

// toVersion moves all to a version, and notes on it how that ended.
func (r *rotation) toVersion(ctx context.Context, versions []secret.Secret, target secret.Secret) error {
	c, err := r.courseTo(ctx, changeTo(target, versions, r.place.Kind), target)
	if err == nil {
		err = r.supersede(ctx, versions, target)
	}
	if err == nil {
		err = r.roll(ctx, &r.d, c)
	} else {
		r.d.Judge(err)
	}
	ended := target
	ended.Lineage = secret.Lineage{Name: target.LogicalName(), Sequence: target.Lineage.Sequence}
	if err != nil {
		ended.Lineage.Rollout = secret.Failed
		if r.d.Result == report.RolloutStranded {
			return nil // it stays pending: the next run goes on
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endpoint.CallTimeout)
	defer cancel()
	if _, err := r.Update(ctx, target, ended); err != nil {
		r.d.Notes = append(r.d.Notes, fmt.Sprintf("what became of %s could not be noted on it: %s", target.Name, err))
		return nil
	}
	removed, err := r.retire(ctx, []string{target.LogicalName()})
	if err != nil {
		r.d.Notes = append(r.d.Notes, "older versions were not removed: "+err.Error())
	}
	r.d.Removed = removed
	return nil
}

// undoVersion moves all who came to the version, or to one that it was made in place of, back to the old one.
func (r *rotation) undoVersion(ctx context.Context, versions []secret.Secret, old, target, mine secret.Secret) error {
	if old.UID == target.UID {
		return fmt.Errorf("there is no older version of %q to go back to", target.LogicalName())
	}
	target, err := r.takeVersion(ctx, target, mine)
	if err != nil {
		return err
	}
	r.d.Secrets[0].Old, r.d.Secrets[0].New = target.Name, old.Name
	later := slices.DeleteFunc(slices.Clone(versions), func(v secret.Secret) bool { return v.Lineage.Sequence <= old.Lineage.Sequence })
	c, err := r.courseTo(ctx, changeTo(old, later, r.place.Kind), old)
	if err != nil {
		return err
	}
	c.stays = true
	if err := r.roll(ctx, &r.d, c); err != nil {
		return nil
	}
	at := slices.IndexFunc(versions, func(v secret.Secret) bool { return v.UID == target.UID })
	versions[at] = target
	if err := r.supersede(ctx, versions, old); err != nil {
		return err
	}
	if r.d.Removed, err = r.retire(ctx, []string{target.LogicalName()}); err != nil {
		r.d.Notes = append(r.d.Notes, "older versions were not removed: "+err.Error())
	}
	return nil
}
