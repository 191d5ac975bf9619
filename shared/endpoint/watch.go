package endpoint

import "context"

// Change is what a watch has seen of one secret.
type Change struct {
	// Name is that of the secret; empty when anything may have changed.
	Name string
	// UID and Version are what it has now, as far as the watch tells.
	UID, Version string
}

// Watcher tells of changes as they happen, without anybody asking again and again.
type Watcher interface {
	// Watch tells of each secret that is made, changed or removed, until ctx ends; with names, it may leave out
	// all others. It begins with a Change without a name, from which on nothing is missed, and gives
	// another one whenever it may have missed something. When the endpoint can't be reached it says why to
	// failed, and goes on when it can be again. Neither function is called by two at a time.
	Watch(ctx context.Context, names []string, each func(Change), failed func(error))
}
