package command

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// shells are those that there are scripts for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletionCommand(host Host) *cobra.Command {
	program, _, _ := strings.Cut(host.CLI, " ")
	return &cobra.Command{
		Use:   "completion (bash | zsh | fish | powershell)",
		Short: "Print the completion script of " + program + ", which completes secretx, too",
		Long: `Print the completion script of ` + program + ` for a shell. It is the script of ` + program + ` itself,
made so that verbs, flags, and the names of secrets, services, pods, contexts,
namespaces and endpoints of ` + host.CLI + ` are completed as well.

` + host.Completion,
		Example: examples(host,
			"completion bash >~/.local/share/bash-completion/completions/"+program, "For bash, with the package bash-completion",
			"completion zsh >~/.zfunc/_"+program, "For zsh, with fpath+=~/.zfunc before compinit in ~/.zshrc",
			"completion fish >~/.config/fish/completions/"+program+".fish", "For fish",
			"completion powershell >>~/.config/powershell/profile.ps1", "For PowerShell, into its profile",
		),
		ValidArgs: shells,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			script, err := completionScript(program, args[0])
			if err != nil {
				return err
			}
			_, err = host.Out.Write(script)
			return err
		},
	}
}

// detours are the lines of cobra's scripts after which the command stands that is asked for words, and
// what has the plugin itself asked: kubectl would look for a program of its own for that, which not every way
// to install a plugin brings. docker asks its plugins anyway.
var detours = map[string]struct{ after, line string }{
	"bash": {
		`    requestComp="${words[0]} __complete ${args[*]}"` + "\n",
		`    requestComp="${requestComp/#"${words[0]} __complete secretx "/kubectl-secretx __complete }"` + "\n",
	},
	"zsh": {
		`    requestComp="${words[1]} __complete ${words[2,-1]}"` + "\n",
		`    requestComp="${requestComp/#${words[1]} __complete secretx /kubectl-secretx __complete }"` + "\n",
	},
	"fish": {
		`    set -l requestComp "KUBECTL_ACTIVE_HELP=0 $args[1] __complete $args[2..-1] $lastArg"` + "\n",
		`    set requestComp (string replace -- "$args[1] __complete secretx " "kubectl-secretx __complete " "$requestComp")` + "\n",
	},
	"powershell": {
		`    $RequestComp="$Program __complete $Arguments"` + "\n",
		`    $RequestComp=$RequestComp -replace '^\S+ __complete secretx ', 'kubectl-secretx __complete '` + "\n",
	},
}

// completionScript is that of a host CLI.
func completionScript(program, shell string) ([]byte, error) {
	cmd := &cobra.Command{Use: program}
	var script bytes.Buffer
	err := map[string]func() error{
		"bash":       func() error { return cmd.GenBashCompletionV2(&script, true) },
		"zsh":        func() error { return cmd.GenZshCompletion(&script) },
		"fish":       func() error { return cmd.GenFishCompletion(&script, true) },
		"powershell": func() error { return cmd.GenPowerShellCompletionWithDesc(&script) },
	}[shell]()
	if err != nil || program != "kubectl" {
		return script.Bytes(), err
	}
	detour := detours[shell]
	text := script.String()
	if strings.Count(text, detour.after) != 1 {
		return nil, fmt.Errorf("the completion script for %s is not as it was", shell)
	}
	return []byte(strings.Replace(text, detour.after, detour.after+detour.line, 1)), nil
}
