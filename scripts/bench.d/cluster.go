package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster is a bare HTTP/2 client of an API server. Only the kubeconfig is read by client-go.
type cluster struct {
	http *http.Client
	base string
}

func newCluster() (*cluster, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &cluster{http: client, base: strings.TrimSuffix(config.Host, "/")}, nil
}

func (c *cluster) do(ctx context.Context, method, path string, body []byte, into any) error {
	return request(ctx, c.http, method, c.base+path, asJSON, body, into)
}

type kubeMetadata struct {
	Name        string            `json:"name"`
	UID         string            `json:"uid,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type kubeSecret struct {
	Metadata kubeMetadata      `json:"metadata"`
	Type     string            `json:"type,omitempty"`
	Data     map[string][]byte `json:"data"`
}

func secretsPath(namespace string) string { return "/api/v1/namespaces/" + namespace + "/secrets" }

// namespace makes one and gives its UID.
func (c *cluster) namespace(ctx context.Context, name string) (string, error) {
	body, _ := json.Marshal(map[string]kubeMetadata{"metadata": {Name: name, Labels: map[string]string{mark: "true"}}}) // can't fail
	var made struct{ Metadata kubeMetadata }
	return made.Metadata.UID, c.do(ctx, http.MethodPost, "/api/v1/namespaces", body, &made)
}

// mirrors is the label that every mirror has in Kubernetes.
const mirrors = "secretx.github.io/mirror"

// secrets lists those with a label, or all.
func (c *cluster) secrets(ctx context.Context, namespace, label string) ([]kubeSecret, error) {
	var list struct{ Items []kubeSecret }
	return list.Items, c.do(ctx, http.MethodGet, secretsPath(namespace)+"?labelSelector="+label, nil, &list)
}

func (c *cluster) create(ctx context.Context, namespace string, bodies [][]byte, concurrency int) error {
	return parallel(ctx, len(bodies), concurrency, func(ctx context.Context, i int) error {
		return c.do(ctx, http.MethodPost, secretsPath(namespace), bodies[i], nil)
	})
}

// remove removes the secrets with a label, or all. One by one at many at a time is quicker than what the API
// server does with a collection.
func (c *cluster) remove(ctx context.Context, namespace, label string) error {
	all, err := c.secrets(ctx, namespace, label)
	if err != nil {
		return err
	}
	return parallel(ctx, len(all), 32, func(ctx context.Context, i int) error {
		return c.do(ctx, http.MethodDelete, secretsPath(namespace)+"/"+all[i].Metadata.Name, nil, nil)
	})
}

// clean removes all that benchmarks made, in this run or another. The engine's part comes last: what
// it was still making for a client that was interrupted is there by then.
func (b *bench) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var namespaces struct {
		Items []struct{ Metadata kubeMetadata }
	}
	list := func() error {
		return b.cluster.do(ctx, http.MethodGet, "/api/v1/namespaces?labelSelector="+mark, nil, &namespaces)
	}
	if err := list(); err != nil {
		return err
	}
	for _, n := range namespaces.Items {
		// At once, and not one by one with the time that a pod gets to end: none of them runs.
		if err := b.cluster.do(ctx, http.MethodDelete, "/api/v1/namespaces/"+n.Metadata.Name+"/pods?gracePeriodSeconds=0", nil, nil); err != nil {
			return err
		}
		if err := b.cluster.remove(ctx, n.Metadata.Name, ""); err != nil {
			return err
		}
		if err := b.cluster.do(ctx, http.MethodDelete, "/api/v1/namespaces/"+n.Metadata.Name, nil, nil); err != nil {
			return err
		}
	}
	for len(namespaces.Items) > 0 {
		time.Sleep(200 * time.Millisecond)
		namespaces.Items = nil
		if err := list(); err != nil {
			return errors.Join(fmt.Errorf("waiting for the end of namespaces: %w", err), ctx.Err())
		}
	}
	return b.engine.clean(ctx)
}

// mirrorOf is the label, with its value, that mirrors of a namespace's Secrets have in a Swarm.
func mirrorOf(uid string) string { return "io.github.secretx.origin=kubernetes:" + uid }
