package swarm

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/secret"
)

// ListNames gives the secrets of the Swarm. It is for completion, as all here: what a list shows is enough, and
// how the engine was found is not looked at.
func (e *Endpoint) ListNames(ctx context.Context) ([]secret.Secret, error) { return e.List(ctx, nil) }

// Targets are the services, the containers of the engine that are no task's, and the tasks of a service
// whose name was typed with a dot.
func (e *Endpoint) Targets(ctx context.Context, word string) ([]string, error) {
	g, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	const op = "list services"
	services, err := listServices(ctx, g, filters.NewArgs())
	if err != nil {
		return nil, e.fail(ctx, op, "", err)
	}
	var names []string
	for i := range services {
		if services[i].Spec.Labels[ProbeLabel] != "" {
			continue
		}
		name := services[i].Spec.Name
		names = append(names, name)
		if strings.HasPrefix(word, name+".") {
			tasks, err := taskNames(ctx, g, services[i])
			if err != nil {
				return names, e.fail(ctx, op, "", err)
			}
			names = append(names, tasks...)
		}
	}
	containers, err := again(ctx, func(ctx context.Context) ([]container.Summary, error) {
		return g.api.ContainerList(ctx, container.ListOptions{})
	})
	if err != nil {
		return names, e.fail(ctx, op, "", err)
	}
	for i := range containers {
		c := &containers[i]
		if c.Labels[taskLabel] == "" && c.Labels[ProbeLabel] == "" && len(c.Names) > 0 {
			names = append(names, strings.TrimPrefix(c.Names[0], "/"))
		}
	}
	return names, nil
}

// ContainerNames are the tasks of a service.
func (e *Endpoint) ContainerNames(ctx context.Context, target peek.Target) ([]string, error) {
	g, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	service, err := inspectService(ctx, g, target.Name)
	if err != nil {
		return nil, e.fail(ctx, "look for", target.Name, err)
	}
	return taskNames(ctx, g, service)
}

// taskNames are those of the tasks of a service that should run.
func taskNames(ctx context.Context, g *engine, service swarm.Service) ([]string, error) {
	tasks, err := listTasks(ctx, g, filters.NewArgs(filters.Arg("service", service.ID)))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range current(tasks) {
		names = append(names, service.Spec.Name+"."+slot(&t))
	}
	return names, nil
}
