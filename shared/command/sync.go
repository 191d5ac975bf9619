package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
)

type syncOptions struct {
	pairOptions
	plan        string
	savePlan    string
	dryRun      string
	concurrency int
	yes         bool
	rollout     bool
	roll        rollOptions
	files       []string
	watching    watchOptions
}

func newSyncCommand(host Host) *cobra.Command {
	var options syncOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "sync [NAME...]",
		Short: "Bring mirrors in line with their origins",
		Long: `Copy secrets from one endpoint to another, byte for byte, and keep the copies in line.

A Kubernetes Secret becomes one Swarm secret for each of its keys, called
<secret>.<key>; a Swarm secret becomes a Secret with one key of its own name. A value
that changed becomes a new version beside the old one in a Swarm (name.v2), and is
updated in place in Kubernetes.

With --rollout, those who use a mirror get its new value: services are updated to the
newest version, workloads that don't follow by themselves are restarted, and what
their containers have is proven.

Only what sync made itself is ever written to. --adopt takes over what is proven
equal, --force overwrites what is not, --prune removes mirrors whose origin is gone.

Exits 0 when all is in line, 1 when something is left, 2 when nothing could be done.`,
		Example: examples(host,
			"sync OWN", "One secret to the other side",
			"sync --all --prune", "All secrets, and no mirrors of what is gone",
			"sync --all --dry-run", "Only show what would be done",
			"sync -f mirrors.yaml", "All mirrors that a file declares",
			"sync --all --watch", "And whenever something changes, until it is interrupted",
			"sync --all --rollout", "And bring new values to all who use them",
			"sync --plan plan.json", "Do what was saved, unless the world has moved on",
		),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			document, err := options.check(cmd, args)
			if err != nil {
				return err
			}
			if err := options.watching.check(cmd.Flags(), printer); err != nil {
				return err
			}
			progress := newProgress(host)
			if len(options.files) > 0 {
				read := func() ([]*group, error) {
					return options.groups(host, options.files, cmd.Flags(), args, progress.say)
				}
				groups, err := read()
				if err != nil {
					return err
				}
				if options.watching.watch {
					return runWatch(cmd.Context(), groups, read, options, host, progress)
				}
				work := func(ctx context.Context) error {
					return runSyncFiles(ctx, groups, options, host, printer, progress)
				}
				if options.rollout || slices.ContainsFunc(groups, (*group).rollsOut) {
					return runLong(cmd.Context(), work)
				}
				return run(cmd.Context(), options.timeout, work)
			}
			p, err := options.complete(host, args, progress.say)
			if err != nil {
				return err
			}
			if options.watching.watch {
				return runWatch(cmd.Context(), []*group{single(p, options.rollout)}, nil, options, host, progress)
			}
			if options.rollout {
				return runLong(cmd.Context(), func(ctx context.Context) error {
					return runSync(ctx, p, options, document, printer, progress)
				})
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runSync(ctx, p, options, document, printer, progress)
			})
		},
	}
	options.addFlags(cmd.Flags(), host.Native)
	flags := cmd.Flags()
	addFileFlag(flags, &options.files)
	options.watching.addFlags(flags)
	flags.StringVar(&options.plan, "plan", "", "Run the plan in this `file`, and nothing else")
	flags.StringVar(&options.savePlan, "save-plan", "", "With --dry-run: write what sync would do to this `file`")
	addDryRun(flags, &options.dryRun, "Show what would be done and write nothing")
	flags.IntVar(&options.concurrency, "concurrency", 16, "How many secrets to write at a time")
	flags.BoolVar(&options.rollout, "rollout", false, "Bring new values to all who use the mirrors, as rotate does")
	options.roll.addOwnFlags(flags)
	flags.BoolVarP(&options.yes, "yes", "y", false, "Don't ask before something is removed or overwritten")
	printer = host.Printer(flags, report.ComparisonColumns)
	return cmd
}

// check looks at flags that don't go together, and reads the plan.
func (o *syncOptions) check(cmd *cobra.Command, args []string) (*plan.Document, error) {
	if o.concurrency < 1 || o.concurrency > 256 {
		return nil, errors.New("--concurrency must be from 1 to 256")
	}
	if err := checkDryRun(o.dryRun); err != nil {
		return nil, err
	}
	if o.rollout && o.dryRun != "none" {
		return nil, errRolloutPlan
	}
	o.roll.concurrency = o.concurrency
	if err := o.roll.check(); err != nil {
		return nil, err
	}
	if o.savePlan != "" && o.dryRun == "none" {
		return nil, errors.New("--save-plan goes with --dry-run, or with diff")
	}
	if o.plan == "" {
		return nil, nil
	}
	for _, name := range selectionFlags {
		if cmd.Flags().Changed(name) || len(args) > 0 {
			return nil, errors.New("--plan has its own secrets and endpoints: leave out names and --" + strings.Join(selectionFlags, ", --"))
		}
	}
	f, err := os.Open(o.plan)
	if err != nil {
		return nil, fmt.Errorf("--plan: %w", err)
	}
	defer f.Close()
	d, err := plan.ReadDocument(f)
	if err != nil {
		return nil, fmt.Errorf("--plan %s: %w", o.plan, err)
	}
	o.request, o.from, o.to = d.Request, d.From.Address, d.To.Address
	return &d, nil
}

func runSync(ctx context.Context, p *pair, options syncOptions, document *plan.Document, printer Printer, progress *progress) error {
	s, todo, err := p.look(ctx, mirror.AskOwned)
	if err != nil {
		return err
	}
	if document != nil {
		if todo, err = todo.Restrict(*document); err != nil {
			return fmt.Errorf("--plan %s: %w", options.plan, err)
		}
	}
	if options.dryRun != "none" {
		if err := p.save(options.savePlan, todo); err != nil {
			return err
		}
		d := report.OfPlan(report.KindSync, todo)
		d.DryRun, d.Proven = true, p.request.Prove
		if err := show(p.host, printer, d); err != nil {
			return err
		}
		return leftOver(d)
	}
	if err := options.confirm(p.host, todo); err != nil {
		return err
	}
	outcomes, err := p.apply(ctx, s, todo, options.concurrency, progress)
	if err != nil {
		return err
	}
	d := report.OfOutcomes(report.KindSync, todo.From, todo.To, outcomes)
	d.Proven = p.request.Prove
	if options.rollout && ctx.Err() == nil {
		if d.Rollout, err = p.rollout(ctx, todo, options); err != nil {
			p.say("the mirrors are written, but not rolled out: " + err.Error())
			d.Rollout = &report.Rotation{Result: report.RolloutFailed, Error: err.Error()}
		}
	}
	if err := show(p.host, printer, d); err != nil {
		return err
	}
	if d.Rollout != nil {
		if err := errors.Join(showRollout(p.host, printer, d.Rollout), rolledOut(d.Rollout)); err != nil {
			return err
		}
	}
	return leftOver(d)
}

// apply writes.
func (p *pair) apply(ctx context.Context, s mirror.Sides, todo plan.Plan, concurrency int, progress *progress) ([]apply.Outcome, error) {
	debug.SetGCPercent(100) // from here on it is time that counts
	outcomes, err := p.Apply(ctx, s, []plan.Plan{todo}, apply.Options{Concurrency: concurrency, Each: progress.each(todo)})
	if err != nil {
		return nil, err
	}
	return outcomes[0], nil
}

// leftOver says by the exit code whether all that was asked for stands now.
func leftOver(d report.Comparison) error {
	if d.Summary.Failed > 0 && d.Summary.Done == 0 {
		return &ExitError{Code: ExitUsage}
	}
	for _, state := range []plan.State{plan.Unknown, plan.Conflict, plan.Unmappable} {
		if d.Summary.States[string(state)] > settled(d, state) {
			return &ExitError{Code: ExitDifferent}
		}
	}
	if d.Summary.Failed > 0 {
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// settled counts what was in that state and is not any more, or would not be.
func settled(d report.Comparison, state plan.State) int {
	n := 0
	for _, item := range d.Items {
		if item.State == string(state) && item.Action != "" {
			n++
		}
	}
	return n
}

// confirm asks before anything is removed, or overwritten that is not ours.
func (o *syncOptions) confirm(host Host, todo plan.Plan) error {
	removed, overwritten := 0, 0
	for _, item := range todo.Items {
		switch {
		case item.Action == plan.Remove:
			removed++
		case !item.Owned && item.Existing != nil && item.Action != plan.Nothing && item.Action != plan.Adopt:
			overwritten++
		}
	}
	if o.yes || removed+overwritten == 0 {
		return nil
	}
	var what []string
	if removed > 0 {
		what = append(what, fmt.Sprintf("remove %d orphaned mirror(s)", removed))
	}
	if overwritten > 0 {
		what = append(what, fmt.Sprintf("overwrite %d secret(s) that secretx did not make", overwritten))
	}
	return confirm(host, fmt.Sprintf("Are you sure that you want to %s at %s?", strings.Join(what, " and "), todo.To.Name))
}

// addDryRun adds --dry-run as both hosts have it: docker's needs no word, kubectl's takes one.
func addDryRun(flags *pflag.FlagSet, into *string, usage string) {
	flags.StringVar(into, "dry-run", "none", usage+": none or client")
	flags.Lookup("dry-run").NoOptDefVal = "client"
}

func checkDryRun(text string) error {
	if text != "none" && text != "client" {
		return fmt.Errorf("--dry-run must be none or client, not %q", text)
	}
	return nil
}
