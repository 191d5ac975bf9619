package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// The Secret that keeps the fingerprint key.
const (
	keyName = "secretx-fingerprint-key"
	keyType = secret.AnnotationPrefix + "fingerprint-key"
	keyKey  = "key"
)

// FingerprintKey implements endpoint.Keeper. Who may not read the key has none, which is no error
// unless a key is to be made. A Secret of that name that holds no key is an error and never
// overwritten: who can repair it knows where the fingerprints of the mirrors come from.
func (e *Endpoint) FingerprintKey(ctx context.Context, create bool) (secret.FingerprintKey, error) {
	key, found, err := e.readKey(ctx)
	if errors.Is(err, endpoint.ErrForbidden) && !create {
		return secret.FingerprintKey{}, nil
	}
	if err != nil || found || !create {
		return key, err
	}
	_, err = e.Create(ctx, secret.Secret{
		Name:      keyName,
		Type:      keyType,
		Immutable: true, // a changed key would make every fingerprint worthless
		Labels:    map[string]string{"app.kubernetes.io/managed-by": FieldManager},
		Keys:      []secret.Key{{Name: keyKey, Value: secret.NewFingerprintKey().Value()}},
	})
	if err != nil && !errors.Is(err, endpoint.ErrTaken) {
		return secret.FingerprintKey{}, err
	}
	// Whoever was first, what stands there now is the key.
	key, found, err = e.readKey(ctx)
	if err == nil && !found {
		err = &endpoint.Error{Op: "read the fingerprint key", Object: keyName, Place: e.name, Reason: endpoint.ErrMoved}
	}
	return key, err
}

func (e *Endpoint) readKey(ctx context.Context) (key secret.FingerprintKey, found bool, err error) {
	const op = "read the fingerprint key"
	c, err := e.connect()
	if err != nil {
		return key, false, err
	}
	var object corev1.Secret
	_, err = c.send(ctx, func() *rest.Request { return c.secrets(http.MethodGet).Name(keyName) }, &object)
	if apierrors.IsNotFound(err) {
		return key, false, nil
	}
	if err != nil {
		return key, false, c.fail(ctx, op, keyName, err)
	}
	if key, err = secret.ParseFingerprintKey(secret.NewValue(object.Data[keyKey])); err == nil && object.Type != keyType {
		err = fmt.Errorf("its type is %q instead of %q", object.Type, keyType)
	}
	if err != nil {
		return secret.FingerprintKey{}, false, &endpoint.Error{
			Op: op, Object: keyName, Place: e.name, Cause: err,
			Hint: "Restore that Secret, or delete it to have a new key made; fingerprints made with the old one then say nothing.",
		}
	}
	return key, true, nil
}
