package swarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// moveTries is how often a service may change under our hands before we give up: each time somebody
// else has written to it within the milliseconds between our read and our write.
const moveTries = 20

// Move implements rollout.Mover. The token is the version of the service that the write replaced: in a
// Swarm versions count up over all objects, so whatever came of the write has a later one.
func (e *Endpoint) Move(ctx context.Context, step rollout.Step) (rollout.Moved, error) {
	const op = "update service"
	g, err := e.connect(ctx)
	if err != nil {
		return rollout.Moved{}, err
	}
	moved := rollout.Moved{Step: step}
	written := false // or maybe so: the connection broke and nobody knows
	for try := range moveTries {
		if try > 0 && sleep(ctx, pauses[0]) != nil {
			return moved, e.fail(ctx, op, step.Workload.ID, ctx.Err())
		}
		service, err := e.service(ctx, g, op, step.Workload)
		if err != nil {
			return moved, err
		}
		if !replace(&service.Spec, step.Replace) {
			if !written {
				moved.Nothing, moved.Token = true, token(service.Version)
			}
			return moved, nil
		}
		moved.Token = token(service.Version)
		_, err = once(ctx, func(ctx context.Context) (swarm.ServiceUpdateResponse, error) {
			// The credentials that its images are pulled with stay, and so does the digest of the image: no
			// registry is asked.
			return g.api.ServiceUpdate(ctx, service.ID, service.Version, service.Spec, swarm.ServiceUpdateOptions{RegistryAuthFrom: swarm.RegistryAuthFromSpec})
		})
		switch {
		case err == nil:
			return moved, nil
		case ctx.Err() != nil:
			return moved, e.fail(ctx, op, step.Workload.ID, err)
		case doubtful(err):
			written = true
		case cerrdefs.IsNotFound(err) && !missingSecret(err), stale(err): // the next read tells
		default:
			return moved, e.refused(ctx, op, step.Workload.ID, err)
		}
	}
	return moved, &endpoint.Error{
		Op: op, Object: step.Workload.ID, Place: e.name, Reason: endpoint.ErrMoved,
		Cause: fmt.Errorf("somebody else changed it each of the %d times between reading and writing it", moveTries),
		Hint:  "Find out who keeps updating it (docker service inspect), then try again.",
	}
}

// service reads the service of a workload: that very one, and not another one of its name.
func (e *Endpoint) service(ctx context.Context, g *engine, op string, w rollout.Workload) (swarm.Service, error) {
	var raw []byte
	service, err := again(ctx, func(ctx context.Context) (service swarm.Service, err error) {
		service, raw, err = g.api.ServiceInspectWithRaw(ctx, w.UID, swarm.ServiceInspectOptions{})
		return service, err
	})
	switch {
	case cerrdefs.IsNotFound(err), err == nil && service.ID != w.UID:
		failure := gone()
		failure.Op, failure.Object, failure.Place = op, w.ID, e.name
		return service, failure
	case err != nil:
		return service, e.fail(ctx, op, w.ID, err)
	}
	field, err := unknown(raw)
	if err != nil || field != "" {
		return service, &endpoint.Error{
			Op: op, Object: w.ID, Place: e.name, Reason: endpoint.ErrInvalid,
			Cause: cmp.Or(err, fmt.Errorf("its spec has %s, which this version of secretx doesn't know and would take away", field)),
			Hint:  "Use a newer secretx, or docker service update with the docker of that engine.",
		}
	}
	return service, nil
}

// gone is what became of a service that was removed, or removed and made anew.
func gone() *endpoint.Error {
	return &endpoint.Error{Reason: endpoint.ErrNotFound, Cause: errors.New("it was removed"), Hint: "If it was made anew, try again."}
}

// refused is the error of an update that the Swarm doesn't take.
func (e *Endpoint) refused(ctx context.Context, op, object string, err error) error {
	failure := e.fail(ctx, op, object, err)
	if missingSecret(err) {
		failure.Reason, failure.Hint = endpoint.ErrMoved, "A secret that it is to have was removed in the meantime: see docker secret ls."
	}
	return failure
}

func token(v swarm.Version) string { return strconv.FormatUint(v.Index, 10) }

// replace has the references name other secrets, wherever they stand; all else about them stays. It
// tells whether anything changed. No two of them can become the same: each has a target of its own.
func replace(spec *swarm.ServiceSpec, with map[string]secret.Ref) (changed bool) {
	for _, ref := range references(&spec.TaskTemplate) {
		if now, is := with[ref.SecretID]; is && now.UID != ref.SecretID {
			ref.SecretID, ref.SecretName, changed = now.UID, now.Name, true
		}
	}
	return changed
}
