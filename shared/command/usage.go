package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

// The groups of options in help texts, in their order. The first one is for those that are in no other.
const (
	groupOwn        = "Options"
	groupValues     = "Value options"
	groupLook       = "Container options"
	groupOutput     = "Output options"
	groupConnection = "Connection options"
)

// groupKey is the annotation of a flag that says in which group it is.
const groupKey = "secretx.github.io/group"

// grouped adds flags, and puts those into a group that are in none yet.
func grouped(flags *pflag.FlagSet, group string, add func()) {
	before := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) { before[f.Name] = true })
	add()
	flags.VisitAll(func(f *pflag.Flag) {
		if !before[f.Name] && f.Annotations[groupKey] == nil {
			_ = flags.SetAnnotation(f.Name, groupKey, []string{group}) // fails for a flag that isn't there alone
		}
	})
}

// OptionGroup is some of a verb's options, under a title.
type OptionGroup struct {
	Title string
	Flags *pflag.FlagSet
}

// OptionGroups are all options of a verb, as its help is to show them.
func OptionGroups(cmd *cobra.Command) []OptionGroup {
	titles := []string{groupOwn, groupValues, groupLook, groupOutput, groupConnection}
	groups := make([]OptionGroup, len(titles))
	for i, title := range titles {
		groups[i] = OptionGroup{title, pflag.NewFlagSet(title, pflag.ContinueOnError)}
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		at := 0
		if group := f.Annotations[groupKey]; group != nil {
			at = slices.Index(titles, group[0])
		}
		groups[at].Flags.AddFlag(f)
	})
	return slices.DeleteFunc(groups, func(g OptionGroup) bool { return !g.Flags.HasFlags() })
}

// inStyle writes the usage line of a verb as the host CLI does, and says where to look when there are too few
// arguments or too many.
func (h Host) inStyle(cmd *cobra.Command) {
	fits := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if fits == nil || fits(cmd, args) == nil {
			return nil
		}
		return fmt.Errorf("%s %s: %w. See %[1]s %[2]s --help", h.CLI, cmd.Name(), fits(cmd, args))
	}
	cmd.DisableFlagsInUseLine = true
	name, rest, _ := strings.Cut(cmd.Use, " ")
	switch {
	case !cmd.HasAvailableFlags():
	case h.Native == secret.Swarm:
		cmd.Use = strings.TrimSuffix(name+" [OPTIONS] "+rest, " ")
	default:
		cmd.Use += " [options]"
	}
}

// printer has the host's output flags in a group of their own.
func (h Host) printer() func(*pflag.FlagSet, []report.Column) Printer {
	made := h.Printer
	return func(flags *pflag.FlagSet, columns []report.Column) (p Printer) {
		grouped(flags, groupOutput, func() { p = made(flags, columns) })
		return p
	}
}

// examples lays out pairs of arguments and what they do. OWN, SPARE and OLD stand for names at the
// side of the host CLI, of which the first is in use, and KEY for the flag that it needs where it has several.
func examples(host Host, pairs ...string) string {
	names := strings.NewReplacer("OWN", "db-password", "SPARE", "api-token", "OLD", "old-token", " KEY", "")
	if host.Native == secret.Kubernetes {
		names = strings.NewReplacer("OWN", "user-pass", "SPARE", "api-key", "OLD", "old-key", "KEY", "--key password")
	}
	text := ""
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			text += "\n\n"
		}
		text += "  # " + pairs[i+1] + "\n  " + host.CLI + " " + names.Replace(pairs[i])
	}
	return text
}
