package endpoint

import (
	"context"
	"errors"
	"fmt"
)

// Why a call failed, for errors.Is. Each is a cause that some caller acts upon; everything else is
// just reported.
var (
	ErrUnreachable = errors.New("can't be reached")
	ErrForbidden   = errors.New("not allowed")
	ErrNotFound    = errors.New("not found")
	ErrTaken       = errors.New("the name is taken")
	ErrMoved       = errors.New("changed in the meantime")
	ErrInUse       = errors.New("in use")
	ErrInvalid     = errors.New("not accepted")
	ErrNotManager  = errors.New("not a Swarm manager")
	ErrProbe       = errors.New("the probe could not read")
)

// Error says what was tried, on what, why it failed and what to do next.
type Error struct {
	Op     string // what was tried: "create secret"
	Object string // on which object, empty for the endpoint as a whole
	Place  string // where: "swarm", "kubernetes:/default"
	Reason error  // one of the above, nil when none fits
	Cause  error  // what the API said, without values; may be nil
	Hint   string // what to do next, a whole sentence; may be empty
}

// Error gives one line: the operation, the object, the place, the cause.
func (e *Error) Error() string {
	text := e.Op
	if e.Object != "" {
		text += fmt.Sprintf(" %q", e.Object)
	}
	if e.Place != "" {
		text += " at " + e.Place
	}
	if e.Reason != nil {
		text += ": " + e.Reason.Error()
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	if e.Hint != "" {
		text += ". " + e.Hint
	}
	return text
}

// Unwrap lets errors.Is find the reason and the cause.
func (e *Error) Unwrap() []error {
	var all []error
	if e.Reason != nil {
		all = append(all, e.Reason)
	}
	if e.Cause != nil {
		all = append(all, e.Cause)
	}
	return all
}

// Ended says why a context has: of a time limit, which it was; otherwise context.Canceled.
func Ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return ctx.Err()
}
