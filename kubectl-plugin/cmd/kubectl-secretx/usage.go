package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/command"
)

// usage prints what follows the description in the help of a command, as kubectl does, with its options in
// groups.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(&b, "Aliases:\n%s\n\n", cmd.NameAndAliases())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "Examples:\n%s\n\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprint(&b, "Available Commands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s  %s\n", cmd.NamePadding(), c.Name(), c.Short)
			}
		}
		fmt.Fprintln(&b)
	}
	for _, group := range command.OptionGroups(cmd) {
		fmt.Fprintf(&b, "%s:\n%s\n", group.Title, options(group.Flags))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "Usage:\n  %s COMMAND [options]\n\nUse %q for more information about a given command.\n", cmd.CommandPath(), cmd.CommandPath()+" <command> --help")
	} else {
		fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
	return err
}

// options are laid out as kubectl's: name and default, and below what it is for.
func options(flags *pflag.FlagSet) string {
	var all []string
	flags.VisitAll(func(f *pflag.Flag) {
		_, text := pflag.UnquoteUsage(f)
		short, fallback := "", f.DefValue
		if f.Shorthand != "" {
			short = "-" + f.Shorthand + ", "
		}
		if f.Value.Type() == "string" {
			fallback = "'" + fallback + "'"
		}
		all = append(all, fmt.Sprintf("    %s--%s=%s:\n\t%s\n", short, f.Name, fallback, text))
	})
	return strings.Join(all, "\n")
}

// flagError says what is wrong with a flag, and where help is, as kubectl does.
func flagError(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w\nSee '%s --help' for usage.", err, cmd.CommandPath()) //nolint:staticcheck // kubectl's words
}
