package swarm

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

// StackType is the type of a target that is a stack.
const StackType = "stack"

// Declared gives services as they are declared: one, by its name or ID or by one of its tasks, or those of a stack, sorted by
// name.
func (e *Endpoint) Declared(ctx context.Context, target peek.Target) ([]json.RawMessage, error) {
	const op = "look for"
	g, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	if target.Type == StackType {
		return e.declaredStack(ctx, g, target.Name)
	}
	service, err := inspectService(ctx, g, target.Name)
	if cerrdefs.IsNotFound(err) {
		task, findErr := findTask(ctx, g, target.Name)
		if task != nil && findErr == nil {
			service, err = inspectService(ctx, g, task.tasks[0].ServiceID)
		}
	}
	switch {
	case cerrdefs.IsNotFound(err):
		return nil, &endpoint.Error{
			Op: op, Object: target.Name, Place: e.name, Reason: endpoint.ErrNotFound,
			Cause: errors.New("there is no service or task of that name or ID"), Hint: "See docker service ls; a stack is stack/NAME.",
		}
	case err != nil && (strings.Contains(err.Error(), "ambiguous") || strings.Contains(strings.ToLower(err.Error()), "multiple ids found")):
		return nil, e.manifold(op, target.Name, nil)
	case err != nil:
		return nil, e.fail(ctx, op, target.Name, err)
	}
	raw, err := declaredOf(service)
	return []json.RawMessage{raw}, err
}

func (e *Endpoint) declaredStack(ctx context.Context, g *engine, name string) ([]json.RawMessage, error) {
	const op = "look for stack"
	services, err := listServices(ctx, g, filters.NewArgs(filters.Arg("label", stackLabel+"="+name)))
	if err != nil {
		return nil, e.fail(ctx, op, name, err)
	}
	if len(services) == 0 {
		return nil, &endpoint.Error{Op: op, Object: name, Place: e.name, Reason: endpoint.ErrNotFound, Hint: "See docker stack ls."}
	}
	slices.SortFunc(services, func(a, b swarm.Service) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	all := make([]json.RawMessage, len(services))
	for i, s := range services {
		if all[i], err = declaredOf(s); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func declaredOf(s swarm.Service) (json.RawMessage, error) {
	return json.Marshal(struct{ Spec swarm.ServiceSpec }{s.Spec})
}

// ImageCommand tells what an image runs that the connected engine has. One that it hasn't is ErrNotFound.
func (e *Endpoint) ImageCommand(ctx context.Context, name string) (entrypoint, command []string, err error) {
	const op = "look at image"
	g, err := e.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	found, err := g.api.ImageInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return nil, nil, &endpoint.Error{Op: op, Object: name, Place: e.name, Reason: endpoint.ErrNotFound}
	}
	if err != nil {
		return nil, nil, e.fail(ctx, op, name, err)
	}
	if found.Config == nil {
		return nil, nil, nil
	}
	return found.Config.Entrypoint, found.Config.Cmd, nil
}
