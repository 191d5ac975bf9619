package command

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
)

type diffOptions struct {
	pairOptions
	savePlan string
	files    []string
}

func newDiffCommand(host Host) *cobra.Command {
	var options diffOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "diff [NAME...]",
		Short: "Compare secrets with their mirrors, without showing a value",
		Long: `Compare the secrets at one endpoint with their mirrors at another, and show what sync
would do. Keys and states are shown, never a value, nor a part or the length of one.

Without --prove, nothing is read out of a Swarm: what is noted on each mirror is
compared. With --prove, the values themselves are, by digests under a key that is
used once.

Exits 0 when all is in sync, 1 when something differs or can't be known, 2 on errors.`,
		Example: examples(host,
			"diff --all", "All secrets and their mirrors at the other side",
			"diff OWN --prove", "One secret, by its value",
			"diff -f mirrors.yaml", "All mirrors that a file declares",
			"diff --all --save-plan plan.json", "Save what sync would do, to look at and to run later",
		),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			progress := newProgress(host)
			if len(options.files) > 0 {
				groups, err := options.groups(host, options.files, cmd.Flags(), args, progress.say)
				if err != nil {
					return err
				}
				return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
					return runDiffFiles(ctx, groups, host, printer)
				})
			}
			p, err := options.complete(host, args, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runDiff(ctx, p, options, printer)
			})
		},
	}
	options.addFlags(cmd.Flags(), host.Native)
	addFileFlag(cmd.Flags(), &options.files)
	cmd.Flags().StringVar(&options.savePlan, "save-plan", "", "Write what sync would do to this `file`, for sync --plan")
	printer = host.Printer(cmd.Flags(), report.ComparisonColumns)
	return cmd
}

func runDiff(ctx context.Context, p *pair, options diffOptions, printer Printer) error {
	_, found, err := p.look(ctx, mirror.AskNothing)
	if err != nil {
		return err
	}
	if err := p.save(options.savePlan, found); err != nil {
		return err
	}
	d := report.OfPlan(report.KindDiff, found)
	d.Proven = p.request.Prove
	if err := show(p.host, printer, d); err != nil {
		return err
	}
	if !d.Same() {
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// show prints the document, and for people its summary beside it.
func show(host Host, printer Printer, d report.Document) error {
	if err := printer.Print(host.Out, d); err != nil {
		return err
	}
	if !printer.Human() {
		return nil
	}
	text := d.Text()
	if text == "" {
		return nil
	}
	_, err := fmt.Fprintln(host.Err, text)
	return err
}

// save writes the plan to a file, if one is named.
func (p *pair) save(path string, found plan.Plan) (err error) {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("--save-plan: %w", err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	return found.Document(p.fromName, p.toName, p.request).Write(f)
}
