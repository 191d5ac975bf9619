package swarm

import (
	"context"
	"sync"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// watch lets all who wait for services look together: a few calls, however many wait.
type watch struct {
	mu      sync.Mutex
	waiting map[string]int // service ID to how many wait for it
	last    *view
}

// view is what the services that are waited for look like at a moment.
type view struct {
	began    time.Time
	of       map[string]bool
	done     chan struct{} // closed when the following is known
	took     time.Duration
	services map[string]*swarm.Service
	tasks    map[string][]*swarm.Task // by service
	nodes    map[string]*swarm.Node
	err      error
}

// join has the views show a service until leave is called.
func (w *watch) join(service string) (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[string]int{}
	}
	w.waiting[service]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting[service]--; w.waiting[service] == 0 {
			delete(w.waiting, service)
		}
		if len(w.waiting) == 0 {
			w.last = nil
		}
	}
}

// see gives a view of a service that began after the given moment: one that another one has asked for
// or, where there is none, a new one. Looking doesn't end with ctx, as others may wait for it.
func (w *watch) see(ctx context.Context, g *engine, service string, after time.Time) (*view, error) {
	for {
		w.mu.Lock()
		v := w.last
		if v == nil || v.over() && !v.shows(service, after) {
			v = &view{began: time.Now(), of: map[string]bool{}, done: make(chan struct{})}
			for id := range w.waiting {
				v.of[id] = true
			}
			w.last = v
			go v.look(context.WithoutCancel(ctx), g)
		}
		w.mu.Unlock()
		select {
		case <-v.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if v.shows(service, after) {
			return v, v.err
		}
	}
}

func (v *view) over() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

func (v *view) shows(service string, after time.Time) bool {
	return v.of[service] && v.began.After(after)
}

// look fills the view. The tasks come last: they are never older than the spec that they are compared
// with.
func (v *view) look(ctx context.Context, g *engine) {
	defer close(v.done)
	defer func() { v.took = time.Since(v.began) }()
	v.services, v.tasks, v.nodes = map[string]*swarm.Service{}, map[string][]*swarm.Task{}, map[string]*swarm.Node{}
	nodes, err := listNodes(ctx, g)
	if v.err = err; err != nil {
		return
	}
	for i := range nodes {
		v.nodes[nodes[i].ID] = &nodes[i]
	}
	few := len(v.of) <= fewNames // then it pays to let the manager filter
	wanted := filters.NewArgs()
	if few {
		for id := range v.of {
			wanted.Add("id", id)
		}
	}
	services, err := listServices(ctx, g, wanted)
	if v.err = err; err != nil {
		return
	}
	wanted = filters.NewArgs()
	for i := range services {
		if s := &services[i]; v.of[s.ID] {
			v.services[s.ID] = s
			if few {
				wanted.Add("service", s.ID)
			}
		}
	}
	if len(v.services) == 0 {
		return
	}
	tasks, err := listTasks(ctx, g, wanted)
	if v.err = err; err != nil {
		return
	}
	for i := range tasks {
		if t := &tasks[i]; v.of[t.ServiceID] {
			v.tasks[t.ServiceID] = append(v.tasks[t.ServiceID], t)
		}
	}
}
