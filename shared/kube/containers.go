package kube

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/peek"
)

// Containers finds the containers of what a user means, and says what each is meant to have of
// secrets. A selector that selects nothing, and an owner without pods, are no error.
func (e *Endpoint) Containers(ctx context.Context, target peek.Target) ([]peek.Container, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	pods, err := c.targetPods(ctx, target)
	if err != nil {
		return nil, err
	}
	known, err := e.keysOf(ctx, pods)
	if err != nil {
		return nil, err
	}
	rungs := c.rungsOf(ctx, pods)
	if ctx.Err() != nil {
		return nil, c.fail(ctx, "find containers", "", ctx.Err())
	}
	var all []peek.Container
	for i := range pods {
		object := cmp.Or(topOwner(pods[i].OwnerReferences, rungs), "pod/"+pods[i].Name)
		all = append(all, containersOf(&pods[i], object, known)...)
	}
	return all, nil
}

// keysOf finds the keys of all Secrets that pods refer to. The values aren't kept.
func (e *Endpoint) keysOf(ctx context.Context, pods []corev1.Pod) (secretKeys, error) {
	known := secretKeys{}
	for i := range pods {
		for _, use := range podUses(&pods[i].Spec) {
			if use.How != consumers.Driver && use.How != consumers.Pull {
				known[use.Secret] = nil
			}
		}
	}
	if len(known) == 0 {
		return known, nil
	}
	err := e.visit(ctx, "read the keys of secret", slices.Sorted(maps.Keys(known)), func(object *corev1.Secret) error {
		if _, wanted := known[object.Name]; wanted {
			known[object.Name] = append([]string{}, slices.Sorted(maps.Keys(object.Data))...)
		}
		for _, value := range object.Data {
			clear(value)
		}
		return nil
	})
	return known, err
}

// secretKeys are the sorted keys of Secrets by name; nil for one that isn't there.
type secretKeys map[string][]string

func (s secretKeys) has(secret, key string) bool {
	_, found := slices.BinarySearch(s[secret], key)
	return found
}

// containersOf are the containers of one pod in the order of its spec, but for those that looked
// into it on our behalf.
func containersOf(pod *corev1.Pod, object string, known secretKeys) []peek.Container {
	var all []peek.Container
	for part := range parts(&pod.Spec) {
		if part.kind == ephemeral && strings.HasPrefix(part.container.Name, helperPrefix) {
			continue
		}
		container := peek.Container{
			Object: object, Name: pod.Name, Container: part.container.Name, Kind: part.kind, Node: pod.Spec.NodeName,
			ID: string(pod.UID) + "/" + part.container.Name,
		}
		w := wanting{pod: pod, container: part.container, keys: known}
		container.Wants, container.Directories = w.all()
		judgeState(&container, pod, part, known)
		all = append(all, container)
	}
	if len(all) > 0 {
		for _, reference := range pod.Spec.ImagePullSecrets {
			all[0].Wants = append(all[0].Wants, peek.Want{How: peek.Pull, Secret: reference.Name})
		}
	}
	return all
}
