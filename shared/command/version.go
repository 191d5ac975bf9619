package command

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVersionCommand(host Host) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of secretx",
		Example: "  " + host.CLI + " version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(host.Out, host.Version)
			return err
		},
	}
}
