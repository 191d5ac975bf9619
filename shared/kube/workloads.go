package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/rollout"
)

var _ rollout.Mover = (*Endpoint)(nil)

// Workloads implements rollout.Mover, with one list for each kind, all at the same time. What may not be
// listed is an error: a workload that nobody saw would keep the old value. Ingresses and ServiceAccounts
// are among them, as they name Secrets, too; they follow new values by themselves.
func (e *Endpoint) Workloads(ctx context.Context) ([]rollout.Workload, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	r := roll{custom: map[string]*rollout.Workload{}}
	lists := []call{
		calling(c, podKind, onlyBare, &r, r.pod),
		calling(c, replicaSetKind, onlyUnowned, &r, r.replicaSet),
		calling(c, jobKind, nil, &r, r.job),
		calling(c, replicationControllerKind, nil, &r, func(o *corev1.ReplicationController) {
			if o.Spec.Template != nil {
				r.owned(replicationControllerKind, o, &o.Spec.Template.Spec, nil, fixedReplicas)
			}
		}),
		calling(c, deploymentKind, nil, &r, func(o *appsv1.Deployment) {
			r.add(deploymentKind, o, specRefs(&o.Spec.Template.Spec), heldDeployment(o))
		}),
		calling(c, statefulSetKind, nil, &r, func(o *appsv1.StatefulSet) {
			r.add(statefulSetKind, o, specRefs(&o.Spec.Template.Spec), heldStatefulSet(o))
		}),
		calling(c, daemonSetKind, nil, &r, func(o *appsv1.DaemonSet) {
			r.add(daemonSetKind, o, specRefs(&o.Spec.Template.Spec), heldDaemonSet(o))
		}),
		calling(c, cronJobKind, nil, &r, func(o *batchv1.CronJob) {
			r.later(cronJobKind, o, podUses(&o.Spec.JobTemplate.Spec.Template.Spec))
		}),
		calling(c, ingressKind, nil, &r, func(o *networkingv1.Ingress) { r.later(ingressKind, o, ingressFound(o).Uses) }),
		calling(c, serviceAccountKind, nil, &r, func(o *corev1.ServiceAccount) { r.later(serviceAccountKind, o, accountFound(o).Uses) }),
	}
	err = parallel(ctx, len(lists), func(ctx context.Context, i int) error {
		err := lists[i].list(ctx)
		if err == nil || apierrors.IsNotFound(err) { // an API without that kind
			return nil
		}
		return c.fail(ctx, "list "+lists[i].kind.plural, "", err)
	})
	if err != nil {
		return nil, err
	}
	return r.all(), nil
}

// onlyBare are the fields of a Pod that Workloads looks at: those that show what it refers to, and its UID
// and deletionTimestamp.
var onlyBare = only{1: {1: nil, 5: nil, 9: nil, 13: nil}, 2: onlyReferences[2], 3: onlyReferences[3]}

// onlyUnowned are those of a ReplicaSet, of which there are ten for each Deployment, and most count for
// nothing here.
var onlyUnowned = only{1: {1: nil, 5: nil, 13: nil}, 2: {3: {2: onlyReferences[2]}}}

// call is one list.
type call struct {
	kind kind
	list func(context.Context) error
}

// calling makes a list of all objects of a kind. They are kept until all of them are there, for it may
// have to be begun anew.
func calling[T any, Item unmarshaler[T]](c *connection, k kind, wanted only, r *roll, show func(Item)) call {
	return call{k, func(ctx context.Context) error {
		var objects []Item
		err := stream(ctx, c, k, wanted, func() { objects = nil }, func(object Item) { objects = append(objects, object) })
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, object := range objects {
			show(object)
		}
		return nil
	}}
}

// roll gathers workloads.
type roll struct {
	mu        sync.Mutex
	workloads []rollout.Workload
	custom    map[string]*rollout.Workload // by UID, those that only what they own is known of
}

func (r *roll) add(k kind, object metav1.Object, refs []rollout.Ref, fixed string) {
	if len(refs) > 0 {
		r.workloads = append(r.workloads, workloadOf(k, object, refs, fixed))
	}
}

// later adds what has no containers of its own that could have an old value: its Secrets are looked up when it
// is used the next time.
func (r *roll) later(k kind, object metav1.Object, uses []consumers.Use) {
	if refs := liveRefs(uses); len(refs) > 0 {
		w := workloadOf(k, object, refs, "")
		w.Scheduled = true
		r.workloads = append(r.workloads, w)
	}
}

func workloadOf(k kind, object metav1.Object, refs []rollout.Ref, fixed string) rollout.Workload {
	return rollout.Workload{ID: strings.ToLower(k.kind) + "/" + object.GetName(), UID: string(object.GetUID()), Refs: refs, Fixed: fixed}
}

// owned adds what can't be moved itself. What another kind made that is known stands for it; what one made
// that isn't is one workload with all else that it made.
func (r *roll) owned(k kind, object metav1.Object, spec *corev1.PodSpec, by []kind, fixed string) {
	refs := specRefs(spec)
	owner := metav1.GetControllerOfNoCopy(object)
	switch {
	case owner == nil:
		r.add(k, object, refs, fixed)
		return
	case slices.ContainsFunc(by, func(k kind) bool { return k.is(owner) }), len(refs) == 0:
		return
	}
	w := r.custom[string(owner.UID)]
	if w == nil {
		w = &rollout.Workload{
			ID: strings.ToLower(owner.Kind) + "/" + owner.Name, UID: string(owner.UID),
			Fixed: fmt.Sprintf("its pods are made by a %s (%s), and secretx can't have that make them anew: restart it with the tool that it came with", owner.Kind, owner.APIVersion),
		}
		r.custom[w.UID] = w
	}
	for _, ref := range refs {
		w.Refs = addRef(w.Refs, ref)
	}
}

func (r *roll) pod(o *corev1.Pod) {
	over := o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed
	if !over && o.DeletionTimestamp == nil {
		by := []kind{replicaSetKind, replicationControllerKind, statefulSetKind, daemonSetKind, jobKind}
		r.owned(podKind, o, &o.Spec, by, "a bare pod can't be restarted: delete it and create it again, with the tool that made it")
	}
}

const fixedReplicas = "it doesn't replace its pods when its template changes: delete them, and it makes them anew (change the name in its template first, if the Secret has a new one)"

func (r *roll) replicaSet(o *appsv1.ReplicaSet) {
	r.owned(replicaSetKind, o, &o.Spec.Template.Spec, []kind{deploymentKind}, fixedReplicas)
}

// job adds a Job that isn't done.
func (r *roll) job(o *batchv1.Job) {
	done := slices.ContainsFunc(o.Status.Conditions, func(condition batchv1.JobCondition) bool {
		return condition.Status == corev1.ConditionTrue && (condition.Type == batchv1.JobComplete || condition.Type == batchv1.JobFailed)
	})
	if !done {
		r.add(jobKind, o, specRefs(&o.Spec.Template.Spec), "a Job runs to its end with what it was started with: wait for it, or delete it and create it again")
	}
}

// all are the workloads, sorted.
func (r *roll) all() []rollout.Workload {
	for _, w := range r.custom {
		r.workloads = append(r.workloads, *w)
	}
	slices.SortFunc(r.workloads, func(a, b rollout.Workload) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.UID, b.UID))
	})
	return r.workloads
}

// is tells whether an owner is of this kind, and not of one by the same name from another API.
func (k kind) is(owner *metav1.OwnerReference) bool {
	group, _, grouped := strings.Cut(owner.APIVersion, "/")
	if !grouped {
		group = ""
	}
	return owner.Kind == k.kind && group == k.group
}
