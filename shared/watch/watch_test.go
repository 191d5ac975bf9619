package watch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
	"github.com/secretx/secretx/shared/watch"
)

func put(m *storetest.Memory, name string, pairs ...string) {
	s := secret.Secret{Name: name, Type: secret.Opaque}
	for i := 0; i < len(pairs); i += 2 {
		s.Keys = append(s.Keys, secret.Key{Name: pairs[i], Value: secret.NewValue([]byte(pairs[i+1]))})
	}
	secret.SortKeys(s.Keys)
	m.Put(s)
}

// start runs a loop until the test ends, and waits until it has compared everything.
func start(t *testing.T, from, to endpoint.Endpoint, wanted ...mirror.Wanted) (compared, failures *atomic.Int32) {
	t.Helper()
	compared, failures = &atomic.Int32{}, &atomic.Int32{}
	ctx, cancel := context.WithCancel(context.Background())
	loop := watch.New(&mirror.Pair{From: from, To: to, Wanted: wanted}, watch.Options{
		Concurrency: 4, Resync: time.Hour,
		Tell: func(e watch.Event) {
			switch {
			case e.Kind == watch.Compared:
				compared.Add(1)
			case e.Kind == watch.Failure, e.Kind == watch.Write && e.Outcome.Result != apply.Done:
				failures.Add(1)
			}
		},
	})
	over := make(chan struct{})
	go func() { defer close(over); _ = loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-over:
		case <-time.After(10 * time.Second):
			t.Error("the loop goes on after its context has ended")
		}
	})
	until(t, "everything is compared", func() bool { return compared.Load() > 0 && loop.Synced() && loop.Waiting() == 0 })
	return compared, failures
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

func has(m *storetest.Memory, name, key, value string) bool {
	s, _ := m.Get(name)
	k, ok := s.Key(key)
	return ok && string(k.Value.Reveal()) == value
}

func all() mirror.Wanted { return mirror.Wanted{Options: plan.Options{All: true}} }

// TestChanges: what changes at either end is brought in line, and nothing else is looked at for it.
func TestChanges(t *testing.T) {
	from, to := storetest.NewKubernetes("ns"), storetest.NewSwarm("swarm")
	for i := range 50 {
		put(from.Memory, fmt.Sprintf("s%02d", i), "k", "one")
	}
	compared, _ := start(t, from, to, all())
	until(t, "all are mirrored", func() bool { return len(to.Names()) == 50 })
	var lists atomic.Int32
	whole := func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.List && (len(c.Names) == 0 || len(c.Names) > 4) {
			lists.Add(1)
		}
		return nil
	}
	from.Before(whole)
	to.Before(whole)

	put(from.Memory, "s07", "k", "two")
	until(t, "a new version stands", func() bool { return has(to, "s07.k.v2", "s07.k.v2", "two") })
	put(from.Memory, "s07", "k", "three")
	until(t, "another one stands", func() bool { return has(to, "s07.k.v3", "s07.k.v3", "three") })
	put(from.Memory, "new", "a", "1", "b", "2")
	until(t, "a new secret is mirrored", func() bool { return has(to, "new.a", "new.a", "1") && has(to, "new.b", "new.b", "2") })
	to.Delete("s09.k")
	until(t, "a mirror that was removed is made anew", func() bool { return has(to, "s09.k", "s09.k", "one") })
	// Written without a change: no version more.
	put(from.Memory, "s10", "k", "one")
	put(from.Memory, "s11", "k", "end")
	until(t, "the last is there", func() bool { return has(to, "s11.k.v2", "s11.k.v2", "end") })
	if slices.Contains(to.Names(), "s10.k.v2") || slices.Contains(to.Names(), "s07.k.v4") {
		t.Errorf("a doubled version among %q", to.Names())
	}
	if n := lists.Load(); n > 0 || compared.Load() > 2 {
		t.Errorf("%d whole lists for single changes, and %d comparisons of everything", n, compared.Load())
	}
}

func TestPruneAndOrphans(t *testing.T) {
	for _, prune := range []bool{false, true} {
		from, to := storetest.NewKubernetes("ns"), storetest.NewSwarm("swarm")
		put(from.Memory, "a", "k", "one")
		put(from.Memory, "b", "k", "one")
		start(t, from, to, mirror.Wanted{Options: plan.Options{All: true, Prune: prune}})
		until(t, "both are mirrored", func() bool { return len(to.Names()) == 2 })
		from.Delete("a")
		put(from.Memory, "b", "k", "two")
		until(t, "the change is mirrored", func() bool { return has(to, "b.k.v2", "b.k.v2", "two") })
		if prune {
			until(t, "the orphan is removed", func() bool { return !slices.Contains(to.Names(), "a.k") })
		} else if !slices.Contains(to.Names(), "a.k") {
			t.Error("an orphan was removed that nobody wanted removed")
		}
	}
}

func TestToKubernetes(t *testing.T) {
	from, to := storetest.NewSwarm("swarm"), storetest.NewKubernetes("ns")
	put(from, "a", "a", "one")
	put(from, "b", "b", "one")
	put(from, "c", "c", "one")
	start(t, from, to, mirror.Wanted{Name: "each", Options: plan.Options{Names: []string{"a", "later"}}},
		mirror.Wanted{Name: "together", Options: plan.Options{Names: []string{"b", "c"}, Rules: mapping.Rules{Into: "both"}}})
	until(t, "all are mirrored", func() bool {
		return has(to.Memory, "a", "a", "one") && has(to.Memory, "both", "b", "one") && has(to.Memory, "both", "c", "one")
	})
	put(from, "c", "c", "two")
	until(t, "one of several in a mirror follows", func() bool { return has(to.Memory, "both", "c", "two") && has(to.Memory, "both", "b", "one") })
	put(to.Memory, "a", "a", "tampered")
	until(t, "what was overwritten without a mark is left alone", func() bool { return has(to.Memory, "a", "a", "tampered") })
	put(from, "later", "later", "value")
	until(t, "what comes later is mirrored", func() bool { return has(to.Memory, "later", "later", "value") })
}

// TestDrift: what somebody changed of a mirror is set right.
func TestDrift(t *testing.T) {
	from, to := storetest.NewKubernetes("ns"), storetest.NewKubernetes("copy")
	put(from.Memory, "a", "k", "one")
	start(t, from, to, all())
	until(t, "it is mirrored", func() bool { return has(to.Memory, "a", "k", "one") })
	s, _ := to.Get("a")
	s.Keys[0].Value = secret.NewValue([]byte("another"))
	to.Put(s)
	until(t, "it is set right", func() bool { return has(to.Memory, "a", "k", "one") })
}

// TestNeighbours: what others mirror into the same Swarm, from another namespace or under other names, isn't asked
// for: a Role by names allows no look at it.
func TestNeighbours(t *testing.T) {
	named := func(name string) mirror.Wanted { return mirror.Wanted{Options: plan.Options{Names: []string{name}}} }
	for what, wanted := range map[string]mirror.Wanted{"by name": named("mine"), "all": all()} {
		t.Run(what, func(t *testing.T) {
			ours, theirs, to := storetest.NewKubernetes("ns"), storetest.NewKubernetes("another"), storetest.NewSwarm("swarm")
			beside := storetest.NewKubernetes("ns") // the same namespace, as somebody else sees it
			put(ours.Memory, "mine", "k", "one")
			put(beside.Memory, "beside", "k", "one")
			put(theirs.Memory, "yours", "k", "one")
			var asked atomic.Value
			asked.Store("")
			ours.Before(func(_ context.Context, c storetest.Call) error {
				if c.Op == storetest.List && slices.ContainsFunc(c.Names, func(n string) bool { return n == "yours" || n == "beside" && what != "all" }) {
					asked.Store(fmt.Sprintf("%q", c.Names))
				}
				return nil
			})
			start(t, ours, to, wanted)
			until(t, "ours is mirrored", func() bool { return has(to, "mine.k", "mine.k", "one") })
			start(t, theirs, to, all())
			start(t, beside, to, named("beside"))
			until(t, "a neighbour is mirrored", func() bool { return has(to, "beside.k", "beside.k", "one") })
			put(theirs.Memory, "yours", "k", "two")
			until(t, "theirs is mirrored", func() bool { return has(to, "yours.k.v2", "yours.k.v2", "two") })
			put(ours.Memory, "mine", "k", "two")
			until(t, "ours is mirrored again", func() bool { return has(to, "mine.k.v2", "mine.k.v2", "two") })
			if names := asked.Load(); names != "" {
				t.Errorf("it asked for %s", names)
			}
		})
	}
}

// TestOutage: what happened while the watches were cut off, and while nothing could be written, is caught up
// with, and nothing is written twice.
func TestOutage(t *testing.T) {
	from, to := storetest.NewKubernetes("ns"), storetest.NewSwarm("swarm")
	for i := range 20 {
		put(from.Memory, fmt.Sprintf("s%02d", i), "k", "one")
	}
	_, failures := start(t, from, to, all())
	until(t, "all are mirrored", func() bool { return len(to.Names()) == 20 })
	from.Break(func() {
		put(from.Memory, "s03", "k", "two")
		put(from.Memory, "s03", "k", "three")
	})
	until(t, "what was missed is caught up with", func() bool { return has(to, "s03.k.v2", "s03.k.v2", "three") })

	away := &endpoint.Error{Op: "call", Reason: endpoint.ErrUnreachable, Cause: errors.New("no route")}
	to.Before(func(context.Context, storetest.Call) error { return away })
	put(from.Memory, "s04", "k", "two")
	put(from.Memory, "s05", "k", "two")
	until(t, "writes fail", func() bool { return failures.Load() > 2 })
	put(from.Memory, "s05", "k", "three")
	to.Before(nil)
	until(t, "they are made up for", func() bool {
		return has(to, "s04.k.v2", "s04.k.v2", "two") && (has(to, "s05.k.v2", "s05.k.v2", "three") || has(to, "s05.k.v3", "s05.k.v3", "three"))
	})
	// A write whose answer is lost.
	var lost atomic.Bool
	to.After(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Create && lost.CompareAndSwap(false, true) {
			return away
		}
		return nil
	})
	put(from.Memory, "s06", "k", "two")
	until(t, "it stands", func() bool { return has(to, "s06.k.v2", "s06.k.v2", "two") })
	put(from.Memory, "s07", "k", "end")
	until(t, "the last stands", func() bool { return has(to, "s07.k.v2", "s07.k.v2", "end") })
	time.Sleep(500 * time.Millisecond) // longer than the first pauses
	for _, name := range to.Names() {
		if strings.HasSuffix(name, ".v3") && !strings.HasPrefix(name, "s05") {
			t.Errorf("%s is a doubled version", name)
		}
	}
}
