package swarm

import (
	"context"
	"strconv"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/secret"
)

// InternalLabel marks a secret that secretx keeps for itself; its value says what for.
const InternalLabel = secret.LabelPrefix + "internal"

// fewNames is up to how many names it pays to let the manager filter.
const fewNames = 50

// List implements endpoint.Reader. It is one API call; no value is in what it gives.
func (e *Endpoint) List(ctx context.Context, names []string) ([]secret.Secret, error) {
	g, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	wanted := filters.NewArgs()
	if len(names) <= fewNames {
		for _, name := range names {
			wanted.Add("name", name) // and whatever else begins so
		}
	}
	found, err := again(ctx, func(ctx context.Context) ([]swarm.Secret, error) {
		return g.api.SecretList(ctx, swarm.SecretListOptions{Filters: wanted})
	})
	if err != nil {
		return nil, e.fail(ctx, "list secrets", "", err)
	}
	secrets := make([]secret.Secret, len(found))
	keys := make([]secret.Key, len(found)) // one piece of memory for all
	for i := range found {
		keys[i].Name = found[i].Spec.Name
		secrets[i] = convert(&found[i])
		secrets[i].Keys = keys[i : i+1 : i+1]
		found[i].Spec.Labels = nil // most of the memory, no longer needed
	}
	return secrets, nil
}

// convert says what the API says of a secret, but for its key.
func convert(found *swarm.Secret) secret.Secret {
	s := secret.Secret{
		Name:    found.Spec.Name,
		UID:     found.ID,
		Version: strconv.FormatUint(found.Version.Index, 10),
		Created: found.CreatedAt,
	}
	s.ReadLabels(found.Spec.Labels)
	if why, internal := found.Spec.Labels[InternalLabel]; internal {
		s.Internal = "secretx's own: " + why
	}
	switch {
	case found.Spec.Driver != nil:
		s.Unreadable = "its value comes from the driver " + found.Spec.Driver.Name + ", and may differ for each task"
	case found.Spec.Templating != nil:
		s.Unreadable = "it is a template, which every task sees expanded"
	}
	return s
}
