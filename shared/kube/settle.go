package kube

import (
	"context"
	"errors"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
)

const (
	// interval is how often those who wait look, at most.
	interval = 500 * time.Millisecond
	// outage is how long the API server may not answer: one that is restarted takes so long.
	outage = 30 * time.Second
)

// Settle implements rollout.Mover. It looks at what stands, not at what happens, so that it may be begun
// at any time, and anew. Pods that are being deleted aren't waited for, as `kubectl rollout status`
// doesn't: some take an hour to finish what they are at. What runs on a schedule, or has no pods, settles
// at once.
func (e *Endpoint) Settle(ctx context.Context, moved rollout.Moved, say func(string)) error {
	const op = "wait for"
	w := moved.Step.Workload
	c, err := e.connect()
	if err != nil {
		return err
	}
	what, _, err := c.movable(op, w)
	if err != nil || !what.in(restartableKinds) {
		return err
	}
	written, err := parseToken(moved.Token)
	if err != nil {
		return &endpoint.Error{Op: op, Object: w.ID, Place: c.place, Reason: endpoint.ErrInvalid, Cause: err}
	}
	s := settling{step: moved.Step, written: written, nothing: moved.Nothing, first: map[string]time.Time{}}
	defer e.waiting.Join(what.plural)()
	seen, said := time.Now(), ""
	answered := seen
	for {
		v, err := e.waiting.See(ctx, what.plural, seen, c.view)
		switch {
		case ctx.Err() != nil:
			return c.unsettled(ctx, op, w, said)
		case err != nil:
			failure := c.fail(ctx, op, w.ID, err)
			bearable := passing(err) || errors.Is(failure, endpoint.ErrUnreachable)
			if !bearable || time.Since(answered) > outage {
				return failure
			}
			if pause(ctx, interval) != nil {
				return c.unsettled(ctx, op, w, said)
			}
			continue
		}
		answered = time.Now()
		o := v.Shown.object(what, types.UID(w.UID))
		if o == nil {
			return c.gone(op, w)
		}
		progress, done, err := s.judge(o, answered)
		if failure := (*endpoint.Error)(nil); errors.As(err, &failure) {
			failure.Op, failure.Object, failure.Place = op, w.ID, c.place
		}
		if done || err != nil {
			return err
		}
		if progress != said && say != nil {
			say(w.ID + ": " + progress)
		}
		said = progress
		if pod := s.inTheWay(o, answered); pod != nil {
			if err := c.clear(ctx, w, pod, say); err != nil && (len(s.step.Replace) > 0 || !errors.Is(err, endpoint.ErrForbidden)) {
				return err
			}
			// Without the right to, there is hope yet where the Secret has its name still: the container is
			// started again with what that has by now.
			delete(s.first, string(pod.UID))
		}
		seen = v.Began
		if pause(ctx, max(interval, 2*v.Took)) != nil {
			return c.unsettled(ctx, op, w, said)
		}
	}
}

// clear deletes a broken pod that its own StatefulSet waits for.
func (c *connection) clear(ctx context.Context, w rollout.Workload, pod *corev1.Pod, say func(string)) error {
	uid := pod.UID
	var deleted corev1.Pod
	_, err := c.send(ctx, func() *rest.Request {
		return c.request(http.MethodDelete, podKind).Name(pod.Name).Body(&metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	}, &deleted)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // another one has its name by now
		return nil
	case err != nil:
		return c.fail(ctx, "delete the broken pod", pod.Name, err)
	}
	if say != nil {
		say(w.ID + ": pod " + pod.Name + " is broken and of an earlier template, and would be waited for: it was deleted")
	}
	return nil
}

// unsettled is the error of a workload that nobody waits for any more.
func (c *connection) unsettled(ctx context.Context, op string, w rollout.Workload, said string) error {
	failure := &endpoint.Error{Op: op, Object: w.ID, Place: c.place, Cause: ctx.Err()}
	if said != "" {
		failure.Hint = "What was seen last: " + said + "."
	}
	return failure
}
