package swarm

import (
	"cmp"
	"context"
	"slices"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/consumers"
)

// stackLabel names the stack that a service belongs to.
const stackLabel = "com.docker.stack.namespace"

// Consumers gives all services and live tasks that refer to secrets, but for secretx's own. It is two
// API calls, however many there are.
func (e *Endpoint) Consumers(ctx context.Context) (consumers.Graph, error) {
	const op = "list consumers"
	g, err := e.connect(ctx)
	if err != nil {
		return consumers.Graph{}, err
	}
	// Tasks first: of a service that is made in between there is no task, but no service that is missing.
	tasks, err := listTasks(ctx, g, filters.NewArgs())
	if err != nil {
		return consumers.Graph{}, e.fail(ctx, op, "", err)
	}
	services, err := listServices(ctx, g, filters.NewArgs())
	if err != nil {
		return consumers.Graph{}, e.fail(ctx, op, "", err)
	}
	var graph consumers.Graph
	names, stacks, own := map[string]string{}, map[string]string{}, map[string]bool{}
	for i := range services {
		s := &services[i]
		names[s.ID], stacks[s.ID] = s.Spec.Name, s.Spec.Labels[stackLabel]
		if _, own[s.ID] = s.Spec.Labels[ProbeLabel]; own[s.ID] {
			continue
		}
		if uses := serviceUses(s); len(uses) > 0 {
			graph.Consumers = append(graph.Consumers, consumers.Consumer{Kind: "service", Name: s.Spec.Name, Stack: stacks[s.ID], Uses: uses})
		}
	}
	for i := range tasks {
		t := &tasks[i]
		uses := taskUses(&t.Spec)
		if len(uses) == 0 || !live(t) || own[t.ServiceID] || t.Spec.ContainerSpec.Labels[ProbeLabel] != "" {
			continue
		}
		service := cmp.Or(names[t.ServiceID], t.ServiceID)
		graph.Consumers = append(graph.Consumers, consumers.Consumer{
			Kind: "task", Name: service + "." + slot(t), Owner: "service/" + service, Stack: stacks[t.ServiceID],
			Running: t.Status.State == swarm.TaskStateRunning, Uses: uses,
		})
	}
	return graph, nil
}

// live tells whether a task has, or will have, its secrets: also one that is being stopped.
func live(t *swarm.Task) bool {
	switch t.Status.State {
	case swarm.TaskStateComplete, swarm.TaskStateShutdown, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateRemove, swarm.TaskStateOrphaned:
		return false
	}
	return true
}

func taskUses(spec *swarm.TaskSpec) (uses []consumers.Use) {
	for _, ref := range references(spec) {
		uses = append(uses, consumers.Use{Secret: ref.SecretName, UID: ref.SecretID, How: consumers.File, Target: place(ref.File.Name)})
	}
	return uses
}

// serviceUses are those of the spec, and what only a rollback would bring back.
func serviceUses(s *swarm.Service) []consumers.Use {
	uses := taskUses(&s.Spec.TaskTemplate)
	if s.PreviousSpec == nil {
		return uses
	}
	for _, before := range taskUses(&s.PreviousSpec.TaskTemplate) {
		if !slices.ContainsFunc(uses, func(now consumers.Use) bool { return now.UID == before.UID && now.Target == before.Target }) {
			before.Previous = true
			uses = append(uses, before)
		}
	}
	return uses
}
