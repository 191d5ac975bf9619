package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
)

const (
	// moveTries is how often an object may change under our hands before we give up: each time somebody
	// else has changed its spec within the milliseconds between our read and our write.
	moveTries = 20
	// movePause is between two tries.
	movePause = 50 * time.Millisecond
)

// movableKinds are those that a step can be carried out on, and restartableKinds those of them that make
// pods anew when their template changes.
var (
	movableKinds     = []kind{deploymentKind, statefulSetKind, daemonSetKind, cronJobKind, ingressKind, serviceAccountKind}
	restartableKinds = movableKinds[:3]
)

// Move implements rollout.Mover. It writes a JSON patch that holds for the very spec that was read: a
// strategic merge patch would not, and it replaces whole lists that have no keys to merge by, as envFrom
// and the sources of a projected volume. All else stays as it is to the last byte.
//
// With an error, Moved.Nothing tells that certainly nothing was written, so that there is nothing to take back.
func (e *Endpoint) Move(ctx context.Context, step rollout.Step) (rollout.Moved, error) {
	const op = "update"
	moved := rollout.Moved{Step: step, Nothing: true}
	c, err := e.connect()
	if err != nil {
		return moved, err
	}
	what, name, err := c.movable(op, step.Workload)
	if err != nil {
		return moved, err
	}
	var (
		stamp   string // what it is restarted by
		refused error
		at      string // the state of the object that the patch was refused for
	)
	for try := range moveTries {
		if try > 0 && pause(ctx, movePause) != nil {
			break
		}
		now, err := c.referrer(ctx, what, name)
		if err != nil || !now.is(step.Workload) {
			return moved, c.failMove(ctx, op, step.Workload, err)
		}
		if stamp == "" && step.Restart && what.in(restartableKinds) {
			stamp = now.nextStamp(time.Now())
		}
		patch := now.patch(step, stamp)
		switch {
		case len(patch) == 0:
			moved.Token = token{now.Metadata.Generation, stamp}.String()
			return moved, nil
		case now.Spec.Paused && moved.Nothing:
			return moved, &rollout.Stuck{Workload: step.Workload.ID, Why: "it is paused: run kubectl rollout resume " + step.Workload.ID + " first"}
		case refused != nil && at == now.state():
			return moved, c.fail(ctx, op, step.Workload.ID, refused)
		}
		generation, maybe, err := c.patchObject(ctx, what, name, append(now.guard(), patch...))
		moved.Nothing = moved.Nothing && !maybe
		switch {
		case err == nil:
			moved.Token = token{generation, stamp}.String()
			return moved, nil
		case apierrors.IsInvalid(err): // a test failed, or what it would become isn't valid: the next read tells
			refused, at = err, now.state()
		case !apierrors.IsConflict(err):
			return moved, c.failMove(ctx, op, step.Workload, err)
		}
	}
	if ctx.Err() != nil {
		return moved, c.fail(ctx, op, step.Workload.ID, ctx.Err())
	}
	return moved, &endpoint.Error{
		Op: op, Object: step.Workload.ID, Place: c.place, Reason: endpoint.ErrMoved,
		Cause: fmt.Errorf("somebody else changed it each of the %d times between reading and writing it", moveTries),
		Hint:  "Find out who keeps updating it (kubectl get " + step.Workload.ID + " -o yaml --show-managed-fields), then try again.",
	}
}

// movable says which object a workload is.
func (c *connection) movable(op string, w rollout.Workload) (kind, string, error) {
	what, name, _ := strings.Cut(w.ID, "/")
	i := slices.IndexFunc(movableKinds, func(k kind) bool { return strings.ToLower(k.kind) == what })
	if i < 0 || !askable(name) {
		return kind{}, "", &endpoint.Error{Op: op, Object: w.ID, Place: c.place, Reason: endpoint.ErrInvalid, Cause: errors.New("its references can't be changed")}
	}
	return movableKinds[i], name, nil
}

func (k kind) in(kinds []kind) bool {
	return slices.ContainsFunc(kinds, func(other kind) bool { return k.plural == other.plural && k.group == other.group })
}

// failMove is the error of a workload that can't be read or written, or, without one, that is another.
func (c *connection) failMove(ctx context.Context, op string, w rollout.Workload, err error) error {
	if err == nil || apierrors.IsNotFound(err) {
		return c.gone(op, w)
	}
	return c.fail(ctx, op, w.ID, err)
}

// gone is the error of a workload that was removed, or removed and made anew.
func (c *connection) gone(op string, w rollout.Workload) error {
	return &endpoint.Error{
		Op: op, Object: w.ID, Place: c.place, Reason: endpoint.ErrNotFound, Cause: errors.New("it was removed"),
		Hint: "If it was made anew, try again.",
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
