package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/secretx/secretx/shared/command"
)

// usage prints the help of a command as docker does, with its options in groups.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	if cmd.HasSubCommands() {
		fmt.Fprintf(&b, "Usage:  %s COMMAND\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(&b, "Usage:  %s\n", cmd.UseLine())
	}
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	fmt.Fprintf(&b, "\n%s\n", text)
	if len(cmd.Aliases) > 0 {
		parent := cmd.Parent().CommandPath() + " "
		fmt.Fprintf(&b, "\nAliases:\n  %s%s\n", parent, strings.Join(append([]string{cmd.Name()}, cmd.Aliases...), ", "+parent))
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	width := 80
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		width = w
	}
	for _, group := range command.OptionGroups(cmd) {
		fmt.Fprintf(&b, "\n%s:\n%s", group.Title, group.Flags.FlagUsagesWrapped(width-1))
	}
	if cmd.HasSubCommands() {
		fmt.Fprint(&b, "\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s  %s\n", cmd.NamePadding(), c.Name(), c.Short)
			}
		}
		fmt.Fprintf(&b, "\nRun '%s COMMAND --help' for more information on a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
	return err
}
