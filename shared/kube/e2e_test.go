//go:build e2e

package kube_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

// These tests need an API server, that of KUBECONFIG: eval "$(scripts/testbed env)". They work in
// namespaces of their own, which they delete.

// cluster is an API server as somebody else than secretx sees it: bare HTTP.
type cluster struct {
	testing.TB
	config    *rest.Config
	client    *http.Client
	namespace string
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	if os.Getenv("KUBECONFIG") == "" {
		t.Fatal(`KUBECONFIG is not set: eval "$(scripts/testbed env)"`)
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{TB: t, config: config, client: client, namespace: "kube-e2e-" + strings.ToLower(rand.Text()[:8])}
	c.must(http.MethodPost, "/api/v1/namespaces", object{"metadata": object{"name": c.namespace}})
	t.Cleanup(func() {
		if status, answer := c.do(http.MethodDelete, "/api/v1/namespaces/"+c.namespace, "", nil); status >= 300 {
			t.Errorf("deleting the namespace: %d %v", status, answer)
		}
	})
	return c
}

type object = map[string]any

// do makes a request and gives the status and the decoded answer.
func (c *cluster) do(method, path, contentType string, body any) (int, object) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.config.Host+path, strings.NewReader(string(text)))
	if err != nil {
		c.Fatal(err)
	}
	if contentType == "" {
		contentType = "application/json"
	}
	request.Header.Set("Content-Type", contentType)
	response, err := c.client.Do(request)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer := object{}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		c.Fatal(err)
	}
	return response.StatusCode, answer
}

func (c *cluster) must(method, path string, body any) object {
	c.Helper()
	status, answer := c.do(method, path, "", body)
	if status >= 300 {
		c.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

func (c *cluster) secrets() string { return "/api/v1/namespaces/" + c.namespace + "/secrets" }

// open makes the endpoint of the namespace, as the administrator.
func (c *cluster) open() *kube.Endpoint { return c.openAs(c.config) }

func (c *cluster) openAs(config *rest.Config) *kube.Endpoint {
	return kube.New(func() (*rest.Config, string, error) { return config, c.namespace, nil }, "kubernetes:/"+c.namespace, kube.Options{})
}

func TestContract(t *testing.T) {
	c := newCluster(t)
	storetest.Run(t, secret.Kubernetes, func(*testing.T) endpoint.Endpoint { return c.open() })
}

func keys(pairs ...string) (all []secret.Key) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, secret.Key{Name: pairs[i], Value: secret.NewValue([]byte(pairs[i+1]))})
	}
	return all
}

func mark(of []secret.Key) *secret.Mark {
	m := &secret.Mark{Origin: "swarm:x", Place: "swarm"}
	for _, k := range of {
		m.Parts = append(m.Parts, secret.Part{Key: k.Name, Secret: k.Name, OriginKey: k.Name})
	}
	return m
}

func mirror(name string, pairs ...string) secret.Secret {
	k := keys(pairs...)
	return secret.Secret{Name: name, Type: secret.Opaque, Keys: k, Mark: mark(k)}
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// Whoever made the object that we lose the race against finds it as it was, to the last bookkeeping.
func TestLostCreateRaceTouchesNothing(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	mine := mirror("contested", "a", "mine", "c", "mine too")
	for what, make := range map[string]func(){
		"kubectl create": func() {
			c.must(http.MethodPost, c.secrets()+"?fieldManager=kubectl-create", object{"metadata": object{"name": "contested", "labels": object{"x": "y"}}, "data": object{"a": b64("theirs"), "b": b64("theirs")}})
		},
		"apply of another manager": func() { c.apply("another", "contested", object{"data": object{"a": b64("theirs")}}) },
		"another run of secretx": func() {
			if _, err := c.open().Create(t.Context(), mirror("contested", "a", "theirs", "b", "theirs")); err != nil {
				t.Fatal(err)
			}
		},
		"another run of secretx that wants the same": func() {
			if _, err := c.open().Create(t.Context(), mine); err != nil {
				t.Fatal(err)
			}
		},
	} {
		make()
		before := c.must(http.MethodGet, c.secrets()+"/contested", nil)
		_, err := e.Create(t.Context(), mine)
		if !errors.Is(err, endpoint.ErrTaken) {
			t.Errorf("%s: %v", what, err)
		}
		if after := c.must(http.MethodGet, c.secrets()+"/contested", nil); !reflect.DeepEqual(before, after) {
			t.Errorf("%s: it was\n%v\nand is\n%v", what, before, after)
		}
		c.must(http.MethodDelete, c.secrets()+"/contested", nil)
	}
}

func (c *cluster) apply(manager, name string, body object) {
	c.Helper()
	body["apiVersion"], body["kind"], body["metadata"] = "v1", "Secret", object{"name": name}
	status, answer := c.do(http.MethodPatch, c.secrets()+"/"+name+"?fieldManager="+manager, "application/apply-patch+yaml", body)
	if status >= 300 {
		c.Fatalf("apply %s: %d %v", name, status, answer)
	}
}

func (c *cluster) edit(name string, body object) {
	c.Helper()
	status, answer := c.do(http.MethodPatch, c.secrets()+"/"+name+"?fieldManager=kubectl-edit", "application/merge-patch+json", body)
	if status >= 300 {
		c.Fatalf("edit %s: %d %v", name, status, answer)
	}
}

func get(t *testing.T, e endpoint.Endpoint, name string) secret.Secret {
	t.Helper()
	all, err := e.List(t.Context(), []string{name})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d secrets, %v", len(all), err)
	}
	return all[0]
}

func content(s secret.Secret) map[string]string {
	m := map[string]string{}
	for _, k := range s.Keys {
		m[k.Name] = string(k.Value.Reveal())
	}
	return m
}

// An update ends all drift, whoever's field manager it came with, and leaves alone what is not ours.
func TestUpdateEndsDrift(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	if _, err := e.Create(t.Context(), mirror("drift", "a", "1", "b", "2", "c", "3")); err != nil {
		t.Fatal(err)
	}
	c.apply("another", "drift", object{"data": object{"by-apply": b64("x"), "b": b64("2")}}) // b is shared now
	c.edit("drift", object{
		"data":     object{"a": b64("changed"), "by-edit": b64("x"), "c": nil},
		"metadata": object{"labels": object{"user": "label"}, "annotations": object{"user": "annotation", "secretx.github.io/place": "elsewhere"}},
	})
	next := mirror("drift", "a", "1", "d", "4")
	updated, err := e.Update(t.Context(), get(t, e, "drift"), next)
	if err != nil {
		t.Fatal(err)
	}
	found := get(t, e, "drift")
	if want := content(next); !maps.Equal(content(found), want) || !maps.Equal(content(updated), want) || found.Version != updated.Version {
		t.Errorf("keys are %v, want %v", content(found), want)
	}
	if !reflect.DeepEqual(found.Mark, next.Mark) || !maps.Equal(found.Labels, map[string]string{"user": "label"}) {
		t.Errorf("mark %+v, labels %v", found.Mark, found.Labels)
	}
	raw := c.must(http.MethodGet, c.secrets()+"/drift", nil)["metadata"].(object)
	if raw["annotations"].(object)["user"] != "annotation" || raw["labels"].(object)["secretx.github.io/mirror"] != "true" {
		t.Errorf("metadata is %v", raw)
	}
	// From here on plain apply is enough again.
	next = mirror("drift", "e", "5")
	if _, err := e.Update(t.Context(), found, next); err != nil {
		t.Fatal(err)
	}
	if found := get(t, e, "drift"); !maps.Equal(content(found), content(next)) {
		t.Errorf("keys are %v", content(found))
	}
}

// There is one entry of ours, by apply, and never kubectl's copy of the whole object.
func TestManagedFields(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	made, err := e.Create(t.Context(), mirror("managed", "a", "1", "b", "2"))
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		metadata := c.must(http.MethodGet, c.secrets()+"/managed", nil)["metadata"].(object)
		entries := metadata["managedFields"].([]any)
		if entry := entries[0].(object); len(entries) != 1 || entry["manager"] != kube.FieldManager || entry["operation"] != "Apply" {
			t.Errorf("managed fields are %v", entries)
		}
		if annotations, _ := json.Marshal(metadata["annotations"]); bytes.Contains(annotations, []byte("last-applied")) {
			t.Errorf("annotations are %s", annotations)
		}
	}
	check()
	if _, err := e.Update(t.Context(), made, mirror("managed", "b", "3")); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestFinalizersKeepIt(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.must(http.MethodPost, c.secrets(), object{"metadata": object{"name": "kept", "finalizers": []string{"example.com/one"}}})
	err := e.Remove(t.Context(), get(t, e, "kept"))
	if !errors.Is(err, endpoint.ErrInUse) || !strings.Contains(err.Error(), "example.com/one") {
		t.Error(err)
	}
	c.edit("kept", object{"metadata": object{"finalizers": nil}})
}

// cutter loses the answer to the n-th request, which the server has carried out.
type cutter struct {
	http.RoundTripper
	left atomic.Int32
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.RoundTripper.RoundTrip(r)
	if err == nil && c.left.Add(-1) == 0 {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return response, err
}

// A connection that breaks before the answer doesn't make a write fail that was carried out.
func TestLostAnswers(t *testing.T) {
	c := newCluster(t)
	cut := &cutter{}
	config := rest.CopyConfig(c.config)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { cut.RoundTripper = inner; return cut })
	e := c.openAs(config)
	cut.left.Store(1)
	made, err := e.Create(t.Context(), mirror("lost", "a", "1", "b", "2"))
	if err != nil {
		t.Fatal("create:", err)
	}
	cut.left.Store(1)
	updated, err := e.Update(t.Context(), made, mirror("lost", "a", "2"))
	if err != nil || updated.Version == made.Version || updated.UID != made.UID {
		t.Fatal("update:", err)
	}
	cut.left.Store(1)
	if err := e.Remove(t.Context(), updated); err != nil {
		t.Fatal("remove:", err)
	}
	if cut.left.Load() > 0 {
		t.Error("nothing was cut")
	}
	// But somebody else's object is not taken for ours.
	c.must(http.MethodPost, c.secrets(), object{"metadata": object{"name": "lost"}, "data": object{"a": b64("1"), "b": b64("2")}})
	cut.left.Store(1)
	if _, err := e.Create(t.Context(), mirror("lost", "a", "1", "b", "2")); !errors.Is(err, endpoint.ErrTaken) {
		t.Errorf("create of a taken name: %v", err)
	}
}

func TestInternal(t *testing.T) {
	c := newCluster(t)
	c.must(http.MethodPost, "/api/v1/namespaces/"+c.namespace+"/serviceaccounts", object{"metadata": object{"name": "sa"}})
	for name, body := range map[string]object{
		"token":     {"type": "kubernetes.io/service-account-token", "metadata": object{"name": "token", "annotations": object{"kubernetes.io/service-account.name": "sa"}}},
		"bootstrap": {"type": "bootstrap.kubernetes.io/token", "data": object{"token-id": b64("abcdef")}},
		"helm":      {"type": "helm.sh/release.v1", "data": object{"release": b64("x")}},
		"plain":     {"data": object{"release": b64("x")}},
	} {
		if body["metadata"] == nil {
			body["metadata"] = object{"name": name}
		}
		c.must(http.MethodPost, c.secrets(), body)
	}
	if _, err := c.open().FingerprintKey(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	all, err := c.open().List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if (s.Internal == "") != (s.Name == "plain") {
			t.Errorf("%s: internal is %q", s.Name, s.Internal)
		}
	}
	if len(all) != 5 {
		t.Errorf("%d secrets", len(all))
	}
}

func TestDamagedFingerprintKey(t *testing.T) {
	c := newCluster(t)
	c.must(http.MethodPost, c.secrets(), object{"metadata": object{"name": "secretx-fingerprint-key"}, "type": "secretx.github.io/fingerprint-key", "data": object{"key": b64("much too short")}})
	before := c.must(http.MethodGet, c.secrets()+"/secretx-fingerprint-key", nil)
	for _, create := range []bool{false, true} {
		key, err := c.open().FingerprintKey(t.Context(), create)
		if err == nil || key.Known() || strings.Contains(err.Error(), "too short") {
			t.Errorf("known %v, %v", key.Known(), err)
		}
	}
	if after := c.must(http.MethodGet, c.secrets()+"/secretx-fingerprint-key", nil); !reflect.DeepEqual(before, after) {
		t.Errorf("it was\n%v\nand is\n%v", before, after)
	}
}

func TestNamespaceThatIsNotThere(t *testing.T) {
	c := newCluster(t)
	e := kube.New(func() (*rest.Config, string, error) { return c.config, "no-such-namespace", nil }, "kubernetes:/no-such-namespace", kube.Options{})
	_, err := e.Place(t.Context())
	if !errors.Is(err, endpoint.ErrNotFound) || !strings.Contains(err.Error(), "kubectl create namespace no-such-namespace") {
		t.Error(err)
	}
	_, err = e.Create(t.Context(), mirror("a", "a", "1"))
	if !errors.Is(err, endpoint.ErrNotFound) || !strings.Contains(err.Error(), "kubectl create namespace no-such-namespace") {
		t.Error(err)
	}
}

type rule = object

func allow(resource string, names []string, verbs ...string) rule {
	r := rule{"apiGroups": []string{""}, "resources": []string{resource}, "verbs": verbs}
	if names != nil {
		r["resourceNames"] = names
	}
	return r
}

// user makes a ServiceAccount that may do what the rules say, and opens the endpoint as it.
func (c *cluster) user(name string, rules ...rule) *kube.Endpoint {
	c.Helper()
	rbac := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + c.namespace
	accounts := "/api/v1/namespaces/" + c.namespace + "/serviceaccounts"
	c.must(http.MethodPost, accounts, object{"metadata": object{"name": name}})
	c.must(http.MethodPost, rbac+"/roles", object{"metadata": object{"name": name}, "rules": rules})
	c.must(http.MethodPost, rbac+"/rolebindings", object{
		"metadata": object{"name": name},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
		"subjects": []object{{"kind": "ServiceAccount", "name": name, "namespace": c.namespace}},
	})
	token := c.must(http.MethodPost, accounts+"/"+name+"/token", object{"spec": object{}})["status"].(object)["token"].(string)
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = token
	e := c.openAs(config)
	// The authorizer learns of a new Role a moment later.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := e.Place(c.Context())
		if err == nil || !slices.ContainsFunc(rules, func(r rule) bool { return r["resources"].([]string)[0] == "namespaces" }) {
			return e
		}
		if time.Now().After(deadline) {
			c.Fatal(err)
		}
	}
}

// The rights that the package comment lists are enough, each narrowed to the names concerned.
func TestLeastPrivilege(t *testing.T) {
	c := newCluster(t)
	mine := []string{"mirror", "secretx-fingerprint-key"}
	namespace := allow("namespaces", []string{c.namespace}, "get")
	e := c.user("writer", namespace, allow("secrets", mine, "get", "create", "patch", "delete"))
	made, err := e.Create(t.Context(), mirror("mirror", "a", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Update(t.Context(), made, mirror("mirror", "b", "2")); err != nil {
		t.Fatal(err)
	}
	found := get(t, e, "mirror")
	if _, err := e.Digests(t.Context(), []secret.Ref{found.Ref("b")}, []byte("nonce")); err != nil {
		t.Fatal(err)
	}
	if key, err := e.FingerprintKey(t.Context(), true); err != nil || !key.Known() {
		t.Fatal(err)
	}
	if err := e.Remove(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	many := []string{"mirror"} // too many to ask for each, but the list is not allowed
	many = append(many, slices.Repeat([]string{"secretx-fingerprint-key"}, 40)...)
	if all, err := e.List(t.Context(), many); err != nil || len(all) != 1 {
		t.Errorf("%d secrets, %v", len(all), err)
	}
	reader := c.user("reader", namespace, allow("secrets", nil, "list"))
	if all, err := reader.List(t.Context(), nil); err != nil || len(all) != 1 {
		t.Errorf("%d secrets, %v", len(all), err)
	}
	if key, err := reader.FingerprintKey(t.Context(), false); err != nil || key.Known() {
		t.Errorf("a key that may not be read: known %v, %v", key.Known(), err)
	}
}

// A missing right is named.
func TestMissingRights(t *testing.T) {
	c := newCluster(t)
	made, err := c.open().Create(t.Context(), mirror("mirror", "a", "1"))
	if err != nil {
		t.Fatal(err)
	}
	namespace := allow("namespaces", []string{c.namespace}, "get")
	each := func(secret.Ref, secret.Value) error { return nil }
	all := []string{"get", "list", "create", "patch", "delete"}
	for missing, call := range map[string]func(e *kube.Endpoint) error{
		"get":    func(e *kube.Endpoint) error { return e.Values(t.Context(), []secret.Ref{made.Ref("a")}, each) },
		"list":   func(e *kube.Endpoint) error { _, err := e.List(t.Context(), nil); return err },
		"create": func(e *kube.Endpoint) error { _, err := e.Create(t.Context(), mirror("new", "a", "1")); return err },
		"patch": func(e *kube.Endpoint) error {
			_, err := e.Update(t.Context(), made, mirror("mirror", "b", "2"))
			return err
		},
		"delete": func(e *kube.Endpoint) error { return e.Remove(t.Context(), made) },
	} {
		verbs := slices.DeleteFunc(slices.Clone(all), func(v string) bool { return v == missing })
		err := call(c.user("no-"+missing, namespace, allow("secrets", nil, verbs...)))
		hint := `A Role in namespace "` + c.namespace + `" must allow "` + missing + `" on "secrets"`
		if !errors.Is(err, endpoint.ErrForbidden) || !strings.Contains(err.Error(), hint) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	_, err = c.user("nobody").Place(t.Context())
	if !errors.Is(err, endpoint.ErrForbidden) || !strings.Contains(err.Error(), `must allow "get" on "namespaces"`) {
		t.Error(err)
	}
	if _, err := c.user("no-key", namespace, allow("secrets", nil, "get")).FingerprintKey(t.Context(), true); !errors.Is(err, endpoint.ErrForbidden) {
		t.Errorf("a key that may not be made: %v", err)
	}
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = "wrong"
	_, err = c.openAs(config).Place(t.Context())
	if !errors.Is(err, endpoint.ErrForbidden) || !strings.Contains(err.Error(), "log in again") {
		t.Error(err)
	}
}
