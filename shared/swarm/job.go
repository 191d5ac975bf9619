package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/versions"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/probe"
	"github.com/secretx/secretx/shared/secret"
)

const (
	// farewell is how long removing the job may take once the caller has gone.
	farewell = 400 * time.Millisecond
	// glance is how often the state of the task is looked at.
	glance = 200 * time.Millisecond
	// hopeless is how long a task may be without a node that would do: one may just be coming back.
	hopeless = 5 * time.Second
	// silence is how long a running job may write nothing.
	silence = time.Minute
	// lag is how long the log of a finished job may stay silent before it is read anew: the log of
	// Engine 20.10 doesn't always notice that it has come to its end.
	lag = time.Second
)

// capabilitiesSince is the version of the API that lets a task's capabilities be chosen.
const capabilitiesSince = "1.41"

// grace is how long a job has to end when it is told to; it has nothing to do then.
var grace = time.Second

// errGone: the job was refused because one of its secrets is gone.
var errGone = errors.New("a secret of the job is gone")

// errBusy: an engine under load sometimes can't make a mount, and can the next time.
var errBusy = errors.New("device or resource busy")

// ready checks what can be known before a job is made.
func (e *Endpoint) ready(ctx context.Context, g *engine, op string) error {
	if v := g.api.ClientVersion(); versions.LessThan(v, capabilitiesSince) {
		return e.cannot(op, errors.New("it needs Docker 20.10 (API 1.41), older ones can't take a task's capabilities away; this is API "+v), "Use a newer engine, or do without values (--no-probe).")
	}
	if e.options.ProbeImage != "" {
		return nil
	}
	node, err := again(ctx, func(ctx context.Context) (swarm.Node, error) {
		node, _, err := g.api.NodeInspectWithRaw(ctx, g.node)
		return node, err
	})
	if err != nil {
		return e.fail(ctx, op, "", err)
	}
	if node.Spec.Availability != swarm.NodeAvailabilityActive {
		return e.cannot(op, fmt.Errorf("the node of this manager (%s) takes no tasks: its availability is %s", node.Description.Hostname, node.Spec.Availability),
			"Use --probe-image with an image that other nodes can pull, or run docker node update --availability active "+node.Description.Hostname+".")
	}
	return nil
}

// work is a job and what it is for.
type work struct {
	op       string
	spec     swarm.ServiceSpec
	progress func() int            // grows with each line that was taken from the log
	read     func(io.Reader) error // takes the log from its start, as often as it takes
	start    time.Duration         // how long it may take until it runs
	silence  time.Duration         // how long it may run and write nothing
	hint     string                // for a task that fails or doesn't even start
}

// cannot is an error of the probe as a whole.
func (e *Endpoint) cannot(op string, cause error, hint string) error {
	return &endpoint.Error{Op: op, Place: e.name, Reason: endpoint.ErrProbe, Cause: cause, Hint: hint}
}

// spec is the job: one task, once, with the secrets as files that only root can read, on a
// read-only file system, without any capability.
//
// It is a service of one replica that is never started again, and not a replicated job: of those,
// Engine 20.10 leaves the containers and their logs on the node when the job is removed.
func (e *Endpoint) spec(g *engine, image string, run *probe.Run, refs []secret.Ref) swarm.ServiceSpec {
	files := make([]*swarm.SecretReference, len(refs))
	for i, ref := range refs {
		files[i] = &swarm.SecretReference{
			SecretID: ref.UID, SecretName: ref.Name,
			File: &swarm.SecretReferenceFileTarget{Name: probe.File(i), UID: "0", GID: "0", Mode: 0o400},
		}
	}
	one := uint64(1)
	labels := jobLabels(run.ID(), e.options.Timeout)
	spec := swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: jobName(run.ID()), Labels: labels},
		Mode:        swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &one}},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Image: image, Args: run.Args(), Secrets: files, Labels: labels,
				ReadOnly: true, CapabilityDrop: []string{"ALL"}, StopGracePeriod: &grace,
			},
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone},
			Placement:     &swarm.Placement{},
			LogDriver:     logDriver(g.logDriver),
		},
	}
	if e.options.ProbeImage == "" {
		spec.TaskTemplate.Placement.Constraints = []string{"node.id==" + g.node}
	}
	return spec
}

// jobName can't be foreseen, and tells what the job is.
func jobName(run string) string { return "secretx-probe-" + strings.ToLower(run) }

// logDriver names one that can be read, whatever the engine's default is, and not that one: an
// engine adds its default options to those of a job with the same driver, and a small max-size or
// a mode that drops lines would lose what the probe says.
func logDriver(standard string) *swarm.Driver {
	name := "json-file"
	if standard == name {
		name = "local"
	}
	return &swarm.Driver{Name: name, Options: map[string]string{"max-size": "100g", "max-file": "1", "compress": "false", "mode": "blocking"}}
}

// job runs one probe and reads its log. Whatever happens, it leaves no job behind, unless
// the engine is slower than farewell when ctx ends and the process ends right after; then Sweep
// finds it.
func (e *Endpoint) job(ctx context.Context, g *engine, w work) error {
	remove := func() {
		_, _ = again(context.WithoutCancel(ctx), func(ctx context.Context) (struct{}, error) {
			return struct{}{}, g.api.ServiceRemove(ctx, w.spec.Name)
		})
	}
	err := establish(ctx, func(ctx context.Context) error {
		_, err := g.api.ServiceCreate(ctx, w.spec, swarm.ServiceCreateOptions{})
		return err
	}, remove)
	if err != nil {
		if text := err.Error(); strings.Contains(text, "secret not found") || strings.Contains(text, "secrets not found") {
			return errGone
		}
		failure := e.fail(ctx, w.op, "", err)
		if ctx.Err() == nil && !errors.Is(failure, endpoint.ErrUnreachable) {
			failure.Reason = endpoint.ErrProbe
		}
		return failure
	}
	err = e.follow(ctx, g, w)
	if ctx.Err() != nil {
		briefly(remove)
	} else {
		remove()
	}
	return err
}

// establish makes something that has to be removed in the end. When it fails, nothing is left behind:
// making and removing don't end with ctx, because a request that is cut off may have been done.
func establish(ctx context.Context, create func(context.Context) error, remove func()) error {
	detached := context.WithoutCancel(ctx)
	made := make(chan error, 1)
	go func() {
		_, err := once(detached, func(ctx context.Context) (struct{}, error) { return struct{}{}, create(ctx) })
		made <- err
	}()
	select {
	case <-ctx.Done():
		briefly(func() {
			if err := <-made; err == nil || doubtful(err) {
				remove()
			}
		})
		return ctx.Err()
	case err := <-made:
		if err != nil && doubtful(err) {
			briefly(remove)
		}
		return err
	}
}

// briefly waits for do, but not longer than a farewell may take; do goes on.
func briefly(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(farewell):
	}
}

// follow reads the log of a job while it watches its task.
func (e *Endpoint) follow(ctx context.Context, g *engine, w work) error {
	late := fmt.Errorf("not all came within %s", e.options.Timeout)
	limited, cancel := context.WithTimeoutCause(ctx, e.options.Timeout, late)
	log := &logReader{api: g.api, work: w}
	read := make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { read <- log.read(limited) })
	defer reader.Wait() // nothing is handed over any more
	defer cancel()

	began := time.Now()
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		select {
		case err := <-read:
			switch {
			case err == nil:
				return nil
			case errors.Is(err, errStopped):
				return err
			case ctx.Err() != nil:
				return e.fail(ctx, w.op, "", err)
			case limited.Err() != nil:
				return e.cannot(w.op, late, "")
			}
			if failed := e.judge(ctx, g, w, log, began); failed != nil {
				return failed // says more than that the log ended
			}
			return e.cannot(w.op, errors.New(oneLine(err.Error())), w.hint)
		case <-ctx.Done():
			return e.fail(ctx, w.op, "", ctx.Err())
		case <-ticker.C:
			if err := e.judge(limited, g, w, log, began); err != nil {
				return err
			}
		}
	}
}

// judge looks at the task and tells why nothing more is to be expected of it; nil: it is.
func (e *Endpoint) judge(ctx context.Context, g *engine, w work, log *logReader, began time.Time) error {
	tasks, err := once(ctx, func(ctx context.Context) ([]swarm.Task, error) {
		return g.api.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", w.spec.Name))})
	})
	if cerrdefs.IsNotFound(err) {
		return e.cannot(w.op, errors.New("somebody removed the job"), "")
	}
	if err != nil || len(tasks) == 0 {
		if time.Since(began) > w.start {
			return e.cannot(w.op, errors.New("the job has no task"), "")
		}
		return nil // the next glance may tell
	}
	task := tasks[0]
	for _, t := range tasks[1:] {
		if t.CreatedAt.After(task.CreatedAt) {
			task = t
		}
	}
	status := task.Status
	what := oneLine(status.Err)
	if what == "" {
		what = oneLine(status.Message)
	}
	switch status.State {
	case swarm.TaskStateComplete:
		log.finished.Store(true)
		if log.waits() > lag {
			log.again()
		}
		return nil
	case swarm.TaskStateRunning:
		if log.waits() > w.silence {
			return e.cannot(w.op, fmt.Errorf("the job runs, but for %s its log has had nothing to say", w.silence), "See docker service logs and the engine's log.")
		}
		return nil
	case swarm.TaskStateFailed:
		if status.ContainerStatus != nil && strings.HasPrefix(what, "task: non-zero exit") {
			what = probe.ExitText(status.ContainerStatus.ExitCode)
		}
		cause := errors.New(what)
		if rest, busy := strings.CutSuffix(what, errBusy.Error()); busy {
			cause = fmt.Errorf("%s%w", rest, errBusy)
		}
		return e.cannot(w.op, cause, w.hint)
	case swarm.TaskStateRejected, swarm.TaskStateShutdown, swarm.TaskStateOrphaned, swarm.TaskStateRemove:
		return e.cannot(w.op, fmt.Errorf("its task was %s: %s", status.State, what), w.hint)
	}
	waited := time.Since(began)
	if status.Err != "" && status.State == swarm.TaskStatePending && waited > hopeless || waited > w.start {
		return e.cannot(w.op, fmt.Errorf("its task didn't start within %s, it is %s: %s", waited.Round(time.Second), status.State, what), "See docker node ls.")
	}
	return nil
}

func (e *Endpoint) imageHint() string {
	if e.options.ProbeImage != "" {
		return "Can the nodes pull " + e.options.ProbeImage + ", and is it of this version of secretx?"
	}
	return ""
}
