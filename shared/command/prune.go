package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

type pruneOptions struct {
	bothOptions
	keep   int
	dryRun string
	yes    bool
}

func newPruneCommand(host Host) *cobra.Command {
	var options pruneOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "prune [NAME...]",
		Short: "Remove versions and orphans that nothing needs",
		Long: `Remove versions of secrets that nothing needs, on both sides: older than the newest and
than those that --keep keeps, and no service, no rollback, no task and no workload
refers to them; and mirrors whose origin is gone and that nobody uses.

What stays, and why, is told as well. Secrets that secretx did not make are never
touched.`,
		Example: examples(host,
			"prune --dry-run", "What would go, and what stays and why",
			"prune --keep 2 --yes", "All but the newest and two before it",
		),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			if options.keep < 0 {
				return errors.New("--keep can't be less than nothing")
			}
			if err := checkDryRun(options.dryRun); err != nil {
				return err
			}
			progress := newProgress(host)
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runPrune(ctx, b, options, names, printer)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	flags.IntVar(&options.keep, "keep", 1, "How many older versions to keep beside the newest")
	addDryRun(flags, &options.dryRun, "Show what would be removed and remove nothing")
	flags.BoolVarP(&options.yes, "yes", "y", false, "Don't ask")
	printer = host.Printer(flags, report.ChangesColumns)
	return cmd
}

func runPrune(ctx context.Context, b *both, options pruneOptions, names []string, printer Printer) error {
	found, err := b.scenes(ctx)
	if err != nil {
		return err
	}
	d := report.Changes{APIVersion: report.APIVersion, Kind: report.KindPrune, DryRun: options.dryRun != "none", Objects: []report.Change{}}
	m, _ := mirrorsOf(found, secret.FingerprintKey{}, plan.Options{})
	var going []doomed
	for i, s := range found {
		if s.absent != nil {
			b.say(s.place.Name + " is left out: " + s.absent.Error())
			continue
		}
		for _, c := range append(s.retirable(names, options.keep), s.orphans(m.states[i], names)...) {
			change := report.Change{Side: string(s.place.Kind), Place: s.place.Name, Name: c.object.Name, ID: c.object.UID, Action: c.Action, Reason: c.Why}
			d.Objects = append(d.Objects, change)
			if c.Action == actionRemove {
				going = append(going, doomed{Secret: c.object, side: i})
			}
		}
	}
	if options.dryRun == "none" && len(going) > 0 {
		if !options.yes {
			if err := confirm(b.host, fmt.Sprintf("Are you sure that you want to remove %d secret(s) that nothing needs?", len(going))); err != nil {
				return err
			}
		}
		for _, o := range going {
			at := slices.IndexFunc(d.Objects, func(c report.Change) bool { return c.ID == o.UID })
			err := b.sides[o.side].Remove(ctx, o.Secret)
			switch {
			case errors.Is(err, endpoint.ErrInUse):
				d.Objects[at].Action, d.Objects[at].Reason = actionKeep, "somebody needs it by now"
			case err != nil:
				d.Objects[at].Result, d.Objects[at].Error = report.Failed, err.Error()
			default:
				d.Objects[at].Result = report.Done
			}
		}
	}
	if err := show(b.host, printer, d); err != nil {
		return err
	}
	if d.Failures() > 0 {
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// orphans judges the mirrors whose origin at the other side is gone.
func (s scene) orphans(mirrors map[string]plan.Item, names []string) []candidate {
	var all []candidate
	for _, item := range mirrors {
		if item.State != plan.Orphan || len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return isMeant(*item.Existing, n) }) {
			continue
		}
		c := candidate{object: *item.Existing, Action: actionRemove, Why: "a mirror whose origin is gone"}
		if because := s.inUse(c.object); because != "" {
			c.Action, c.Why = actionKeep, "its origin is gone, but "+because
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b candidate) int { return strings.Compare(a.object.Name, b.object.Name) })
	return all
}
