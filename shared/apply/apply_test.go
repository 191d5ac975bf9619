package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

func value(s string) secret.Value { return secret.NewValue([]byte(s)) }

// fromSwarm plans all of a Swarm's secrets for an empty namespace.
func fromSwarm(t *testing.T, n int) (plan.Plan, *storetest.Memory, *storetest.KeyedMemory) {
	t.Helper()
	from, to := storetest.NewSwarm("swarm"), storetest.NewKubernetes("ns")
	for i := range n {
		name := fmt.Sprintf("s%02d", i)
		from.Put(secret.Secret{Name: name, Keys: []secret.Key{{Name: name, Value: value("value of " + name)}}})
	}
	var sides [2]plan.Side
	for i, e := range []endpoint.Reader{from, to} {
		var err error
		if sides[i].Place, err = e.Place(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sides[i].Secrets, err = e.List(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	p, err := plan.New(sides[0], sides[1], plan.Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	return p, from, to
}

func TestValuesAreReadInOneGo(t *testing.T) {
	p, from, to := fromSwarm(t, 50)
	told := 0
	outcomes := Run(t.Context(), p, from, to, Options{Concurrency: 4, Key: secret.NewFingerprintKey(), Each: func(Outcome) { told++ }})
	for _, o := range outcomes {
		if o.Result != Done {
			t.Errorf("%s: %s %v", o.Item.Name, o.Result, o.Err)
		}
		s, _ := to.Get(o.Item.Name)
		if k, _ := s.Key(o.Item.Name); string(k.Value.Reveal()) != "value of "+o.Item.Name {
			t.Errorf("%s has another value", o.Item.Name)
		}
		if part, _ := s.Mark.Part(o.Item.Name); part.Fingerprint == "" {
			t.Errorf("%s has no fingerprint", o.Item.Name)
		}
	}
	if n := from.Calls(storetest.Values); n != 1 || told != 50 {
		t.Errorf("%d reads, %d outcomes told", n, told)
	}
}

func TestNoMoreThanTheConcurrency(t *testing.T) {
	p, from, to := fromSwarm(t, 40)
	var now, most atomic.Int32
	to.Before(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Create {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		}
		return nil
	})
	to.After(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Create {
			now.Add(-1)
		}
		return nil
	})
	Run(t.Context(), p, from, to, Options{Concurrency: 3})
	if most.Load() > 3 {
		t.Errorf("%d at a time", most.Load())
	}
}

func TestAnUnreadableOriginFailsAlone(t *testing.T) {
	p, from, to := fromSwarm(t, 5)
	read := &partly{Memory: from, lost: "s03"}
	outcomes := Run(t.Context(), p, read, to, Options{Concurrency: 2})
	for _, o := range outcomes {
		switch {
		case o.Item.Name != "s03" && o.Result != Done:
			t.Errorf("%s: %s %v", o.Item.Name, o.Result, o.Err)
		case o.Item.Name == "s03" && (o.Result != Failed || !errors.Is(o.Err, endpoint.ErrMoved) || strings.Contains(o.Err.Error(), "unrelated")):
			t.Errorf("%s: %s %v", o.Item.Name, o.Result, o.Err)
		}
	}
	if names := to.Names(); len(names) != 4 {
		t.Errorf("%q", names)
	}
}

// partly reads all but one secret, as the probe does.
type partly struct {
	*storetest.Memory
	lost string
}

func (p *partly) Values(ctx context.Context, refs []secret.Ref, each func(secret.Ref, secret.Value) error) error {
	var left []secret.Ref
	for _, r := range refs {
		if r.Name != p.lost {
			left = append(left, r)
		}
	}
	if err := p.Memory.Values(ctx, left, each); err != nil {
		return err
	}
	return errors.Join(
		&endpoint.Error{Op: "read secret", Object: "unrelated", Reason: endpoint.ErrProbe},
		&endpoint.Error{Op: "read secret", Object: p.lost, Reason: endpoint.ErrMoved},
	)
}

func TestTooLargeTogetherIsFoundBeforeItIsWritten(t *testing.T) {
	p, from, to := fromSwarm(t, 1)
	p.Items[0].Desired.Keys[0].Value = secret.NewValue(make([]byte, 1<<20+1))
	o := Run(t.Context(), p, from, to, Options{Concurrency: 1})[0]
	if o.Result != Failed || !strings.Contains(o.Err.Error(), "larger") || to.Calls(storetest.Create) != 0 {
		t.Errorf("%s %v", o.Result, o.Err)
	}
}

func TestCancelledBeforeItBegan(t *testing.T) {
	p, from, to := fromSwarm(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range Run(ctx, p, from, to, Options{Concurrency: 1}) {
		if o.Result != Interrupted {
			t.Errorf("%s", o.Result)
		}
	}
	if len(to.Names()) != 0 {
		t.Error("something was written")
	}
}
