package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// fewNames is up to how many names are asked for one by one. It is quicker than a list of a large
// namespace, and a Role that is narrowed by resourceNames allows nothing else.
const fewNames = 25

// List implements endpoint.Reader. The values are known.
func (e *Endpoint) List(ctx context.Context, names []string) ([]secret.Secret, error) {
	var all []secret.Secret
	wanted := nameSet(names)
	err := e.visit(ctx, "list secrets", names, func(object *corev1.Secret) error {
		if len(wanted) == 0 || wanted[object.Name] {
			all = append(all, fromAPI(object))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Values implements endpoint.Reader.
func (e *Endpoint) Values(ctx context.Context, refs []secret.Ref, each func(secret.Ref, secret.Value) error) error {
	const op = "read secret"
	if len(refs) == 0 {
		return nil
	}
	wanted := map[string][]secret.Ref{}
	var names []string
	for _, ref := range refs {
		if _, twice := wanted[ref.Name]; !twice {
			names = append(names, ref.Name)
		}
		wanted[ref.Name] = append(wanted[ref.Name], ref)
	}
	moved := func(name, how string) error {
		return &endpoint.Error{Op: op, Object: name, Place: e.name, Reason: endpoint.ErrMoved, Cause: errors.New(how)}
	}
	err := e.visit(ctx, op, names, func(object *corev1.Secret) error {
		for _, ref := range wanted[object.Name] {
			if ref.UID != string(object.UID) {
				return moved(ref.Name, "it was replaced")
			}
			value, found := object.Data[ref.Key]
			if !found {
				return moved(ref.Name, fmt.Sprintf("it has no key %q any more", ref.Key))
			}
			if err := each(ref, secret.NewValue(value)); err != nil {
				return err
			}
		}
		delete(wanted, object.Name)
		return nil
	})
	if err != nil {
		return err
	}
	for name := range wanted {
		return moved(name, "it is gone")
	}
	return nil
}

// Digests implements endpoint.Reader. The API has no such thing, so values do travel for it: to us
// and no further.
func (e *Endpoint) Digests(ctx context.Context, refs []secret.Ref, nonce []byte) (map[secret.Ref]secret.Digest, error) {
	digests := make(map[secret.Ref]secret.Digest, len(refs))
	err := e.Values(ctx, refs, func(ref secret.Ref, value secret.Value) error {
		digests[ref] = value.Digest(nonce)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return digests, nil
}

// visit shows Secrets one at a time: those with the names at least, or all when there are none. An
// error of each is returned as it is, all others are *endpoint.Errors.
func (e *Endpoint) visit(ctx context.Context, op string, names []string, each func(*corev1.Secret) error) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	if len(names) == 0 || len(names) > fewNames {
		var seen bool
		err := c.visitAll(ctx, op, func(object *corev1.Secret) error {
			seen = true
			return each(object)
		})
		if seen || len(names) == 0 || !errors.Is(err, endpoint.ErrForbidden) {
			return err
		}
	}
	return c.visitNames(ctx, op, names, each)
}

// visitAll goes through the whole list.
func (c *connection) visitAll(ctx context.Context, op string, each func(*corev1.Secret) error) error {
	var stopped error
	err := pages(ctx, c, func() *rest.Request { return c.secrets(http.MethodGet) }, func(page *corev1.SecretList) error {
		for i := range page.Items {
			if stopped = each(&page.Items[i]); stopped != nil {
				return stopped
			}
		}
		return nil
	})
	if err != nil && stopped == nil {
		return c.fail(ctx, op, "", err)
	}
	return stopped
}

// visitNames asks for each one. Those that aren't there are left out.
func (c *connection) visitNames(ctx context.Context, op string, names []string, each func(*corev1.Secret) error) error {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	var mu sync.Mutex
	err := parallel(ctx, len(names), func(inner context.Context, i int) error {
		if !askable(names[i]) {
			return nil
		}
		var object corev1.Secret
		_, err := c.send(inner, func() *rest.Request { return c.secrets(http.MethodGet).Name(names[i]) }, &object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return c.fail(inner, op, names[i], err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err := inner.Err(); err != nil {
			return err // another one failed already: nothing more is handed over
		}
		return each(&object)
	})
	if err != nil && errors.Is(err, ctx.Err()) {
		return c.fail(ctx, op, "", err)
	}
	return err
}

// secrets begins a request for secrets of the namespace.
func (c *connection) secrets(verb string) *rest.Request {
	return c.client.Verb(verb).Namespace(c.namespace).Resource("secrets")
}

// askable tells whether a name can stand in a URL at all; one that can't is nobody's.
func askable(name string) bool { return name != "" && len(rest.IsValidPathSegmentName(name)) == 0 }

func nameSet(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}
