package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

// inBoth stands for both sides.
const inBoth = "both"

// inOptions are the flags of verbs that write to one side, or to both.
type inOptions struct {
	in      string
	open    OpenOptions
	timeout time.Duration
}

func (o *inOptions) addFlags(flags *pflag.FlagSet, native secret.Kind, both bool) {
	usage := "Where: swarm, kubernetes or any other `endpoint`"
	if both {
		usage += ", or both"
	}
	flags.StringVar(&o.in, "in", string(native), usage)
	flags.BoolVar(&o.open.NoProbe, "no-probe", false, "Never run a job in the Swarm to read its secrets")
	flags.StringVar(&o.open.ProbeImage, "probe-image", "", "Image of the probe, from a registry that the Swarm's nodes can pull from")
	grouped(flags, groupConnection, func() {
		flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Give up after this time")
	})
}

// opened is an endpoint and how it was asked for.
type opened struct {
	endpoint.Endpoint
	name endpoint.Address
}

// complete opens what --in names, without a connection: the first one is this side's of both.
func (o *inOptions) complete(host Host, say func(string)) ([]opened, error) {
	if o.timeout <= 0 {
		return nil, errors.New("--timeout must be longer than nothing")
	}
	o.open.Progress = say
	texts := []string{o.in}
	if o.in == inBoth {
		texts = []string{string(secret.Swarm), string(secret.Kubernetes)}
		if host.Native == secret.Kubernetes {
			texts[0], texts[1] = texts[1], texts[0]
		}
	}
	var all []opened
	for _, text := range texts {
		address, err := endpoint.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("--in: %w", err)
		}
		e, err := host.Open(address, o.open)
		if err != nil {
			return nil, err
		}
		all = append(all, opened{e, address})
	}
	return all, nil
}

type createOptions struct {
	inOptions
	values    valueOptions
	kind      string
	labels    []string
	immutable bool
}

func newCreateCommand(host Host) *cobra.Command {
	var options createOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a secret on one side, or on both in one go",
		Long: `Create a secret on one side, or on both in one go: then the one is a mirror of the
other, as sync would make it.

Values come from files, from standard input, from a file of KEY=VALUE lines, from a
prompt, or are made at random; never from an argument, which every user of the machine
can see. They are taken as they are, byte for byte.

A Kubernetes Secret may have many keys, a Swarm secret is one value. With several, and
on both sides, the Secret is the origin, and each of its keys a secret of the Swarm.`,
		Example: examples(host,
			"create session-key --generate 32 --in both", "A random value, on both sides",
			"create mail-token --from-file - <token.txt", "From standard input",
			"create admin-pass --in kubernetes --from-file username=./user --from-file password=./pass", "Several keys",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			made, err := options.check(args[0])
			if err != nil {
				return err
			}
			progress := newProgress(host)
			ends, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runCreate(ctx, host, ends, options, made, printer, progress)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native, true)
	options.values.addFlags(flags)
	flags.StringVar(&options.kind, "type", "", "The `type` of a Kubernetes Secret (Opaque)")
	flags.StringArrayVar(&options.labels, "label", nil, "A label, as `NAME=VALUE`; may be repeated")
	flags.BoolVar(&options.immutable, "immutable", false, "Make an immutable Secret, in Kubernetes")
	printer = host.Printer(flags, report.ChangesColumns)
	return cmd
}

// check makes the secret as far as flags tell of it.
func (o *createOptions) check(name string) (secret.Secret, error) {
	s := secret.Secret{Name: name, Type: o.kind, Immutable: o.immutable}
	if name == "" {
		return s, errors.New("a secret's name can't be empty")
	}
	for _, label := range o.labels {
		key, value, _ := strings.Cut(label, "=")
		if key == "" || strings.HasPrefix(key, secret.LabelPrefix) || strings.HasPrefix(key, secret.AnnotationPrefix) {
			return s, fmt.Errorf("--label %q: it must be NAME=VALUE, and not of secretx's own", label)
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[key] = value
	}
	return s, o.values.check()
}

func runCreate(ctx context.Context, host Host, ends []opened, options createOptions, s secret.Secret, printer Printer, progress *progress) error {
	values, err := options.values.read(ctx, host)
	if err != nil {
		return err
	}
	if len(ends) > 1 && len(values) > 1 && ends[0].name.Kind == secret.Swarm {
		ends[0], ends[1] = ends[1], ends[0]
	}
	if s, err = shaped(s, ends[0].name.Kind, values); err != nil {
		return err
	}
	d := report.Changes{APIVersion: report.APIVersion, Kind: report.KindCreate}
	place, err := ends[0].Place(ctx)
	if err != nil {
		return err
	}
	var p *pair
	if len(ends) > 1 {
		// What stands in the way at the other side is found out before anything is written.
		if p, err = mirroring(ctx, host, ends, s, progress); err != nil {
			return err
		}
	}
	made, err := ends[0].Create(ctx, s)
	if errors.Is(err, endpoint.ErrTaken) {
		return fmt.Errorf("%w. %s rotate %s gives it a new value", err, host.CLI, s.Name)
	}
	if err != nil {
		return err
	}
	d.Objects = append(d.Objects, report.Change{Side: string(place.Kind), Place: place.Name, Name: made.Name, ID: made.UID, Action: "create", Result: report.Done})
	if p == nil {
		return show(host, printer, d)
	}
	sides, todo, err := p.look(ctx, mirror.AskOwned)
	if err != nil {
		return fmt.Errorf("%s was created at %s; its mirror was not, %s sync %s makes it: %w", s.Name, place.Name, host.CLI, s.Name, err)
	}
	outcomes, err := p.apply(ctx, sides, todo, 16, progress)
	if err != nil {
		return err
	}
	for _, item := range report.OfOutcomes(report.KindSync, todo.From, todo.To, outcomes).Items {
		change := report.Change{Side: string(todo.To.Kind), Place: todo.To.Name, Name: item.Mirror, Action: "create", Result: item.Result, Reason: item.Reason, Error: item.Error}
		if item.Result != report.Done {
			change.Result = report.Failed
		}
		d.Objects = append(d.Objects, change)
	}
	if err := show(host, printer, d); err != nil {
		return err
	}
	if d.Failures() > 0 {
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// mirroring is the pair of which the secret will be mirrored, once it is seen that nothing is in the way.
func mirroring(ctx context.Context, host Host, ends []opened, s secret.Secret, progress *progress) (*pair, error) {
	options := plan.Options{Names: []string{s.Name}}
	p := &pair{
		Pair: mirror.Pair{From: ends[0].Endpoint, To: ends[1].Endpoint, Wanted: []mirror.Wanted{{Options: options}}, Say: progress.say},
		host: host, fromName: ends[0].name, toName: ends[1].name, request: plan.Request{Names: []string{s.Name}}, say: progress.say,
	}
	sides, err := p.Places(ctx)
	if err != nil {
		return nil, err
	}
	standing, err := p.From.List(ctx, []string{s.Name})
	if err != nil {
		return nil, err
	}
	for _, there := range standing {
		if there.Name == s.Name {
			return nil, &endpoint.Error{Op: "create secret", Object: s.Name, Place: sides.From.Place.Name, Reason: endpoint.ErrTaken}
		}
	}
	s.UID, s.Version = "new", "new"
	sides.From.Secrets = []secret.Secret{s}
	names, err := plan.Names(sides.From, sides.To.Place.Kind, options)
	if err != nil {
		return nil, err
	}
	if sides.To.Place.Kind == secret.Swarm {
		names = nil // versions have names of their own
	}
	if sides.To.Secrets, err = p.To.List(ctx, names); err != nil {
		return nil, err
	}
	would, err := plan.New(sides.From, sides.To, options)
	if err != nil {
		return nil, err
	}
	for _, item := range would.Items {
		if item.Action != plan.Create {
			return nil, fmt.Errorf("its mirror %q can't be made at %s: %s %s; nothing was written", item.Name, sides.To.Place.Name, item.State, item.Reason)
		}
	}
	return p, nil
}

// shaped gives a secret its keys, and what its side wants of it.
func shaped(s secret.Secret, kind secret.Kind, values []keyed) (secret.Secret, error) {
	if kind == secret.Swarm {
		switch {
		case len(values) > 1:
			return s, errors.New("a Swarm secret is one value: create one for each, or use --in kubernetes")
		case s.Type != "" || s.Immutable:
			return s, errors.New("--type and --immutable are Kubernetes'")
		case values[0].value.Len() == 0:
			return s, errors.New("a Swarm takes no empty value")
		}
		s.Keys = []secret.Key{{Name: s.Name, Value: values[0].value}}
		s.Lineage = secret.Lineage{Name: s.Name, Sequence: 1}
		return s, nil
	}
	for _, v := range values {
		key := v.key
		if key == "" {
			key = s.Name
		}
		s.Keys = append(s.Keys, secret.Key{Name: key, Value: v.value})
	}
	secret.SortKeys(s.Keys)
	return s, nil
}
