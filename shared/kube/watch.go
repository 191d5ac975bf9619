package kube

import (
	"context"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// watch lets all who wait for workloads look together: a few lists, however many wait.
type watch struct {
	mu      sync.Mutex
	waiting map[string]int // the plural of a kind to how many wait for one of it
	last    *view
}

// view is what the workloads of some kinds look like at a moment.
type view struct {
	began        time.Time
	of           map[string]bool // the plurals of the kinds
	done         chan struct{}   // closed when the following is known
	took         time.Duration
	deployments  map[types.UID]*appsv1.Deployment
	statefulSets map[types.UID]*appsv1.StatefulSet
	daemonSets   map[types.UID]*appsv1.DaemonSet
	replicaSets  map[types.UID][]metav1.PartialObjectMetadata // by what controls them, as pods are
	pods         map[types.UID][]*corev1.Pod
	err          error
}

// join has the views show a kind until leave is called.
func (w *watch) join(k kind) (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[string]int{}
	}
	w.waiting[k.plural]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting[k.plural]--; w.waiting[k.plural] == 0 {
			delete(w.waiting, k.plural)
		}
		if len(w.waiting) == 0 {
			w.last = nil
		}
	}
}

// see gives a view of a kind that began after the given moment: one that another one has asked for or,
// where there is none, a new one. Looking doesn't end with ctx, as others may wait for it.
func (w *watch) see(ctx context.Context, c *connection, k kind, after time.Time) (*view, error) {
	for {
		w.mu.Lock()
		v := w.last
		if v == nil || v.over() && !v.shows(k, after) {
			v = &view{began: time.Now(), of: map[string]bool{}, done: make(chan struct{})}
			for plural := range w.waiting {
				v.of[plural] = true
			}
			w.last = v
			go v.look(context.WithoutCancel(ctx), c)
		}
		w.mu.Unlock()
		select {
		case <-v.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if v.shows(k, after) {
			return v, v.err
		}
	}
}

func (v *view) over() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

func (v *view) shows(k kind, after time.Time) bool { return v.of[k.plural] && v.began.After(after) }

// onlyProgress are the fields of a Pod that show how it does: name, namespace, UID, deletionTimestamp, labels and
// ownerReferences of its metadata, and its status.
var onlyProgress = only{1: {1: nil, 3: nil, 5: nil, 9: nil, 11: nil, 13: nil}, 3: nil}

// look fills the view. The pods come last: they are never older than the workload that they are compared
// with.
func (v *view) look(ctx context.Context, c *connection) {
	defer close(v.done)
	defer func() { v.took = time.Since(v.began) }()
	lists := []func(context.Context) error{
		func(ctx context.Context) (err error) {
			v.deployments, err = byUID[appsv1.Deployment](ctx, c, v, deploymentKind)
			return
		},
		func(ctx context.Context) (err error) {
			v.statefulSets, err = byUID[appsv1.StatefulSet](ctx, c, v, statefulSetKind)
			return
		},
		func(ctx context.Context) (err error) {
			v.daemonSets, err = byUID[appsv1.DaemonSet](ctx, c, v, daemonSetKind)
			return
		},
	}
	v.err = parallel(ctx, len(lists), func(ctx context.Context, i int) error { return lists[i](ctx) })
	if v.err != nil {
		return
	}
	if v.of[deploymentKind.plural] {
		v.replicaSets = map[types.UID][]metav1.PartialObjectMetadata{}
		all, err := c.metadataOf(ctx, replicaSetKind)
		if v.err = err; err != nil {
			return
		}
		for _, o := range all {
			if owner := metav1.GetControllerOfNoCopy(&o); owner != nil {
				v.replicaSets[owner.UID] = append(v.replicaSets[owner.UID], o)
			}
		}
	}
	v.err = stream(ctx, c, podKind, onlyProgress, func() { v.pods = map[types.UID][]*corev1.Pod{} }, func(pod *corev1.Pod) {
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			v.pods[owner.UID] = append(v.pods[owner.UID], pod)
		}
	})
}

// byUID lists a kind if the view is of it.
func byUID[T any, Item interface {
	unmarshaler[T]
	metav1.Object
}](ctx context.Context, c *connection, v *view, k kind) (map[types.UID]*T, error) {
	found := map[types.UID]*T{}
	if !v.of[k.plural] {
		return found, nil
	}
	err := stream(ctx, c, k, nil, func() { clear(found) }, func(o Item) { found[o.GetUID()] = o })
	return found, err
}
