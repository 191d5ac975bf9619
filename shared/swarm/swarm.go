// Package swarm is the endpoint for the secrets of a Docker Swarm. It alone imports
// docker/docker, so that the move to another client is one folder; of ours it imports secret,
// endpoint, probe, peek, consumers and rollout.
//
// Names, labels, versions and references come from the API. Values don't, nor what stands in
// containers: they are read by a probe, a job in the Swarm itself (see package probe and Explain).
package swarm

import (
	"context"
	"errors"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// Options say how values are read. The zero value is a good one.
type Options struct {
	// NoProbe forbids the probe: Values and Digests fail, everything else works.
	NoProbe bool
	// ProbeImage is an image with the helper that every node can pull. Empty: the helper that comes
	// with secretx is loaded into the connected engine, and the job stays on that node.
	ProbeImage string
	// Progress is told in a few words what takes long; nil: nobody is.
	Progress func(string)
	// StartTimeout bounds how long a job may take until it runs: 0 is a minute.
	StartTimeout time.Duration
	// Timeout bounds a job as a whole: 0 is 5 minutes.
	Timeout time.Duration
	// Batch is how many secrets one job reads: 0 is 500.
	Batch int
}

// Endpoint is a Swarm, seen through one of its managers. It is safe for concurrent use.
type Endpoint struct {
	dial    func(context.Context) (client.APIClient, error)
	name    string
	options Options

	turn   chan struct{} // holds one token: who has it may look at and set the fields below
	engine *engine       // nil until connected
	image  string        // the helper's, once it is known to be there

	waiting rollout.Together[string, *view] // for services to settle, by their IDs
}

var _ endpoint.Endpoint = (*Endpoint)(nil)

// New makes the endpoint called name, swarm:prod for example. Nothing connects before the first call that
// needs to, which then calls api, and calls it again only if it failed.
//
// For many calls at a time, the client's transport should keep more idle connections than
// docker's default of 2.
func New(api func(context.Context) (client.APIClient, error), name string, options Options) *Endpoint {
	if options.Progress == nil {
		options.Progress = func(string) {}
	}
	if options.StartTimeout == 0 {
		options.StartTimeout = time.Minute
	}
	if options.Timeout == 0 {
		options.Timeout = 5 * time.Minute
	}
	if options.Batch == 0 {
		options.Batch = 500
	}
	return &Endpoint{dial: api, name: name, options: options, turn: make(chan struct{}, 1)}
}

// engine is the manager at the other end of the connection.
type engine struct {
	api          client.APIClient
	cluster      string    // ID
	node         string    // ID
	system       string    // linux or windows
	architecture string    // amd64, arm64 or what the engine says
	logDriver    string    // the default one
	clock        time.Time // the engine's, at seen
	seen         time.Time
}

// now is the time by the engine's clock.
func (g *engine) now() time.Time { return g.clock.Add(time.Since(g.seen)) }

// lock waits for the token.
func (e *Endpoint) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case e.turn <- struct{}{}:
		return func() { <-e.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect gives the engine, which it looks at once.
func (e *Endpoint) connect(ctx context.Context) (*engine, error) {
	const op = "connect"
	unlock, err := e.lock(ctx)
	if err != nil {
		return nil, e.fail(ctx, op, "", err)
	}
	defer unlock()
	if e.engine != nil {
		return e.engine, nil
	}
	api, err := e.dial(ctx)
	if err != nil {
		return nil, e.fail(ctx, op, "", err)
	}
	g, err := e.look(ctx, api)
	if err != nil {
		_ = api.Close()
		return nil, err
	}
	e.engine = g
	return g, nil
}

func (e *Endpoint) look(ctx context.Context, api client.APIClient) (*engine, error) {
	const op = "connect"
	info, err := again(ctx, api.Info)
	if err != nil {
		return nil, e.fail(ctx, op, "", err)
	}
	g := &engine{
		api: api, node: info.Swarm.NodeID, system: info.OSType,
		architecture: architecture(info.Architecture), logDriver: info.LoggingDriver, seen: time.Now(),
	}
	if g.clock, err = time.Parse(time.RFC3339Nano, info.SystemTime); err != nil {
		g.clock = g.seen
	}
	if info.Swarm.ControlAvailable && info.Swarm.Cluster != nil {
		g.cluster = info.Swarm.Cluster.ID
		return g, nil
	}
	hint, cause := "", error(nil)
	switch info.Swarm.LocalNodeState {
	case swarm.LocalNodeStateActive:
		hint = "This node is a worker: talk to a manager (docker context, DOCKER_HOST)."
	case swarm.LocalNodeStateLocked:
		hint = "This node is locked: run docker swarm unlock."
	case swarm.LocalNodeStateInactive:
		hint = "This engine is in no Swarm: run docker swarm init, or talk to a manager (docker context, DOCKER_HOST)."
	default:
		cause = errors.New(oneLine(info.Swarm.Error))
		hint = "Its node is in the state " + string(info.Swarm.LocalNodeState) + ": see docker info."
	}
	return nil, &endpoint.Error{Op: op, Place: e.name, Reason: endpoint.ErrNotManager, Cause: cause, Hint: hint}
}

// architecture is what Go calls what an engine calls its machine.
func architecture(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return machine
}

// Place implements endpoint.Reader.
func (e *Endpoint) Place(ctx context.Context) (endpoint.Place, error) {
	g, err := e.connect(ctx)
	if err != nil {
		return endpoint.Place{}, err
	}
	return endpoint.Place{Kind: secret.Swarm, Identity: "swarm:" + g.cluster, Name: e.name}, nil
}
