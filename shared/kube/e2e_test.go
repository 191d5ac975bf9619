//go:build e2e

package kube_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"strings"
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
	*testing.T
	config    *rest.Config
	client    *http.Client
	namespace string
}

func newCluster(t *testing.T) *cluster {
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
	c := &cluster{T: t, config: config, client: client, namespace: "kube-e2e-" + strings.ToLower(rand.Text()[:8])}
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
	storetest.Run(t, secret.Kubernetes, func(t *testing.T) endpoint.Endpoint { return c.open() })
}
