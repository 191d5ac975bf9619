package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

const (
	// backupSuffix names the Secret that keeps what another one held before a rotation, until all have
	// the new value: what a Secret held is gone once it is written to.
	backupSuffix = ".rollback"
	backupType   = secret.AnnotationPrefix + "rollback"
)

// inPlace gives a Secret of Kubernetes its new value where it stands. The backup is made first and removed
// last: as long as it stands the rotation isn't at its end, and two rotations can't both make it.
func (r *rotation) inPlace(ctx context.Context, now secret.Secret) error {
	backup, err := r.backup(ctx, now.Name)
	if err != nil {
		return err
	}
	r.d.Secrets = []report.Rotated{{Name: now.Name, Old: now.Name, New: now.Name}}
	if backup == nil {
		if r.options.undo {
			return fmt.Errorf("no rotation of %q was cut off: there is nothing to undo", now.Name)
		}
		return r.writeInPlace(ctx, now)
	}
	if err := busy(*backup); err != nil {
		return err
	}
	r.d.Resumed = true
	if backup, err = r.takeOver(ctx, *backup); err != nil {
		return err
	}
	if r.options.undo {
		r.say("undoing a rotation that was cut off")
		return r.undoInPlace(ctx, now, *backup)
	}
	written := !sameKeys(now, *backup)
	if r.options.values.given() && (r.options.values.generate == "" || !written) || !written {
		values, err := r.options.values.read(ctx, r.host)
		if err != nil {
			return err
		}
		wanted := now
		if wanted.Keys, r.d.Secrets[0].Key, err = merged(now, values); err != nil {
			return err
		}
		if !sameKeys(now, wanted) {
			if now, err = r.Update(ctx, now, wanted); err != nil {
				return err
			}
		}
	}
	r.say("going on with a rotation that was cut off")
	return r.restart(ctx, now, *backup)
}

// takeOver makes the rotation that was cut off ours: of two that want to go on with it, one can.
func (r *rotation) takeOver(ctx context.Context, backup secret.Secret) (*secret.Secret, error) {
	mine := backup
	mine.Lineage = r.pending(backup.Name, 1, backup.Created)
	taken, err := r.Update(ctx, backup, mine)
	if errors.Is(err, endpoint.ErrMoved) {
		return nil, fmt.Errorf("another run goes on with the rotation of %q: nothing was changed", r.d.Secrets[0].Name)
	}
	taken.Keys = backup.Keys
	return &taken, err
}

// backup is what a rotation that isn't at its end has kept; nil when there is none.
func (r *rotation) backup(ctx context.Context, name string) (*secret.Secret, error) {
	found, err := r.List(ctx, []string{name + backupSuffix})
	if err != nil {
		return nil, err
	}
	for _, s := range found {
		if s.Name != name+backupSuffix {
			continue
		}
		if s.Type != backupType {
			return nil, fmt.Errorf("%q is in the way: it isn't secretx's, and the old value would be kept under that name", s.Name)
		}
		return &s, nil
	}
	return nil, nil
}

func sameKeys(a, b secret.Secret) bool {
	if len(a.Keys) != len(b.Keys) {
		return false
	}
	for i, k := range a.Keys {
		if k.Name != b.Keys[i].Name || !k.Value.Equal(b.Keys[i].Value) {
			return false
		}
	}
	return true
}

func (r *rotation) writeInPlace(ctx context.Context, old secret.Secret) error {
	values, err := r.options.values.read(ctx, r.host)
	if err != nil {
		return err
	}
	wanted := old
	if wanted.Keys, r.d.Secrets[0].Key, err = merged(old, values); err != nil {
		return err
	}
	if err := r.seesWorkloads(ctx); err != nil {
		return err
	}
	backup, err := r.Create(ctx, secret.Secret{
		Name: old.Name + backupSuffix, Type: backupType, Keys: old.Keys, Lineage: r.pending(old.Name+backupSuffix, 1, time.Now()),
	})
	if errors.Is(err, endpoint.ErrTaken) {
		return fmt.Errorf("another rotation of %q is quicker: nothing was changed", old.Name)
	}
	if err != nil {
		return err
	}
	backup.Keys = old.Keys
	now := old
	if !sameKeys(old, wanted) {
		if now, err = r.Update(ctx, old, wanted); err != nil {
			if errors.Is(err, endpoint.ErrMoved) {
				err = tooLate(old.Name)
			}
			return errors.Join(err, r.drop(ctx, backup))
		}
	}
	return r.restart(ctx, now, backup)
}

// drop removes the backup: the rotation is at its end, one way or the other.
func (r *rotation) drop(ctx context.Context, backup secret.Secret) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endpoint.CallTimeout)
	defer cancel()
	backup.Version = ""
	return r.Remove(ctx, backup)
}

// restart has those make their containers anew that don't follow by themselves, and only those that don't
// have the value yet.
func (r *rotation) restart(ctx context.Context, now, backup secret.Secret) error {
	c, err := r.courseTo(ctx, rollout.Change{Written: map[string]bool{now.Name: true}}, now)
	if err == nil && len(c.steps) > 0 {
		c, err = r.stale(ctx, c)
	}
	if err != nil {
		r.d.Judge(err)
		r.d.Result = report.RolloutStranded
		r.d.Notes = append(r.d.Notes, fmt.Sprintf("%q has the new value; rotate again goes on, rotate --undo goes back", now.Name))
		return nil
	}
	c.undo = func(ctx context.Context) error { return r.putBack(ctx, now, backup) }
	if err := r.roll(ctx, &r.d, c); err != nil && r.d.Result == report.RolloutStranded {
		return nil // the backup stays, and the next run goes on
	}
	if err := r.drop(ctx, backup); err != nil {
		// As long as it stands, the next rotation takes this one for cut off, and would go back to it.
		if r.d.Result == report.RolloutDone || r.d.Result == report.RolloutUnproven {
			r.d.Result = report.RolloutPartly
		}
		r.d.Notes = append(r.d.Notes, fmt.Sprintf("the old value is still kept in %q, which has to be removed: %s", backup.Name, err))
	}
	return nil
}

// putBack gives a Secret what the backup holds, unless somebody else has given it a value meanwhile.
func (r *rotation) putBack(ctx context.Context, now, backup secret.Secret) error {
	found, err := r.List(ctx, []string{now.Name})
	if err != nil {
		return err
	}
	at := slices.IndexFunc(found, func(s secret.Secret) bool { return s.Name == now.Name })
	switch {
	case at < 0:
		return fmt.Errorf("the Secret %q is gone", now.Name)
	case sameKeys(found[at], backup):
		return nil
	case !sameKeys(found[at], now):
		return fmt.Errorf("somebody else has changed %q meanwhile: rotate --undo would put the value before the rotation back all the same", now.Name)
	}
	old := found[at]
	old.Keys = backup.Keys
	_, err = r.Update(ctx, found[at], old)
	return err
}

func (r *rotation) undoInPlace(ctx context.Context, now, backup secret.Secret) error {
	if err := r.putBack(ctx, now, backup); err != nil {
		return err
	}
	old := now
	old.Keys = backup.Keys
	c, err := r.courseTo(ctx, rollout.Change{Written: map[string]bool{now.Name: true}}, old)
	c.stays = true
	if err == nil && len(c.steps) > 0 {
		c, err = r.stale(ctx, c)
	}
	if err != nil {
		return err
	}
	if err := r.roll(ctx, &r.d, c); err != nil {
		return nil
	}
	return r.drop(ctx, backup)
}
