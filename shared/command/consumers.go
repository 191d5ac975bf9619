package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

// used is an endpoint that tells who refers to its secrets.
type used interface {
	Consumers(ctx context.Context) (consumers.Graph, error)
}

type consumersOptions struct {
	bothOptions
	unused bool
}

func newConsumersCommand(host Host) *cobra.Command {
	var options consumersOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "consumers [NAME...]",
		Short: "Tell who refers to secrets, on both sides, and how",
		Long: `Tell who refers to secrets, on both sides, and how: services with what a rollback
would go back to, tasks and stacks in a Swarm; pods, everything that has a pod
template, ServiceAccounts and Ingresses in Kubernetes.

Without names, all secrets are listed that anything refers to; with --unused, those
that nothing refers to. What could not be looked at is named, and while there is any,
nothing is called unused.

Exits 0; with --unused, 1 when something could not be looked at; 2 on errors.`,
		Example: examples(host,
			"consumers OWN", "Who uses this secret, here and at the other side",
			"consumers --unused", "What nothing refers to",
		),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			if options.unused && len(args) > 0 {
				return errors.New("names and --unused exclude each other")
			}
			progress := newProgress(host)
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runConsumers(ctx, b, options, args, printer)
			})
		},
	}
	options.addFlags(cmd.Flags(), host.Native)
	cmd.Flags().BoolVar(&options.unused, "unused", false, "List secrets that nothing refers to")
	printer = host.Printer(cmd.Flags(), report.ConsumersColumns)
	return cmd
}

// scene is what one side was found to hold and to be used by.
type scene struct {
	place   endpoint.Place
	secrets []secret.Secret
	graph   consumers.Graph
	used    map[string][]consumers.Reference
	// absent says why the side was left out: nobody asked for it, and it can't be reached.
	absent error
}

// scenes looks at both sides at once. A side that nobody named and that isn't there is left out, so that
// whoever has only one orchestrator can do without the other; that both are left out is an error.
func (b *both) scenes(ctx context.Context) ([2]scene, error) {
	var found [2]scene
	group, groupCtx := errgroup.WithContext(ctx)
	for i, s := range b.sides {
		group.Go(func() error {
			err := s.look(groupCtx, &found[i])
			if err == nil || groupCtx.Err() != nil {
				return err
			}
			if s.asked || i == 0 {
				return err
			}
			found[i] = scene{place: endpoint.Place{Kind: s.name.Kind, Name: s.name.String()}, absent: err}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return found, err
	}
	if found[0].place.Identity == found[1].place.Identity {
		found[1].absent = errors.New("it is the same place")
	}
	return found, nil
}

func (s side) look(ctx context.Context, into *scene) (err error) {
	if into.place, err = s.Place(ctx); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { into.secrets, err = s.List(groupCtx, nil); return err })
	if u, ok := s.Endpoint.(used); ok {
		group.Go(func() (err error) { into.graph, err = u.Consumers(groupCtx); return err })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(into.secrets, func(a, b secret.Secret) int { return strings.Compare(a.Name, b.Name) })
	into.used = into.graph.ByName(into.place.Kind, into.secrets)
	return nil
}

func runConsumers(ctx context.Context, b *both, options consumersOptions, names []string, printer Printer) error {
	found, err := b.scenes(ctx)
	if err != nil {
		return err
	}
	d := report.Consumers{APIVersion: report.APIVersion, Kind: report.KindConsumers, Unused: options.unused}
	blind := false
	for _, s := range found {
		side := report.ConsumerSide{Place: report.PlaceOf(s.place), Blind: s.graph.Blind, Secrets: []report.UsedSecret{}}
		if s.absent != nil {
			side.Unreachable = s.absent.Error()
		}
		blind = blind || len(s.graph.Blind) > 0
		side.Secrets = append(side.Secrets, s.chosen(names, options.unused)...)
		d.Places = append(d.Places, side)
	}
	for _, name := range names {
		if !slices.ContainsFunc(found[:], func(s scene) bool { return s.knows(name) }) {
			return fmt.Errorf("there is no secret %q, and nothing refers to one", name)
		}
	}
	if err := show(b.host, printer, d); err != nil {
		return err
	}
	if options.unused && blind {
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// chosen gives the secrets of the names, those that nothing uses, or all that something does.
func (s scene) chosen(names []string, unused bool) []report.UsedSecret {
	var all []report.UsedSecret
	wanted := func(name, logical string) bool {
		if len(names) > 0 {
			return slices.Contains(names, name) || slices.Contains(names, logical)
		}
		return unused == (len(s.used[name]) == 0)
	}
	there := make(map[string]bool, len(s.secrets))
	for _, object := range s.secrets {
		there[object.Name] = true
		logical := object.Name
		if s.place.Kind == secret.Swarm {
			logical = object.LogicalName()
		}
		if wanted(object.Name, logical) && (object.Internal == "" || len(names) > 0 || !unused) {
			all = append(all, report.UsedSecretOf(object.Name, logical, s.used[object.Name]))
		}
	}
	for name, references := range s.used {
		if !there[name] && wanted(name, name) {
			missing := report.UsedSecretOf(name, name, references)
			missing.Missing = true
			all = append(all, missing)
		}
	}
	slices.SortFunc(all, func(a, b report.UsedSecret) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (s scene) knows(name string) bool {
	return len(s.used[name]) > 0 || slices.ContainsFunc(s.secrets, func(o secret.Secret) bool { return consumers.Matches(o, name) })
}
