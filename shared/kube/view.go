package kube

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// view is what the workloads of some kinds look like at a moment.
type view struct {
	deployments  map[types.UID]*appsv1.Deployment
	statefulSets map[types.UID]*appsv1.StatefulSet
	daemonSets   map[types.UID]*appsv1.DaemonSet
	replicaSets  map[types.UID][]metav1.PartialObjectMetadata // by what controls them, as pods are
	pods         map[types.UID][]*corev1.Pod
}

// onlyProgress are the fields of a Pod that show how it does: name, namespace, UID, deletionTimestamp, labels and
// ownerReferences of its metadata, and its status.
var onlyProgress = only{1: {1: nil, 3: nil, 5: nil, 9: nil, 11: nil, 13: nil}, 3: nil}

// view looks at the workloads of some kinds, by their plurals. The pods come last: they are never older than the
// workload that they are compared with.
func (c *connection) view(ctx context.Context, of map[string]bool) (*view, error) {
	v := &view{}
	lists := []func(context.Context) error{
		func(ctx context.Context) (err error) {
			v.deployments, err = byUID[appsv1.Deployment](ctx, c, of, deploymentKind)
			return
		},
		func(ctx context.Context) (err error) {
			v.statefulSets, err = byUID[appsv1.StatefulSet](ctx, c, of, statefulSetKind)
			return
		},
		func(ctx context.Context) (err error) {
			v.daemonSets, err = byUID[appsv1.DaemonSet](ctx, c, of, daemonSetKind)
			return
		},
	}
	if err := parallel(ctx, len(lists), func(ctx context.Context, i int) error { return lists[i](ctx) }); err != nil {
		return nil, err
	}
	if of[deploymentKind.plural] {
		v.replicaSets = map[types.UID][]metav1.PartialObjectMetadata{}
		all, err := c.metadataOf(ctx, replicaSetKind)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			if owner := metav1.GetControllerOfNoCopy(&o); owner != nil {
				v.replicaSets[owner.UID] = append(v.replicaSets[owner.UID], o)
			}
		}
	}
	err := stream(ctx, c, podKind, onlyProgress, func() { v.pods = map[types.UID][]*corev1.Pod{} }, func(pod *corev1.Pod) {
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			v.pods[owner.UID] = append(v.pods[owner.UID], pod)
		}
	})
	return v, err
}

// byUID lists a kind if it is to be looked at.
func byUID[T any, Item interface {
	unmarshaler[T]
	metav1.Object
}](ctx context.Context, c *connection, of map[string]bool, k kind) (map[types.UID]*T, error) {
	found := map[types.UID]*T{}
	if !of[k.plural] {
		return found, nil
	}
	err := stream(ctx, c, k, nil, func() { clear(found) }, func(o Item) { found[o.GetUID()] = o })
	return found, err
}
