package kube_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

const podOfARollout = `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"p","uid":"1","ownerReferences":[{"kind":"Rollout","name":"r","uid":"r-uid","controller":true}]},"spec":{"containers":[{"name":"c"}]}}]}`

// Kinds that aren't known are found by the discovery of new and of old servers; known ones without.
func TestKindsAreDiscovered(t *testing.T) {
	aggregated := `{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"example.com"},"versions":[
		{"version":"v1","resources":[{"resource":"rollouts","responseKind":{"kind":"Rollout"},"scope":"Namespaced","shortNames":["ro"]},{"resource":"clusters","responseKind":{"kind":"Cluster"},"scope":"Cluster"}]},
		{"version":"v1alpha1","resources":[{"resource":"rollouts","responseKind":{"kind":"Rollout"},"scope":"Namespaced","shortNames":["ro"]}]}]}]}`
	groups := `{"kind":"APIGroupList","groups":[{"name":"away.example.com","preferredVersion":{"version":"v1"}},{"name":"example.com","preferredVersion":{"version":"v1"}}]}`
	resources := `{"kind":"APIResourceList","resources":[{"name":"rollouts","kind":"Rollout","namespaced":true,"shortNames":["ro"]},{"name":"rollouts/status","kind":"Rollout","namespaced":true},{"name":"clusters","kind":"Cluster"}]}`
	for server, first := range map[string]string{"new": aggregated, "old": groups} {
		var discoveries atomic.Int32
		e := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			text := ""
			switch r.URL.Path {
			case "/apis":
				discoveries.Add(1)
				text = first
			case "/apis/example.com/v1":
				text = resources
			case "/apis/example.com/v1/namespaces/default/rollouts/r":
				text = `{"metadata":{"uid":"r-uid"},"spec":{"selector":{}}}`
			case "/apis/apps/v1/namespaces/default/deployments/d":
				text = `{"metadata":{"uid":"d-uid"},"spec":{"selector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":"Exists"}]}}}`
			case "/api/v1/namespaces/default/services/s":
				text = `{"metadata":{"uid":"s-uid"},"spec":{"selector":{"a":"b"}}}`
			case "/api/v1/namespaces/default/pods":
				if selector := r.URL.Query().Get("labelSelector"); selector != "" && selector != "a=b,c" && selector != "a=b" {
					t.Error(selector)
				}
				text = podOfARollout
			case "/apis/away.example.com/v1":
				answer(w, 404, failure(404, "NotFound", "away"))
				return
			default:
				if strings.HasPrefix(r.URL.Path, "/apis/") {
					text = `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","items":[]}`
				}
			}
			_, _ = w.Write([]byte(text))
		})
		for _, kind := range []string{"rollout", "ROLLOUTS", "ro", "rollouts.example.com", "rollouts.v1.example.com"} {
			found, err := e.Containers(t.Context(), peek.Target{Type: kind, Name: "r"})
			if err != nil || len(found) != 1 || found[0].Object != "rollout/r" {
				t.Errorf("%s server, %s: %v %v", server, kind, found, err)
			}
		}
		before := discoveries.Load()
		for _, target := range []peek.Target{{Type: "deploy", Name: "d"}, {Type: "deployments.apps", Name: "d"}, {Type: "svc", Name: "s"}} {
			if found, err := e.Containers(t.Context(), target); err != nil || len(found) != 1 {
				t.Errorf("%v: %v %v", target, found, err)
			}
		}
		if discoveries.Load() != before {
			t.Error("a known kind is discovered")
		}
		for _, kind := range []string{"cluster", "rollouts.other.com", "rollouts/status", "nothing"} {
			if _, err := e.Containers(t.Context(), peek.Target{Type: kind, Name: "r"}); !errors.Is(err, endpoint.ErrNotFound) || !strings.Contains(err.Error(), "kubectl api-resources") {
				t.Errorf("%s server, %s: %v", server, kind, err)
			}
		}
	}
}
