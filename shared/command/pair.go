package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
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
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Give up after this time")
}

// selectionFlags are those that a saved plan answers already.
var selectionFlags = []string{
	"from", "to", "all", "selector", "into", "name-template", "prune", "adopt", "force", "prove", "no-probe",
}

// pair is two endpoints and what is asked of them.
type pair struct {
	host             Host
	from, to         endpoint.Endpoint
	fromName, toName endpoint.Address
	request          plan.Request
	options          plan.Options
	say              func(string)
}

// complete checks all that can be checked without a connection, and opens the endpoints.
func (o *pairOptions) complete(host Host, names []string, say func(string)) (*pair, error) {
	o.request.Names = append(o.request.Names, names...)
	p := &pair{host: host, request: o.request, say: say}
	var err error
	if p.fromName, err = endpoint.ParseAddress(o.from); err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if p.toName, err = endpoint.ParseAddress(o.to); err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	if o.timeout <= 0 {
		return nil, errors.New("--timeout must be longer than nothing")
	}
	if p.options, err = planOptions(o.request, p.fromName.Kind); err != nil {
		return nil, err
	}
	if o.fingerprintKey != "" {
		if p.options.Key, err = readKeyFile(o.fingerprintKey); err != nil {
			return nil, err
		}
	}
	open := OpenOptions{NoProbe: o.request.NoProbe, ProbeImage: o.probeImage, Progress: say}
	if p.from, err = host.Open(p.fromName, open); err != nil {
		return nil, err
	}
	if p.to, err = host.Open(p.toName, open); err != nil {
		return nil, err
	}
	return p, nil
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

// sides is what was observed at both ends.
type sides struct{ from, to plan.Side }

// sweeper is an endpoint that may have something of a run that crashed left lying about.
type sweeper interface {
	Sweep(ctx context.Context) error
}

// observe looks at both ends at once.
func (p *pair) observe(ctx context.Context) (sides, error) {
	var s sides
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { s.from.Place, err = p.from.Place(groupCtx); return err })
	group.Go(func() (err error) { s.to.Place, err = p.to.Place(groupCtx); return err })
	if err := group.Wait(); err != nil {
		return s, err
	}
	if s.from.Place.Identity == s.to.Place.Identity {
		return s, fmt.Errorf("--from %s and --to %s are the same place", p.fromName, p.toName)
	}
	group, groupCtx = errgroup.WithContext(ctx)
	for _, e := range []endpoint.Endpoint{p.from, p.to} {
		if e, ok := e.(sweeper); ok {
			group.Go(func() error { return e.Sweep(groupCtx) })
		}
	}
	group.Go(func() error { return p.readKey(groupCtx, &s) })
	if plan.ByName(p.options) {
		group.Go(func() error { return p.listNamed(groupCtx, &s) })
	} else {
		group.Go(func() (err error) { s.from.Secrets, err = p.from.List(groupCtx, nil); return err })
		group.Go(func() (err error) { s.to.Secrets, err = p.to.List(groupCtx, nil); return err })
	}
	return s, group.Wait()
}

// listNamed asks Kubernetes for the named secrets alone, which takes less and needs fewer rights. A
// Swarm always tells all: versions have names of their own.
func (p *pair) listNamed(ctx context.Context, s *sides) error {
	var names []string
	var err error
	if s.from.Place.Kind == secret.Kubernetes {
		names = p.options.Names
	}
	if s.from.Secrets, err = p.from.List(ctx, names); err != nil {
		return err
	}
	names = nil
	if s.to.Place.Kind == secret.Kubernetes {
		if names, err = plan.Names(s.from, s.to.Place.Kind, p.options); err != nil {
			return err
		}
	}
	s.to.Secrets, err = p.to.List(ctx, names)
	return err
}

// readKey finds the installation key beside the Kubernetes side of the pair, unless it came from a
// file; of two Kubernetes sides, beside the mirrors.
func (p *pair) readKey(ctx context.Context, s *sides) (err error) {
	if p.options.Key.Known() {
		return nil
	}
	if keeper := p.keeper(s); keeper != nil {
		p.options.Key, err = keeper.FingerprintKey(ctx, false)
	}
	return err
}

func (p *pair) keeper(s *sides) endpoint.Keeper {
	for _, end := range []struct {
		endpoint.Endpoint
		place endpoint.Place
	}{{p.to, s.to.Place}, {p.from, s.from.Place}} {
		if keeper, ok := end.Endpoint.(endpoint.Keeper); ok && end.place.Kind == secret.Kubernetes {
			return keeper
		}
	}
	return nil
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

// asking says which open questions may be put to the sides.
type asking int

const (
	askNothing  asking = iota // judge by claims alone
	askOwned                  // of our own mirrors, where claims don't tell
	askAnything               // of whatever stands there
)

// look observes both ends and makes the plan. Who wants proof, or takes over what is proven, has all
// questions asked; otherwise ask says which.
func (p *pair) look(ctx context.Context, ask asking) (sides, plan.Plan, error) {
	s, err := p.observe(ctx)
	if err != nil {
		return s, plan.Plan{}, err
	}
	if p.request.Prove || p.request.Adopt {
		ask = askAnything
	}
	found, err := p.compare(ctx, s, ask)
	return s, found, err
}

// compare makes the plan, and asks for proofs where it may.
func (p *pair) compare(ctx context.Context, s sides, ask asking) (plan.Plan, error) {
	first, err := plan.New(s.from, s.to, p.options)
	if err != nil || ask == askNothing || p.request.NoProbe && !p.request.Prove {
		return first, err
	}
	var questions []plan.Question
	for _, item := range first.Items {
		if item.Owned || ask == askAnything {
			questions = append(questions, item.Questions...)
		}
	}
	if len(questions) == 0 {
		return first, nil
	}
	if p.options.Proofs, err = prove(ctx, p.from, p.to, s, questions); err != nil {
		return plan.Plan{}, err
	}
	return plan.New(s.from, s.to, p.options)
}

// prove has each side make digests of the values in question, under a nonce that is used once.
func prove(ctx context.Context, from, to endpoint.Reader, s sides, questions []plan.Question) (plan.Proofs, error) {
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails
	var origins, mirrors []secret.Ref
	for _, q := range questions {
		origins, mirrors = append(origins, q.Origin), append(mirrors, q.Mirror)
	}
	var ofOrigins, ofMirrors map[secret.Ref]secret.Digest
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { ofOrigins, err = digests(groupCtx, from, s.from, origins, nonce); return err })
	group.Go(func() (err error) { ofMirrors, err = digests(groupCtx, to, s.to, mirrors, nonce); return err })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	proofs := make(plan.Proofs, len(questions))
	for _, q := range questions {
		a, okA := ofOrigins[q.Origin]
		b, okB := ofMirrors[q.Mirror]
		if okA && okB {
			proofs[q] = a.Equal(b)
		}
	}
	return proofs, nil
}

// digests makes those of known values itself and asks the endpoint for the others.
func digests(ctx context.Context, r endpoint.Reader, side plan.Side, refs []secret.Ref, nonce []byte) (map[secret.Ref]secret.Digest, error) {
	known := map[secret.Ref]secret.Value{}
	for _, s := range side.Secrets {
		for _, k := range s.Keys {
			if k.Value.Known() {
				known[s.Ref(k.Name)] = k.Value
			}
		}
	}
	made := make(map[secret.Ref]secret.Digest, len(refs))
	var ask []secret.Ref
	asked := map[secret.Ref]bool{}
	for _, ref := range refs {
		if v, ok := known[ref]; ok {
			made[ref] = v.Digest(nonce)
		} else if !asked[ref] {
			asked[ref] = true
			ask = append(ask, ref)
		}
	}
	if len(ask) == 0 {
		return made, nil
	}
	answers, err := r.Digests(ctx, ask, nonce)
	if err != nil {
		return nil, err
	}
	for ref, d := range answers {
		made[ref] = d
	}
	return made, nil
}
