package kube

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/secret"
)

// secretKind is asked for where metadata is enough: everything else has a request of its own.
var secretKind = kind{version: "v1", plural: "secrets", kind: "Secret"}

// ListNames gives the Secrets of the namespace, without keys: only their metadata is asked for. It is for completion,
// as all here, and takes the right to list secrets.
func (e *Endpoint) ListNames(ctx context.Context) ([]secret.Secret, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	found, err := c.metadataOf(ctx, secretKind)
	if err != nil {
		return nil, c.fail(ctx, "list secrets", "", err)
	}
	all := make([]secret.Secret, len(found))
	for i := range found {
		object := corev1.Secret{ObjectMeta: found[i].ObjectMeta}
		all[i] = secret.Secret{Name: object.Name, Internal: internal(&object)}
		all[i].ReadAnnotations(object.Annotations)
	}
	return all, nil
}

// owners are the kinds whose pods are looked into mostly, by what kubectl calls one.
var owners = []kind{deploymentKind, statefulSetKind, daemonSetKind, jobKind, cronJobKind}

// Targets are the pods and the types of what owns some; behind a type and a slash, the objects of it.
func (e *Endpoint) Targets(ctx context.Context, word string) ([]string, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	before, names := "", []string(nil)
	of := podKind
	if what, _, typed := strings.Cut(word, "/"); typed {
		before = what + "/"
		if of, err = c.kindCalled(ctx, what); err != nil {
			return nil, err
		}
	} else {
		for _, owner := range owners {
			names = append(names, strings.ToLower(owner.kind)+"/")
		}
	}
	found, err := c.metadataOf(ctx, of)
	if err != nil {
		return names, c.fail(ctx, "list "+of.plural, "", err)
	}
	for i := range found {
		names = append(names, before+found[i].Name)
	}
	return names, nil
}

// ContainerNames are those of all pods of a target.
func (e *Endpoint) ContainerNames(ctx context.Context, target peek.Target) ([]string, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	pods, err := c.targetPods(ctx, target)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range pods {
		spec := &pods[i].Spec
		for _, one := range slices.Concat(spec.InitContainers, spec.Containers) {
			names = append(names, one.Name)
		}
		for j := range spec.EphemeralContainers {
			names = append(names, spec.EphemeralContainers[j].Name)
		}
	}
	return names, nil
}
