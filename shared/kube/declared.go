package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

// selectable are the kinds of what runs and may be chosen by labels, in the order in which it is shown.
var selectable = []kind{podKind, replicationControllerKind, deploymentKind, replicaSetKind, statefulSetKind, daemonSetKind, jobKind, cronJobKind}

// Declared gives objects as they are declared: one, or with a selector all that have the labels and that no other
// workload stands for, or that are of the type. Behind them are the Services of the namespace, where they may be listed: some of them make an
// object reachable.
func (e *Endpoint) Declared(ctx context.Context, target peek.Target) ([]json.RawMessage, error) {
	const op = "look at"
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	what := podKind
	if target.Type != "" {
		if what, err = c.kindCalled(ctx, target.Type); err != nil {
			return nil, err
		}
	}
	if target.Selector != "" {
		kinds := selectable
		if target.Type != "" {
			kinds = []kind{what}
		}
		found, err := c.selected(ctx, kinds, target.Selector)
		if err != nil {
			return nil, err
		}
		return c.withServices(ctx, found)
	}
	object := what.plural + "/" + target.Name
	if !askable(target.Name) {
		return nil, &endpoint.Error{Op: op, Object: object, Place: c.place, Reason: endpoint.ErrNotFound}
	}
	found, err := c.raw(ctx, what, func(r *rest.Request) *rest.Request { return r.Name(target.Name) })
	if err != nil {
		return nil, c.fail(ctx, op, object, err)
	}
	return c.withServices(ctx, []json.RawMessage{found})
}

func (c *connection) withServices(ctx context.Context, objects []json.RawMessage) ([]json.RawMessage, error) {
	services, err := c.raw(ctx, serviceKind, func(r *rest.Request) *rest.Request { return r })
	if err == nil {
		objects = append(objects, services)
	}
	return objects, ctx.Err()
}

// selected are the objects with some labels, a list for each kind. Of several kinds, a Deployment
// stands for its pods.
func (c *connection) selected(ctx context.Context, kinds []kind, selector string) ([]json.RawMessage, error) {
	const op = "list"
	lists := make([]json.RawMessage, len(kinds))
	counts := make([]int, len(kinds))
	group, ctx := errgroup.WithContext(ctx)
	for i, k := range kinds {
		group.Go(func() error {
			list, err := c.raw(ctx, k, func(r *rest.Request) *rest.Request { return r.Param("labelSelector", selector) })
			if err == nil {
				lists[i], counts[i], err = unowned(list, len(kinds) == 1)
			}
			if err != nil {
				return c.fail(ctx, op, k.plural, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(counts, func(n int) bool { return n > 0 }) {
		return nil, &endpoint.Error{
			Op: "look for what has the labels", Object: selector, Place: c.place, Reason: endpoint.ErrNotFound,
			Cause: errors.New("nothing that runs has them"), Hint: "The labels are those of the workload itself: kubectl get all --show-labels.",
		}
	}
	return lists, nil
}

// unowned takes what another workload stands for out of a list, unless all is wanted, and counts the rest.
func unowned(list json.RawMessage, all bool) (json.RawMessage, int, error) {
	var parsed struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if json.Unmarshal(list, &parsed) != nil {
		return nil, 0, errAnswer
	}
	parsed.Items = slices.DeleteFunc(parsed.Items, func(item json.RawMessage) bool {
		var object metav1.PartialObjectMetadata
		return json.Unmarshal(item, &object) != nil || !all && slices.ContainsFunc(object.OwnerReferences, ownsPods)
	})
	list, err := json.Marshal(parsed)
	return list, len(parsed.Items), err
}

// ownsPods tells an owner that is a workload, and chosen by its own labels. What an operator's object owns stands for itself.
func ownsPods(owner metav1.OwnerReference) bool {
	return slices.ContainsFunc(selectable, func(k kind) bool {
		group, _, _ := strings.Cut(owner.APIVersion, "/")
		return k.kind == owner.Kind && (k.group == group || k.group == "" && owner.APIVersion == k.version)
	})
}

// raw reads objects of a kind as they are, without what is of use to nobody but the API server. An item of a list has no
// kind, and gets the one that the list is of.
func (c *connection) raw(ctx context.Context, what kind, which func(*rest.Request) *rest.Request) (json.RawMessage, error) {
	request := func() *rest.Request { return which(c.request(http.MethodGet, what)) }
	var text []byte
	err := c.read(ctx, func() *rest.Request { return request().SetHeader("Accept", "application/json") }, func(result rest.Result) (err error) {
		text, err = result.Raw()
		return err
	})
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if json.Unmarshal(text, &object) != nil {
		return nil, errAnswer
	}
	if items, ok := object["items"].([]any); ok {
		for _, item := range items {
			if item, ok := item.(map[string]any); ok {
				item["kind"], item["apiVersion"] = what.kind, object["apiVersion"]
				clean(item)
			}
		}
	}
	clean(object)
	return json.Marshal(object)
}

func clean(object map[string]any) {
	delete(object, "status")
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
}
