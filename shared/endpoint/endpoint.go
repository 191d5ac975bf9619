// Package endpoint says what a place that holds secrets is: how it is addressed, what it can do,
// and how it fails. It imports secret and the standard library, so that whoever plans or applies
// needs no API client.
package endpoint

import (
	"context"
	"time"

	"github.com/secretx/secretx/shared/secret"
)

// Place is one endpoint as it was found at the other end of a connection.
type Place struct {
	Kind secret.Kind
	// Identity stays the same whoever looks and however the endpoint was addressed: the ID of the
	// Swarm's cluster, or the UID of the namespace, behind the kind and a colon.
	Identity string
	// Name is what to call it in messages: swarm:prod, kubernetes:/default.
	Name string
	// Namespace is that of a Kubernetes endpoint, empty for a Swarm.
	Namespace string
}

// Reader looks at the secrets of one endpoint. Every call ends within the deadline of its context
// and fails with an *Error.
type Reader interface {
	// Place connects, if need be, and says where it is.
	Place(ctx context.Context) (Place, error)
	// List gives the secrets in no order, with their values where the API shows them. With names,
	// it may leave out all others, but it need not. A name that isn't there is not an error.
	List(ctx context.Context, names []string) ([]secret.Secret, error)
	// Values reads values and hands each over as it arrives, one call at a time, in no order. A
	// secret that is gone, or that was replaced (another UID), is ErrMoved. When it returns an
	// error some values may have been handed over already.
	Values(ctx context.Context, refs []secret.Ref, each func(secret.Ref, secret.Value) error) error
	// Digests gives each value's HMAC-SHA-256 under the nonce, made as close to the value as can
	// be; values don't travel for it.
	Digests(ctx context.Context, refs []secret.Ref, nonce []byte) (map[secret.Ref]secret.Digest, error)
}

// Writer changes the secrets of one endpoint. Each call writes one object whole or not at all.
type Writer interface {
	// Create makes a new secret with its mark; a name that is taken is ErrTaken, whoever took it.
	// All values are known. The result has no Version where the API doesn't tell it: to ask would
	// take as long as the next Create, and List shows it.
	Create(ctx context.Context, s secret.Secret) (secret.Secret, error)
	// Update brings the existing secret old to what s says, and fails with ErrMoved when old has
	// another UID or Version by now. In a Swarm only marks and labels can be updated, and s.Keys is
	// not looked at; in Kubernetes keys that s doesn't have are removed, whoever wrote them.
	Update(ctx context.Context, old, s secret.Secret) (secret.Secret, error)
	// Remove deletes exactly this object: ErrMoved when it was replaced, ErrInUse when something
	// needs it, nil when it is gone already.
	Remove(ctx context.Context, s secret.Secret) error
}

// Endpoint reads and writes.
type Endpoint interface {
	Reader
	Writer
}

// Keeper keeps the installation key of an endpoint, beside the secrets: Kubernetes does.
type Keeper interface {
	// FingerprintKey reads the key, or makes it where there is none and create is set. Where there
	// is none, or it may not be read, the result is not Known, and no error; with create set, a key
	// that may not be made or read is ErrForbidden, and the caller can do without.
	FingerprintKey(ctx context.Context, create bool) (secret.FingerprintKey, error)
}

// CallTimeout bounds one API call.
const CallTimeout = 30 * time.Second
