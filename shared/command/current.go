package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

func newCurrentCommand(host Host) *cobra.Command {
	options := inOptions{}
	cmd := &cobra.Command{
		Use:   "current NAME",
		Short: "Print the name of the newest version of a secret, for scripts",
		Long: `Print the name of the newest version of a secret, and nothing else: name, name.v2 and
so on. A version that a rollout has not brought to its end, or took back, is not meant.`,
		Example: examples(host, "current db-password --in swarm", "The version that a new service ought to have"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ends, err := options.complete(host, newProgress(host).say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				family, err := versionsOf(ctx, ends[0], args[0])
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(host.Out, report.Printable(mapping.Newest(family)[0].Name))
				return err
			})
		},
	}
	options.addFlags(cmd.Flags(), secret.Swarm, false)
	return cmd
}

// versionsOf finds all versions of a secret by the name of any of them, the newest last.
func versionsOf(ctx context.Context, e opened, name string) ([]secret.Secret, error) {
	place, err := e.Place(ctx)
	if err != nil {
		return nil, err
	}
	all, err := e.List(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, versions := range (scene{place: place, secrets: all}).families() {
		for _, v := range versions {
			if consumers.Matches(v, name) {
				return versions, nil
			}
		}
	}
	return nil, fmt.Errorf("no secret %q at %s", name, place.Name)
}
