package storetest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// prompt is how soon a call returns after its context ended.
const prompt = 3 * time.Second

// Run is the contract suite: what the doc comments of endpoint.Reader, Writer and Keeper promise. The
// endpoint may hold other people's secrets; the suite's own have random names, and are removed. An
// endpoint that is a Keeper must be the suite's alone, because its key is made and stays.
func Run(t *testing.T, kind secret.Kind, open func(t *testing.T) endpoint.Endpoint) {
	c := contract{kind: kind, open: open}
	for name, test := range map[string]func(*testing.T){
		"place":              c.place,
		"round trip":         c.roundTrip,
		"sizes":              c.sizes,
		"names":              c.names,
		"list by name":       c.listByName,
		"metadata":           c.metadata,
		"refused":            c.refused,
		"taken":              c.taken,
		"concurrent creates": c.concurrentCreates,
		"update":             c.update,
		"update of stale":    c.updateStale,
		"concurrent updates": c.concurrentUpdates,
		"values of moved":    c.valuesMoved,
		"values stop":        c.valuesStop,
		"remove":             c.remove,
		"cancelled":          c.cancelled,
		"watch":              c.watch,
	} {
		t.Run(name, test)
	}
	if kind == secret.Kubernetes {
		t.Run("update of keys", c.updateKeys)
		t.Run("immutable and type", c.fixed)
		t.Run("fingerprint key", c.fingerprintKey)
	}
}

type contract struct {
	kind secret.Kind
	open func(*testing.T) endpoint.Endpoint
}

// session is an endpoint and the names that a test may have made at it.
type session struct {
	endpoint.Endpoint
	*testing.T
	kind   secret.Kind
	prefix string
	mu     sync.Mutex
	names  []string
}

func (c contract) start(t *testing.T) *session {
	s := &session{Endpoint: c.open(t), T: t, kind: c.kind, prefix: fmt.Sprintf("contract-%08x", rand.Uint32())}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if len(s.names) == 0 {
			return
		}
		all, err := s.List(ctx, s.names)
		if err != nil {
			t.Errorf("cleaning up: %v", err)
		}
		for _, found := range all {
			if slices.Contains(s.names, found.Name) {
				if err := s.Remove(ctx, found); err != nil {
					t.Errorf("cleaning up: %v", err)
				}
			}
		}
	})
	return s
}

// name makes a unique name that both orchestrators take.
func (s *session) name(suffix string) string {
	name := s.prefix + "." + suffix
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, name)
	return name
}

// secret makes one, not yet created. In a Swarm it has one key, in Kubernetes two.
func (s *session) secret(suffix string, value []byte) secret.Secret {
	made := secret.Secret{Name: s.name(suffix)}
	if s.kind == secret.Swarm {
		made.Keys = []secret.Key{{Name: made.Name, Value: secret.NewValue(value)}}
		return made
	}
	made.Type = secret.Opaque
	made.Keys = []secret.Key{{Name: "empty", Value: secret.NewValue(nil)}, {Name: "value", Value: secret.NewValue(value)}}
	return made
}

// mark makes one for a secret, with a part for each key and text of every kind in it.
func (s *session) mark(of secret.Secret) *secret.Mark {
	m := &secret.Mark{Origin: "elsewhere:é-" + s.prefix, Place: "an \"endpoint\"\n\t\x1b[31m of 日本 🗝 \\ <&>"}
	for i, k := range of.Keys {
		m.Parts = append(m.Parts, secret.Part{
			Key: k.Name, Secret: "origin", OriginKey: fmt.Sprint("key-", i), UID: "u1", Version: "7", Fingerprint: "1.id.abc",
			Form: &secret.Form{Secret: "origin", Key: fmt.Sprint("key-", i), Type: "kubernetes.io/tls", Immutable: true},
		})
	}
	if s.kind == secret.Kubernetes {
		m.Parts[0].SwarmName = "Origin_Key"
	}
	return m
}

// lineage makes one with everything in it.
func (s *session) lineage(of secret.Secret) secret.Lineage {
	return secret.Lineage{Name: of.Name, Sequence: 3, Rollout: secret.Pending, Owner: "somebody", Lifetime: time.Minute}
}

func (s *session) create(want secret.Secret) secret.Secret {
	s.Helper()
	made, err := s.Create(s.Context(), want)
	if err != nil {
		s.Fatalf("create %s: %v", want.Name, err)
	}
	if made.Name != want.Name || made.UID == "" {
		s.Fatalf("create gave name %q, UID %q", made.Name, made.UID)
	}
	if made.Version == "" { // which is allowed, and then a list tells
		made.Version = s.get(made.Name).Version
	}
	return made
}

// find lists one secret; the second result tells whether it is there.
func (s *session) find(name string) (secret.Secret, bool) {
	s.Helper()
	all, err := s.List(s.Context(), []string{name})
	if err != nil {
		s.Fatalf("list: %v", err)
	}
	i := slices.IndexFunc(all, func(found secret.Secret) bool { return found.Name == name })
	if i < 0 {
		return secret.Secret{}, false
	}
	return all[i], true
}

func (s *session) get(name string) secret.Secret {
	s.Helper()
	found, there := s.find(name)
	if !there {
		s.Fatalf("%s isn't listed", name)
	}
	return found
}

// values reads all keys of secrets.
func (s *session) values(of ...secret.Secret) map[secret.Ref]secret.Value {
	s.Helper()
	values := map[secret.Ref]secret.Value{}
	busy := false // "one call at a time": the race detector would tell, too
	err := s.Values(s.Context(), refs(of...), func(ref secret.Ref, v secret.Value) error {
		if busy {
			s.Error("two calls at a time")
		}
		busy = true
		defer func() { busy = false }()
		values[ref] = v
		return nil
	})
	if err != nil {
		s.Fatalf("values: %v", err)
	}
	return values
}

func refs(of ...secret.Secret) (all []secret.Ref) {
	for _, one := range of {
		for _, k := range one.Keys {
			all = append(all, one.Ref(k.Name))
		}
	}
	return all
}

// fails checks that an error is an *endpoint.Error with a reason, and that it shows no value.
func (s *session) fails(what string, err, reason error, values ...secret.Key) {
	s.Helper()
	var typed *endpoint.Error
	if !errors.As(err, &typed) {
		s.Errorf("%s: %T %v, want an *endpoint.Error", what, err, err)
		return
	}
	if !errors.Is(err, reason) {
		s.Errorf("%s: %v, want %v", what, err, reason)
	}
	for _, k := range values {
		raw := k.Value.Reveal()
		if len(raw) > 3 && (strings.Contains(err.Error(), string(raw)) || strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(raw))) {
			s.Errorf("%s: the error shows the value of key %s", what, k.Name)
		}
	}
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func (c contract) place(t *testing.T) {
	s := c.start(t)
	place, err := s.Place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if place.Kind != c.kind || !strings.HasPrefix(place.Identity, string(c.kind)+":") || len(place.Identity) < len(c.kind)+2 || place.Name == "" {
		t.Errorf("place is %+v", place)
	}
	if (place.Namespace != "") != (c.kind == secret.Kubernetes) {
		t.Errorf("the namespace of a %s is %q", c.kind, place.Namespace)
	}
	if again, err := s.Place(t.Context()); err != nil || again != place {
		t.Errorf("the second time it is %+v, %v", again, err)
	}
}

// largest is the biggest value that fits into one secret of session.secret.
func (c contract) largest() int {
	if c.kind == secret.Swarm {
		return maxSwarm
	}
	return maxKubernetes
}

func (c contract) roundTrip(t *testing.T) {
	s := c.start(t)
	contents := map[string][]byte{
		"all-bytes": allBytes(),
		"one-byte":  {0},
		"newline":   []byte("a line\r\n"),
		"text":      []byte("pässwörd 🗝 \xff"),
		"big":       bytes.Repeat(allBytes(), c.largest()/256+1)[:c.largest()],
	}
	var made []secret.Secret
	for name, content := range contents {
		want := s.secret(name, content)
		created := s.create(want)
		listed := s.get(want.Name)
		if listed.UID != created.UID || listed.Version != created.Version {
			t.Errorf("%s: created as %s version %s, listed as %s version %s", name, created.UID, created.Version, listed.UID, listed.Version)
		}
		if listed.Mark != nil || listed.Damaged != "" || listed.Internal != "" || listed.Unreadable != "" || listed.Immutable || listed.Type != want.Type {
			t.Errorf("%s: listed as %+v", name, listed)
		}
		if len(listed.Keys) != len(want.Keys) {
			t.Fatalf("%s: listed with keys %v", name, listed.Keys)
		}
		for i, k := range listed.Keys {
			if k.Name != want.Keys[i].Name {
				t.Errorf("%s: key %d is %q, want %q", name, i, k.Name, want.Keys[i].Name)
			}
			if c.kind == secret.Swarm && k.Value.Known() {
				t.Errorf("%s: a Swarm lists a value", name)
			}
			if c.kind == secret.Kubernetes && !k.Value.Equal(want.Keys[i].Value) {
				t.Errorf("%s: key %q is listed with another value", name, k.Name)
			}
		}
		listed.Keys = want.Keys // with the values that are wanted
		made = append(made, listed)
	}
	values := s.values(made...)
	nonce := []byte("a nonce of this test")
	digests, err := s.Digests(t.Context(), refs(made...), nonce)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(refs(made...)); len(values) != n || len(digests) != n {
		t.Errorf("%d values and %d digests for %d references", len(values), len(digests), n)
	}
	for _, one := range made {
		for _, k := range one.Keys {
			ref := one.Ref(k.Name)
			if !values[ref].Equal(k.Value) {
				t.Errorf("%s: another value: %d bytes, want %d", ref.Name, values[ref].Len(), k.Value.Len())
			}
			if d, found := digests[ref]; !found || !d.Equal(k.Value.Digest(nonce)) {
				t.Errorf("%s: another digest", ref.Name)
			}
		}
	}
	if err := s.Values(t.Context(), nil, func(secret.Ref, secret.Value) error { t.Error("a value of nothing"); return nil }); err != nil {
		t.Errorf("no values: %v", err)
	}
	if d, err := s.Digests(t.Context(), nil, nonce); err != nil || len(d) != 0 {
		t.Errorf("no digests: %v, %v", d, err)
	}
}

func (c contract) sizes(t *testing.T) {
	s := c.start(t)
	sizes := []int{c.largest() + 1, c.largest() + 1000}
	if c.kind == secret.Swarm {
		sizes = append(sizes, 0)
	}
	for _, size := range sizes {
		bad := s.secret(fmt.Sprint("bytes-", size), bytes.Repeat([]byte("x"), size))
		_, err := s.Create(t.Context(), bad)
		s.fails(fmt.Sprint("create with ", size, " bytes"), err, endpoint.ErrInvalid, bad.Keys...)
		if _, there := s.find(bad.Name); there {
			t.Errorf("%s was refused, and is there", bad.Name)
		}
	}
}

func (c contract) names(t *testing.T) {
	s := c.start(t)
	good := []string{s.name("a-b.c-d"), s.name("0")}
	bad := []string{"", "-" + s.prefix, s.prefix + "-", s.prefix + "/a", s.prefix + " a", s.prefix + "ä"}
	if c.kind == secret.Swarm {
		good = append(good, s.name("Upper_Case"), (s.name("") + strings.Repeat("x", 64))[:64])
		bad = append(bad, s.prefix+strings.Repeat("x", 65-len(s.prefix)))
	} else {
		long := s.prefix + strings.Repeat("x", 253-len(s.prefix))
		good = append(good, long)
		bad = append(bad, s.prefix+"U", s.prefix+"_a", s.prefix+"..a", long+"x")
	}
	s.names = append(s.names, good...)
	named := func(name string) secret.Secret {
		made := s.secret("template", []byte("value of a name"))
		made.Name = name
		if c.kind == secret.Swarm {
			made.Keys[0].Name = name
		}
		return made
	}
	for _, name := range good {
		s.create(named(name))
		s.get(name)
	}
	for _, name := range bad {
		made := named(name)
		_, err := s.Create(t.Context(), made)
		s.fails(fmt.Sprintf("create %q", name), err, endpoint.ErrInvalid, made.Keys...)
	}
	if c.kind == secret.Kubernetes {
		for _, key := range []string{"", ".", "..", "..a", "a b", "a/b", strings.Repeat("k", 254)} {
			made := s.secret("bad-key", []byte("value of a bad key"))
			made.Keys = []secret.Key{{Name: key, Value: made.Keys[1].Value}}
			_, err := s.Create(t.Context(), made)
			s.fails(fmt.Sprintf("create with the key %q", key), err, endpoint.ErrInvalid, made.Keys...)
		}
		keys := s.secret("good-keys", nil)
		keys.Keys = []secret.Key{{Name: ".dot"}, {Name: "A"}, {Name: "a.b-c_d"}, {Name: strings.Repeat("k", 253)}}
		for i := range keys.Keys {
			keys.Keys[i].Value = secret.NewValue([]byte{byte(i)})
		}
		s.create(keys)
		if listed := s.get(keys.Name); !slices.EqualFunc(listed.Keys, keys.Keys, sameKey) {
			t.Errorf("keys are %v, want %v", listed.Keys, keys.Keys)
		}
	}
}

func sameKey(a, b secret.Key) bool { return a.Name == b.Name && a.Value.Equal(b.Value) }

func (c contract) listByName(t *testing.T) {
	s := c.start(t)
	absent := s.prefix + ".absent"
	if found, err := s.List(t.Context(), []string{absent}); err != nil || slices.ContainsFunc(found, func(f secret.Secret) bool { return f.Name == absent }) {
		t.Errorf("a name that isn't there: %v, %v", found, err)
	}
	var names []string
	for i := range 30 { // more than an endpoint may care to ask for one by one
		made := s.secret(fmt.Sprint("n", i), []byte("value"))
		s.create(made)
		names = append(names, made.Name)
	}
	for _, asked := range [][]string{nil, {}, names[:1], append(names[:3:3], absent, names[0]), names} {
		all, err := s.List(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		want := asked
		if len(asked) == 0 {
			want = names
		}
		for _, name := range want {
			n := 0
			for _, found := range all {
				if found.Name == name {
					n++
				}
			}
			if n != 1 && name != absent || n > 0 && name == absent {
				t.Errorf("asked for %d names, %s is listed %d times", len(asked), name, n)
			}
		}
	}
}

func (c contract) metadata(t *testing.T) {
	s := c.start(t)
	made := s.secret("marked", []byte("value"))
	made.Labels = map[string]string{"team": "a", "example.com/empty": ""}
	if c.kind == secret.Swarm {
		maps.Copy(made.Labels, map[string]string{"étiquette 🗝": "a\nb\t\x1b[31m\x01\u202e\\\"", " ": " "})
	}
	made.Mark, made.Lineage = s.mark(made), s.lineage(made)
	created := s.create(made)
	listed := s.get(made.Name)
	for what, got := range map[string]secret.Secret{"created": created, "listed": listed} {
		if !maps.Equal(got.Labels, made.Labels) {
			t.Errorf("%s with labels %q, want %q", what, got.Labels, made.Labels)
		}
		if got.Damaged != "" || !reflect.DeepEqual(got.Mark, made.Mark) || got.Lineage != made.Lineage {
			t.Errorf("%s with mark %+v, %+v (%s), want %+v, %+v", what, got.Mark, got.Lineage, got.Damaged, made.Mark, made.Lineage)
		}
	}
}

// refused checks that what an API doesn't take is reported without the value.
func (c contract) refused(t *testing.T) {
	s := c.start(t)
	bad := s.secret("refused", []byte("correct horse battery"))
	if c.kind == secret.Swarm {
		bad.Name = "bad/" + s.prefix
	} else {
		bad.Labels = map[string]string{"étiquette": "a\nb"}
	}
	_, err := s.Create(t.Context(), bad)
	s.fails("create", err, endpoint.ErrInvalid, bad.Keys...)
	if c.kind == secret.Kubernetes {
		bad.Labels, bad.Type = nil, "kubernetes.io/tls"
		_, err := s.Create(t.Context(), bad)
		s.fails("create of a TLS Secret without its keys", err, endpoint.ErrInvalid, bad.Keys...)
		if _, there := s.find(bad.Name); there {
			t.Error("it was refused, and is there")
		}
	}
}

func (c contract) taken(t *testing.T) {
	s := c.start(t)
	first := s.secret("taken", []byte("first value"))
	first.Labels = map[string]string{"who": "first"}
	s.create(first)
	before := s.get(first.Name)
	second := s.secret("taken", []byte("second value"))
	second.Labels = map[string]string{"who": "second", "more": "x"}
	second.Mark, second.Lineage = s.mark(second), s.lineage(second)
	if c.kind == secret.Kubernetes {
		second.Keys = append(second.Keys, secret.Key{Name: "zusatz", Value: secret.NewValue([]byte("third value"))})
	}
	_, err := s.Create(t.Context(), second)
	s.fails("create of a taken name", err, endpoint.ErrTaken, second.Keys...)
	if c.kind == secret.Swarm {
		upper := s.secret("TAKEN", []byte("other case"))
		_, err := s.Create(t.Context(), upper)
		s.fails("create of a name taken in other case", err, endpoint.ErrTaken, upper.Keys...)
	}
	after := s.get(first.Name)
	if after.UID != before.UID || after.Mark != nil || after.Type != before.Type || !maps.Equal(after.Labels, before.Labels) || len(after.Keys) != len(before.Keys) {
		t.Errorf("the one who was first is now %+v", after)
	}
	key := first.Keys[len(first.Keys)-1]
	if v := s.values(after)[after.Ref(key.Name)]; !v.Equal(key.Value) {
		t.Error("the one who was first has another value")
	}
}

func (c contract) concurrentCreates(t *testing.T) {
	s := c.start(t)
	const writers = 8
	made := make([]secret.Secret, writers)
	errs := make([]error, writers)
	for i := range made {
		made[i] = s.secret("race", fmt.Appendf(nil, "value of %d", i))
		made[i].Labels = map[string]string{fmt.Sprint("writer-", i): "x"}
	}
	var group sync.WaitGroup
	for i := range made {
		group.Go(func() { _, errs[i] = s.Create(t.Context(), made[i]) })
	}
	group.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err != nil:
			s.fails("create", err, endpoint.ErrTaken, made[i].Keys...)
		case winner >= 0:
			t.Fatalf("both %d and %d won", winner, i)
		default:
			winner = i
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	found := s.get(made[winner].Name)
	key := made[winner].Keys[len(made[winner].Keys)-1]
	if !s.values(found)[found.Ref(key.Name)].Equal(key.Value) || !maps.Equal(found.Labels, made[winner].Labels) {
		t.Errorf("%d won, but not all that stands is its own: labels %v", winner, found.Labels)
	}
}

// update changes labels and mark, and in Kubernetes a value.
func (c contract) update(t *testing.T) {
	s := c.start(t)
	made := s.secret("update", []byte("old value"))
	made.Labels = map[string]string{"kept": "yes"}
	made.Mark, made.Lineage = s.mark(made), s.lineage(made)
	s.create(made)
	old := s.get(made.Name)

	next := made
	next.Labels = map[string]string{"kept": "yes", "added": "é"}
	if c.kind == secret.Kubernetes {
		next.Labels["added"] = "e"
		next.Keys = slices.Clone(made.Keys)
		next.Keys[1].Value = secret.NewValue([]byte("new value"))
	} else {
		next.Keys = nil // not looked at
	}
	next.Mark, next.Lineage = s.mark(made), s.lineage(made)
	next.Mark.Place = "somewhere else"
	next.Mark.Parts[0].Fingerprint = ""
	next.Mark.Parts[0].Form = nil
	updated, err := s.Update(t.Context(), old, next)
	if err != nil {
		t.Fatal(err)
	}
	listed := s.get(made.Name)
	if listed.UID != old.UID || listed.Version == old.Version || updated.UID != listed.UID || updated.Version != listed.Version {
		t.Errorf("it was %s version %s, the update gave %s version %s, the list %s version %s", old.UID, old.Version, updated.UID, updated.Version, listed.UID, listed.Version)
	}
	for what, got := range map[string]secret.Secret{"updated": updated, "listed": listed} {
		if !maps.Equal(got.Labels, next.Labels) {
			t.Errorf("%s with labels %v, want %v", what, got.Labels, next.Labels)
		}
		if !reflect.DeepEqual(got.Mark, next.Mark) || got.Lineage != next.Lineage {
			t.Errorf("%s with mark %+v, %+v, want %+v, %+v", what, got.Mark, got.Lineage, next.Mark, next.Lineage)
		}
	}
	want := made.Keys
	if c.kind == secret.Kubernetes {
		want = next.Keys
	}
	values := s.values(listed)
	for _, k := range want {
		if !values[listed.Ref(k.Name)].Equal(k.Value) {
			t.Errorf("key %s has another value", k.Name)
		}
	}

	// Without a mark it is nobody's mirror any more.
	next.Mark, next.Lineage = nil, secret.Lineage{}
	if _, err := s.Update(t.Context(), listed, next); err != nil {
		t.Fatal(err)
	}
	if got := s.get(made.Name); got.Mark != nil || got.Lineage.Known() || got.Damaged != "" || !maps.Equal(got.Labels, next.Labels) {
		t.Errorf("without a mark it is %+v", got)
	}
}

func (c contract) updateStale(t *testing.T) {
	s := c.start(t)
	made := s.secret("stale", []byte("the value"))
	s.create(made)
	stale := s.get(made.Name)
	next := made
	next.Labels = map[string]string{"n": "1"}
	if _, err := s.Update(t.Context(), stale, next); err != nil {
		t.Fatal(err)
	}
	next.Labels = map[string]string{"n": "2"}
	_, err := s.Update(t.Context(), stale, next)
	s.fails("update of a stale version", err, endpoint.ErrMoved, next.Keys...)

	fresh := s.get(made.Name)
	if fresh.Labels["n"] != "1" {
		t.Errorf("the stale update was written: %v", fresh.Labels)
	}
	if err := s.Remove(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(t.Context(), fresh, next)
	s.fails("update of a removed secret", err, endpoint.ErrMoved, next.Keys...)
	if _, there := s.find(made.Name); there {
		t.Error("the update made it anew")
	}
	s.create(made)
	_, err = s.Update(t.Context(), fresh, next)
	s.fails("update of a replaced secret", err, endpoint.ErrMoved, next.Keys...)
	if got := s.get(made.Name); len(got.Labels) != 0 {
		t.Errorf("the other secret was updated: %v", got.Labels)
	}
}

func (c contract) concurrentUpdates(t *testing.T) {
	s := c.start(t)
	made := s.secret("race", []byte("the value"))
	s.create(made)
	old := s.get(made.Name)
	errs := make([]error, 8)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			next := made
			next.Labels = map[string]string{"writer": fmt.Sprint(i)}
			_, errs[i] = s.Update(t.Context(), old, next)
		})
	}
	group.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err != nil:
			s.fails("update", err, endpoint.ErrMoved)
		case winner >= 0:
			t.Errorf("both %d and %d won", winner, i)
		default:
			winner = i
		}
	}
	if got := s.get(made.Name).Labels["writer"]; got != fmt.Sprint(winner) {
		t.Errorf("%d won, and %q stands", winner, got)
	}
}

func (c contract) valuesMoved(t *testing.T) {
	s := c.start(t)
	made := s.secret("moved", []byte("old value"))
	s.create(made)
	gone := s.get(made.Name)
	if err := s.Remove(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	read := func(what string, ref secret.Ref) {
		t.Helper()
		err := s.Values(t.Context(), []secret.Ref{ref}, func(secret.Ref, secret.Value) error {
			t.Errorf("values of %s: there is one", what)
			return nil
		})
		s.fails("values of "+what, err, endpoint.ErrMoved)
		_, err = s.Digests(t.Context(), []secret.Ref{ref}, []byte("nonce"))
		s.fails("digests of "+what, err, endpoint.ErrMoved)
	}
	key := made.Keys[len(made.Keys)-1].Name
	read("a secret that is gone", gone.Ref(key))
	s.create(made)
	read("a secret that was replaced", gone.Ref(key))
	read("a key that isn't there", s.get(made.Name).Ref("no-such-key"))
}

// valuesStop checks that an error of the one who receives values ends the reading, and comes back.
func (c contract) valuesStop(t *testing.T) {
	s := c.start(t)
	var made []secret.Secret
	for i := range 3 {
		one := s.secret(fmt.Sprint("v", i), []byte("value"))
		s.create(one)
		made = append(made, s.get(one.Name))
	}
	enough, n := errors.New("enough"), 0
	err := s.Values(t.Context(), refs(made...), func(secret.Ref, secret.Value) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("after %d calls: %v", n, err)
	}
}

func (c contract) remove(t *testing.T) {
	s := c.start(t)
	made := s.secret("remove", []byte("the value"))
	s.create(made)
	first := s.get(made.Name)
	if err := s.Remove(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, there := s.find(made.Name); there {
		t.Error("it is still there")
	}
	if err := s.Remove(t.Context(), first); err != nil {
		t.Errorf("the second time: %v", err)
	}
	s.create(made)
	s.fails("remove of a replaced secret", s.Remove(t.Context(), first), endpoint.ErrMoved)
	second := s.get(made.Name)
	if second.UID == first.UID {
		t.Error("two secrets with one UID")
	}
	if c.kind == secret.Kubernetes {
		next := made
		next.Labels = map[string]string{"n": "1"}
		if _, err := s.Update(t.Context(), second, next); err != nil {
			t.Fatal(err)
		}
		s.fails("remove of a stale version", s.Remove(t.Context(), second), endpoint.ErrMoved)
		s.get(made.Name)
		second.Version = "" // whatever the version
	}
	if err := s.Remove(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, there := s.find(made.Name); there {
		t.Error("it is still there")
	}
}

func (c contract) cancelled(t *testing.T) {
	s := c.start(t)
	if _, err := s.Place(t.Context()); err != nil { // connected
		t.Fatal(err)
	}
	made := s.secret("cancelled", []byte("the value"))
	s.create(made)
	found := s.get(made.Name)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	another := s.secret("another", []byte("the value"))
	for what, call := range map[string]func() error{
		"list":   func() error { _, err := s.List(ctx, nil); return err },
		"values": func() error { return s.Values(ctx, refs(found), func(secret.Ref, secret.Value) error { return nil }) },
		"digests": func() error {
			_, err := s.Digests(ctx, refs(found), []byte("nonce"))
			return err
		},
		"create": func() error { _, err := s.Create(ctx, another); return err },
		"update": func() error { _, err := s.Update(ctx, found, made); return err },
		"remove": func() error { return s.Remove(ctx, found) },
	} {
		start := time.Now()
		s.fails(what+" when cancelled", call(), context.Canceled)
		if took := time.Since(start); took > prompt {
			t.Errorf("%s took %s to see that it was cancelled", what, took)
		}
	}
	if _, there := s.find(another.Name); there {
		t.Error("a cancelled create created")
	}
	if s.get(made.Name).Version != found.Version {
		t.Error("a cancelled update updated")
	}
}

func (c contract) updateKeys(t *testing.T) {
	s := c.start(t)
	made := s.secret("keys", []byte("the value"))
	s.create(made)
	old := s.get(made.Name)
	next := made
	next.Keys = []secret.Key{{Name: "another", Value: secret.NewValue([]byte("x"))}, {Name: "value", Value: secret.NewValue([]byte("y"))}}
	updated, err := s.Update(t.Context(), old, next)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(updated.Keys, next.Keys, sameKey) {
		t.Errorf("keys are %v", updated.Keys)
	}
	if listed := s.get(made.Name); !slices.EqualFunc(listed.Keys, next.Keys, sameKey) || listed.Version != updated.Version {
		t.Errorf("keys are listed as %v", listed.Keys)
	}
	next.Keys = nil
	if _, err := s.Update(t.Context(), updated, next); err != nil {
		t.Fatal(err)
	}
	if listed := s.get(made.Name); len(listed.Keys) != 0 {
		t.Errorf("keys are listed as %v", listed.Keys)
	}
}

// fixed checks what can't be updated.
func (c contract) fixed(t *testing.T) {
	s := c.start(t)
	made := s.secret("fixed", []byte("the value"))
	made.Immutable, made.Type = true, "example.com/some-type"
	s.create(made)
	old := s.get(made.Name)
	if !old.Immutable || old.Type != made.Type {
		t.Errorf("immutable %v, type %s", old.Immutable, old.Type)
	}
	for what, change := range map[string]func(*secret.Secret){
		"type":      func(s *secret.Secret) { s.Type = secret.Opaque },
		"immutable": func(s *secret.Secret) { s.Immutable = false },
		"value":     func(s *secret.Secret) { s.Keys[1].Value = secret.NewValue([]byte("another value")) },
		"fewer":     func(s *secret.Secret) { s.Keys = s.Keys[:1] },
	} {
		next := made
		next.Keys = slices.Clone(made.Keys)
		change(&next)
		_, err := s.Update(t.Context(), old, next)
		s.fails("update of an immutable Secret: "+what, err, endpoint.ErrInvalid, next.Keys...)
	}
	if s.get(made.Name).Version != old.Version {
		t.Error("a refused update updated")
	}
	next := made
	next.Mark, next.Lineage = s.mark(made), s.lineage(made)
	if _, err := s.Update(t.Context(), old, next); err != nil {
		t.Errorf("the mark of an immutable Secret: %v", err)
	}
}

func (c contract) fingerprintKey(t *testing.T) {
	s := c.start(t)
	keeper, is := s.Endpoint.(endpoint.Keeper)
	if !is {
		t.Fatal("it is no Keeper")
	}
	if _, err := keeper.FingerprintKey(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	keys := make([]secret.FingerprintKey, 8)
	errs := make([]error, len(keys))
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() { keys[i], errs[i] = keeper.FingerprintKey(t.Context(), true) })
	}
	group.Wait()
	for i, key := range keys {
		if errs[i] != nil || !key.Known() || !key.Value().Equal(keys[0].Value()) {
			t.Errorf("key %d: %v, known %v", i, errs[i], key.Known())
		}
	}
	if key, err := keeper.FingerprintKey(t.Context(), false); err != nil || !key.Value().Equal(keys[0].Value()) {
		t.Errorf("read again: %v, known %v", err, key.Known())
	}
	if kept := s.get(keySecret); kept.Internal == "" || kept.Mark != nil {
		t.Errorf("the Secret with the key is listed as %+v", kept)
	}
}

// watch: what is made, changed and removed is told at once, and nothing before the watch says that it
// sees everything.
func (c contract) watch(t *testing.T) {
	s := c.start(t)
	w, is := s.Endpoint.(endpoint.Watcher)
	if !is {
		t.Fatal("it is no Watcher")
	}
	made := s.secret("watched", []byte("one"))
	for _, names := range [][]string{nil, {made.Name}} {
		ctx, cancel := context.WithCancel(t.Context())
		changes, over := make(chan endpoint.Change, 1000), make(chan struct{})
		go func() {
			defer close(over)
			w.Watch(ctx, names, func(c endpoint.Change) { changes <- c }, func(err error) { t.Errorf("the watch failed: %v", err) })
		}()
		const soon = 10 * time.Second
		told := func(what string, matches func(endpoint.Change) bool) {
			t.Helper()
			for timeout := time.After(soon); ; {
				select {
				case c := <-changes:
					if matches(c) {
						return
					}
				case <-timeout:
					t.Fatalf("nothing was told of %s", what)
				}
			}
		}
		told("its begin", func(c endpoint.Change) bool { return c.Name == "" })
		ours := func(c endpoint.Change) bool { return c.Name == made.Name }
		old := s.create(made)
		told("a secret that was made", func(c endpoint.Change) bool { return ours(c) && (c.UID == "" || c.UID == old.UID) })
		next := made
		next.Mark, next.Lineage = s.mark(made), s.lineage(made)
		if _, err := s.Update(t.Context(), old, next); err != nil {
			t.Fatal(err)
		}
		told("an update", ours)
		if err := s.Remove(t.Context(), s.get(made.Name)); err != nil {
			t.Fatal(err)
		}
		told("a removal", ours)
		cancel()
		select {
		case <-over:
		case <-time.After(prompt):
			t.Error("the watch goes on after its context has ended")
		}
	}
}
