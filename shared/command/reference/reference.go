// Package reference makes the pages of docs/reference from the commands themselves, and fails the
// test of whoever changes a command without them. Only tests of the mains import it.
package reference

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the reference pages instead of comparing them")

// Check compares the pages of a host's commands with the folder; with -update it writes them.
func Check(t *testing.T, root *cobra.Command, host, folder string) {
	t.Helper()
	want := map[string][]byte{}
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			want[cmd.Name()+".md"] = page(cmd, host)
		}
	}
	check(t, want, folder)
}

// CheckManual does the same with manual pages, called docker-secretx-sync.1 as docker's own are.
func CheckManual(t *testing.T, root *cobra.Command, host, folder string) {
	t.Helper()
	// The commands have to be below the host's for their pages to have its name.
	above := &cobra.Command{Use: host}
	above.AddCommand(root)
	want := map[string][]byte{}
	when := time.Unix(0, 0)
	for _, cmd := range append(root.Commands(), root) {
		if cmd != root && !cmd.IsAvailableCommand() {
			continue
		}
		var b bytes.Buffer
		cmd.DisableAutoGenTag = true
		// It is read as Markdown, where a table is a block of code, and angle brackets are tags.
		cmd.Long = strings.NewReplacer("<", `\<`, "\n  ", "\n      ").Replace(cmd.Long)
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Source: "secretx", Manual: "secretx", Date: &when}
		if err := doc.GenMan(cmd, header, &b); err != nil {
			t.Fatal(err)
		}
		want[name+".1"] = b.Bytes()
	}
	check(t, want, folder)
}

func check(t *testing.T, want map[string][]byte, folder string) {
	t.Helper()
	if *update {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatalf("%v: run make docs", err)
	}
	for _, f := range files {
		if _, wanted := want[f.Name()]; !wanted {
			t.Errorf("%s is of no command any more: run make docs", filepath.Join(folder, f.Name()))
		}
	}
	for name, text := range want {
		have, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s is not what the command says (%v): run make docs", filepath.Join(folder, name), err)
		}
	}
}

func page(cmd *cobra.Command, host string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s secretx %s\n\n%s.\n\n", host, cmd.Name(), cmd.Short)
	fmt.Fprintf(&b, "```\n%s secretx %s\n```\n\n", host, cmd.Use)
	if cmd.Long != "" {
		fmt.Fprintf(&b, "%s\n\n", strings.ReplaceAll(cmd.Long, "<", "&lt;"))
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, "## Examples\n\n```sh\n%s\n```\n\n", strings.ReplaceAll(cmd.Example, "\n  ", "\n")[2:])
	}
	var rows []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		flag := "`--" + f.Name
		if f.Shorthand != "" {
			flag = "`-" + f.Shorthand + "`, " + flag
		}
		if name != "" && name != "bool" {
			flag += " " + name
		}
		flag += "`"
		fallback := ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && !strings.HasPrefix(f.DefValue, "/") {
			fallback = "`" + f.DefValue + "`"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |", flag, strings.ReplaceAll(usage, "|", "\\|"), fallback))
	})
	slices.Sort(rows)
	if len(rows) > 0 {
		fmt.Fprintf(&b, "## Options\n\n| option | what for | default |\n|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	}
	return b.Bytes()
}
