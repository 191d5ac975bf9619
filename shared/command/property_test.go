package command

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

// Whatever was done by hand on both sides, one sync that may do everything brings them in line, and
// a second one finds nothing to do.
func TestSyncConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		from := rapid.SampledFrom([]string{"swarm", "kubernetes"}).Draw(rt, "from")
		to := rapid.SampledFrom([]string{"swarm:other", "kubernetes:/other"}).Draw(rt, "to")
		everything := []string{"--all", "--from", from, "--to", to}
		sync := append([]string{"sync", "--prune", "--force", "--yes", "--concurrency", "3"}, everything...)
		for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
			for range rapid.IntRange(0, 6).Draw(rt, "edits") {
				side := rapid.SampledFrom([]string{from, to}).Draw(rt, "side")
				edit(rt, w.endpoints[side], side)
			}
			if rapid.Bool().Draw(rt, "only some") {
				_, _ = w.run(append([]string{"sync"}, everything...)...)
			}
			if _, code := w.run(sync...); code == ExitUsage {
				rt.Fatalf("sync: exit %d: %s\n%s", code, &w.err, &w.out)
			}
			d, code := w.run(append([]string{"diff", "--prove"}, everything...)...)
			for _, item := range d.Items {
				if item.State != "in-sync" && item.State != "unmappable" {
					rt.Fatalf("not in line: %+v\n%s", item, &w.out)
				}
			}
			if code != 0 && d.Summary.States["unmappable"] == 0 {
				rt.Fatalf("diff: exit %d: %s", code, &w.err)
			}
			memory(w.endpoints[to]).ResetCalls()
			_, _ = w.run(sync...)
			for _, op := range []storetest.Op{storetest.Create, storetest.Update, storetest.Remove, storetest.Digests} {
				if n := memory(w.endpoints[to]).Calls(op); n != 0 {
					rt.Fatalf("a second sync made %d calls of %s\n%s", n, op, &w.out)
				}
			}
		}
	})
}

func memory(e endpoint.Endpoint) *storetest.Memory {
	if k, ok := e.(*storetest.KeyedMemory); ok {
		return k.Memory
	}
	return e.(*storetest.Memory)
}

// edit does what somebody else might do to one side.
func edit(t *rapid.T, e endpoint.Endpoint, side string) {
	m := memory(e)
	name := rapid.SampledFrom([]string{"a", "b", "a.k", "b.k", "c"}).Draw(t, "name")
	text := rapid.SampledFrom([]string{"", "1", "2", "two\n"}).Draw(t, "value")
	if rapid.IntRange(0, 4).Draw(t, "kind of edit") == 0 {
		m.Delete(name)
		return
	}
	if len(side) >= 5 && side[:5] == "swarm" {
		if text == "" {
			text = "x"
		}
		if _, there := m.Get(name); there {
			m.Delete(name) // there is no other way to change one
		}
		m.Put(swarmSecret(name, text))
		return
	}
	var pairs []string
	for i := range rapid.IntRange(0, 2).Draw(t, "keys") {
		pairs = append(pairs, []string{"k", "K"}[i], text)
	}
	s := kubernetesSecret(name, pairs...)
	s.Immutable = rapid.Bool().Draw(t, "immutable")
	if old, there := m.Get(name); there && rapid.Bool().Draw(t, "in place") {
		s.Mark = old.Mark // an edit of a mirror leaves our annotations on it
	} else {
		m.Delete(name)
	}
	s.Type = rapid.SampledFrom([]string{secret.Opaque, "example.com/own"}).Draw(t, "type")
	m.Put(s)
}
