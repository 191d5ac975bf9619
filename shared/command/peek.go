package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/selector"
)

// looker is an endpoint whose containers can be looked into.
type looker interface {
	endpoint.Endpoint
	// Containers finds those of a target, and what each is meant to have. A target that isn't there is
	// ErrNotFound.
	Containers(ctx context.Context, target peek.Target) ([]peek.Container, error)
	// Look fills in what each of them really has, or why that can't be seen; it fails as a whole only
	// when nothing could be looked into at all.
	Look(ctx context.Context, containers []peek.Container, options peek.LookOptions) error
}

// explainer says what rights its looks take, and why.
type explainer interface{ Explain() string }

type peekOptions struct {
	bothOptions
	selector  string
	container string
	secrets   []string
	look      peek.LookOptions
	explain   bool
	yes       bool
}

func newPeekCommand(host Host) *cobra.Command {
	var options peekOptions
	var printer Printer
	target, other := "TARGET...", "k8s/deployment/web"
	if host.Native == secret.Kubernetes {
		target, other = "(POD | TYPE/NAME | -l SELECTOR)...", "swarm/web"
	}
	cmd := &cobra.Command{
		Use:     "peek-in-container " + target,
		Aliases: []string{"peek"},
		Short:   "Look into running containers: which secrets they have, and whether they are current",
		Long: `Look into running containers: every secret that they are meant to have and everything
that they really have, whether it is the current value, at the right place, with the
right mode and owner. Values are compared by digests and stay hidden.

A target is a service, a task or a container of a Swarm, or a pod or anything that owns
pods in Kubernetes. The other side's are reached with a prefix: swarm/SERVICE,
k8s/TYPE/NAME.

  fresh          the current value
  stale-file     an older value, in a file
  stale-env      an older value, in the environment of process 1
  stale-subpath  an older value, in a file that is mounted by itself and never changes
  pending        the kubelet will bring it
  missing        not there
  wrong-mode     the current value, with another mode
  wrong-owner    the current value, with another owner
  extra          nothing that is declared puts it there
  unverifiable   can't be known, and why

In a Swarm, current is the newest version, or the origin in Kubernetes where it is a
mirror of one.

Exits 0 when all is fresh, 1 when something isn't, 2 on errors.`,
		Example: examples(host, peekExamples(host, other)...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			targets, err := options.targets(host, args)
			if err != nil {
				return err
			}
			progress := newProgress(host)
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runPeek(ctx, b, options, targets, printer)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	flags.StringVarP(&options.selector, "selector", "l", "", "Pods with these `labels`, such as app=web,tier!=test")
	flags.StringVarP(&options.container, "container", "c", "", "Only the container with this `name` in its pod")
	flags.StringSliceVar(&options.secrets, "secret", nil, "Only the secret with this `name`; may be repeated")
	flags.BoolVar(&options.look.Reveal, "reveal", false, "Show the values; needs a terminal or --yes")
	addLookFlags(flags, &options.look)
	flags.BoolVar(&options.explain, "explain", false, "Say which rights a look takes and why, and do nothing")
	flags.BoolVarP(&options.yes, "yes", "y", false, "Reveal without a terminal")
	printer = host.Printer(flags, report.PeekColumns)
	return cmd
}

// addLookFlags adds what says how containers may be looked into.
func addLookFlags(flags *pflag.FlagSet, o *peek.LookOptions) {
	grouped(flags, groupLook, func() {
		flags.BoolVar(&o.LocalOnly, "local-only", false, "Never run a job on another node of the Swarm")
		flags.BoolVar(&o.AllowEphemeral, "allow-ephemeral", false, "Add an ephemeral container to a pod that can't be looked into otherwise; it stays in the pod's spec")
		flags.StringVar(&o.HelperImage, "helper-image", "", "`Image` of what looks: secretx's probe for other nodes of a Swarm, anything with a shell for an ephemeral container")
	})
}

func peekExamples(host Host, other string) []string {
	native := "web"
	if host.Native == secret.Kubernetes {
		native = "deployment/web"
	}
	return []string{
		"peek-in-container " + native, "All containers of it",
		"peek-in-container " + native + " --secret OWN --reveal", "One secret, with its value, on a terminal",
		"peek-in-container " + other, "At the other side",
	}
}

// peekTarget is a target at one of the two sides.
type peekTarget struct {
	kind secret.Kind
	peek.Target
}

// targets reads what the user wants to look into.
func (o *peekOptions) targets(host Host, args []string) ([]peekTarget, error) {
	switch {
	case o.look.Reveal && !o.yes && !host.Shown():
		return nil, errors.New("--reveal shows values: it needs a terminal on standard output, or --yes")
	case len(args) == 0 && o.selector == "" && !o.explain:
		return nil, errors.New("say what to look into: see --help")
	case o.selector != "" && len(args) > 0 && !slices.Contains([]string{"k8s/", "kubernetes/"}, args[0]):
		return nil, errors.New("names and -l exclude each other")
	}
	if o.selector != "" {
		if host.Native == secret.Swarm && len(args) == 0 {
			return nil, errors.New("-l selects pods: docker secretx peek-in-container k8s/ -l " + o.selector)
		}
		if _, err := selector.Parse(o.selector, secret.Kubernetes); err != nil {
			return nil, fmt.Errorf("--selector: %w", err)
		}
		return []peekTarget{{secret.Kubernetes, peek.Target{Selector: o.selector}}}, nil
	}
	var targets []peekTarget
	for _, text := range args {
		t, err := parseTarget(text, host.Native)
		if err != nil {
			return nil, err
		}
		if len(targets) > 0 && t.kind != targets[0].kind {
			return nil, errors.New("one side at a time: " + text + " is at the other one")
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// parseTarget reads NAME, TYPE/NAME, swarm/NAME, k8s/NAME and k8s/TYPE/NAME.
func parseTarget(text string, native secret.Kind) (peekTarget, error) {
	t := peekTarget{kind: native}
	rest := text
	if first, after, found := strings.Cut(text, "/"); found {
		switch first {
		case "swarm", "docker":
			t.kind, rest = secret.Swarm, after
		case "k8s", "kubernetes":
			t.kind, rest = secret.Kubernetes, after
		}
	}
	t.Name = rest
	if kind, name, found := strings.Cut(rest, "/"); found && t.kind == secret.Kubernetes {
		t.Type, t.Name = kind, name
		if kind == "" {
			return t, badTarget(text)
		}
	}
	if t.Name == "" || strings.Contains(t.Name, "/") {
		return t, badTarget(text)
	}
	return t, nil
}

func badTarget(text string) error {
	return fmt.Errorf("can't read the target %q: SERVICE, TASK or CONTAINER in a Swarm, POD or TYPE/NAME in Kubernetes, with swarm/ or k8s/ before it at the other side", text)
}

func runPeek(ctx context.Context, b *both, options peekOptions, targets []peekTarget, printer Printer) error {
	kind := b.host.Native
	if len(targets) > 0 {
		kind = targets[0].kind
	}
	s, err := b.side(kind)
	if err != nil {
		return err
	}
	e, ok := s.Endpoint.(looker)
	if !ok {
		return fmt.Errorf("%s has no containers that can be looked into", s.name)
	}
	if options.explain {
		if x, ok := s.Endpoint.(explainer); ok {
			_, err = fmt.Fprintln(b.host.Out, x.Explain())
		}
		return err
	}
	place, err := e.Place(ctx)
	if err != nil {
		return err
	}
	containers, err := find(ctx, e, targets)
	if err != nil {
		return err
	}
	containers = options.choose(containers)
	if len(containers) == 0 {
		return &ExitError{Code: ExitUsage, Err: errors.New("there is no container to look into at " + place.Name)}
	}
	options.look.Progress = b.say
	judge, err := b.lookInto(ctx, e, place, containers, options.look)
	if err != nil {
		return err
	}
	d := report.OfPeek(place, containers, judge)
	options.keep(&d)
	if err := show(b.host, printer, d); err != nil {
		return err
	}
	if !d.Fine() {
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// find looks all targets up at once; what several of them have is there once.
func find(ctx context.Context, e looker, targets []peekTarget) ([]peek.Container, error) {
	found := make([][]peek.Container, len(targets))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, t := range targets {
		group.Go(func() (err error) { found[i], err = e.Containers(groupCtx, t.Target); return err })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Concat(found...), func(c peek.Container) bool {
		id := c.ID + "\x00" + c.Name + "\x00" + c.Container
		defer func() { seen[id] = true }()
		return seen[id]
	}), nil
}

// choose leaves the containers that were asked for by name.
func (o *peekOptions) choose(containers []peek.Container) []peek.Container {
	if o.container == "" {
		return containers
	}
	return slices.DeleteFunc(containers, func(c peek.Container) bool {
		return c.Container != o.container && c.Name != o.container && !(c.ID != "" && strings.HasPrefix(c.ID, o.container))
	})
}

// keep leaves the lines of the secrets that were asked for by name; a Swarm's by the name that all
// versions share, too.
func (o *peekOptions) keep(d *report.Peek) {
	if len(o.secrets) == 0 {
		return
	}
	for i, c := range d.Containers {
		d.Containers[i].Lines = slices.DeleteFunc(c.Lines, func(l report.Line) bool {
			return !slices.ContainsFunc(o.secrets, func(name string) bool {
				rest, found := strings.CutPrefix(l.Secret, name)
				return found && (rest == "" || d.Place.Kind == string(secret.Swarm) && versionSuffix(rest))
			})
		})
	}
	d.Count()
}

// versionSuffix tells whether a name goes on as that of a version does: .v2.
func versionSuffix(text string) bool {
	digits, found := strings.CutPrefix(text, ".v")
	return found && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// lookInto looks into containers and finds what they ought to have, at the same time.
func (b *both) lookInto(ctx context.Context, e looker, place endpoint.Place, containers []peek.Container, options peek.LookOptions) (peek.Judge, error) {
	options.Nonce = make([]byte, 32)
	_, _ = rand.Read(options.Nonce) // never fails
	judge := peek.Judge{Kind: place.Kind, Nonce: options.Nonce}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.Look(groupCtx, containers, options) })
	group.Go(func() (err error) {
		judge.Current, err = b.current(groupCtx, e, place, wantsOf(containers), options.Nonce)
		return err
	})
	err := group.Wait()
	judge.Now = time.Now()
	return judge, err
}

func wantsOf(containers []peek.Container) []peek.Want {
	var wants []peek.Want
	for _, c := range containers {
		wants = append(wants, c.Wants...)
	}
	return wants
}
