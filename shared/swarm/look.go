package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/versions"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/probe"
	"github.com/secretx/secretx/shared/probe/inside"
)

const (
	opLook = "look into containers"
	// looks is how many helpers work at a time, each on a node.
	looks = 16
	// lookCount is how many containers one helper looks into.
	lookCount = 500
	// lookStart is how long a job on another node may take until it runs, unless it pulls its image.
	lookStart = 20 * time.Second
	// lookSilence is how long a helper may say nothing.
	lookSilence = 20 * time.Second
	// lookTimeout bounds one helper.
	lookTimeout = 2 * time.Minute
)

// Explain says which rights the helpers get that look into containers, and why.
func (e *Endpoint) Explain() string {
	return `To look into containers, secretx starts a helper: one static program, without a shell, that reads and answers, and nothing else.

On the node that secretx talks to it is a container:
  - in the process namespace of the container that it looks into (--pid container:ID), or, for several containers, of the node (--pid host): so that it finds their processes
  - without capabilities but SYS_PTRACE, which opens /proc/PID/root and /proc/PID/environ of another container's process,
    and DAC_READ_SEARCH, which reads files that belong to another user
  - with a read-only root, no network, no mounts, no log, and no way to gain privileges; it is removed as soon as it has answered

On any other node it is a service of one task that is pinned to that node and never restarted:
  - with the same two capabilities and a read-only root
  - with the node's /proc mounted read-only, since the tasks of a service can't be given a process namespace
  - with the default network, which it doesn't use: a task can't be given none
  - its answer stands, encrypted, in its log until it is removed right after
  - --local-only forbids it

What it is told (process numbers, container IDs, paths, names of variables) stands in its arguments. What it answers is encrypted to a key that
only this run of secretx has: keyed digests, and values only with --reveal. Nothing is written to any disk in the clear.
Whoever may run containers with a Docker engine could do all of this by himself; it takes no right that he doesn't have.
`
}

// spot is where a container runs.
type spot struct {
	index int // into the containers that are looked into
	node  string
	pid   int
	id    string // of the container
	// shared: its processes aren't in a namespace of their own.
	shared bool
}

// looking is one wave.
type looking struct {
	*Endpoint
	engine     *engine
	containers []peek.Container
	options    peek.LookOptions
}

// Look fills in what stands in the containers, which are those that Containers gave: Seen, or Unseen
// and Hint. All are looked into at once, those of one node by one helper; see Explain for what it
// may do. An error says that nothing was looked at.
func (e *Endpoint) Look(ctx context.Context, containers []peek.Container, options peek.LookOptions) error {
	if len(options.Nonce) == 0 {
		return &endpoint.Error{Op: opLook, Place: e.name, Reason: endpoint.ErrInvalid, Cause: errors.New("a digest needs a nonce")}
	}
	if options.Progress == nil {
		options.Progress = func(string) {}
	}
	g, err := e.connect(ctx)
	if err != nil {
		return err
	}
	l := &looking{Endpoint: e, engine: g, containers: containers, options: options}
	spots, err := l.locate(ctx)
	if err != nil {
		return err
	}
	nodes := map[string][]spot{}
	for _, s := range spots {
		nodes[s.node] = append(nodes[s.node], s)
	}

	var group sync.WaitGroup
	group.Go(func() { _ = e.Sweep(ctx) }) // what earlier runs left; this one needs none of it
	turns := make(chan struct{}, looks)
	if here := nodes[g.node]; len(here) > 0 {
		group.Go(func() { l.here(ctx, here) })
		delete(nodes, g.node)
	}
	if len(nodes) > 0 {
		l.elsewhere(ctx, nodes, func(look func()) {
			group.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				look()
			})
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return e.fail(ctx, opLook, "", ctx.Err())
	}
	l.obituaries(ctx, spots)
	return nil
}

// locate finds the containers' processes, and says of those that don't run any more that they
// don't.
func (l *looking) locate(ctx context.Context) (spots []spot, err error) {
	tasks, err := l.tasks(ctx)
	if err != nil {
		return nil, err
	}
	for i := range l.containers {
		c := &l.containers[i]
		if c.Unseen != "" || c.Over {
			continue
		}
		if isContainer(c.ID) {
			s, err := l.process(ctx, c.ID)
			if err != nil {
				c.Unseen = oneLine(err.Error())
				continue
			}
			s.index = i
			spots = append(spots, s)
			continue
		}
		t, there := tasks[c.ID]
		if !there {
			c.Unseen = "its task was removed meanwhile"
			continue
		}
		if c.Unseen, c.Hint = notRunning(&t); c.Unseen != "" {
			continue
		}
		status := t.Status.ContainerStatus
		if status == nil || status.PID < 1 || status.ContainerID == "" {
			c.Unseen = "its process isn't known yet"
			continue
		}
		spots = append(spots, spot{index: i, node: t.NodeID, pid: status.PID, id: status.ContainerID})
	}
	return spots, nil
}

// isContainer tells the ID of a container from that of a task.
func isContainer(id string) bool { return len(id) == 64 }

// tasks are those of the containers that are tasks', as they are now.
func (l *looking) tasks(ctx context.Context) (map[string]swarm.Task, error) {
	wanted := filters.NewArgs()
	for i := range l.containers {
		if !isContainer(l.containers[i].ID) {
			wanted.Add("id", l.containers[i].ID)
		}
	}
	tasks := map[string]swarm.Task{}
	if wanted.Len() == 0 {
		return tasks, nil
	}
	listed, err := listTasks(ctx, l.engine, wanted)
	if err != nil {
		return nil, l.fail(ctx, opLook, "", err)
	}
	for _, t := range listed {
		tasks[t.ID] = t
	}
	return tasks, nil
}

// process finds the process of a container of the connected engine.
func (l *looking) process(ctx context.Context, id string) (spot, error) {
	found, err := inspectContainer(ctx, l.engine, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return spot{}, errors.New("it was removed")
	case err != nil:
		return spot{}, err
	}
	if found.State == nil || found.State.Pid < 1 {
		return spot{}, errors.New("it doesn't run any more")
	}
	shared := found.HostConfig != nil && found.HostConfig.PidMode != ""
	return spot{node: l.engine.node, pid: found.State.Pid, id: found.ID, shared: shared}, nil
}

// request asks for what is wanted at the spots. Containers that want the same share it.
func (l *looking) request(spots []spot, proc string) inside.Request {
	r := inside.Request{Proc: proc, Reveal: l.options.Reveal}
	known := map[string]int{}
	for _, s := range spots {
		c := &l.containers[s.index]
		want := inside.Want{Directories: c.Directories}
		for _, w := range c.Wants {
			if file := path.Clean(w.Path); w.Path != "" && !slices.Contains(want.Files, file) {
				want.Files = append(want.Files, file)
			}
			if w.Variable != "" && !slices.Contains(want.Variables, w.Variable) {
				want.Variables = append(want.Variables, w.Variable)
			}
		}
		key := fmt.Sprintf("%q", want)
		i, there := known[key]
		if !there {
			i = len(r.Wants)
			known[key], r.Wants = i, append(r.Wants, want)
		}
		r.Containers = append(r.Containers, inside.Container{PID: s.pid, ID: s.id, Want: i})
	}
	return r
}

// each cuts the spots of a node into what one helper takes, and has them looked at one after another.
func (l *looking) each(spots []spot, look func([]spot) error) {
	for some := range slices.Chunk(spots, lookCount) {
		request, err := l.request(some, "/proc").Marshal()
		if half := len(some) / 2; err == nil && len(request) > probe.MaxRequest-1000 && half > 0 {
			l.each(some[:half], look)
			l.each(some[half:], look)
			continue
		}
		if err := look(some); err != nil {
			l.unseen(some, err)
		}
	}
}

// unseen says of those that weren't seen why.
func (l *looking) unseen(spots []spot, err error) {
	why, hint := oneLine(err.Error()), ""
	if failure := (*endpoint.Error)(nil); errors.As(err, &failure) {
		if hint = failure.Hint; failure.Cause != nil {
			why = failure.Cause.Error()
		}
	}
	for _, s := range spots {
		if c := &l.containers[s.index]; c.Unseen == "" && c.Seen.Files == nil {
			c.Unseen, c.Hint = why, hint
		}
	}
}

// take gives a reader of the helper's answer that fills in what was seen.
func (l *looking) take(look *probe.Look, spots []spot) func(io.Reader) error {
	return func(log io.Reader) error {
		return look.Read(log, func(seen probe.Inside) error {
			c := &l.containers[spots[seen.Index].index]
			c.Seen, c.Unseen = seen.Seen, seen.Unseen
			return nil
		})
	}
}

// elsewhere looks at other nodes' containers, with a job on each.
func (l *looking) elsewhere(ctx context.Context, nodes map[string][]spot, run func(func())) {
	g := l.engine
	listed, err := listNodes(ctx, g)
	known := map[string]swarm.Node{}
	for _, n := range listed {
		known[n.ID] = n
	}
	for id, spots := range nodes {
		node := known[id]
		image, refused := l.refusal(ctx, node)
		if err != nil {
			refused = l.fail(ctx, opLook, "", err)
		}
		if refused != nil {
			l.unseen(spots, refused)
			continue
		}
		run(func() {
			l.options.Progress("looking into containers on " + node.Description.Hostname)
			l.each(spots, func(some []spot) error { return l.job(ctx, node, image, some) })
		})
	}
}

// refusal says why no job can look at a node, or gives the image for it.
func (l *looking) refusal(ctx context.Context, node swarm.Node) (image string, refused error) {
	host := node.Description.Hostname
	switch {
	case node.ID == "":
		return "", l.cannot(opLook, errors.New("its node is gone"), "")
	case l.options.LocalOnly:
		return "", l.cannot(opLook, fmt.Errorf("it runs on %s, and --local-only forbids a job there", host), "")
	case node.Status.State != swarm.NodeStateReady:
		return "", l.cannot(opLook, fmt.Errorf("its node %s is %s", host, node.Status.State), "See docker node ls.")
	case node.Spec.Availability != swarm.NodeAvailabilityActive:
		return "", l.cannot(opLook, fmt.Errorf("its node %s takes no tasks: its availability is %s", host, node.Spec.Availability),
			"Run docker node update --availability active "+host+".")
	case versions.LessThan(l.engine.api.ClientVersion(), capabilitiesSince):
		return "", l.cannot(opLook, fmt.Errorf("it runs on node %s, and a job that looks there needs Docker 20.10 (API %s)", host, capabilitiesSince), "")
	case node.Description.Platform.OS != "linux":
		return "", l.cannot(opLook, fmt.Errorf("the helper runs on Linux, node %s on %s", host, node.Description.Platform.OS), "")
	}
	if l.options.HelperImage != "" {
		return l.options.HelperImage, nil
	}
	if l.Endpoint.options.ProbeImage != "" {
		return l.Endpoint.options.ProbeImage, nil
	}
	image, err := l.imageFor(ctx, architecture(node.Description.Platform.Architecture))
	if err != nil {
		return "", l.cannot(opLook, err, "")
	}
	return image, nil
}

// imageFor gives the ID that our own image has on a node of an architecture. One with the architecture
// of the connected engine is taken to keep images as that one does: what an ID is depends on it.
func (l *looking) imageFor(ctx context.Context, architecture string) (string, error) {
	if g := l.engine; architecture == g.architecture && g.system == "linux" {
		return l.own(ctx, g, opLook)
	}
	return imageID(architecture)
}

// obituaries say of containers that ended while they were looked at what became of their tasks.
func (l *looking) obituaries(ctx context.Context, spots []spot) {
	if !slices.ContainsFunc(spots, func(s spot) bool { return l.containers[s.index].Unseen == inside.Ended }) {
		return
	}
	tasks, err := l.tasks(ctx)
	if err != nil {
		return
	}
	for _, s := range spots {
		c := &l.containers[s.index]
		t, there := tasks[c.ID]
		switch {
		case c.Unseen != inside.Ended || isContainer(c.ID):
			continue
		case !there:
			c.Unseen += "; its task was removed"
			continue
		}
		if why, hint := notRunning(&t); why != "" {
			c.Unseen, c.Hint = c.Unseen+"; "+why, hint
		}
	}
}
