package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/probe"
	"github.com/secretx/secretx/shared/probe/inside"
)

// Capabilities of a helper that looks into containers, as Explain says; all others are taken away.
var capabilities = []string{"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}

// here looks at containers of the connected engine.
func (l *looking) here(ctx context.Context, spots []spot) {
	image, err := l.own(ctx, l.engine, opLook)
	if err != nil {
		l.unseen(spots, err)
		return
	}
	l.each(spots, func(some []spot) error { return l.beside(ctx, image, some) })
}

// beside runs one helper as a container of the connected engine. Its answer comes through the
// connection that it is started over, and stands in no log.
func (l *looking) beside(ctx context.Context, image string, spots []spot) error {
	request, mode := l.request(spots, "/proc"), container.PidMode("host")
	if len(spots) == 1 && !spots[0].shared {
		mode = container.PidMode("container:" + spots[0].id)
		request.Containers[0].PID = 1
	}
	look, err := probe.NewLook(request, l.options.Nonce)
	if err != nil {
		return l.cannot(opLook, err, "")
	}
	g, name := l.engine, jobName(look.ID())
	config, host := helper(image, look, mode)
	remove := func() {
		_, _ = again(context.WithoutCancel(ctx), func(ctx context.Context) (struct{}, error) {
			err := g.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true})
			if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) { // or being removed
				err = nil
			}
			return struct{}{}, err
		})
	}
	err = establish(ctx, func(ctx context.Context) error {
		_, err := g.api.ContainerCreate(ctx, config, host, nil, nil, name)
		return err
	}, remove)
	if err != nil {
		return l.vanished(ctx, err)
	}
	err = l.watch(ctx, name, l.take(look, spots))
	if ctx.Err() != nil {
		briefly(remove)
	} else {
		remove()
	}
	return err
}

// helper is the container: it may look into others, and nothing else.
func helper(image string, look *probe.Look, mode container.PidMode) (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image: image, Cmd: look.Args(), Labels: jobLabels(look.ID(), lookTimeout),
		AttachStdout: true, NetworkDisabled: true,
	}
	host := &container.HostConfig{
		PidMode: mode, NetworkMode: "none", ReadonlyRootfs: true,
		CapDrop: []string{"ALL"}, CapAdd: capabilities, SecurityOpt: []string{"no-new-privileges"},
		LogConfig:     container.LogConfig{Type: "none"},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
	}
	if mode.IsHost() {
		host.UsernsMode = "host" // an engine that remaps users refuses the node's processes otherwise
	}
	return config, host
}

// watch starts a helper and reads what it says.
func (l *looking) watch(ctx context.Context, name string, read func(io.Reader) error) error {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	g := l.engine
	stream, err := g.api.ContainerAttach(limited, name, container.AttachOptions{Stream: true, Stdout: true})
	if err != nil {
		return l.fail(ctx, opLook, "", err)
	}
	defer stream.Close()
	defer context.AfterFunc(limited, stream.Close)() // a read of it heeds no context
	if _, err := once(limited, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.api.ContainerStart(ctx, name, container.StartOptions{})
	}); err != nil {
		return l.vanished(ctx, err)
	}
	silent := time.AfterFunc(lookSilence, stream.Close)
	err = read(&demux{in: &prompt{in: stream.Reader, late: silent}})
	stuck := !silent.Stop()
	switch {
	case err == nil, ctx.Err() != nil:
		return err
	case stuck:
		return fmt.Errorf("the helper has said nothing for %s: maybe a file system in one of the containers doesn't answer", lookSilence)
	case limited.Err() != nil:
		return fmt.Errorf("the helper didn't answer within %s", lookTimeout)
	}
	if found, failed := inspectContainer(ctx, g, name); failed == nil && found.State != nil && found.State.ExitCode != 0 {
		err = errors.New(probe.ExitText(found.State.ExitCode))
	}
	return err
}

// prompt puts late off with every Read.
type prompt struct {
	in   io.Reader
	late *time.Timer
}

func (p *prompt) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	if err == nil {
		p.late.Reset(lookSilence)
	}
	return n, err
}

// vanished is the error of a helper that can't be made: most of all because there is nothing any more
// that it could look into.
func (l *looking) vanished(ctx context.Context, err error) error {
	if text := err.Error(); strings.Contains(text, "non running container") || strings.Contains(text, "No such container") {
		return errors.New(inside.Ended)
	}
	return l.fail(ctx, opLook, "", err)
}

// procOfNode is where a job finds the processes of its node.
const procOfNode = "/host/proc"

// job looks at containers of another node.
func (l *looking) job(ctx context.Context, node swarm.Node, image string, spots []spot) error {
	look, err := probe.NewLook(l.request(spots, procOfNode), l.options.Nonce)
	if err != nil {
		return l.cannot(opLook, err, "")
	}
	host := node.Description.Hostname
	start, hint := l.jobElsewhere(host, image)
	err = l.Endpoint.job(ctx, l.engine, work{
		op: opLook, spec: lookSpec(l.engine, node.ID, image, look), progress: look.Progress, read: l.take(look, spots),
		start: start, silence: lookSilence, hint: hint,
	})
	err = withoutHelper(err, host)
	failure := (*endpoint.Error)(nil)
	if errors.As(err, &failure) && failure.Cause != nil && !errors.Is(failure.Cause, errNoHelper) {
		failure.Cause = fmt.Errorf("the job that should look there, on node %s: %w", host, failure.Cause)
	}
	return err
}

// jobElsewhere says how long a job on another node may take until it runs, and what helps when it doesn't.
func (e *Endpoint) jobElsewhere(host, image string) (start time.Duration, hint string) {
	if !strings.HasPrefix(image, "sha256:") {
		return e.options.StartTimeout, "Can " + host + " pull " + image + ", and is it of this version of secretx?"
	}
	return lookStart, "Put the helper there: docker secretx probe-image | docker -H ssh://" + host + " load; or name an image that the node can pull (--helper-image)."
}

var errNoHelper = errors.New("doesn't have the helper")

// withoutHelper says in clear words that a node doesn't have the image.
func withoutHelper(err error, host string) error {
	failure := (*endpoint.Error)(nil)
	if errors.As(err, &failure) && failure.Cause != nil && strings.Contains(failure.Cause.Error(), "No such image: sha256:") {
		failure.Cause = fmt.Errorf("node %s %w", host, errNoHelper)
	}
	return err
}

// lookSpec is the job. A task can't be given a process namespace, so that it sees the node's through
// a mount.
func lookSpec(g *engine, node, image string, look *probe.Look) swarm.ServiceSpec {
	one := uint64(1)
	labels := jobLabels(look.ID(), lookTimeout)
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: jobName(look.ID()), Labels: labels},
		Mode:        swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &one}},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Image: image, Args: look.Args(), Labels: labels, ReadOnly: true, StopGracePeriod: &grace,
				CapabilityDrop: []string{"ALL"}, CapabilityAdd: capabilities,
				Mounts: []mount.Mount{{
					Type: mount.TypeBind, Source: "/proc", Target: procOfNode, ReadOnly: true,
					BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
				}},
			},
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone},
			Placement:     &swarm.Placement{Constraints: []string{"node.id==" + node}},
			LogDriver:     logDriver(g.logDriver),
		},
	}
}
