package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// bothOptions are the flags of verbs that look at two sides without one being made like the other.
type bothOptions struct {
	from, to string
	open     OpenOptions
	timeout  time.Duration
	flags    *pflag.FlagSet
}

func (o *bothOptions) addFlags(flags *pflag.FlagSet, native secret.Kind) {
	other := secret.Kubernetes
	if native == secret.Kubernetes {
		other = secret.Swarm
	}
	o.flags = flags
	flags.StringVar(&o.from, "from", string(native), "Endpoint of this side")
	flags.StringVar(&o.to, "to", string(other), "Endpoint of the other side")
	flags.BoolVar(&o.open.NoProbe, "no-probe", false, "Never run a job in the Swarm to read its secrets")
	flags.StringVar(&o.open.ProbeImage, "probe-image", "", "Image of the probe, from a registry that the Swarm's nodes can pull from")
	grouped(flags, groupConnection, func() {
		flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Give up after this time")
	})
}

// both is the two sides.
type both struct {
	host  Host
	sides [2]side
	say   func(string)
}

// side is one endpoint and how it was asked for.
type side struct {
	endpoint.Endpoint
	name endpoint.Address
	// asked tells that the user named it, so that it has to be there.
	asked bool
}

// complete opens both endpoints, without a connection.
func (o *bothOptions) complete(host Host, say func(string)) (*both, error) {
	b := &both{host: host, say: say}
	if o.timeout <= 0 {
		return nil, errors.New("--timeout must be longer than nothing")
	}
	o.open.Progress = say
	for i, flag := range []struct{ name, text string }{{"from", o.from}, {"to", o.to}} {
		address, err := endpoint.ParseAddress(flag.text)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag.name, err)
		}
		e, err := host.Open(address, o.open)
		if err != nil {
			return nil, err
		}
		b.sides[i] = side{e, address, o.flags.Changed(flag.name)}
	}
	return b, nil
}

// side gives the first one of a kind.
func (b *both) side(kind secret.Kind) (side, error) {
	for _, s := range b.sides {
		if s.name.Kind == kind {
			return s, nil
		}
	}
	return side{}, fmt.Errorf("neither --from %s nor --to %s is a %s endpoint", b.sides[0].name, b.sides[1].name, kind)
}

// other gives the side that isn't at the place.
func (b *both) other(ctx context.Context, place endpoint.Place) (endpoint.Endpoint, endpoint.Place, error) {
	var failed error
	for _, s := range b.sides {
		if s.name.Kind == place.Kind && s.name.String() == place.Name {
			continue
		}
		p, err := s.Place(ctx)
		switch {
		case err != nil:
			failed = err
		case p.Identity != place.Identity:
			return s.Endpoint, p, nil
		}
	}
	if failed == nil {
		failed = fmt.Errorf("--from %s and --to %s are the same place", b.sides[0].name, b.sides[1].name)
	}
	return nil, endpoint.Place{}, failed
}
