package kube

import (
	"context"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

// Namespaces are the names of all namespaces of the cluster, sorted. It takes the right to list
// namespaces, which only a ClusterRole can grant.
func (e *Endpoint) Namespaces(ctx context.Context) ([]string, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	var names []string
	err = pages(ctx, c, func() *rest.Request {
		return c.client.Verb(http.MethodGet).Resource("namespaces")
	}, func(page *corev1.NamespaceList) error {
		for i := range page.Items {
			names = append(names, page.Items[i].Name)
		}
		return nil
	})
	if err != nil {
		return nil, c.fail(ctx, "list namespaces", "", err)
	}
	slices.Sort(names)
	return names, nil
}
