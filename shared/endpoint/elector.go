package endpoint

import (
	"context"
	"time"
)

// Election is what one of several processes that do the same work takes part with.
type Election struct {
	Lease    string // the name of what is held by the one that leads
	Identity string // of this process, unlike that of any other
	// Do is the work of the one that leads. Its context ends when the lease may be lost, and it has to return soon
	// after: another one may begin then.
	Do func(context.Context)
	// Heard is told, one call at a time, of what is known of the lease whenever something is.
	Heard func(Leadership)
	// Failed is told why the lease can't be looked at, renewed or given back.
	Failed func(error)
}

// Leadership is what is known of a lease at a moment.
type Leadership struct {
	Holder  string // empty when nobody has it
	UID     string // of the object that says so
	Leading bool   // this process is the holder
	At      time.Time
}

// Elector has one of several processes lead at a time.
type Elector interface {
	// Lead takes part in an election until ctx ends: it waits for the lease, has the work done while it holds
	// it, and gives it back when the work has ended. It fails only if the work goes on after the lease was lost, when
	// the process has to end.
	Lead(ctx context.Context, e Election) error
}
