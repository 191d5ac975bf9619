package mapping

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/secretx/secretx/shared/secret"
)

func TestNamesPeopleExpect(t *testing.T) {
	for _, c := range []struct{ secret, key, want string }{
		{"user-pass", "username", "user-pass.username"},
		{"web", "tls.crt", "web.tls.crt"},
		{"registry", ".dockerconfigjson", "registry..dockerconfigjson"},
		{"db", "PASSWORD", "db.PASSWORD"},
	} {
		if got := SwarmNames(c.secret, []string{c.key})[c.key]; got != c.want {
			t.Errorf("%s/%s: %s", c.secret, c.key, got)
		}
	}
	for in, want := range map[string]string{"my-secret": "my-secret", "a.b": "a.b"} {
		if got := KubernetesName(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	for _, in := range []string{"My-Secret", "a_b", "a..b", "a.-b", "x.v2", "9-" + strings.Repeat("a", 62)} {
		got := KubernetesName(in)
		if !ValidName(secret.Kubernetes, got) {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got := VersionName("db.password", 3); got != "db.password.v3" {
		t.Error(got)
	}
}

func genName(pattern string) *rapid.Generator[string] { return rapid.StringMatching(pattern) }

var (
	// Small alphabets, so that near misses are frequent.
	genSecret    = genName(`[ab](?:[ab.-]{0,4}[ab])?(?:\.v[12]|-[a-z2-7]{10})?`).Filter(func(s string) bool { return ValidName(secret.Kubernetes, s) })
	genLong      = genName(`[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?`).Filter(func(s string) bool { return ValidName(secret.Kubernetes, s) })
	genKey       = genName(`[-._aAbB]{1,4}(?:\.v[12]|-[a-z2-7]{10})?`)
	genSwarmName = genName(`[aA1](?:[aA1._-]{0,4}[aA1])?(?:\.v[12]|-[a-z2-7]{10})?`).Filter(func(s string) bool { return ValidName(secret.Swarm, s) })
)

// Two different origins never meet in one name, and every name is one that the other side takes.
func TestSwarmNamesAreTotalAndCollisionFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfNDistinct(rapid.OneOf(genSecret, genLong), 1, 6, rapid.ID).Draw(t, "secrets")
		seen := map[string]string{}
		for _, s := range secrets {
			keys := rapid.SliceOfNDistinct(genKey, 1, 6, rapid.ID).Draw(t, "keys")
			for key, name := range SwarmNames(s, keys) {
				if !ValidName(secret.Swarm, name) {
					t.Fatalf("%s/%s: %q is not valid", s, key, name)
				}
				folded := strings.ToLower(name)
				if other, taken := seen[folded]; taken {
					t.Fatalf("%s/%s and %s are both %q", s, key, other, name)
				}
				seen[folded] = s + "/" + key
			}
		}
	})
}

func TestKubernetesNamesAreTotalAndCollisionFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Swarm itself doesn't tell names apart that differ only in case.
		names := rapid.SliceOfNDistinct(genSwarmName, 1, 30, strings.ToLower).Draw(t, "names")
		seen := map[string]string{}
		for _, n := range names {
			name := KubernetesName(n)
			if !ValidName(secret.Kubernetes, name) {
				t.Fatalf("%q: %q is not valid", n, name)
			}
			if other, taken := seen[name]; taken {
				t.Fatalf("%q and %q are both %q", n, other, name)
			}
			seen[name] = n
		}
	})
}

func TestVersionNamesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(genSwarmName, genName(`[a-zA-Z0-9][a-zA-Z0-9._-]{62}[a-zA-Z0-9]`)).Draw(t, "name")
		seen := map[string]bool{}
		for _, n := range []int{1, 2, 9, 10, 99, 100, 123456} {
			v := VersionName(name, n)
			if !ValidName(secret.Swarm, v) || seen[v] {
				t.Fatalf("version %d of %q is %q", n, name, v)
			}
			seen[v] = true
		}
	})
}

func kubernetes(name string, keys ...string) secret.Secret {
	s := secret.Secret{Name: name, UID: "uid-" + name, Type: secret.Opaque}
	for _, k := range keys {
		s.Keys = append(s.Keys, secret.Key{Name: k, Value: secret.NewValue([]byte("v"))})
	}
	secret.SortKeys(s.Keys)
	return s
}

func TestCollisionsAreErrors(t *testing.T) {
	origins := Origins(secret.Kubernetes, []secret.Secret{kubernetes("a", "k"), kubernetes("b", "k")})
	same, err := ParseNameTemplate("x.{{.Key}}")
	if err != nil {
		t.Fatal(err)
	}
	for kind, rules := range map[secret.Kind]Rules{secret.Swarm: {NameTemplate: same}, secret.Kubernetes: {Into: "x"}} {
		if _, err := Targets(kind, origins, rules); !errors.Is(err, ErrCollision) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := Targets(secret.Swarm, origins, Rules{Into: "x"}); !errors.Is(err, ErrCollision) {
		t.Error(err)
	}
}

func TestUnmappable(t *testing.T) {
	large := kubernetes("large", "k")
	large.Keys[0].Value = secret.NewValue(make([]byte, swarmLargest+1))
	fits := kubernetes("fits", "k")
	fits.Keys[0].Value = secret.NewValue(make([]byte, swarmLargest))
	empty := kubernetes("empty", "k")
	empty.Keys[0].Value = secret.NewValue(nil)
	targets, err := Targets(secret.Swarm, Origins(secret.Kubernetes, []secret.Secret{large, fits, empty, kubernetes("none")}), Rules{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, target := range targets {
		got[target.Origins[0]] = target.Unmappable != ""
	}
	if want := map[string]bool{"large": true, "fits": false, "empty": true, "none": true}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	// Back from a Swarm where one of its keys was lost, a TLS Secret would be refused.
	half := secret.Secret{Name: "web.tls.crt", Lineage: secret.Lineage{Name: "web.tls.crt", Sequence: 1}, Keys: []secret.Key{{Name: "web.tls.crt"}}, Mark: &secret.Mark{
		Origin: "kubernetes:1",
		Parts:  []secret.Part{{Key: "web.tls.crt", Secret: "web", OriginKey: "tls.crt", Form: &secret.Form{Secret: "web", Key: "tls.crt", Type: "kubernetes.io/tls"}}},
	}}
	targets, err = Targets(secret.Kubernetes, Origins(secret.Swarm, []secret.Secret{half}), Rules{})
	if err != nil || len(targets) != 1 || !strings.Contains(targets[0].Unmappable, "tls.key") {
		t.Errorf("%v %+v", err, targets)
	}
}

func TestOnlyTheNewestVersionTravels(t *testing.T) {
	version := func(n int) secret.Secret {
		name := VersionName("db", n)
		return secret.Secret{Name: name, UID: name, Lineage: secret.Lineage{Name: "db", Sequence: n}, Keys: []secret.Key{{Name: name}}, Mark: &secret.Mark{
			Origin: "kubernetes:1", Parts: []secret.Part{{Key: name, Secret: "db", OriginKey: "db"}},
		}}
	}
	origins := Origins(secret.Swarm, []secret.Secret{version(2), version(10), version(1), version(9)})
	if len(origins) != 1 || origins[0].Name != "db" || origins[0].Keys[0].Ref.Name != "db.v10" {
		t.Errorf("%+v", origins)
	}
}
