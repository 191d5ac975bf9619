package swarm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"

	"github.com/secretx/secretx/shared/doctor"
	"github.com/secretx/secretx/shared/owner"
	"github.com/secretx/secretx/shared/probe"
	"github.com/secretx/secretx/shared/probe/embedded"
	"github.com/secretx/secretx/shared/secret"
)

const (
	opDoctor = "run a probe"
	// throwaway says what for doctor's own secret is; its labels say whose it is, as those of a job do.
	throwaway = "doctor"
	// throwawayLifetime bounds how long it may be needed.
	throwawayLifetime = 10 * time.Minute
)

// Examine looks at whatever secretx needs of a Swarm, and goes on as far as it can.
func (e *Endpoint) Examine(ctx context.Context, options doctor.Options) []doctor.Check {
	api, err := e.dial(ctx)
	if err != nil {
		return []doctor.Check{doctor.Of("connection", err)}
	}
	defer func() { _ = api.Close() }()
	before := options.Now()
	info, err := once(ctx, api.Info)
	if err != nil {
		return []doctor.Check{doctor.Of("connection", e.fail(ctx, "connect", "", err))}
	}
	after := options.Now()
	checks := []doctor.Check{
		{Name: "connection", State: doctor.OK, Detail: api.DaemonHost()},
		engineVersion(info, api.ClientVersion()),
	}
	if theirs, err := time.Parse(time.RFC3339Nano, info.SystemTime); err == nil {
		checks = append(checks, doctor.Clock(before, theirs, after))
	}
	g, err := e.connect(ctx)
	if err != nil {
		return append(checks, doctor.Of("swarm mode", err))
	}
	checks = append(checks, doctor.Check{Name: "swarm mode", State: doctor.OK, Detail: "manager " + info.Name + " of Swarm " + g.cluster})
	nodes, err := listNodes(ctx, g)
	if err != nil {
		failed := doctor.Of("nodes", e.fail(ctx, "list nodes", "", err))
		failed.Advice = "Without a leader a Swarm changes nothing: bring managers back until more than half of them run, or see docker swarm init --force-new-cluster."
		return append(checks, failed)
	}
	checks = append(checks, nodeChecks(nodes)...)
	checks = append(checks, logCheck(info), e.helperCheck(ctx, g), e.leftovers(ctx, g))
	return append(checks, e.probeChecks(ctx, g, nodes, options)...)
}

func engineVersion(info system.Info, api string) doctor.Check {
	c := doctor.Check{Name: "version", State: doctor.OK, Detail: fmt.Sprintf("Engine %s, API %s, %s/%s", info.ServerVersion, api, info.OSType, architecture(info.Architecture))}
	if versions.LessThan(api, capabilitiesSince) {
		c.State, c.Detail = doctor.Failed, c.Detail+": the probe needs API "+capabilitiesSince+", so that no value can be read"
		c.Advice = "Use Docker 20.10 or newer, or unset DOCKER_API_VERSION."
	}
	return c
}

// nodeChecks tells of nodes and managers that are away.
func nodeChecks(nodes []swarm.Node) []doctor.Check {
	managers, reachable := 0, 0
	var away []string
	for _, n := range nodes {
		if n.ManagerStatus != nil {
			managers++
			if n.ManagerStatus.Reachability == swarm.ReachabilityReachable {
				reachable++
			}
		}
		if n.Status.State != swarm.NodeStateReady {
			away = append(away, n.Description.Hostname+" is "+string(n.Status.State))
		}
	}
	c := doctor.Check{Name: "nodes", State: doctor.OK, Detail: fmt.Sprintf("%d of %d ready, %d of %d managers reachable", len(nodes)-len(away), len(nodes), reachable, managers)}
	if len(away) > 0 {
		slices.Sort(away)
		c.State, c.Detail = doctor.Warning, c.Detail+": "+strings.Join(away, ", ")
		c.Advice = "What runs there can't be looked into or rolled out: start it again, or remove it (docker node rm)."
	}
	return []doctor.Check{c}
}

// logCheck is about the driver that the probe's job asks for; which one is the default doesn't matter.
func logCheck(info system.Info) doctor.Check {
	wanted := logDriver(info.LoggingDriver).Name
	c := doctor.Check{Name: "log driver", State: doctor.OK, Detail: fmt.Sprintf("the probe uses %s; the default is %s", wanted, info.LoggingDriver)}
	if len(info.Plugins.Log) > 0 && !slices.Contains(info.Plugins.Log, wanted) {
		c.State, c.Detail = doctor.Failed, fmt.Sprintf("the engine has no log driver %s, through which the probe answers: it has %s", wanted, strings.Join(info.Plugins.Log, ", "))
		c.Advice = "Use an engine with its usual log drivers."
	}
	return c
}

// helperCheck is about the image on the connected engine. Loading it is left to the first that needs it.
func (e *Endpoint) helperCheck(ctx context.Context, g *engine) doctor.Check {
	c := doctor.Check{Name: "helper", State: doctor.OK}
	if e.options.ProbeImage != "" {
		c.Detail = e.options.ProbeImage + ", which the nodes pull"
		return c
	}
	if g.system != "linux" {
		c.State, c.Detail = doctor.Failed, "the helper runs on Linux, this node on "+g.system
		c.Advice = "Talk to a manager on Linux, or use --probe-image and a Linux node."
		return c
	}
	executable, err := embedded.Helper(g.architecture)
	if err != nil {
		c.State, c.Detail = doctor.Failed, err.Error()
		c.Advice = "Use secretx as it is released or as make build makes it, and a manager on amd64 or arm64; or name an image with --probe-image."
		return c
	}
	tag := imageTag(executable)
	_, err = once(ctx, func(ctx context.Context) (string, error) {
		found, err := g.api.ImageInspect(ctx, tag)
		return found.ID, err
	})
	c.Detail = tag + " is there"
	if err != nil {
		c.Detail = tag + " is loaded into this engine when it is needed"
	}
	return c
}

// leftovers are what runs that were killed have left, and nobody has swept yet.
func (e *Endpoint) leftovers(ctx context.Context, g *engine) doctor.Check {
	c := doctor.Check{Name: "leftovers", State: doctor.OK, Detail: "none"}
	services, err := once(ctx, func(ctx context.Context) ([]swarm.Service, error) {
		return g.api.ServiceList(ctx, swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", ProbeLabel))})
	})
	if err != nil {
		return doctor.Of("leftovers", e.fail(ctx, "list probes", "", err))
	}
	n := 0
	for _, s := range services {
		if abandoned(s.Spec.Labels, g.now().Sub(s.CreatedAt), owner.Alive) {
			n++
		}
	}
	if n > 0 {
		c.State, c.Detail = doctor.Warning, fmt.Sprintf("%d probes of runs that were cut off", n)
		c.Advice = "The next sync, diff or verify removes them."
	}
	return c
}

// probeChecks run a probe on every node that takes tasks, or say why not.
func (e *Endpoint) probeChecks(ctx context.Context, g *engine, nodes []swarm.Node, options doctor.Options) []doctor.Check {
	here := "probe"
	if err := e.ready(ctx, g, opDoctor); err != nil {
		return []doctor.Check{doctor.Of(here, err)}
	}
	if e.options.NoProbe {
		return []doctor.Check{{Name: here, State: doctor.Skipped, Detail: "--no-probe forbids it", Advice: "Without it, what can't be known stays unknown."}}
	}
	if !options.Probe {
		return []doctor.Check{{
			Name: here, State: doctor.Skipped, Detail: "it would make a secret with a random value, read it by a job on each node, and remove both",
			Advice: "Use --probe to run it.",
		}}
	}
	value := make([]byte, 32)
	_, _ = rand.Read(value) // never fails
	made, remove, err := e.throwaway(ctx, g, value)
	if err != nil {
		return []doctor.Check{doctor.Of(here, err)}
	}
	defer remove()
	slices.SortFunc(nodes, func(a, b swarm.Node) int { return strings.Compare(a.Description.Hostname, b.Description.Hostname) })
	var checks []doctor.Check
	for _, n := range nodes {
		name := "probe on " + n.Description.Hostname
		if n.Status.State != swarm.NodeStateReady || n.Spec.Availability != swarm.NodeAvailabilityActive {
			checks = append(checks, doctor.Check{Name: name, State: doctor.Skipped, Detail: fmt.Sprintf("it takes no tasks: it is %s, its availability is %s", n.Status.State, n.Spec.Availability)})
			continue
		}
		options.Progress("running a probe on " + n.Description.Hostname)
		began := options.Now()
		if err := e.probeOn(ctx, g, n, made, value); err != nil {
			c := doctor.Of(name, err)
			if n.ID != g.node {
				c.State = doctor.Warning // only containers there can't be looked into
			}
			checks = append(checks, c)
			continue
		}
		checks = append(checks, doctor.Check{Name: name, State: doctor.OK, Detail: "what was written was read, in " + options.Now().Sub(began).Round(100*time.Millisecond).String()})
	}
	return checks
}

// throwaway makes a secret that nobody uses, after those that killed runs have left are gone.
func (e *Endpoint) throwaway(ctx context.Context, g *engine, value []byte) (ref secret.Ref, remove func(), err error) {
	list := swarm.SecretListOptions{Filters: filters.NewArgs(filters.Arg("label", InternalLabel+"="+throwaway))}
	old, err := again(ctx, func(ctx context.Context) ([]swarm.Secret, error) { return g.api.SecretList(ctx, list) })
	if err != nil {
		return ref, nil, e.fail(ctx, "list secrets", "", err)
	}
	for _, s := range old {
		if abandoned(s.Spec.Labels, g.now().Sub(s.CreatedAt), owner.Alive) {
			_, _ = once(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.api.SecretRemove(ctx, s.ID) })
		}
	}
	labels := jobLabels(throwaway, throwawayLifetime)
	labels[InternalLabel] = throwaway
	name := "secretx-doctor-" + strings.ToLower(rand.Text())
	remove = func() {
		_, _ = again(context.WithoutCancel(ctx), func(ctx context.Context) (struct{}, error) { return struct{}{}, g.api.SecretRemove(ctx, name) })
	}
	var id string
	err = establish(ctx, func(ctx context.Context) error {
		made, err := g.api.SecretCreate(ctx, swarm.SecretSpec{Annotations: swarm.Annotations{Name: name, Labels: labels}, Data: value})
		id = made.ID
		return err
	}, remove)
	if err != nil {
		return ref, nil, e.fail(ctx, "create secret", name, err, secret.NewValue(value))
	}
	return secret.Ref{Name: name, UID: id, Key: name}, remove, nil
}

// probeOn reads the secret by a job on a node, as every verb does that needs a value.
func (e *Endpoint) probeOn(ctx context.Context, g *engine, node swarm.Node, ref secret.Ref, value []byte) error {
	var image string
	var err error
	if node.ID == g.node {
		image, err = e.helper(ctx, g, opDoctor)
	} else {
		image, err = (&looking{Endpoint: e, engine: g}).refusal(ctx, node)
	}
	if err != nil {
		return err
	}
	run, err := probe.NewRun(1, nil)
	if err != nil {
		return e.fail(ctx, opDoctor, "", err)
	}
	start, hint := e.jobElsewhere(node.Description.Hostname, image)
	if node.ID == g.node {
		start, hint = e.options.StartTimeout, e.imageHint()
	}
	spec := e.spec(g, image, run, []secret.Ref{ref})
	spec.TaskTemplate.Placement.Constraints = []string{"node.id==" + node.ID}
	same := false
	err = e.job(ctx, g, work{
		op: opDoctor, spec: spec, progress: run.Progress, start: start, silence: lookSilence, hint: hint,
		read: func(log io.Reader) error {
			return run.Read(log, func(r probe.Result) error {
				same = r.Err == nil && r.Value.Equal(secret.NewValue(value))
				return r.Err
			})
		},
	})
	if err != nil {
		return withoutHelper(err, node.Description.Hostname)
	}
	if !same {
		return e.cannot(opDoctor, errors.New("what was read is not what was written"), "See docker service logs and the engine's log.")
	}
	return nil
}

var _ interface {
	Examine(context.Context, doctor.Options) []doctor.Check
} = (*Endpoint)(nil)
