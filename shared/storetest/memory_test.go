package storetest_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

func TestContract(t *testing.T) {
	t.Run("swarm", func(t *testing.T) {
		storetest.Run(t, secret.Swarm, func(*testing.T) endpoint.Endpoint { return storetest.NewSwarm("test") })
	})
	t.Run("kubernetes", func(t *testing.T) {
		storetest.Run(t, secret.Kubernetes, func(*testing.T) endpoint.Endpoint { return storetest.NewKubernetes("test") })
	})
}

func TestOnlyKubernetesKeepsAKey(t *testing.T) {
	if _, is := endpoint.Endpoint(storetest.NewSwarm("a")).(endpoint.Keeper); is {
		t.Error("a Swarm is a Keeper")
	}
}

func TestHooksAndCounts(t *testing.T) {
	m := storetest.NewKubernetes("a")
	one := secret.Secret{Name: "one", Type: secret.Opaque}
	refused := errors.New("refused")
	m.Before(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Create && slices.Contains(c.Names, "one") {
			m.Put(secret.Secret{Name: "two"}) // a hook may use the endpoint
			return refused
		}
		return nil
	})
	if _, err := m.Create(t.Context(), one); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if names := m.Names(); !slices.Equal(names, []string{"two"}) {
		t.Fatal(names)
	}
	m.Before(nil)
	lost := errors.New("the answer was lost")
	m.After(func(context.Context, storetest.Call) error { return lost })
	if _, err := m.Create(t.Context(), one); !errors.Is(err, lost) {
		t.Fatal(err)
	}
	if _, there := m.Get("one"); !there {
		t.Error("the write itself was lost")
	}
	if n := m.Calls(storetest.Create); n != 2 {
		t.Errorf("%d creates", n)
	}
}

func TestPutIsSomebodyElse(t *testing.T) {
	for _, m := range []*storetest.Memory{storetest.NewSwarm("a"), storetest.NewKubernetes("a").Memory} {
		place, _ := m.Place(t.Context())
		value := func(b string) []secret.Key { return []secret.Key{{Name: "s", Value: secret.NewValue([]byte(b))}} }
		before := m.Put(secret.Secret{Name: "s", Keys: value("1")})
		after := m.Put(secret.Secret{Name: "s", Keys: value("2"), Damaged: "so"})
		if same := before.UID == after.UID; same != (place.Kind == secret.Kubernetes) {
			t.Errorf("%s: overwritten, UID the same: %v", place.Kind, same)
		}
		if got, _ := m.Get("s"); got.Version == before.Version || string(got.Keys[0].Value.Reveal()) != "2" || got.Damaged != "so" {
			t.Errorf("%s: %+v", place.Kind, got)
		}
	}
}
