package kube

import (
	"context"
	"net/http"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// rung is an object between a pod and what its user made: a ReplicaSet or a Job.
type rung struct{ kind, name string }

// rungKinds are those of which a user rarely makes one by hand.
var rungKinds = []kind{replicaSetKind, jobKind}

// topOwner says what its user made an object with: "deployment/web", or nothing. The rungs are those
// that have an owner themselves.
func topOwner(owners []metav1.OwnerReference, rungs map[rung]*metav1.OwnerReference) string {
	owner := controller(owners)
	if owner == nil {
		return ""
	}
	if above := rungs[rung{owner.Kind, owner.Name}]; above != nil {
		owner = above
	}
	return strings.ToLower(owner.Kind) + "/" + owner.Name
}

// rungsOf reads the owners of the ReplicaSets and Jobs that pods have. One that may not be read, or is
// gone, is taken for the top.
func (c *connection) rungsOf(ctx context.Context, pods []corev1.Pod) map[rung]*metav1.OwnerReference {
	rungs := map[rung]*metav1.OwnerReference{}
	for _, k := range rungKinds {
		var names []string
		for i := range pods {
			owner := controller(pods[i].OwnerReferences)
			if owner == nil || owner.Kind != k.kind {
				continue
			}
			if _, twice := rungs[rung{k.kind, owner.Name}]; !twice {
				rungs[rung{k.kind, owner.Name}] = nil
				names = append(names, owner.Name)
			}
		}
		for _, object := range c.metadataOfSome(ctx, k, names) {
			rungs[rung{k.kind, object.Name}] = controller(object.OwnerReferences)
		}
	}
	return rungs
}

// metadataOfSome asks for a few objects one by one, for many by a list.
func (c *connection) metadataOfSome(ctx context.Context, k kind, names []string) []metav1.PartialObjectMetadata {
	if len(names) > fewNames {
		all, _ := c.metadataOf(ctx, k)
		return all
	}
	var mu sync.Mutex
	var found []metav1.PartialObjectMetadata
	_ = parallel(ctx, len(names), func(ctx context.Context, i int) error {
		var object metav1.PartialObjectMetadata
		_, err := c.send(ctx, func() *rest.Request {
			return c.request(http.MethodGet, k).Name(names[i]).SetHeader("Accept", metadataOnly)
		}, &object)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, object)
		}
		return nil
	})
	return found
}
