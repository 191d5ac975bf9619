package kube

import (
	"context"
	"encoding/json"
	"net/http"

	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

// Declared gives one object as it is declared, and the Services of its namespace behind it, where they may
// be listed: some of them make it reachable.
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
	object := what.plural + "/" + target.Name
	if !askable(target.Name) {
		return nil, &endpoint.Error{Op: op, Object: object, Place: c.place, Reason: endpoint.ErrNotFound}
	}
	found, err := c.raw(ctx, func() *rest.Request { return c.request(http.MethodGet, what).Name(target.Name) })
	if err != nil {
		return nil, c.fail(ctx, op, object, err)
	}
	all := []json.RawMessage{found}
	services, err := c.raw(ctx, func() *rest.Request { return c.request(http.MethodGet, serviceKind) })
	if err == nil {
		all = append(all, services)
	}
	return all, ctx.Err()
}

// raw reads an object as it is, without what is of use to nobody but the API server. An item of a list has no
// kind, and gets the one that the list is of.
func (c *connection) raw(ctx context.Context, request func() *rest.Request) (json.RawMessage, error) {
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
				item["kind"], item["apiVersion"] = serviceKind.kind, object["apiVersion"]
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
