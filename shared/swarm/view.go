package swarm

import (
	"context"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// view is what the services that are waited for look like at a moment.
type view struct {
	services map[string]*swarm.Service
	tasks    map[string][]*swarm.Task // by service
	nodes    map[string]*swarm.Node
}

// view looks at some services, by their IDs. The tasks come last: they are never older than the spec that they are
// compared with.
func (g *engine) view(ctx context.Context, of map[string]bool) (*view, error) {
	v := &view{services: map[string]*swarm.Service{}, tasks: map[string][]*swarm.Task{}, nodes: map[string]*swarm.Node{}}
	nodes, err := listNodes(ctx, g)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		v.nodes[nodes[i].ID] = &nodes[i]
	}
	few := len(of) <= fewNames // then it pays to let the manager filter
	wanted := filters.NewArgs()
	if few {
		for id := range of {
			wanted.Add("id", id)
		}
	}
	services, err := listServices(ctx, g, wanted)
	if err != nil {
		return nil, err
	}
	wanted = filters.NewArgs()
	for i := range services {
		if s := &services[i]; of[s.ID] {
			v.services[s.ID] = s
			if few {
				wanted.Add("service", s.ID)
			}
		}
	}
	if len(v.services) == 0 {
		return v, nil
	}
	tasks, err := listTasks(ctx, g, wanted)
	if err != nil {
		return nil, err
	}
	for i := range tasks {
		if t := &tasks[i]; of[t.ServiceID] {
			v.tasks[t.ServiceID] = append(v.tasks[t.ServiceID], t)
		}
	}
	return v, nil
}
