package kube_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/secret"
)

// serve opens the endpoint of a server that answers what the test says.
func serve(t *testing.T, answer http.HandlerFunc) *kube.Endpoint {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return at(server.URL)
}

func at(server string) *kube.Endpoint {
	return kube.New(func() (*rest.Config, string, error) { return &rest.Config{Host: server}, "default", nil }, "kubernetes:/default", kube.Options{})
}

// answer is a JSON document as the API server would send it.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func failure(status int, reason, message string) map[string]any {
	return map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason, "message": message}
}

func one(name string) map[string]any {
	return map[string]any{
		"kind": "Secret", "apiVersion": "v1", "type": "Opaque",
		"metadata": map[string]any{"name": name, "uid": "u-" + name, "resourceVersion": "7"},
		"data":     map[string][]byte{"value": []byte("the value")},
	}
}

const hidden = "correct horse battery staple"

func sample() secret.Secret {
	return secret.Secret{Name: "sample", Type: secret.Opaque, Keys: []secret.Key{{Name: "value", Value: secret.NewValue([]byte(hidden))}}}
}

func TestNothingHappensBeforeTheFirstUse(t *testing.T) {
	loaded := 0
	e := kube.New(func() (*rest.Config, string, error) { loaded++; return nil, "", errors.New("no kubeconfig") }, "kubernetes", kube.Options{})
	if loaded != 0 {
		t.Error("New loads the configuration")
	}
	_, err := e.Place(t.Context())
	if loaded != 1 || !errors.Is(err, endpoint.ErrUnreachable) || !strings.Contains(err.Error(), "no kubeconfig") {
		t.Errorf("loaded %d times, %v", loaded, err)
	}
	own := &endpoint.Error{Op: "find the context"}
	_, err = kube.New(func() (*rest.Config, string, error) { return nil, "", own }, "kubernetes", kube.Options{}).List(t.Context(), nil)
	if err != error(own) {
		t.Errorf("what the configuration says is wrapped: %v", err)
	}
}

func TestErrors(t *testing.T) {
	quoting := `Secret "sample" is invalid: data: Invalid value: "` + hidden + `"`
	forbidden := `secrets "sample" is forbidden: User "u" cannot patch resource "secrets" in API group "" in the namespace "default"`
	for _, c := range []struct {
		status  int
		reason  string
		message string
		want    error
		text    string
	}{
		{403, "Forbidden", forbidden, endpoint.ErrForbidden, `A Role in namespace "default" must allow "patch" on "secrets"`},
		{403, "Forbidden", `secrets "sample" is forbidden: exceeded quota: q`, endpoint.ErrForbidden, "exceeded quota"},
		{401, "Unauthorized", "Unauthorized", endpoint.ErrForbidden, "log in again"},
		{404, "NotFound", "not found", endpoint.ErrNotFound, ""},
		{409, "Conflict", "the object has been modified", endpoint.ErrTaken, ""},
		{422, "Invalid", quoting, endpoint.ErrInvalid, secret.Redacted},
		{400, "BadRequest", "error decoding patch: " + hidden, endpoint.ErrInvalid, secret.Redacted},
		{413, "RequestEntityTooLarge", "limit is 3145728", endpoint.ErrInvalid, "3145728"},
	} {
		e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, c.status, failure(c.status, c.reason, c.message))
		})
		_, err := e.Create(t.Context(), sample())
		var typed *endpoint.Error
		if !errors.As(err, &typed) || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%d %s: %v", c.status, c.message, err)
		}
		if strings.Contains(err.Error(), hidden) {
			t.Errorf("%d %s: the value is in the error", c.status, c.reason)
		}
	}
}

// An answer that isn't one of an API server may hold anything: none of it is shown.
func TestStrangeAnswers(t *testing.T) {
	for _, body := range []string{"<html>" + hidden, `{"kind":"Secret","apiVersion":"v1","data":{"value":"` + hidden + `"}}`, `{"kind":"Secret","apiVersion":"v1","data":"` + hidden + `"}`, `{"kind":"Pod","apiVersion":"v1"}`, ""} {
		e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		})
		_, err := e.List(t.Context(), nil)
		if err == nil || strings.Contains(err.Error(), "horse") {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	start := time.Now()
	_, err := at(server.URL).Place(t.Context())
	if !errors.Is(err, endpoint.ErrUnreachable) || !strings.Contains(err.Error(), server.URL) || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("a refused connection took %s", took)
	}
}

// What passes by is tried again, whatever the method.
func TestRetries(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 500, 503, 504} {
		var mu sync.Mutex
		var methods []string
		e := serve(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			methods = append(methods, r.Method)
			if len(methods)%2 == 1 {
				reason := map[int]string{429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}[status]
				answer(w, status, failure(status, reason, "not now"))
				return
			}
			switch r.Method {
			case http.MethodPatch:
				answer(w, http.StatusCreated, one("sample"))
			default:
				answer(w, http.StatusOK, one("sample"))
			}
		})
		if _, err := e.Create(t.Context(), sample()); err != nil {
			t.Errorf("%d: create: %v", status, err)
		}
		if all, err := e.List(t.Context(), []string{"sample"}); err != nil || len(all) != 1 {
			t.Errorf("%d: list: %v", status, err)
		}
		if err := e.Remove(t.Context(), secret.Secret{Name: "sample", UID: "u-sample"}); err != nil {
			t.Errorf("%d: remove: %v", status, err)
		}
		if want := []string{"PATCH", "PATCH", "GET", "GET", "DELETE", "DELETE"}; !slices.Equal(methods, want) {
			t.Errorf("%d: %v", status, methods)
		}
	}
}

func TestRetriesEnd(t *testing.T) {
	t.Parallel()
	n := 0
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		answer(w, 503, failure(503, "ServiceUnavailable", "never"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := e.Place(ctx); err == nil || ctx.Err() != nil || n < 2 {
		t.Errorf("%d attempts, %v", n, err)
	}
}

// Whoever gives up while a retry or an answer is waited for gets away at once.
func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	for what, handle := range map[string]http.HandlerFunc{
		"for a retry": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests) // as priority and fairness does
		},
		"for an answer": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server doesn't notice that the client is gone
			<-r.Context().Done()
		},
	} {
		e := serve(t, handle)
		for name, call := range map[string]func(ctx context.Context) error{
			"list":   func(ctx context.Context) error { _, err := e.List(ctx, []string{"a", "b"}); return err },
			"create": func(ctx context.Context) error { _, err := e.Create(ctx, sample()); return err },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			start := time.Now()
			err := call(ctx)
			var typed *endpoint.Error
			if !errors.Is(err, context.Canceled) || !errors.As(err, &typed) {
				t.Errorf("%s %s: %v", name, what, err)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%s %s took %s", name, what, took)
			}
		}
	}
}

// A list goes page by page, and on with the list as it is by now when its snapshot has expired.
func TestPages(t *testing.T) {
	list := func(next string, names ...string) map[string]any {
		items := []any{}
		for _, name := range names {
			items = append(items, one(name))
		}
		return map[string]any{"kind": "SecretList", "apiVersion": "v1", "metadata": map[string]any{"continue": next}, "items": items}
	}
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("limit") == "" {
			t.Error("a list without a limit")
		}
		switch r.URL.Query().Get("continue") {
		case "":
			answer(w, 200, list("second", "a", "b"))
		case "second":
			expired := failure(410, "Expired", "the snapshot is gone")
			expired["metadata"] = map[string]any{"continue": "second, as of now"}
			answer(w, 410, expired)
		case "second, as of now":
			answer(w, 200, list("", "c"))
		}
	})
	all, err := e.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("names are %v", names)
	}
}

// Few names are asked for one by one, many by a list; strange ones not at all.
func TestFewNames(t *testing.T) {
	var mu sync.Mutex
	var paths []string
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/default/secrets"))
		mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/secrets") {
			answer(w, 200, map[string]any{"kind": "SecretList", "apiVersion": "v1"})
			return
		}
		answer(w, 404, failure(404, "NotFound", "no"))
	})
	if _, err := e.List(t.Context(), []string{"b", "a", "b", "../pods", ""}); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(paths); !slices.Equal(paths, []string{"/a", "/b"}) {
		t.Errorf("asked for %v", paths)
	}
	paths = nil
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint("n", i))
	}
	if _, err := e.List(t.Context(), many); err != nil || !slices.Equal(paths, []string{""}) {
		t.Errorf("asked for %v, %v", paths, err)
	}
}

// What is sent names exactly what we have an opinion on, and never a null.
func TestConfiguration(t *testing.T) {
	var body map[string]any
	var query string
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		if r.Header.Get("Content-Type") != "application/apply-patch+yaml" || r.UserAgent() != "secretx" {
			t.Errorf("headers are %v", r.Header)
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		answer(w, http.StatusCreated, one("sample"))
	})
	s := sample()
	s.Keys = append([]secret.Key{{Name: "empty", Value: secret.NewValue(nil)}}, s.Keys...)
	if _, err := e.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(body)
	want := `{"apiVersion":"v1","data":{"empty":"","value":"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ=="},"kind":"Secret","metadata":{"name":"sample","resourceVersion":"1"},"type":"Opaque"}`
	if string(text) != want || query != "fieldManager=secretx&force=false" {
		t.Errorf("sent %s\n%s, want\n%s", query, text, want)
	}
	s.Keys[0].Value = secret.Value{}
	if _, err := e.Create(t.Context(), s); !errors.Is(err, endpoint.ErrInvalid) {
		t.Errorf("a value that isn't known: %v", err)
	}
}

// An API that merges although the version doesn't fit must not be taken for one that created.
func TestMergedIsNotCreated(t *testing.T) {
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, one("sample")) })
	if _, err := e.Create(t.Context(), sample()); !errors.Is(err, endpoint.ErrTaken) {
		t.Error(err)
	}
}

func TestDamagedMark(t *testing.T) {
	o := one("sample")
	o["metadata"].(map[string]any)["annotations"] = map[string]string{"secretx.github.io/origin": "swarm:x", "secretx.github.io/parts": "{"}
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, o) })
	all, err := e.List(t.Context(), []string{"sample"})
	if err != nil || len(all) != 1 || all[0].Damaged == "" || all[0].Mark != nil {
		t.Errorf("%+v, %v", all, err)
	}
}

// client-go logs bodies at high verbosity; not ours.
func TestNoBodyInTheLog(t *testing.T) {
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"v": "10", "logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	klog.SetOutput(&log)
	defer func() {
		klog.Flush()
		klog.SetOutput(io.Discard)
		_ = flags.Set("v", "0")
		if strings.Contains(log.String(), "horse") || strings.Contains(log.String(), "Y29ycmVjd") {
			t.Error("the value is in the log")
		}
		if log.Len() == 0 {
			t.Error("nothing is logged at all, so the test says nothing")
		}
	}()
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			_, _ = io.Copy(io.Discard, r.Body)
			o := one("sample")
			o["data"] = map[string][]byte{"value": []byte(hidden)}
			answer(w, http.StatusCreated, o)
			return
		}
		answer(w, http.StatusUnprocessableEntity, failure(422, "Invalid", hidden))
	})
	klog.V(1).Info("there is a log")
	if _, err := e.Create(t.Context(), sample()); err != nil {
		t.Error(err)
	}
	_ = e.Remove(t.Context(), sample())
}
