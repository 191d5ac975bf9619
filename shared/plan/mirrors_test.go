package plan

import (
	"testing"

	"github.com/secretx/secretx/shared/secret"
)

// TestMirrorsAgree: what stands at the far side is judged as a plan judges it, also where a plan's
// rules would have named it otherwise.
func TestMirrorsAgree(t *testing.T) {
	into := kubeMirror("id-1", "v", "v")
	into.Name = "all-of-them"
	into.Mark.Parts[0].Fingerprint = testKey.Fingerprint(kubePlace.Identity, into.Name, "db", val("v"))
	swarmOrigin := secret.Secret{Name: "db", UID: "id-1", Version: "5", Keys: []secret.Key{{Name: "db"}}}
	for name, test := range map[string]struct {
		from, to Side
		prove    bool
		want     string
		also     bool // by the plan of default rules
	}{
		"in sync":             {Side{kubePlace, []secret.Secret{origin("u", "1", "v")}}, Side{swarmPlace, []secret.Secret{swarmMirror(1, "u", "1", "v")}}, false, "db.k in-sync", true},
		"changed":             {Side{kubePlace, []secret.Secret{origin("u", "2", "w")}}, Side{swarmPlace, []secret.Secret{swarmMirror(1, "u", "1", "v")}}, false, "db.k changed", false},
		"newest counts":       {Side{kubePlace, []secret.Secret{origin("u", "2", "w")}}, Side{swarmPlace, []secret.Secret{swarmMirror(1, "u", "1", "v"), swarmMirror(2, "u", "2", "w")}}, false, "db.k.v2 in-sync", true},
		"orphan":              {Side{kubePlace, nil}, Side{swarmPlace, []secret.Secret{swarmMirror(1, "u", "1", "v")}}, false, "db.k orphan", true},
		"no key":              {Side{kubePlace, []secret.Secret{origin("u", "2", "w")}}, Side{swarmPlace, []secret.Secret{swarmMirror(1, "u", "1", "")}}, false, "db.k unknown", true},
		"drifted":             {Side{swarmPlace, []secret.Secret{swarmOrigin}}, Side{kubePlace, []secret.Secret{kubeMirror("id-1", "v", "w")}}, false, "db drifted", true},
		"under another name":  {Side{swarmPlace, []secret.Secret{swarmOrigin}}, Side{kubePlace, []secret.Secret{into}}, false, "all-of-them in-sync", false},
		"of somewhere else":   {Side{otherPlace, nil}, Side{swarmPlace, []secret.Secret{swarmMirror(1, "u", "1", "v"), stranger("x")}}, false, "", false},
		"proof has to answer": {Side{swarmPlace, []secret.Secret{swarmOrigin}}, Side{kubePlace, []secret.Secret{kubeMirror("id-1", "v", "v")}}, true, "db in-sync", true},
	} {
		p := Mirrors(test.from, test.to, Options{Key: testKey, Prove: test.prove})
		if got := text(p); got != test.want {
			t.Errorf("%s: %q", name, got)
		}
		if test.prove && len(p.Items[0].Questions) == 0 {
			t.Errorf("%s: nothing is asked", name)
		}
		if !test.also {
			continue
		}
		plan, err := New(test.from, test.to, Options{All: true, Key: testKey})
		if err != nil || len(plan.Items) != 1 || plan.Items[0].State != p.Items[0].State {
			t.Errorf("%s: the plan says %s, %v", name, text(plan), err)
		}
	}
}

func TestMirrorsOfChangedShape(t *testing.T) {
	o := origin("u", "1", "v")
	m := secret.Secret{Name: "db", UID: "m", Version: "1", Type: secret.Opaque, Keys: []secret.Key{{Name: "k", Value: val("v")}}, Mark: &secret.Mark{
		Origin: otherPlace.Identity, Parts: []secret.Part{{Key: "k", Secret: "db", OriginKey: "k", UID: "u", Version: "1", Fingerprint: testKey.Fingerprint(kubePlace.Identity, "db", "k", val("v"))}},
	}}
	judged := func() State {
		return Mirrors(Side{otherPlace, []secret.Secret{o}}, Side{kubePlace, []secret.Secret{m}}, Options{Key: testKey}).Items[0].State
	}
	if s := judged(); s != InSync {
		t.Errorf("equal: %s", s)
	}
	o.Immutable = true
	if s := judged(); s != Drifted {
		t.Errorf("another flag: %s", s)
	}
	o.Immutable = false
	o.Keys = append(o.Keys, secret.Key{Name: "new", Value: val("x")})
	if s := judged(); s != Changed {
		t.Errorf("a new key at the origin: %s", s)
	}
	o.Keys = o.Keys[:1]
	m.Keys = append(m.Keys, secret.Key{Name: "own", Value: val("x")})
	if s := judged(); s != Drifted {
		t.Errorf("a key of its own: %s", s)
	}
}
