package swarm

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/probe"
	"github.com/secretx/secretx/shared/secret"
)

// jobs is how many jobs run at a time: while one starts, the other's log is read.
const jobs = 2

// Values implements endpoint.Reader, by means of the probe. One secret that can't be read doesn't
// keep the others from being handed over; what failed is in the error.
func (e *Endpoint) Values(ctx context.Context, refs []secret.Ref, each func(secret.Ref, secret.Value) error) error {
	return e.read(ctx, "read secret", refs, nil, func(ref secret.Ref, r probe.Result) error { return each(ref, r.Value) })
}

// Digests implements endpoint.Reader, by means of the probe: values don't leave their node for it.
// Beside an error it gives the digests that it has nevertheless.
func (e *Endpoint) Digests(ctx context.Context, refs []secret.Ref, nonce []byte) (map[secret.Ref]secret.Digest, error) {
	const op = "digest secret"
	if len(nonce) == 0 {
		return nil, &endpoint.Error{Op: op, Place: e.name, Reason: endpoint.ErrInvalid, Cause: errors.New("a digest needs a nonce")}
	}
	digests := make(map[secret.Ref]secret.Digest, len(refs))
	err := e.read(ctx, op, refs, nonce, func(ref secret.Ref, r probe.Result) error {
		digests[ref] = r.Digest
		return nil
	})
	return digests, err
}

// errStopped ends a read whose results nobody wants any more.
var errStopped = errors.New("stopped")

// read runs as many jobs as it takes and hands each result over, one at a time.
func (e *Endpoint) read(ctx context.Context, op string, refs []secret.Ref, nonce []byte, each func(secret.Ref, probe.Result) error) error {
	if len(refs) == 0 {
		return nil
	}
	if e.options.NoProbe {
		return &endpoint.Error{
			Op: op, Place: e.name, Reason: endpoint.ErrProbe, Cause: errors.New("--no-probe forbids it"),
			Hint: "Without it, what can't be known stays unknown.",
		}
	}
	g, err := e.connect(ctx)
	if err != nil {
		return err
	}
	if err := e.ready(ctx, g, op); err != nil {
		return err
	}
	image, err := e.helper(ctx, g, op)
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		mu     sync.Mutex // around each and failures
		broken error      // of each: what Values returns
	)
	failures := map[string]error{}
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		failures[err.Error()] = err // the same for many batches: once
	}
	hand := func(ref secret.Ref, r probe.Result) error {
		if r.Err != nil {
			fail(&endpoint.Error{Op: op, Object: ref.Name, Place: e.name, Reason: endpoint.ErrProbe, Cause: r.Err})
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if broken != nil {
			return errStopped
		}
		if broken = each(ref, r); broken != nil {
			stop(errStopped)
			return errStopped
		}
		return nil
	}

	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { _ = e.Sweep(ctx) }) // what earlier runs left; this one needs none of it
	batches := make(chan []secret.Ref)
	var workers sync.WaitGroup
	for range min(jobs, (len(refs)+e.options.Batch-1)/e.options.Batch) {
		workers.Go(func() {
			for batch := range batches {
				if ctx.Err() == nil {
					e.batch(ctx, g, image, op, batch, nonce, hand, fail)
				}
			}
		})
	}
	for batch := range slices.Chunk(refs, e.options.Batch) {
		batches <- batch
	}
	close(batches)
	workers.Wait()

	if broken != nil {
		return broken
	}
	if err := ctx.Err(); err != nil {
		return e.fail(ctx, op, "", err)
	}
	return joined(failures)
}

// joined is one error of many, in an order that doesn't change.
func joined(failures map[string]error) error {
	texts := make([]string, 0, len(failures))
	for text := range failures {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	all := make([]error, len(texts))
	for i, text := range texts {
		all[i] = failures[text]
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// batch reads the secrets of one job.
func (e *Endpoint) batch(ctx context.Context, g *engine, image, op string, refs []secret.Ref, nonce []byte, hand func(secret.Ref, probe.Result) error, fail func(error)) {
	const tries = 3
	for try := range tries { // secrets may go while the job is made
		var err error
		if refs, err = e.readable(ctx, g, op, refs, fail); err != nil {
			fail(err)
			return
		}
		if len(refs) == 0 {
			return
		}
		run, err := probe.NewRun(len(refs), nonce)
		if err != nil {
			fail(e.fail(ctx, op, "", err))
			return
		}
		err = e.job(ctx, g, work{
			op: op, spec: e.spec(g, image, run, refs), progress: run.Progress,
			read: func(log io.Reader) error {
				return run.Read(log, func(r probe.Result) error { return hand(refs[r.Index], r) })
			},
			start: e.options.StartTimeout, silence: silence, hint: e.imageHint(),
		})
		if err == nil || errors.Is(err, errStopped) {
			return
		}
		if !errors.Is(err, errGone) && (!errors.Is(err, errBusy) || try == tries-1) {
			fail(err)
			return
		}
	}
	fail(&endpoint.Error{Op: op, Place: e.name, Reason: endpoint.ErrMoved, Cause: errors.New("secrets keep going away while they are read")})
}

// readable leaves out what a probe can't read, or would read wrongly, and says so: a secret that is
// gone or has another name by now, and those whose file isn't what was stored.
func (e *Endpoint) readable(ctx context.Context, g *engine, op string, refs []secret.Ref, fail func(error)) ([]secret.Ref, error) {
	wanted := filters.NewArgs()
	for _, ref := range refs {
		wanted.Add("id", ref.UID)
	}
	found, err := again(ctx, func(ctx context.Context) ([]swarm.Secret, error) {
		return g.api.SecretList(ctx, swarm.SecretListOptions{Filters: wanted})
	})
	if err != nil {
		return nil, e.fail(ctx, op, "", err)
	}
	at := make(map[string]int, len(found))
	for i := range found {
		at[found[i].ID] = i
	}
	good := make([]secret.Ref, 0, len(refs))
	for _, ref := range refs {
		failure := &endpoint.Error{Op: op, Object: ref.Name, Place: e.name}
		i, there := at[ref.UID]
		switch {
		case !there || found[i].Spec.Name != ref.Name:
			failure.Reason = endpoint.ErrMoved
		case ref.Key != ref.Name:
			failure.Reason, failure.Cause = endpoint.ErrMoved, errors.New("a Swarm secret has one key, named like itself")
		default:
			if why := convert(&found[i]).Unreadable; why != "" {
				failure.Reason, failure.Cause = endpoint.ErrProbe, errors.New(why)
				break
			}
			good = append(good, ref)
			continue
		}
		fail(failure)
	}
	return good, nil
}
