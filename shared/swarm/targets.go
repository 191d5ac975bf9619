package swarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

// Containers finds what a target stands for, and what each of its containers is meant to have. The target
// is a service, a task or a container, by name, ID or the beginning of an ID. Of a service it gives
// those tasks that should run, and what became of the last one where none does. No target stands for all
// tasks that have secrets.
func (e *Endpoint) Containers(ctx context.Context, target peek.Target) ([]peek.Container, error) {
	const op = "look for"
	if target.Type != "" || target.Selector != "" {
		return nil, &endpoint.Error{
			Op: op, Object: target.Type + target.Selector, Place: e.name, Reason: endpoint.ErrInvalid,
			Hint: "In a Swarm a target is a service, a task or a container, by name or ID.",
		}
	}
	g, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	var found finding
	if target.Name == "" {
		found, err = e.all(ctx, g)
	} else {
		found, err = e.find(ctx, g, target.Name)
	}
	if err != nil {
		return nil, err
	}
	if found.container != nil {
		return []peek.Container{alone(found.container, e.host(ctx, g))}, nil
	}
	about, err := e.about(ctx, g, found)
	if err != nil {
		return nil, err
	}
	containers := make([]peek.Container, len(found.tasks))
	for i := range found.tasks {
		containers[i] = about.container(&found.tasks[i])
	}
	slices.SortStableFunc(containers, func(a, b peek.Container) int { return compareNames(a.Name, b.Name) })
	return containers, nil
}

// compareNames puts web.2 before web.10.
func compareNames(a, b string) int {
	dotA, dotB := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
	if dotA < 0 || dotB < 0 {
		return strings.Compare(a, b)
	}
	numberA, _ := strconv.Atoi(a[dotA+1:])
	numberB, _ := strconv.Atoi(b[dotB+1:])
	return cmp.Or(strings.Compare(a[:dotA], b[:dotB]), cmp.Compare(numberA, numberB), strings.Compare(a, b))
}

// all are the tasks of all services that have secrets, but for our own.
func (e *Endpoint) all(ctx context.Context, g *engine) (finding, error) {
	tasks, err := listTasks(ctx, g, filters.NewArgs())
	if err != nil {
		return finding{}, e.fail(ctx, "list tasks", "", err)
	}
	services := map[string][]swarm.Task{}
	for i := range tasks {
		t := &tasks[i]
		if len(references(&t.Spec)) > 0 && t.Spec.ContainerSpec.Labels[ProbeLabel] == "" {
			services[t.ServiceID] = append(services[t.ServiceID], *t)
		}
	}
	found := finding{what: "all tasks"}
	for _, of := range services {
		found.tasks = append(found.tasks, current(of)...)
	}
	return found, nil
}

// finding is one thing that a target may stand for.
type finding struct {
	what      string // "service web"
	exact     bool   // by its whole name or ID
	tasks     []swarm.Task
	container *container.InspectResponse // one that is no task's
}

// errAmbiguous: an ID begins like that of several.
var errAmbiguous = errors.New("ambiguous")

// find asks for services, tasks and containers at once. A whole name or ID is preferred to the
// beginning of one.
func (e *Endpoint) find(ctx context.Context, g *engine, name string) (finding, error) {
	const op = "look for"
	var (
		group    sync.WaitGroup
		findings [3]*finding
		failures [3]error
	)
	for i, ask := range []func(context.Context, *engine, string) (*finding, error){findService, findTask, findContainer} {
		group.Go(func() { findings[i], failures[i] = ask(ctx, g, name) })
	}
	group.Wait()
	ambiguous := false
	for _, err := range failures {
		switch {
		case err == nil:
		case strings.Contains(err.Error(), "ambiguous"), strings.Contains(strings.ToLower(err.Error()), "multiple ids found"):
			ambiguous = true
		case cerrdefs.IsNotFound(err):
		default:
			return finding{}, e.fail(ctx, op, name, err)
		}
	}
	all := slices.DeleteFunc(findings[:], func(f *finding) bool { return f == nil })
	if exact := slices.DeleteFunc(slices.Clone(all), func(f *finding) bool { return !f.exact }); len(exact) > 0 {
		all, ambiguous = exact, false
	}
	all = slices.CompactFunc(all, sameTask)
	if len(all) == 0 && !ambiguous {
		elsewhere, err := findElsewhere(ctx, g, name)
		if err != nil && !errors.Is(err, errAmbiguous) {
			return finding{}, e.fail(ctx, op, name, err)
		}
		if ambiguous = err != nil; elsewhere != nil {
			all = append(all, elsewhere)
		}
	}
	switch {
	case len(all) == 1 && !ambiguous:
		return *all[0], nil
	case len(all) > 0 || ambiguous:
		return finding{}, e.manifold(op, name, all)
	}
	return finding{}, &endpoint.Error{
		Op: op, Object: name, Place: e.name, Reason: endpoint.ErrNotFound,
		Cause: errors.New("there is no service, task or container of that name or ID"),
		Hint:  "See docker service ls and docker ps; a container that is no task's is found on the connected engine only.",
	}
}

// sameTask tells whether a task was found as such and by its container.
func sameTask(a, b *finding) bool {
	return len(a.tasks) == 1 && len(b.tasks) == 1 && a.tasks[0].ID == b.tasks[0].ID
}

// manifold is the error of a target that may stand for several things.
func (e *Endpoint) manifold(op, name string, all []*finding) error {
	cause := "several IDs begin so"
	if len(all) > 1 {
		whats := make([]string, len(all))
		for i, f := range all {
			whats[i] = f.what
		}
		cause = "it may be " + strings.Join(whats, " or ")
	}
	return &endpoint.Error{
		Op: op, Object: name, Place: e.name, Reason: endpoint.ErrNotFound, Cause: errors.New(cause), Hint: "Use a whole ID.",
	}
}

func inspectService(ctx context.Context, g *engine, name string) (swarm.Service, error) {
	return again(ctx, func(ctx context.Context) (swarm.Service, error) {
		service, _, err := g.api.ServiceInspectWithRaw(ctx, name, swarm.ServiceInspectOptions{})
		return service, err
	})
}

func listTasks(ctx context.Context, g *engine, wanted filters.Args) ([]swarm.Task, error) {
	return again(ctx, func(ctx context.Context) ([]swarm.Task, error) {
		return g.api.TaskList(ctx, swarm.TaskListOptions{Filters: wanted})
	})
}

func listServices(ctx context.Context, g *engine, wanted filters.Args) ([]swarm.Service, error) {
	return again(ctx, func(ctx context.Context) ([]swarm.Service, error) {
		return g.api.ServiceList(ctx, swarm.ServiceListOptions{Filters: wanted})
	})
}

func findService(ctx context.Context, g *engine, name string) (*finding, error) {
	service, err := inspectService(ctx, g, name)
	if err != nil {
		return nil, err
	}
	tasks, err := listTasks(ctx, g, filters.NewArgs(filters.Arg("service", service.ID)))
	if err != nil {
		return nil, err
	}
	return &finding{what: "service " + service.Spec.Name, exact: name == service.ID || name == service.Spec.Name, tasks: current(tasks)}, nil
}

// findTask takes what docker prints as well: web.1 is the task in slot 1 of the service web.
func findTask(ctx context.Context, g *engine, name string) (*finding, error) {
	task, err := again(ctx, func(ctx context.Context) (swarm.Task, error) {
		task, _, err := g.api.TaskInspectWithRaw(ctx, name)
		return task, err
	})
	if err == nil {
		return &finding{what: "task " + task.ID, exact: name == task.ID || strings.HasSuffix(name, task.ID), tasks: []swarm.Task{task}}, nil
	}
	dot := strings.LastIndexByte(name, '.')
	if !cerrdefs.IsNotFound(err) || dot < 1 {
		return nil, err
	}
	service, err := inspectService(ctx, g, name[:dot])
	if err != nil || service.Spec.Name != name[:dot] {
		return nil, err
	}
	tasks, err := listTasks(ctx, g, filters.NewArgs(filters.Arg("service", service.ID)))
	if err != nil {
		return nil, err
	}
	tasks = slices.DeleteFunc(current(tasks), func(t swarm.Task) bool { return slot(&t) != name[dot+1:] })
	if len(tasks) == 0 {
		return nil, nil
	}
	return &finding{what: "task " + name, exact: true, tasks: tasks}, nil
}

// taskLabel is that of a task's container.
const taskLabel = "com.docker.swarm.task.id"

// findContainer finds one of the connected engine.
func findContainer(ctx context.Context, g *engine, name string) (*finding, error) {
	c, err := inspectContainer(ctx, g, name)
	if err != nil {
		return nil, err
	}
	plain := strings.TrimPrefix(c.Name, "/")
	f := &finding{what: "container " + plain, exact: name == c.ID || name == plain, container: &c}
	if c.Config == nil || c.Config.Labels[taskLabel] == "" {
		return f, nil
	}
	task, err := again(ctx, func(ctx context.Context) (swarm.Task, error) {
		task, _, err := g.api.TaskInspectWithRaw(ctx, c.Config.Labels[taskLabel])
		return task, err
	})
	if err != nil {
		return nil, err
	}
	f.container, f.tasks = nil, []swarm.Task{task}
	return f, nil
}

func inspectContainer(ctx context.Context, g *engine, name string) (container.InspectResponse, error) {
	return again(ctx, func(ctx context.Context) (container.InspectResponse, error) { return g.api.ContainerInspect(ctx, name) })
}

// findElsewhere finds the task of a container on any node, by the container's ID.
func findElsewhere(ctx context.Context, g *engine, id string) (*finding, error) {
	tasks, err := listTasks(ctx, g, filters.NewArgs())
	if err != nil {
		return nil, err
	}
	tasks = slices.DeleteFunc(tasks, func(t swarm.Task) bool {
		return t.Status.ContainerStatus == nil || !strings.HasPrefix(t.Status.ContainerStatus.ContainerID, id)
	})
	switch len(tasks) {
	case 0:
		return nil, nil
	case 1:
		return &finding{tasks: tasks}, nil
	}
	return nil, errAmbiguous
}

// slot is a task's place in its service: a number, or a node's ID in a global one.
func slot(t *swarm.Task) string {
	if t.Slot == 0 {
		return t.NodeID
	}
	return strconv.Itoa(t.Slot)
}

// current takes the tasks that should run, and of each slot without any the last one, unless it has
// stopped as it was told to: it may have failed, or its node is away and nobody knows.
func current(tasks []swarm.Task) []swarm.Task {
	slices.SortStableFunc(tasks, func(a, b swarm.Task) int { return b.CreatedAt.Compare(a.CreatedAt) })
	wanted := map[string]bool{}
	for i := range tasks {
		if shouldRun(&tasks[i]) {
			wanted[slot(&tasks[i])] = true
		}
	}
	var now []swarm.Task
	for i := range tasks {
		t := &tasks[i]
		if shouldRun(t) || !wanted[slot(t)] && (ended(t) || live(t) && t.DesiredState == swarm.TaskStateShutdown) {
			now = append(now, *t)
		}
		wanted[slot(t)] = true // what is older is history
	}
	return now
}

func shouldRun(t *swarm.Task) bool {
	return live(t) && t.DesiredState != swarm.TaskStateShutdown && t.DesiredState != swarm.TaskStateRemove
}

// ended tells whether a task ended by itself.
func ended(t *swarm.Task) bool {
	switch t.Status.State {
	case swarm.TaskStateComplete, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateOrphaned:
		return true
	}
	return false
}

// about is what has to be known beside tasks: names, and which secrets are more than their bytes.
type about struct {
	services  map[string]string // ID to name
	nodes     map[string]string
	templates map[string]string // ID to why
}

func (e *Endpoint) about(ctx context.Context, g *engine, found finding) (about, error) {
	const op = "look for"
	a := about{services: map[string]string{}, nodes: map[string]string{}, templates: map[string]string{}}
	nodes, err := listNodes(ctx, g)
	if err != nil {
		return a, e.fail(ctx, op, "", err)
	}
	for _, n := range nodes {
		a.nodes[n.ID] = n.Description.Hostname
	}
	secrets, owners := filters.NewArgs(), filters.NewArgs()
	for i := range found.tasks {
		t := &found.tasks[i]
		for _, ref := range references(&t.Spec) {
			secrets.Add("id", ref.SecretID)
		}
		owners.Add("id", t.ServiceID)
		a.services[t.ServiceID] = t.ServiceID // of one that is gone its ID is all there is
	}
	services, err := listServices(ctx, g, owners)
	if err != nil {
		return a, e.fail(ctx, op, "", err)
	}
	for i := range services {
		a.services[services[i].ID] = services[i].Spec.Name
	}
	if secrets.Len() == 0 {
		return a, nil
	}
	listed, err := again(ctx, func(ctx context.Context) ([]swarm.Secret, error) {
		return g.api.SecretList(ctx, swarm.SecretListOptions{Filters: secrets})
	})
	if err != nil {
		return a, e.fail(ctx, op, "", err)
	}
	for i := range listed {
		a.templates[listed[i].ID] = convert(&listed[i]).Unreadable
	}
	return a, nil
}

func listNodes(ctx context.Context, g *engine) ([]swarm.Node, error) {
	return again(ctx, func(ctx context.Context) ([]swarm.Node, error) { return g.api.NodeList(ctx, swarm.NodeListOptions{}) })
}

// host is the name of the connected node, empty when it can't be found out.
func (e *Endpoint) host(ctx context.Context, g *engine) string {
	node, err := again(ctx, func(ctx context.Context) (swarm.Node, error) {
		node, _, err := g.api.NodeInspectWithRaw(ctx, g.node)
		return node, err
	})
	if err != nil {
		return ""
	}
	return node.Description.Hostname
}

// references are those to secrets that stand in a task as files.
func references(spec *swarm.TaskSpec) []*swarm.SecretReference {
	if spec.ContainerSpec == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(spec.ContainerSpec.Secrets), func(r *swarm.SecretReference) bool { return r == nil || r.File == nil })
}

// directories hold nothing but secrets.
var directories = []string{peek.SwarmDirectory}

func (a about) container(t *swarm.Task) peek.Container {
	service := a.services[t.ServiceID]
	c := peek.Container{Object: "service " + service, Name: service + "." + slot(t), Node: a.nodes[t.NodeID], ID: t.ID, Directories: directories}
	switch t.Status.State {
	case swarm.TaskStateRunning:
		c.Started = t.Status.Timestamp
	case swarm.TaskStateComplete:
		c.Over = true
	default:
		c.Unseen, c.Hint = notRunning(t)
	}
	for _, ref := range references(&t.Spec) {
		want := peek.Want{
			How: peek.File, Secret: ref.SecretName, UID: ref.SecretID, Path: place(ref.File.Name),
			Mode: uint32(ref.File.Mode.Perm()), HasMode: true, Template: a.templates[ref.SecretID],
		}
		uid, badUID := strconv.Atoi(ref.File.UID)
		gid, badGID := strconv.Atoi(ref.File.GID)
		want.FileUID, want.FileGID, want.Owned = uid, gid, badUID == nil && badGID == nil
		c.Wants = append(c.Wants, want)
	}
	if t.Spec.ContainerSpec != nil {
		c.Wants = append(c.Wants, pointers(t.Spec.ContainerSpec.Env, c.Wants)...)
	}
	return c
}

// place is where a reference's target stands: a relative one under peek.SwarmDirectory.
func place(target string) string {
	if path.IsAbs(target) {
		return path.Clean(target)
	}
	return path.Join(peek.SwarmDirectory, target)
}

// pointers are the variables that hold the path of a secret: of one of the files, or by their name.
func pointers(environment []string, files []peek.Want) (all []peek.Want) {
	for _, entry := range environment {
		name, value, set := strings.Cut(entry, "=")
		if !set || !path.IsAbs(value) {
			continue
		}
		at := path.Clean(value)
		want := peek.Want{How: peek.Pointer, Variable: name, Path: value}
		if i := slices.IndexFunc(files, func(f peek.Want) bool { return f.Path == at }); i >= 0 {
			want.Secret, want.UID, want.Template = files[i].Secret, files[i].UID, files[i].Template
		} else if !strings.HasSuffix(name, "_FILE") || !strings.HasPrefix(at, peek.SwarmDirectory+"/") {
			continue
		}
		all = append(all, want)
	}
	return all
}

// notRunning says why there is nothing to look into.
func notRunning(t *swarm.Task) (unseen, hint string) {
	if t.Status.State == swarm.TaskStateRunning {
		return "", ""
	}
	why := cmp.Or(oneLine(t.Status.Err), oneLine(t.Status.Message))
	switch state := t.Status.State; state {
	case swarm.TaskStateFailed:
		unseen = "its task failed"
	case swarm.TaskStateRejected:
		unseen = "its task was rejected"
	case swarm.TaskStateShutdown, swarm.TaskStateRemove:
		unseen = "its task was shut down"
	default:
		unseen = "its task is " + string(state)
	}
	if why != "" && why != string(t.Status.State) {
		unseen += ": " + why
	}
	return unseen, "docker service ps --no-trunc shows the history."
}

// alone is a container that is no task's. What it has under peek.SwarmDirectory was put there by
// somebody else than the Swarm.
func alone(found *container.InspectResponse, node string) peek.Container {
	name := strings.TrimPrefix(found.Name, "/")
	c := peek.Container{Object: "container " + name, Name: name, Node: node, ID: found.ID, Directories: directories}
	if found.Config != nil {
		c.Wants = pointers(found.Config.Env, nil)
	}
	if found.State == nil || !found.State.Running {
		c.Unseen = "it doesn't run"
		if found.State != nil {
			c.Unseen = fmt.Sprintf("it doesn't run, it is %s", found.State.Status)
		}
		return c
	}
	c.Started, _ = time.Parse(time.RFC3339Nano, found.State.StartedAt)
	return c
}
