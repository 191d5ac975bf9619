//go:build e2e

package swarm

import (
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, secret.Swarm, func(t *testing.T) endpoint.Endpoint { return connect(t, Options{}) })
}
