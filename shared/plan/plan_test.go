package plan

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

var (
	swarmPlace = endpoint.Place{Kind: secret.Swarm, Identity: "swarm:1", Name: "swarm"}
	kubePlace  = endpoint.Place{Kind: secret.Kubernetes, Identity: "kubernetes:1", Name: "kubernetes:/ns", Namespace: "ns"}
	otherPlace = endpoint.Place{Kind: secret.Kubernetes, Identity: "kubernetes:2", Name: "kubernetes:/other", Namespace: "other"}
	testKey, _ = secret.ParseFingerprintKey(secret.NewValue(bytes.Repeat([]byte("k"), secret.FingerprintKeySize)))
)

func val(s string) secret.Value { return secret.NewValue([]byte(s)) }

// origin is the Secret db with one key, at a UID and a version.
func origin(uid, version, v string) secret.Secret {
	return secret.Secret{Name: "db", UID: uid, Version: version, Type: secret.Opaque, Keys: []secret.Key{{Name: "k", Value: val(v)}}}
}

// swarmMirror is version n of db.k, copied from the origin at a UID and version, when it held v.
func swarmMirror(n int, uid, version, v string) secret.Secret {
	name := "db.k"
	if n > 1 {
		name = fmt.Sprintf("db.k.v%d", n)
	}
	part := secret.Part{Key: name, Secret: "db", OriginKey: "k", UID: uid, Version: version, Form: &secret.Form{Secret: "db", Key: "k", Type: secret.Opaque}}
	if v != "" {
		part.Fingerprint = testKey.Fingerprint(swarmPlace.Identity, name, name, val(v))
	}
	return secret.Secret{Name: name, UID: "id-" + name, Version: "7", Lineage: secret.Lineage{Name: "db.k", Sequence: n}, Keys: []secret.Key{{Name: name}}, Mark: &secret.Mark{
		Origin: kubePlace.Identity, Place: kubePlace.Name, Parts: []secret.Part{part},
	}}
}

// kubeMirror is a copy of the Swarm secret db, made when that had the ID and the value noted; it
// holds now.
func kubeMirror(id, noted, now string) secret.Secret {
	return secret.Secret{Name: "db", UID: "u", Version: "1", Type: secret.Opaque, Keys: []secret.Key{{Name: "db", Value: val(now)}}, Mark: &secret.Mark{
		Origin: swarmPlace.Identity, Parts: []secret.Part{{
			Key: "db", Secret: "db", OriginKey: "db", UID: id, SwarmName: "db",
			Fingerprint: testKey.Fingerprint(kubePlace.Identity, "db", "db", val(noted)),
		}},
	}}
}

func stranger(name string) secret.Secret {
	return secret.Secret{Name: name, UID: "s", Version: "3", Keys: []secret.Key{{Name: name}}}
}

// text is the plan in one line for each item.
func text(p Plan) string {
	var lines []string
	for _, i := range p.Items {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", i.Name, i.State, i.Action)))
	}
	return strings.Join(lines, "; ")
}

func TestPlans(t *testing.T) {
	swarmOrigin := secret.Secret{Name: "db", UID: "id-1", Version: "5", Keys: []secret.Key{{Name: "db"}}}
	damaged := stranger("db.k")
	damaged.Damaged = "labels are damaged"
	foreign := swarmMirror(1, "u", "1", "v")
	foreign.Mark.Origin = "kubernetes:somewhere-else"
	otherVersion := swarmMirror(2, "u", "1", "v")
	otherVersion.Name = "db.k"
	otherVersion.Lineage.Name = "other"
	toSwarm := func(s ...secret.Secret) Side { return Side{swarmPlace, s} }
	fromKube := func(s ...secret.Secret) Side { return Side{kubePlace, s} }
	question := Question{origin("u", "1", "v").Ref("k"), stranger("db.k").Ref("db.k")}

	for _, c := range []struct {
		name     string
		from, to Side
		options  Options
		want     string
	}{
		{"nothing there", fromKube(origin("u", "1", "v")), toSwarm(), Options{}, "db.k missing create"},
		{"fingerprint agrees", fromKube(origin("u", "9", "v")), toSwarm(swarmMirror(1, "u", "1", "v")), Options{Key: testKey}, "db.k in-sync"},
		{"fingerprint disagrees", fromKube(origin("u", "9", "w")), toSwarm(swarmMirror(1, "u", "1", "v")), Options{Key: testKey}, "db.k.v2 changed add-version"},
		{"fingerprint beats an equal version", fromKube(origin("u", "1", "w")), toSwarm(swarmMirror(1, "u", "1", "v")), Options{Key: testKey}, "db.k.v2 changed add-version"},
		{"no key, but the very version", fromKube(origin("u", "1", "v")), toSwarm(swarmMirror(1, "u", "1", "v")), Options{}, "db.k in-sync"},
		{"no key, another version", fromKube(origin("u", "2", "v")), toSwarm(swarmMirror(1, "u", "1", "v")), Options{}, "db.k unknown"},
		{"recreated origin of the same value", fromKube(origin("u2", "2", "v")), toSwarm(swarmMirror(1, "u", "1", "v")), Options{Key: testKey}, "db.k in-sync"},
		{"newest version counts", fromKube(origin("u", "3", "x")), toSwarm(swarmMirror(2, "u", "2", "x"), swarmMirror(1, "u", "1", "v")), Options{Key: testKey}, "db.k.v2 in-sync"},
		{"taken numbers are skipped", fromKube(origin("u", "2", "w")), toSwarm(swarmMirror(1, "u", "1", "v"), stranger("DB.K.V2")), Options{Key: testKey}, "db.k.v3 changed add-version"},
		{"a stranger", fromKube(origin("u", "1", "v")), toSwarm(stranger("db.k")), Options{}, "db.k unknown"},
		{"a stranger in another case", fromKube(origin("u", "1", "v")), toSwarm(stranger("DB.k")), Options{}, "DB.k unknown"},
		{"a stranger, proven equal", fromKube(origin("u", "1", "v")), toSwarm(stranger("db.k")), Options{Proofs: Proofs{question: true}}, "db.k in-sync"},
		{"a stranger, proven equal, adopted", fromKube(origin("u", "1", "v")), toSwarm(stranger("db.k")), Options{Adopt: true, Proofs: Proofs{question: true}}, "db.k in-sync adopt"},
		{"a stranger, proven different", fromKube(origin("u", "1", "v")), toSwarm(stranger("db.k")), Options{Adopt: true, Proofs: Proofs{question: false}}, "db.k conflict"},
		{"a stranger, overwritten", fromKube(origin("u", "1", "v")), toSwarm(stranger("db.k")), Options{Force: true}, "db.k.v2 unknown add-version"},
		{"equal needs no force", fromKube(origin("u", "1", "v")), toSwarm(stranger("db.k")), Options{Force: true, Proofs: Proofs{question: true}}, "db.k in-sync"},
		{"somebody else's mirror", fromKube(origin("u", "1", "v")), toSwarm(foreign), Options{Key: testKey}, "db.k conflict"},
		{"a damaged mark", fromKube(origin("u", "1", "v")), toSwarm(damaged), Options{Force: true}, "db.k conflict"},
		{"a version of something else has the name", fromKube(origin("u", "1", "v")), toSwarm(otherVersion), Options{Force: true}, "db.k conflict"},
		{"an orphan", fromKube(), toSwarm(swarmMirror(1, "u", "1", "v")), Options{}, "db.k orphan"},
		{"an orphan, pruned", fromKube(), toSwarm(swarmMirror(1, "u", "1", "v"), swarmMirror(2, "u", "2", "v")), Options{Prune: true}, "db.k.v2 orphan remove"},
		{"another endpoint's mirror is no orphan", fromKube(), toSwarm(foreign, stranger("x")), Options{Prune: true}, ""},

		{"from a Swarm", toSwarm(swarmOrigin), fromKube(), Options{Key: testKey}, "db missing create"},
		{"the very ID", toSwarm(swarmOrigin), fromKube(kubeMirror("id-1", "v", "v")), Options{Key: testKey}, "db in-sync"},
		{"another ID", toSwarm(swarmOrigin), fromKube(kubeMirror("id-0", "v", "v")), Options{Key: testKey}, "db changed update"},
		{"edited by hand", toSwarm(swarmOrigin), fromKube(kubeMirror("id-1", "v", "w")), Options{Key: testKey}, "db drifted update"},
		{"no key to judge the mirror", toSwarm(swarmOrigin), fromKube(kubeMirror("id-1", "v", "w")), Options{}, "db unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.All = true
			p, err := New(c.from, c.to, c.options)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(p); got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestProofsDecideWhereClaimsCannot(t *testing.T) {
	from, to := Side{kubePlace, []secret.Secret{origin("u", "2", "v")}}, Side{swarmPlace, []secret.Secret{swarmMirror(1, "u", "1", "")}}
	p, err := New(from, to, Options{All: true})
	if err != nil || len(p.Items[0].Questions) != 1 {
		t.Fatalf("%v %+v", err, p.Items)
	}
	for equal, want := range map[bool]string{true: "db.k in-sync refresh", false: "db.k.v2 changed add-version"} {
		p, err := New(from, to, Options{All: true, Proofs: Proofs{p.Items[0].Questions[0]: equal}})
		if err != nil || text(p) != want {
			t.Errorf("%t: %v %s", equal, err, text(p))
		}
	}
	// Claims that swear it is equal, and a proof that it is not: the mirror was exchanged.
	to.Secrets[0] = swarmMirror(1, "u", "2", "v")
	question := Question{from.Secrets[0].Ref("k"), to.Secrets[0].Ref("db.k")}
	p, err = New(from, to, Options{All: true, Prove: true, Key: testKey, Proofs: Proofs{question: false}})
	if err != nil || text(p) != "db.k.v2 drifted add-version" {
		t.Errorf("%v %s", err, text(p))
	}
}

func TestTooManyKeysAreFoundInThePlan(t *testing.T) {
	for n, want := range map[int]State{500: Missing, 2000: Unmappable} {
		s := origin("u", "1", "v")
		s.Keys = nil
		for i := range n {
			s.Keys = append(s.Keys, secret.Key{Name: fmt.Sprintf("key-%05d", i), Value: val("v")})
		}
		p, err := New(Side{kubePlace, []secret.Secret{s}}, Side{Place: otherPlace}, Options{All: true})
		if err != nil || p.Items[0].State != want {
			t.Errorf("%d keys: %v %s", n, err, p.Items[0].State)
		}
	}
}

func TestSelection(t *testing.T) {
	internal := origin("t", "1", "v")
	internal.Name, internal.Internal = "token", "a token"
	mirror := origin("m", "1", "v")
	mirror.Name, mirror.Mark = "back", &secret.Mark{Origin: swarmPlace.Identity, Parts: []secret.Part{{Key: "k", Secret: "back", OriginKey: "back", SwarmName: "back"}}}
	from := Side{kubePlace, []secret.Secret{origin("u", "1", "v"), internal, mirror}}
	for names, want := range map[string]string{
		"":            "db.k missing create",
		"token":       "token.k missing create",
		"back":        "back missing create",
		"db token db": "db.k missing create; token.k missing create",
	} {
		options := Options{Names: strings.Fields(names), All: names == ""}
		p, err := New(from, Side{Place: swarmPlace}, options)
		if err != nil || text(p) != want {
			t.Errorf("%q: %v %s", names, err, text(p))
		}
	}
	_, err := New(from, Side{Place: swarmPlace}, Options{Names: []string{"db", "nobody"}})
	var notFound *NotFoundError
	if !errors.As(err, &notFound) || len(notFound.Names) != 1 || notFound.Names[0] != "nobody" {
		t.Error(err)
	}
	// To a third place, a mirror travels like anything else.
	p, err := New(from, Side{Place: otherPlace}, Options{All: true})
	if err != nil || text(p) != "back missing create; db missing create" {
		t.Errorf("%v %s", err, text(p))
	}
}

func TestSavedPlans(t *testing.T) {
	from := Side{kubePlace, []secret.Secret{origin("u", "1", "canary")}}
	to := Side{Place: swarmPlace}
	p, err := New(from, to, Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := endpoint.ParseAddress("kubernetes:/ns")
	b, _ := endpoint.ParseAddress("swarm")
	var saved bytes.Buffer
	if err := p.Document(a, b, Request{All: true}).Write(&saved); err != nil || strings.Contains(saved.String(), "canary") {
		t.Fatalf("%v %s", err, &saved)
	}
	d, err := ReadDocument(bytes.NewReader(saved.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := p.Restrict(d); err != nil || text(same) != text(p) {
		t.Errorf("%v", err)
	}
	for name, moved := range map[string]Side{
		"origin written":  {kubePlace, []secret.Secret{origin("u", "2", "canary")}},
		"origin replaced": {kubePlace, []secret.Secret{origin("u2", "1", "canary")}},
		"origin gone":     {Place: kubePlace},
		"another place":   {otherPlace, from.Secrets},
	} {
		p, err := New(moved, to, Options{All: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Restrict(d); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is new since is not run, and does not make the rest stale.
	more := origin("x", "1", "v")
	more.Name = "another"
	p, err = New(Side{kubePlace, append(from.Secrets, more)}, to, Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if only, err := p.Restrict(d); err != nil || text(only) != "db.k missing create" {
		t.Errorf("%v %s", err, text(only))
	}
}

func FuzzReadDocument(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"secretx.github.io/v1","kind":"Plan","from":{"address":"swarm","identity":"a"},"to":{"address":"swarm","identity":"b"},"request":{},"steps":[]}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ReadDocument(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		var again bytes.Buffer
		if err := d.Write(&again); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDocument(&again); err != nil {
			t.Errorf("does not survive being saved again: %v", err)
		}
	})
}
