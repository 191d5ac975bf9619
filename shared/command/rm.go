package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

type rmOptions struct {
	bothOptions
	in      string
	mirrors bool
	force   bool
	yes     bool
}

func newRmCommand(host Host) *cobra.Command {
	var options rmOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove"},
		Short:   "Remove secrets, and their mirrors on request, unless something uses them",
		Long: `Remove secrets with all their versions, and with --mirrors what sync made of them at
the other side. What something still uses is not removed: all who do are named, also
what only a rollback would need.`,
		Example: examples(host,
			"rm OLD", "One secret with all its versions",
			"rm SPARE --mirrors", "And its mirrors at the other side",
			"rm OLD --in both", "Whatever has the name, on both sides",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			progress := newProgress(host)
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runRm(ctx, b, options, names, printer)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	flags.StringVar(&options.in, "in", string(host.Native), "Where: swarm, kubernetes or both")
	flags.BoolVar(&options.mirrors, "mirrors", false, "Remove their mirrors at the other side as well")
	flags.BoolVar(&options.force, "force", false, "Remove what is in use, too, as far as the orchestrator allows it; asks")
	flags.BoolVarP(&options.yes, "yes", "y", false, "Don't ask, with --force")
	printer = host.Printer(flags, report.ChangesColumns)
	return cmd
}

// doomed is an object that is to be removed, and why it should not be.
type doomed struct {
	secret.Secret
	side    int
	because string
}

func runRm(ctx context.Context, b *both, options rmOptions, names []string, printer Printer) error {
	kinds := map[string][]secret.Kind{"swarm": {secret.Swarm}, "kubernetes": {secret.Kubernetes}, "k8s": {secret.Kubernetes}, inBoth: {secret.Swarm, secret.Kubernetes}}[options.in]
	if kinds == nil {
		return fmt.Errorf("--in %q: it must be swarm, kubernetes or both", options.in)
	}
	found, err := b.scenes(ctx)
	if err != nil {
		return err
	}
	for _, s := range found {
		if s.absent != nil && (options.mirrors || slices.Contains(kinds, s.place.Kind)) {
			return s.absent
		}
	}
	doomedOnes, err := doom(found, kinds, names, options.mirrors)
	if err != nil {
		return err
	}
	if err := options.allowed(b.host, doomedOnes); err != nil {
		return err
	}
	d := report.Changes{APIVersion: report.APIVersion, Kind: report.KindRemove}
	for _, o := range doomedOnes {
		change := report.Change{Side: string(found[o.side].place.Kind), Place: found[o.side].place.Name, Name: o.Name, ID: o.UID, Action: actionRemove, Result: report.Done}
		if err := b.sides[o.side].Remove(ctx, o.Secret); err != nil {
			change.Result, change.Error = report.Failed, err.Error()
		}
		d.Objects = append(d.Objects, change)
	}
	if err := show(b.host, printer, d); err != nil {
		return err
	}
	return failures(d)
}

// failures is the exit code of changes.
func failures(d report.Changes) error {
	switch n := d.Failures(); {
	case n == 0:
		return nil
	case n == len(d.Objects):
		return &ExitError{Code: ExitUsage}
	}
	return &ExitError{Code: ExitDifferent}
}

// doom finds what names mean, mirrors first: should something go wrong, no origin is gone whose mirror stays
// behind as an orphan.
func doom(found [2]scene, kinds []secret.Kind, names []string, mirrors bool) ([]doomed, error) {
	m, _ := mirrorsOf(found, secret.FingerprintKey{}, plan.Options{})
	var copies, originals []doomed
	known := map[string]bool{}
	for i, s := range found {
		if !slices.Contains(kinds, s.place.Kind) || s.absent != nil {
			continue
		}
		for logical, versions := range s.families() {
			for _, name := range names {
				if !slices.ContainsFunc(versions, func(v secret.Secret) bool { return consumers.Matches(v, name) }) {
					continue
				}
				known[name] = true
				for _, v := range versions {
					if v.Name == name || logical == name {
						originals = append(originals, doomed{v, i, s.inUse(v)})
					}
				}
				if mirrors {
					other := found[1-i]
					for _, mirror := range m.mirrors[i][logical] {
						copies = append(copies, other.family(mirror, 1-i)...)
					}
				}
			}
		}
	}
	for _, name := range names {
		if !known[name] {
			return nil, fmt.Errorf("no secret %q at %s: nothing was removed", name, places(found, kinds))
		}
	}
	all := slices.Concat(copies, originals)
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(o doomed) bool {
		defer func() { seen[o.UID] = true }()
		return seen[o.UID]
	}), nil
}

func places(found [2]scene, kinds []secret.Kind) string {
	var names []string
	for _, s := range found {
		if slices.Contains(kinds, s.place.Kind) {
			names = append(names, s.place.Name)
		}
	}
	return strings.Join(names, " or ")
}

// family is all versions of the secret that one of them is called.
func (s scene) family(name string, side int) (all []doomed) {
	for _, versions := range s.families() {
		if slices.ContainsFunc(versions, func(v secret.Secret) bool { return v.Name == name }) {
			for _, v := range versions {
				all = append(all, doomed{v, side, s.inUse(v)})
			}
		}
	}
	return all
}

// inUse says who needs an object, or that not all could be seen who may.
func (s scene) inUse(object secret.Secret) string {
	switch references := s.used[object.Name]; {
	case len(references) > 0:
		return "it is used by " + whoNeeds(references)
	case len(s.graph.Blind) > 0:
		return "not all who may use it could be seen: " + strings.Join(s.graph.Blind, "; ")
	}
	return ""
}

// allowed refuses what is in use, and asks where it is to be removed nevertheless.
func (o *rmOptions) allowed(host Host, all []doomed) error {
	var inUse []error
	for _, one := range all {
		if one.because != "" {
			inUse = append(inUse, &endpoint.Error{Op: "remove secret", Object: one.Name, Reason: endpoint.ErrInUse, Cause: errors.New(one.because)})
		}
	}
	if len(inUse) > 0 && !o.force {
		return fmt.Errorf("%w\nnothing was removed; --force removes it as far as the orchestrator allows", errors.Join(inUse...))
	}
	if o.yes || len(inUse) == 0 {
		return nil
	}
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = one.Name
	}
	return confirm(host, fmt.Sprintf("%d of these are in use. Are you sure that you want to remove %s?", len(inUse), strings.Join(names, ", ")))
}
