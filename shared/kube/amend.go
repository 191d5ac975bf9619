package kube

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// foreign tells whether a Secret is somebody else's before and after an update. It isn't applied to: a
// configuration would have to name all its keys and labels, we would own them from then on, and what
// their owner takes out of his own configuration would stay.
func foreign(old, s secret.Secret) bool {
	return old.Mark == nil && s.Mark == nil && !old.Lineage.Known() && !s.Lineage.Known()
}

// amend changes those keys and labels that differ, of exactly the version that old is, and nothing else.
func (c *connection) amend(ctx context.Context, op string, old, s secret.Secret) (secret.Secret, error) {
	moved := &endpoint.Error{Op: op, Object: s.Name, Place: c.place, Reason: endpoint.ErrMoved}
	change := amendment(old, s)
	for _, k := range s.Keys {
		if !k.Value.Known() {
			return secret.Secret{}, c.failWrite(ctx, op, s, apierrors.NewBadRequest("the value of key \""+k.Name+"\" is not known"))
		}
	}
	body, err := json.Marshal(change)
	if err != nil {
		return secret.Secret{}, c.failWrite(ctx, op, s, err)
	}
	var object corev1.Secret
	a, err := c.send(ctx, func() *rest.Request {
		return c.client.Patch(types.MergePatchType).Namespace(c.namespace).Resource("secrets").Name(s.Name).
			Param("fieldManager", FieldManager).Body(body)
	}, &object)
	switch {
	case err == nil:
		return fromAPI(&object), nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err) && !aboutNamespace(err):
		if a.unsure {
			if own, standing := c.standing(ctx, s, old.UID); standing {
				return own, nil
			}
		}
		return secret.Secret{}, moved
	}
	return secret.Secret{}, c.failWrite(ctx, op, s, err)
}

// amendment is the merge patch from one secret to the other; null takes something out.
func amendment(old, s secret.Secret) map[string]any {
	metadata := map[string]any{"uid": old.UID, "resourceVersion": old.Version}
	labels, data := map[string]any{}, map[string]any{}
	for name := range old.Labels {
		if _, stays := s.Labels[name]; !stays {
			labels[name] = nil
		}
	}
	for name, value := range s.Labels {
		if has, there := old.Labels[name]; !there || has != value {
			labels[name] = value
		}
	}
	for _, k := range old.Keys {
		if _, stays := s.Key(k.Name); !stays {
			data[k.Name] = nil
		}
	}
	for _, k := range s.Keys {
		if has, there := old.Key(k.Name); !there || !has.Value.Equal(k.Value) {
			data[k.Name] = append([]byte{}, k.Value.Reveal()...) // never nil, which would take it out
		}
	}
	change := map[string]any{"metadata": metadata}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	if len(data) > 0 {
		change["data"] = data
	}
	// An API server refuses to change a type, or to make something mutable again, and says so itself.
	if s.Immutable != old.Immutable {
		change["immutable"] = s.Immutable
	}
	if s.Type != "" && s.Type != old.Type {
		change["type"] = s.Type
	}
	return change
}
