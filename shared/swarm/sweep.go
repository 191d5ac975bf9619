package swarm

import (
	"context"
	"errors"
	"strconv"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/owner"
	"github.com/secretx/secretx/shared/secret"
)

// Labels of a probe's job. ProbeLabel has the ID of the run; together with the others it says
// whether anybody still waits for the job.
const (
	ProbeLabel    = secret.LabelPrefix + "probe"
	ownerLabel    = ProbeLabel + ".owner"    // the process, as owner prints it
	lifetimeLabel = ProbeLabel + ".lifetime" // in seconds, from the job's creation on
)

// slack is what a job's lifetime has beyond the time after which its owner gives it up: as much may the
// clocks of the managers differ.
const slack = 5 * time.Minute

// Sweep removes the jobs, and the helpers on the connected engine, of runs that ended without removing
// them, kill -9 for example. It is two calls when there are none.
//
// A job goes when the process that made it was on this machine and is no more, or when it is older
// than its run can possibly be. Its age is the difference between two readings of the managers' clocks,
// its creation and now: those of the machines that secretx runs on don't matter, those of the managers must agree
// within some minutes, as a Swarm needs anyhow.
func (e *Endpoint) Sweep(ctx context.Context) error {
	g, err := e.connect(ctx)
	if err != nil {
		return err
	}
	services, err := again(ctx, func(ctx context.Context) ([]swarm.Service, error) {
		return g.api.ServiceList(ctx, swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", ProbeLabel))})
	})
	if err != nil {
		return e.fail(ctx, "list probes", "", err)
	}
	failures := []error{e.sweepHelpers(ctx, g)}
	for _, s := range services {
		if !abandoned(s.Spec.Labels, g.now().Sub(s.CreatedAt), owner.Alive) {
			continue
		}
		_, err := again(ctx, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, g.api.ServiceRemove(ctx, s.ID)
		})
		if err != nil && !cerrdefs.IsNotFound(err) {
			failures = append(failures, e.fail(ctx, "remove probe", s.Spec.Name, err))
		}
	}
	return errors.Join(failures...)
}

// sweepHelpers does it for containers that no service has.
func (e *Endpoint) sweepHelpers(ctx context.Context, g *engine) error {
	found, err := again(ctx, func(ctx context.Context) ([]container.Summary, error) {
		return g.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", ProbeLabel))})
	})
	if err != nil {
		return e.fail(ctx, "list probes", "", err)
	}
	var failures []error
	for _, c := range found {
		if c.Labels[taskLabel] != "" || !abandoned(c.Labels, g.now().Sub(time.Unix(c.Created, 0)), owner.Alive) {
			continue
		}
		_, err := again(ctx, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, g.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
		})
		if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			failures = append(failures, e.fail(ctx, "remove probe", c.ID, err))
		}
	}
	return errors.Join(failures...)
}

// abandoned tells whether nobody waits for a job any more. Where its labels can't be read it is left
// alone: a later version of secretx may have made it.
func abandoned(labels map[string]string, age time.Duration, alive func(owner string) (is, known bool)) bool {
	if is, known := alive(labels[ownerLabel]); known && !is {
		return true
	}
	seconds, err := strconv.Atoi(labels[lifetimeLabel])
	return err == nil && seconds > 0 && age > time.Duration(seconds)*time.Second
}

// jobLabels are those of the job of a run of this process.
func jobLabels(run string, timeout time.Duration) map[string]string {
	return map[string]string{
		ProbeLabel:    run,
		ownerLabel:    owner.Self(),
		lifetimeLabel: strconv.Itoa(int((timeout + slack) / time.Second)),
	}
}
