package swarm

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// maxBytes is what a Swarm takes.
const maxBytes = 511_999

// Create implements endpoint.Writer. The result has no Version, as the API tells only the ID and
// asking costs as much as the next Create: a list shows it, and Update and Remove do without.
func (e *Endpoint) Create(ctx context.Context, s secret.Secret) (secret.Secret, error) {
	const op = "create secret"
	refuse := func(cause string) (secret.Secret, error) {
		return secret.Secret{}, &endpoint.Error{Op: op, Object: s.Name, Place: e.name, Reason: endpoint.ErrInvalid, Cause: errors.New(cause)}
	}
	switch {
	case len(s.Keys) != 1 || s.Keys[0].Name != s.Name:
		return refuse("a Swarm secret has one key, named like itself")
	case !s.Keys[0].Value.Known():
		return refuse("its value isn't known")
	}
	value := s.Keys[0].Value
	if value.Len() < 1 || value.Len() > maxBytes { // the API has another answer for each size
		return refuse("a Swarm secret has 1 to " + strconv.Itoa(maxBytes) + " bytes")
	}
	g, err := e.connect(ctx)
	if err != nil {
		return secret.Secret{}, err
	}
	spec := swarm.SecretSpec{Annotations: swarm.Annotations{Name: s.Name, Labels: labels(s)}, Data: value.Reveal()}
	create := func(ctx context.Context) (string, error) {
		response, err := g.api.SecretCreate(ctx, spec)
		return response.ID, err
	}
	id, err := once(ctx, create)
	doubt := false
	for _, pause := range pauses {
		if err == nil || !doubtful(err) || ctx.Err() != nil {
			break
		}
		doubt = true
		// It may have been made, or may yet be. Names are unique, so another try can't make a
		// second one; what has to be found out is whose it is when the name is taken.
		if id, err = e.made(ctx, g, spec); id != "" || err != nil || sleep(ctx, pause) != nil {
			break
		}
		if id, err = once(ctx, create); err != nil && !doubtful(err) {
			if there, _ := e.made(ctx, g, spec); there != "" {
				id, err = there, nil
			}
		}
	}
	if err != nil {
		failure := e.fail(ctx, op, s.Name, err, value)
		if doubt && errors.Is(failure, endpoint.ErrTaken) {
			failure.Hint = "The connection broke while it was made, so this may be it: nothing on it tells."
		}
		return secret.Secret{}, failure
	}
	s.UID, s.Version, s.Type, s.Immutable = id, "", "", false
	s.Keys = []secret.Key{{Name: s.Name}}
	return s, nil
}

// made finds the ID of a secret with just the name and the labels of spec; empty when there is none. One
// that has nothing of ours among them could be anybody's and isn't found.
func (e *Endpoint) made(ctx context.Context, g *engine, spec swarm.SecretSpec) (string, error) {
	found, err := e.named(ctx, g, spec.Name)
	if err != nil || found == nil || !maps.Equal(found.Spec.Labels, spec.Labels) || len(secret.UserLabels(spec.Labels)) == len(spec.Labels) {
		return "", err
	}
	return found.ID, nil
}

// named looks a secret up by name, nil when there is none.
func (e *Endpoint) named(ctx context.Context, g *engine, name string) (*swarm.Secret, error) {
	all, err := again(ctx, func(ctx context.Context) ([]swarm.Secret, error) {
		return g.api.SecretList(ctx, swarm.SecretListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	})
	for i := range all {
		if strings.EqualFold(all[i].Spec.Name, name) { // so they are unique
			return &all[i], nil
		}
	}
	return nil, err
}

// labels are the user's and the mark.
func labels(s secret.Secret) map[string]string {
	all := s.OwnLabels()
	for name, value := range s.Labels {
		if _, own := all[name]; !own {
			all[name] = value
		}
	}
	return all
}

// Update implements endpoint.Writer. An old secret without a Version, as Create gives it, is one of
// any version.
func (e *Endpoint) Update(ctx context.Context, old, s secret.Secret) (secret.Secret, error) {
	const op = "update secret"
	g, err := e.connect(ctx)
	if err != nil {
		return secret.Secret{}, err
	}
	fail := func(reason, cause error) (secret.Secret, error) {
		return secret.Secret{}, &endpoint.Error{Op: op, Object: old.Name, Place: e.name, Reason: reason, Cause: cause}
	}
	if s.Name != old.Name {
		return fail(endpoint.ErrInvalid, errors.New("the name of a secret can't change"))
	}
	inspect := func(ctx context.Context) (swarm.Secret, error) {
		found, _, err := g.api.SecretInspectWithRaw(ctx, old.UID)
		return found, err
	}
	before, err := again(ctx, inspect)
	switch {
	case cerrdefs.IsNotFound(err):
		return fail(endpoint.ErrMoved, nil)
	case err != nil:
		return secret.Secret{}, e.fail(ctx, op, old.Name, err)
	case before.ID != old.UID, old.Version != "" && old.Version != version(before):
		return fail(endpoint.ErrMoved, nil)
	}
	spec := before.Spec
	spec.Labels = labels(s)
	_, err = once(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.api.SecretUpdate(ctx, old.UID, before.Version, spec)
	})
	if err != nil && !doubtful(err) || ctx.Err() != nil {
		if cerrdefs.IsNotFound(err) {
			return fail(endpoint.ErrMoved, nil)
		}
		return secret.Secret{}, e.fail(ctx, op, old.Name, err)
	}
	// What stands now says the new version, and, where the answer was lost, whether it was done.
	after, lookErr := again(ctx, inspect)
	ours := lookErr == nil && maps.Equal(after.Spec.Labels, spec.Labels)
	if err != nil && !ours {
		return secret.Secret{}, e.fail(ctx, op, old.Name, err)
	}
	s.UID, s.Version, s.Keys = old.UID, "", []secret.Key{{Name: s.Name}}
	if ours {
		s.Version = version(after)
	}
	return s, nil
}

func version(s swarm.Secret) string { return strconv.FormatUint(s.Version.Index, 10) }

// Remove implements endpoint.Writer.
func (e *Endpoint) Remove(ctx context.Context, s secret.Secret) error {
	const op = "remove secret"
	g, err := e.connect(ctx)
	if err != nil {
		return err
	}
	if s.UID == "" { // the API would take the name for it
		return &endpoint.Error{Op: op, Object: s.Name, Place: e.name, Reason: endpoint.ErrInvalid, Cause: errors.New("its ID isn't known")}
	}
	// Removing twice is as removing once, so this may be repeated like a call that changes nothing.
	_, err = again(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.api.SecretRemove(ctx, s.UID)
	})
	if !cerrdefs.IsNotFound(err) {
		if err != nil {
			err = e.fail(ctx, op, s.Name, err)
		}
		return err
	}
	other, err := e.named(ctx, g, s.Name)
	switch {
	case err != nil:
		return e.fail(ctx, op, s.Name, err)
	case other != nil && other.Spec.Name == s.Name:
		return &endpoint.Error{Op: op, Object: s.Name, Place: e.name, Reason: endpoint.ErrMoved}
	}
	return nil
}
