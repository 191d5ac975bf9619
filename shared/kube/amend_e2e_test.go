//go:build e2e

package kube_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// with is a secret with another value of a key, or one more.
func with(s secret.Secret, key, value string) secret.Secret {
	s.Keys = slices.DeleteFunc(slices.Clone(s.Keys), func(k secret.Key) bool { return k.Name == key })
	s.Keys = append(s.Keys, keys(key, value)...)
	secret.SortKeys(s.Keys)
	return s
}

// owners are the fields of a Secret that a field manager owns.
func (c *cluster) owners(name, manager string) string {
	c.Helper()
	var all []string
	for _, entry := range c.must(http.MethodGet, c.secrets()+"/"+name, nil)["metadata"].(object)["managedFields"].([]any) {
		if e := entry.(object); e["manager"] == manager {
			text, _ := json.Marshal(e["fieldsV1"])
			all = append(all, string(text))
		}
	}
	return strings.Join(all, " ")
}

// Another one's Secret gets the new value of a key, and stays his in everything else: what he takes out of
// his configuration is gone, and what he changes at the same moment is kept.
func TestUpdateOfSomebodyElsesSecret(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.kubectl(`
apiVersion: v1
kind: Secret
metadata: {name: theirs, labels: {a: b, c: d}, annotations: {e: f}}
data: {password: b2xk, user: bWU=, obsolete: eA==}
`, "apply", "--server-side", "--field-manager=helm", "-f", "-")
	old := get(t, e, "theirs")
	before := c.must(http.MethodGet, c.secrets()+"/theirs", nil)
	updated, err := e.Update(t.Context(), old, with(old, "password", "new"))
	if err != nil || updated.UID != old.UID || updated.Version == old.Version {
		t.Fatal(err)
	}
	after := c.must(http.MethodGet, c.secrets()+"/theirs", nil)
	if owned := c.owners("theirs", "secretx"); owned != `{"f:data":{"f:password":{}}}` {
		t.Errorf("we own %s", owned)
	}
	before["data"].(object)["password"] = b64("new")
	for _, o := range []object{before, after} {
		delete(o["metadata"].(object), "resourceVersion")
		delete(o["metadata"].(object), "managedFields")
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("it is\n%v\nand should be\n%v", after, before)
	}
	// An update of what stood before that is refused, and changes nothing.
	if _, err := e.Update(t.Context(), old, with(old, "password", "late")); !errors.Is(err, endpoint.ErrMoved) {
		t.Error(err)
	}
	// Its owner takes a key and a label out.
	c.kubectl(`
apiVersion: v1
kind: Secret
metadata: {name: theirs, labels: {a: b}, annotations: {e: f}}
data: {user: bWU=}
`, "apply", "--server-side", "--field-manager=helm", "-f", "-")
	now := get(t, e, "theirs")
	if want := map[string]string{"password": "new", "user": "me"}; !maps.Equal(content(now), want) || len(now.Labels) != 1 {
		t.Errorf("%v %v", content(now), now.Labels)
	}
	// A key more, a key less, an empty one.
	next := with(with(now, "empty", ""), "more", "m")
	next.Keys = slices.DeleteFunc(next.Keys, func(k secret.Key) bool { return k.Name == "user" })
	if _, err := e.Update(t.Context(), now, next); err != nil {
		t.Fatal(err)
	}
	if got := content(get(t, e, "theirs")); !maps.Equal(got, content(next)) {
		t.Errorf("%v", got)
	}
	// One that is gone isn't made again, nor one of its name changed.
	c.kubectl("", "delete", "secret", "theirs")
	if _, err := e.Update(t.Context(), now, next); !errors.Is(err, endpoint.ErrMoved) {
		t.Error(err)
	}
	c.kubectl("", "create", "secret", "generic", "theirs", "--from-literal=password=another")
	if _, err := e.Update(t.Context(), now, next); !errors.Is(err, endpoint.ErrMoved) {
		t.Error(err)
	}
	if got := content(get(t, e, "theirs")); !maps.Equal(got, map[string]string{"password": "another"}) {
		t.Errorf("%v", got)
	}
}

// A connection that breaks before the answer doesn't make it fail.
func TestLostAnswerOfAnUpdateOfSomebodyElses(t *testing.T) {
	c := newCluster(t)
	c.secretOf("s", "1", false)
	cut := &cutter{}
	config := rest.CopyConfig(c.config)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { cut.RoundTripper = inner; return cut })
	e := c.openAs(config)
	old := get(t, e, "s")
	cut.left.Store(1)
	updated, err := e.Update(t.Context(), old, with(old, "value", "2"))
	if err != nil || updated.Version == old.Version || content(updated)["value"] != "2" || cut.left.Load() > 0 {
		t.Error(err, content(updated))
	}
}
