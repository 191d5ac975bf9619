package swarm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// TestOlderEngine speaks to what answers as Docker 19.03 did: the probe is refused in one line, before
// anything is made, and what needs none works.
func TestOlderEngine(t *testing.T) {
	version := regexp.MustCompile(`^/v([0-9.]+)/`)
	const listed = `[{"ID":"i","Version":{"Index":7},"CreatedAt":"2021-01-30T03:16:33Z","UpdatedAt":"2021-01-30T03:16:33Z","Spec":{"Name":"s","Labels":{}}}]`
	answers := map[string]string{
		"GET /info":            `{"ID":"e","OSType":"linux","Architecture":"x86_64","LoggingDriver":"json-file","SystemTime":"2021-01-30T03:16:33Z","ServerVersion":"19.03.15","Swarm":{"NodeID":"n","LocalNodeState":"active","ControlAvailable":true,"Cluster":{"ID":"c"}}}`,
		"GET /version":         `{"Version":"19.03.15","ApiVersion":"1.40","MinAPIVersion":"1.12","GitCommit":"99e3ed8919","GoVersion":"go1.13.15","Os":"linux","Arch":"amd64"}`,
		"GET /secrets":         listed,
		"GET /services":        `[]`,
		"GET /tasks":           `[]`,
		"POST /secrets/create": `{"ID":"j"}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.40")
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/_ping" {
			return
		}
		asked := version.FindStringSubmatch(r.URL.Path)
		text, known := answers[r.Method+" "+version.ReplaceAllString(r.URL.Path, "/")]
		if asked == nil || asked[1] != "1.40" || !known {
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	e := New(func(context.Context) (client.APIClient, error) {
		return client.NewClientWithOpts(client.WithHost("tcp://"+server.Listener.Addr().String()), client.WithAPIVersionNegotiation())
	}, "swarm", Options{})

	found, err := e.List(t.Context(), nil)
	if err != nil || len(found) != 1 || found[0].Name != "s" {
		t.Fatal(found, err)
	}
	if _, err := e.Consumers(t.Context()); err != nil {
		t.Error(err)
	}
	made := secret.Secret{Name: "t", Keys: []secret.Key{{Name: "t", Value: secret.NewValue([]byte("v"))}}}
	if made, err := e.Create(t.Context(), made); err != nil || made.UID != "j" {
		t.Error(made.UID, err)
	}
	_, err = e.Digests(t.Context(), []secret.Ref{{Name: "s", Key: "s", UID: "i"}}, []byte("nonce"))
	const want = "it needs Docker 20.10 (API 1.41), older ones can't take a task's capabilities away; this is API 1.40"
	if !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}
