//go:build e2e

package swarm

import (
	"context"
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, secret.Swarm, func(t *testing.T) endpoint.Endpoint { return versioned{connect(t, Options{})} })
}

// versioned asks for the version of what was created, which the suite wants to know. The endpoint
// doesn't: nobody else needs it, and it would make creating a third slower.
type versioned struct{ *Endpoint }

func (v versioned) Create(ctx context.Context, s secret.Secret) (secret.Secret, error) {
	created, err := v.Endpoint.Create(ctx, s)
	if err != nil {
		return created, err
	}
	found, _, err := v.engine.api.SecretInspectWithRaw(ctx, created.UID)
	created.Version = version(found)
	return created, err
}
