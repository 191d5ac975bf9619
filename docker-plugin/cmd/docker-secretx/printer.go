package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/docker/cli/templates"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/command"
	"github.com/secretx/secretx/shared/report"
)

// printer prints as docker's lists do, by --format.
type printer struct {
	format   string
	template *template.Template
}

func newPrinter(flags *pflag.FlagSet) command.Printer {
	p := &printer{}
	flags.StringVar(&p.format, "format", "table", "Print as `table`, 'table TEMPLATE', json, yaml, or by a Go template of .Secret .Key .State .Mirror .Action .Result .Detail")
	return p
}

// Check parses the template.
func (p *printer) Check() error {
	switch p.format {
	case "", "table", "json", "yaml":
		return nil
	}
	text, isTable := strings.CutPrefix(p.format, "table ")
	// Shells pass \t and \n on as they are, and docker's users are used to that.
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	if !isTable && !strings.Contains(text, "{{") {
		return fmt.Errorf("--format %q is neither table, json, yaml nor a Go template", p.format)
	}
	var err error
	if p.template, err = templates.Parse(text); err == nil {
		err = p.template.Execute(io.Discard, report.Row{})
	}
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	return nil
}

// Human tells that a table is printed.
func (p *printer) Human() bool { return p.format == "" || strings.HasPrefix(p.format, "table") }

// Print prints the document.
func (p *printer) Print(out io.Writer, d report.Document) error {
	switch {
	case p.format == "json":
		return d.JSON(out)
	case p.format == "yaml":
		return d.YAML(out)
	case p.template == nil:
		return d.Table(out, true)
	}
	tabs := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	rows := d.Rows()
	if p.Human() {
		rows = append([]report.Row{{
			Secret: "SECRET", Key: "KEY", State: "STATE", Mirror: "MIRROR", Action: "ACTION", Result: "RESULT", Detail: "DETAIL",
		}}, rows...)
	}
	for _, row := range rows {
		if err := p.template.Execute(tabs, printable(row)); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		fmt.Fprintln(tabs)
	}
	return tabs.Flush()
}

func printable(r report.Row) report.Row {
	for _, text := range []*string{&r.Secret, &r.Key, &r.State, &r.Mirror, &r.Action, &r.Result, &r.Detail} {
		*text = report.Printable(*text)
	}
	return r
}
