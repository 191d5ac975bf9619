package endpoint

import (
	"context"
	"time"
)

// Notice is what is told of an object of Kubernetes to whoever looks at it there, as one Event.
type Notice struct {
	Kind, Object, UID string // of the object: Secret or Lease; the UID may not be known
	Warning           bool
	Reason, Action    string // each a word
	Text              string
	By                string // the process
	// First is when it happened first, Last when it did so for the last time, and Count how often.
	First, Last time.Time
	Count       int
}

// Announcer tells of what happens by Events of Kubernetes.
type Announcer interface {
	// Announce makes an Event, or tells that one goes on where Count is more than 1.
	Announce(ctx context.Context, n Notice) error
}
