package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

const opFindPods = "find the pods of"

// targetPods are the pods that a user means, sorted by name. Those that are being deleted or have
// failed are meant only by name: others stand in for them.
func (c *connection) targetPods(ctx context.Context, target peek.Target) ([]corev1.Pod, error) {
	var found []corev1.Pod
	var err error
	switch {
	case target.Selector != "", target == (peek.Target{}):
		found, err = c.selectedPods(ctx, target.Selector)
	case target.Type == "" || podKind.called(target.Type):
		return c.namedPod(ctx, target.Name)
	default:
		found, err = c.podsBelow(ctx, target)
	}
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(pod corev1.Pod) bool {
		owner := controller(pod.OwnerReferences)
		replaced := pod.Status.Phase == corev1.PodFailed && owner != nil && owner.Kind != jobKind.kind
		return pod.DeletionTimestamp != nil || replaced
	})
	slices.SortFunc(found, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func (c *connection) namedPod(ctx context.Context, name string) ([]corev1.Pod, error) {
	const op = "look at pod"
	if !askable(name) {
		return nil, &endpoint.Error{Op: op, Object: name, Place: c.place, Reason: endpoint.ErrNotFound}
	}
	var pod corev1.Pod
	if err := c.get(ctx, podKind, name, &pod); err != nil {
		return nil, c.fail(ctx, op, name, err)
	}
	return []corev1.Pod{pod}, nil
}

func (c *connection) selectedPods(ctx context.Context, selector string) ([]corev1.Pod, error) {
	var all []corev1.Pod
	err := pages(ctx, c, func() *rest.Request {
		request := c.request(http.MethodGet, podKind)
		if selector != "" {
			request = request.Param("labelSelector", selector)
		}
		return request
	}, func(page *corev1.PodList) error {
		all = append(all, page.Items...)
		return nil
	})
	if err != nil {
		return nil, c.fail(ctx, "list pods", "", err)
	}
	return all, nil
}

// podsBelow are the pods of an object that owns them, at whatever distance.
func (c *connection) podsBelow(ctx context.Context, target peek.Target) ([]corev1.Pod, error) {
	object := target.Type + "/" + target.Name
	what, err := c.kindCalled(ctx, target.Type)
	if err != nil {
		return nil, err
	}
	if !askable(target.Name) {
		return nil, &endpoint.Error{Op: opFindPods, Object: object, Place: c.place, Reason: endpoint.ErrNotFound}
	}
	owner, err := c.selecting(ctx, what, target.Name)
	if err != nil {
		return nil, c.fail(ctx, opFindPods, object, err)
	}
	if selector := owner.podSelector(); selector != "" {
		return c.selectedPods(ctx, selector)
	}
	return c.descendants(ctx, object, owner.Metadata.UID, between(what))
}

// selecting is an object of any kind, as far as it tells which pods are its own.
type selecting struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Selector json.RawMessage `json:"selector"`
	} `json:"spec"`
}

func (c *connection) selecting(ctx context.Context, what kind, name string) (owner selecting, err error) {
	err = c.read(ctx, func() *rest.Request {
		return c.request(http.MethodGet, what).Name(name).SetHeader("Accept", "application/json")
	}, func(result rest.Result) error {
		text, err := result.Raw()
		if err != nil {
			return err
		}
		if json.Unmarshal(text, &owner) != nil {
			return errAnswer
		}
		return nil
	})
	return owner, err
}

// podSelector is the selector of a workload in any of its forms, empty when it has none: that of most
// kinds, the plain labels of a ReplicationController or a Service, or a text.
func (s selecting) podSelector() string {
	var full metav1.LabelSelector
	if json.Unmarshal(s.Spec.Selector, &full) == nil && len(full.MatchLabels)+len(full.MatchExpressions) > 0 {
		if selector, err := metav1.LabelSelectorAsSelector(&full); err == nil {
			return selector.String()
		}
	}
	var plain map[string]string
	if json.Unmarshal(s.Spec.Selector, &plain) == nil && len(plain) > 0 {
		return labels.Set(plain).String()
	}
	var text string
	_ = json.Unmarshal(s.Spec.Selector, &text)
	return text
}

// between are the kinds that may stand between a pod and the object of another kind that made them.
func between(top kind) []kind {
	if top.called(cronJobKind.plural) {
		return []kind{jobKind}
	}
	return []kind{replicaSetKind, jobKind, deploymentKind, statefulSetKind, daemonSetKind}
}

// descendants are the pods below an object without a selector, such as a CronJob or a custom kind,
// found by their owner references. What may not be listed is taken to lead nowhere, unless nothing is
// found at all.
func (c *connection) descendants(ctx context.Context, object string, ancestor types.UID, between []kind) ([]corev1.Pod, error) {
	all, err := c.selectedPods(ctx, "")
	if err != nil {
		return nil, err
	}
	lists := make([][]metav1.PartialObjectMetadata, len(between))
	var refused error
	var mu sync.Mutex
	err = parallel(ctx, len(between), func(ctx context.Context, i int) error {
		list, err := c.metadataOf(ctx, between[i])
		if apierrors.IsForbidden(err) {
			mu.Lock()
			defer mu.Unlock()
			refused = c.fail(ctx, opFindPods, object, err)
			return nil
		}
		lists[i] = list
		if err != nil {
			return c.fail(ctx, opFindPods, object, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	owners := map[types.UID]types.UID{}
	for _, list := range lists {
		for _, o := range list {
			if owner := controller(o.OwnerReferences); owner != nil {
				owners[o.UID] = owner.UID
			}
		}
	}
	below := slices.DeleteFunc(all, func(pod corev1.Pod) bool {
		owner := controller(pod.OwnerReferences)
		if owner == nil {
			return true
		}
		uid := owner.UID
		for range len(between) + 1 { // an owner reference may be anything, a circle, too
			if uid == ancestor {
				return false
			}
			uid = owners[uid]
		}
		return true
	})
	if len(below) == 0 {
		return nil, refused
	}
	return below, nil
}

// controller is the owner that stands for an object; nil when it has none.
func controller(owners []metav1.OwnerReference) *metav1.OwnerReference {
	for i := range owners {
		if owners[i].Controller != nil && *owners[i].Controller {
			return &owners[i]
		}
	}
	if len(owners) > 0 {
		return &owners[0]
	}
	return nil
}

// kindCalled finds the kind that a user calls so: the API server is asked only for those that aren't
// known.
func (c *connection) kindCalled(ctx context.Context, name string) (kind, error) {
	if i := slices.IndexFunc(knownKinds, func(k kind) bool { return k.called(name) }); i >= 0 {
		return knownKinds[i], nil
	}
	served, err := c.discover(ctx)
	if err != nil {
		return kind{}, c.fail(ctx, "find the kind", name, err)
	}
	if i := slices.IndexFunc(served, func(k kind) bool { return k.called(name) }); i >= 0 {
		return served[i], nil
	}
	return kind{}, &endpoint.Error{
		Op: "find the kind", Object: name, Place: c.place, Reason: endpoint.ErrNotFound,
		Cause: fmt.Errorf("the server has no kind of that name whose objects stand in a namespace"),
		Hint:  "kubectl api-resources --namespaced shows those that it has.",
	}
}
