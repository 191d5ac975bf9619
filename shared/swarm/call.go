package swarm

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// once makes one API call within its deadline.
func once[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, endpoint.CallTimeout)
	defer cancel()
	return call(ctx)
}

// pauses are how long to wait before a call is tried again: an election of a leader takes some
// seconds.
var pauses = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 2500 * time.Millisecond}

// again makes an API call that changes nothing, and makes it again while the failure may pass.
func again[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	for _, pause := range pauses {
		result, err := once(ctx, call)
		if err == nil || !passing(err) || sleep(ctx, pause) != nil {
			return result, err
		}
	}
	return once(ctx, call)
}

// sleep waits for about the given time, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing tells whether a failure may be gone when the call is made again. An engine that restarts says
// for a while that it is no manager; that this one is was seen when it was connected to.
func passing(err error) bool {
	if lost(err) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "does not have a leader") || strings.Contains(text, "code = Unavailable") ||
		strings.Contains(text, "code = Aborted") || cerrdefs.IsUnavailable(err)
}

// lost tells whether a connection broke, so that nobody knows what became of the request.
func lost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// doubtful tells whether a change may have happened although its call failed.
func doubtful(err error) bool {
	return lost(err) || passing(err) || errors.Is(err, context.DeadlineExceeded)
}

// stale: somebody else has changed the object since it was read.
func stale(err error) bool { return strings.Contains(err.Error(), "update out of sequence") }

// missingSecret: what was to be written refers to a secret that isn't there.
func missingSecret(err error) bool {
	text := err.Error()
	return strings.Contains(text, "secret not found") || strings.Contains(text, "secrets not found")
}

// fail makes the error of an endpoint out of one of the client's. What the API said goes through
// the redactor with the values that it was told.
func (e *Endpoint) fail(ctx context.Context, op, object string, err error, values ...secret.Value) *endpoint.Error {
	failure := &endpoint.Error{Op: op, Object: object, Place: e.name}
	if ctx.Err() != nil {
		failure.Cause = endpoint.Ended(ctx)
		return failure
	}
	if typed := (*endpoint.Error)(nil); errors.As(err, &typed) {
		return typed
	}
	text := secret.Redact(oneLine(err.Error()), values...)
	failure.Reason, failure.Hint = reason(err, text)
	failure.Cause = errors.New(text)
	switch {
	case errors.Is(failure, endpoint.ErrUnreachable) && errors.Is(err, context.DeadlineExceeded):
		failure.Cause = errors.New("no answer within " + endpoint.CallTimeout.String())
	case errors.Is(failure, endpoint.ErrTaken):
		failure.Cause = nil // says the same, less well
	}
	return failure
}

// reason finds what the callers act upon. Engine 20.10 answers many a refusal with a plain 500, so
// that only its text tells.
func reason(err error, text string) (reason error, hint string) {
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("is in use by the following service"):
		return endpoint.ErrInUse, ""
	case has("update out of sequence"):
		return endpoint.ErrMoved, ""
	case has("not a swarm manager"):
		return endpoint.ErrNotManager, "Talk to a manager (docker context, DOCKER_HOST)."
	case has("permission denied while trying to connect"):
		return endpoint.ErrForbidden, "This user may not use the engine's socket."
	case cerrdefs.IsAlreadyExists(err), cerrdefs.IsConflict(err), has("already exists"), has("AlreadyExists"), has("name conflicts with an existing object"):
		return endpoint.ErrTaken, ""
	case cerrdefs.IsPermissionDenied(err), cerrdefs.IsUnauthorized(err):
		return endpoint.ErrForbidden, ""
	case cerrdefs.IsNotFound(err):
		return endpoint.ErrNotFound, ""
	case cerrdefs.IsInvalidArgument(err), has("code = InvalidArgument"):
		return endpoint.ErrInvalid, ""
	case client.IsErrConnectionFailed(err), lost(err), errors.Is(err, context.DeadlineExceeded):
		return endpoint.ErrUnreachable, "Is the engine running, and is this the right Docker context?"
	}
	return nil, ""
}

// oneLine takes what is the same in each message out of it, and its line breaks.
func oneLine(text string) string {
	text = strings.TrimPrefix(text, "Error response from daemon: ")
	if rest, found := strings.CutPrefix(text, "rpc error: code = "); found {
		if _, description, found := strings.Cut(rest, " desc = "); found {
			text = description
		}
	}
	text = strings.TrimSuffix(text, " Is the docker daemon running?") // the hint asks that
	return strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
}
