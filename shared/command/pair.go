package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/selector"
)

// pairOptions are the flags that say which secrets of which two endpoints are meant; diff and sync
// share them.
type pairOptions struct {
	from, to       string
	request        plan.Request
	fingerprintKey string
	probeImage     string
	timeout        time.Duration
}

func (o *pairOptions) addFlags(flags *pflag.FlagSet, native secret.Kind) {
	other := secret.Kubernetes
	if native == secret.Kubernetes {
		other = secret.Swarm
	}
	flags.StringVar(&o.from, "from", string(native), "Endpoint of the origins")
	flags.StringVar(&o.to, "to", string(other), "Endpoint of the mirrors")
	flags.BoolVar(&o.request.All, "all", false, "All secrets, but for tokens, Helm releases and the like")
	flags.StringVarP(&o.request.Selector, "selector", "l", "", "Secrets with these `labels`, such as app=web,tier!=test")
	flags.StringVar(&o.request.Into, "into", "", "Put all keys into one mirror of this `name`")
	flags.StringVar(&o.request.NameTemplate, "name-template", "", "Name mirrors by a Go `template` of .Name, .Key, .Namespace and .Default")
	flags.BoolVar(&o.request.Prune, "prune", false, "Remove mirrors whose origin is gone")
	flags.BoolVar(&o.request.Adopt, "adopt", false, "Take over what is proven equal and was not made by secretx")
	flags.BoolVar(&o.request.Force, "force", false, "Overwrite what was not made by secretx")
	flags.BoolVar(&o.request.Prove, "prove", false, "Compare the values themselves and not what is noted of them")
	flags.BoolVar(&o.request.NoProbe, "no-probe", false, "Never run a job in the Swarm to read its secrets")
	flags.StringVar(&o.probeImage, "probe-image", "", "Image of the probe, from a registry that the Swarm's nodes can pull from")
	flags.StringVar(&o.fingerprintKey, "fingerprint-key", "", "Read the installation key from this `file` and not from the Secret in the namespace")
	grouped(flags, groupConnection, func() {
		flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Give up after this time")
	})
}

// selectionFlags are those that a saved plan answers already.
var selectionFlags = []string{
	"from", "to", "all", "selector", "into", "name-template", "prune", "adopt", "force", "prove", "no-probe",
}

// pair is two endpoints and what a user asked of them.
type pair struct {
	mirror.Pair
	host             Host
	fromName, toName endpoint.Address
	request          plan.Request
	say              func(string)
}

// complete checks all that can be checked without a connection, and opens the endpoints.
func (o *pairOptions) complete(host Host, names []string, say func(string)) (*pair, error) {
	o.request.Names = append(o.request.Names, names...)
	p := &pair{host: host, request: o.request, say: say, Pair: mirror.Pair{NoProbe: o.request.NoProbe, Say: say}}
	var err error
	if p.fromName, err = endpoint.ParseAddress(o.from); err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if p.toName, err = endpoint.ParseAddress(o.to); err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	options, err := planOptions(o.request, p.fromName.Kind)
	if err != nil {
		return nil, err
	}
	p.Wanted = []mirror.Wanted{{Options: options}}
	return p, o.open(p)
}

// open opens the endpoints of a pair, and reads the key if it is in a file.
func (o *pairOptions) open(p *pair) (err error) {
	if o.timeout <= 0 {
		return errors.New("--timeout must be longer than nothing")
	}
	if o.fingerprintKey != "" {
		if p.Key, err = readKeyFile(o.fingerprintKey); err != nil {
			return err
		}
	}
	open := OpenOptions{NoProbe: o.request.NoProbe, ProbeImage: o.probeImage, Progress: p.say}
	if p.From, err = p.host.Open(p.fromName, open); err != nil {
		return err
	}
	p.To, err = p.host.Open(p.toName, open)
	return err
}

func planOptions(r plan.Request, from secret.Kind) (plan.Options, error) {
	options := plan.Options{
		Names: r.Names, All: r.All, Rules: mapping.Rules{Into: r.Into},
		Prune: r.Prune, Adopt: r.Adopt, Force: r.Force, Prove: r.Prove,
	}
	chosen := 0
	for _, given := range []bool{len(r.Names) > 0, r.All, r.Selector != ""} {
		if given {
			chosen++
		}
	}
	switch {
	case chosen == 0:
		return options, errors.New("say which secrets: names, --all or -l SELECTOR")
	case chosen > 1:
		return options, errors.New("names, --all and -l exclude each other")
	case r.Into != "" && r.NameTemplate != "":
		return options, errors.New("--into and --name-template exclude each other")
	case r.Prune && r.Selector != "":
		return options, errors.New("--prune goes with names or --all: what labels a secret had that is gone nobody knows")
	case r.NoProbe && r.Prove && from == secret.Swarm:
		return options, errors.New("--prove needs the probe to read a Swarm, and --no-probe forbids it")
	}
	for _, n := range r.Names {
		if n == "" {
			return options, errors.New("a secret's name can't be empty")
		}
	}
	var err error
	if r.NameTemplate != "" {
		if options.Rules.NameTemplate, err = mapping.ParseNameTemplate(r.NameTemplate); err != nil {
			return options, fmt.Errorf("--name-template: %w", err)
		}
	}
	if r.Selector != "" {
		if options.Select, err = selector.Parse(r.Selector, from); err != nil {
			return options, fmt.Errorf("--selector: %w", err)
		}
	}
	return options, nil
}

func readKeyFile(path string) (secret.FingerprintKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return secret.FingerprintKey{}, fmt.Errorf("--fingerprint-key: %w", err)
	}
	key, err := secret.ParseFingerprintKey(secret.NewValue(b))
	if err != nil {
		return secret.FingerprintKey{}, fmt.Errorf("--fingerprint-key %s: %w", path, err)
	}
	return key, nil
}

// look observes both ends and makes the plan. Who wants proof, or takes over what is proven, has all
// questions asked; otherwise ask says which.
func (p *pair) look(ctx context.Context, ask mirror.Asking) (mirror.Sides, plan.Plan, error) {
	// What decoders of large lists leave behind would otherwise be most of the memory that is ever used.
	debug.SetGCPercent(25)
	s, err := p.Observe(ctx)
	if err != nil {
		return s, plan.Plan{}, err
	}
	found, err := p.Compare(ctx, s, ask)
	if err != nil {
		return s, plan.Plan{}, err
	}
	return s, found[0].Plan, found[0].Err
}
