package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/doctor"
	"github.com/secretx/secretx/shared/rights"
)

// apiServer answers what doctor asks, and counts.
type apiServer struct {
	version    string
	status     int
	late       time.Duration // how far its clock is behind
	namespace  int           // the status of the namespace
	rules      []authorizationv1.ResourceRule
	incomplete bool
	allowed    bool // what SelfSubjectAccessReviews say
	reviews    int
	key        string // the Secret with the installation key; empty: there is none
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", time.Now().Add(-s.late).UTC().Format(http.TimeFormat))
	status := func(code int, reason string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"details":{"kind":"namespaces"},"message":"namespaces \"ns\" is forbidden: User \"u\" cannot get resource \"namespaces\""}`, reason, code)
	}
	switch {
	case r.URL.Path == "/version":
		w.WriteHeader(s.status)
		fmt.Fprintf(w, `{"gitVersion":%q}`, s.version)
	case strings.HasSuffix(r.URL.Path, "/selfsubjectrulesreviews"):
		review := authorizationv1.SelfSubjectRulesReview{Status: authorizationv1.SubjectRulesReviewStatus{ResourceRules: s.rules, Incomplete: s.incomplete}}
		_ = json.NewEncoder(w).Encode(review)
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		s.reviews++
		_ = json.NewEncoder(w).Encode(authorizationv1.SelfSubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: s.allowed}})
	case r.URL.Path == "/api/v1/namespaces/ns":
		if s.namespace != http.StatusOK {
			status(s.namespace, map[int]string{http.StatusNotFound: "NotFound", http.StatusForbidden: "Forbidden"}[s.namespace])
			return
		}
		fmt.Fprint(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"ns","uid":"u"}}`)
	case strings.Contains(r.URL.Path, "/secrets/"):
		if s.key == "" {
			status(http.StatusNotFound, "NotFound")
			return
		}
		fmt.Fprint(w, s.key)
	default:
		status(http.StatusNotFound, "NotFound")
	}
}

func (s *apiServer) examine(t *testing.T, needs ...doctor.Need) map[string]doctor.Check {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	e := New(func() (*rest.Config, string, error) { return &rest.Config{Host: server.URL}, "ns", nil }, "kubernetes:/ns", Options{})
	checks := map[string]doctor.Check{}
	for _, c := range e.Examine(t.Context(), doctor.Options{
		Now: time.Now, Needs: func(string) ([]doctor.Need, error) { return needs, nil }, Allow: func(verb string) string { return "rbac --for " + verb },
	}) {
		if c.State == doctor.Failed && c.Advice == "" {
			t.Errorf("%s has failed, and nothing says what to do: %s", c.Name, c.Detail)
		}
		checks[c.Name] = c
	}
	return checks
}

func fineServer() *apiServer {
	return &apiServer{version: "v1.37.2", status: http.StatusOK, namespace: http.StatusOK}
}

func TestExamine(t *testing.T) {
	if got := fineServer().examine(t); len(got) != 5 {
		t.Errorf("%v", got)
	} else {
		for _, c := range got {
			if c.State != doctor.OK {
				t.Errorf("nothing is wrong: %+v", c)
			}
		}
	}
	for name, test := range map[string]struct {
		breaks      func(*apiServer)
		check       string
		state       doctor.State
		says, helps string
	}{
		"credentials":  {func(s *apiServer) { s.status = http.StatusUnauthorized }, "connection", doctor.Failed, "doesn't know the credentials", "log in again"},
		"old":          {func(s *apiServer) { s.version = "v1.20.4" }, "version", doctor.Warning, "v1.20.4 is older", "1.24"},
		"no version":   {func(s *apiServer) { s.version, s.status = "", http.StatusForbidden }, "version", doctor.Warning, "status 403", "right one"},
		"clock":        {func(s *apiServer) { s.late = 3 * time.Minute }, "clock", doctor.Warning, "behind", "NTP"},
		"no namespace": {func(s *apiServer) { s.namespace = http.StatusNotFound }, "namespace", doctor.Failed, "not found", "kubectl create namespace ns"},
		"forbidden":    {func(s *apiServer) { s.namespace = http.StatusForbidden }, "namespace", doctor.Failed, "not allowed", `must allow "get" on "namespaces"`},
		"key": {func(s *apiServer) {
			s.key = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"k"},"type":"Opaque"}`
		}, "installation key", doctor.Failed, "", "Restore that Secret"},
	} {
		s := fineServer()
		test.breaks(s)
		got := s.examine(t)[test.check]
		if got.State != test.state || !strings.Contains(got.Detail, test.says) || !strings.Contains(got.Advice, test.helps) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	e := New(func() (*rest.Config, string, error) { return &rest.Config{Host: "http://127.0.0.1:1"}, "ns", nil }, "kubernetes", Options{})
	if got := e.Examine(context.Background(), doctor.Options{Now: time.Now}); len(got) != 1 || got[0].State != doctor.Failed || !strings.Contains(got[0].Detail, "refused") {
		t.Errorf("%v", got)
	}
}

func TestExamineRights(t *testing.T) {
	need := doctor.Need{Verb: "rotate", Asked: true, Rules: rights.Rules{
		{Resource: "secrets", Verbs: []string{"get", "patch"}, Names: []string{"a"}},
		{Group: "apps", Resource: "deployments", Verbs: []string{"list"}},
		{Resource: "pods/exec", Verbs: []string{"create"}},
		{Resource: "services", Verbs: []string{"list"}, Without: "worse"},
	}}
	all := []authorizationv1.ResourceRule{
		{Verbs: []string{"get", "patch"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"a", "b"}},
		{Verbs: []string{"*"}, APIGroups: []string{"apps"}, Resources: []string{"*"}},
		{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"*/exec"}},
		{Verbs: []string{"list"}, APIGroups: []string{"*"}, Resources: []string{"services"}},
	}
	for name, test := range map[string]struct {
		rules               []authorizationv1.ResourceRule
		incomplete, allowed bool
		asked               bool
		state               doctor.State
		says                string
		reviews             int
	}{
		"all":           {all, false, false, true, doctor.OK, "allowed", 0},
		"no names":      {all[1:], false, false, true, doctor.Failed, "not allowed: get secrets/a, patch secrets/a", 0},
		"not asked for": {all[1:], false, false, false, doctor.Warning, "get secrets/a", 0},
		"no list":       {slices.Delete(slices.Clone(all), 1, 2), false, false, true, doctor.Failed, "list deployments.apps", 0},
		"no exec":       {slices.Delete(slices.Clone(all), 2, 3), false, false, true, doctor.Failed, "create pods/exec", 0},
		"without":       {all[:3], false, false, true, doctor.OK, "list services", 0},
		"other name": {append([]authorizationv1.ResourceRule{{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"b"}}}, all[1:]...),
			false, false, true, doctor.Failed, "get secrets/a", 0},
		"named, not all":  {append([]authorizationv1.ResourceRule{{Verbs: []string{"list"}, APIGroups: []string{"apps"}, Resources: []string{"deployments"}, ResourceNames: []string{"x"}}}, slices.Delete(slices.Clone(all), 1, 2)...), false, false, true, doctor.Failed, "list deployments.apps", 0},
		"webhook allows":  {nil, true, true, true, doctor.OK, "allowed", 5},
		"webhook refuses": {all[1:], true, false, true, doctor.Failed, "get secrets/a", 2},
	} {
		s := fineServer()
		s.rules, s.incomplete, s.allowed = test.rules, test.incomplete, test.allowed
		need.Asked = test.asked
		got := s.examine(t, need)["rights: rotate"]
		if got.State != test.state || !strings.Contains(got.Detail, test.says) || (got.State != doctor.OK) != strings.Contains(got.Advice, "rbac --for rotate") || s.reviews != test.reviews {
			t.Errorf("%s: %+v after %d reviews", name, got, s.reviews)
		}
	}
}
