package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fieldselector "k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2"

	"github.com/secretx/secretx/shared/endpoint"
)

var _ endpoint.Elector = (*Endpoint)(nil)

var leaseKind = kind{group: coordinationv1.GroupName, version: "v1", plural: "leases", kind: "Lease"}

// Lead implements endpoint.Elector by a Lease in the namespace.
func (e *Endpoint) Lead(ctx context.Context, asked endpoint.Election) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	failed := asked.Failed
	asked.Failed = func(err error) {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%s has not answered within %s", c.server, usual.patience().Round(time.Second))
		}
		failed(c.fail(ctx, "hold lease", asked.Lease, err))
	}
	candidate := &election{Election: asked, terms: usual, leases: &leaseObject{c, asked.Lease}}
	return candidate.run(klog.NewContext(ctx, klog.Logger{}))
}

// leaseObject is a Lease at an API server.
type leaseObject struct {
	*connection
	name string
}

func (l *leaseObject) get(ctx context.Context) (lease, error) {
	var object coordinationv1.Lease
	err := take(l.request(http.MethodGet, leaseKind).Name(l.name).MaxRetries(0).Do(ctx), &object)
	if apierrors.IsNotFound(err) {
		return lease{}, nil
	}
	return leaseOf(&object), err
}

// put applies, so that a right to create may be narrowed to the name, and so that there is one way for the first
// time and all others.
func (l *leaseObject) put(ctx context.Context, next lease) (lease, error) {
	metadata := map[string]any{"name": l.name, "resourceVersion": cmp.Or(next.version, noVersion)}
	if next.uid != "" {
		metadata["uid"] = next.uid
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": leaseKind.group + "/" + leaseKind.version, "kind": leaseKind.kind, "metadata": metadata,
		"spec": coordinationv1.LeaseSpec{
			HolderIdentity: &next.holder, LeaseDurationSeconds: new(int32(max(1, next.duration/time.Second))), LeaseTransitions: &next.transitions,
			AcquireTime: &metav1.MicroTime{Time: next.acquired}, RenewTime: &metav1.MicroTime{Time: next.renewed},
		},
	})
	if err != nil {
		return lease{}, err
	}
	var object coordinationv1.Lease
	err = take(l.request(http.MethodPatch, leaseKind).Name(l.name).SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
		Param("fieldManager", FieldManager).Param("force", "true").Body(body).MaxRetries(0).Do(ctx), &object)
	if apierrors.IsConflict(err) {
		return lease{}, errMoved
	}
	return leaseOf(&object), err
}

func (l *leaseObject) watch(ctx context.Context, version string, each func(lease)) error {
	w, err := l.request(http.MethodGet, leaseKind).SpecificallyVersionedParams(&metav1.ListOptions{
		Watch: true, ResourceVersion: version, FieldSelector: fieldselector.OneTermEqualSelector("metadata.name", l.name).String(),
	}, metav1.ParameterCodec, coordinationv1.SchemeGroupVersion).MaxRetries(0).Watch(ctx)
	if err != nil {
		return err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		object, ok := event.Object.(*coordinationv1.Lease)
		switch {
		case event.Type == apiwatch.Error:
			return apierrors.FromObject(event.Object)
		case event.Type == apiwatch.Deleted:
			each(lease{})
		case ok:
			each(leaseOf(object))
		}
	}
	return nil
}

func leaseOf(object *coordinationv1.Lease) lease {
	spec := object.Spec
	return lease{
		uid: string(object.UID), version: object.ResourceVersion,
		holder: deref(spec.HolderIdentity), duration: time.Duration(deref(spec.LeaseDurationSeconds)) * time.Second,
		acquired: deref(spec.AcquireTime).Time, renewed: deref(spec.RenewTime).Time, transitions: deref(spec.LeaseTransitions),
	}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
