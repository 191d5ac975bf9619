package main

import (
	"fmt"
	"io"
	"os"
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
	columns  []report.Column
	format   string
	template *template.Template
	noTrunc  bool
}

func newPrinter(flags *pflag.FlagSet, columns []report.Column) command.Printer {
	p := &printer{columns: columns}
	usage := "Print as `table`, 'table TEMPLATE', json, yaml, or by a Go template of"
	for _, c := range columns {
		usage += " ." + c.Name
	}
	flags.StringVar(&p.format, "format", "table", usage)
	flags.BoolVar(&p.noTrunc, "no-trunc", false, "Don't cut text short to fit the terminal")
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
		p.template.Option("missingkey=error")
		err = p.template.Execute(io.Discard, report.Fields(p.columns, report.Headers(p.columns)))
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
		return report.JSON(out, d)
	case p.format == "yaml":
		return report.YAML(out, d)
	case p.template == nil:
		return report.Table(out, p.columns, d.Rows(), report.TableOptions{Wide: p.noTrunc, Screen: command.ScreenOf(os.Stdout)})
	}
	tabs := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	rows := d.Rows()
	if p.Human() {
		rows = append([]report.Row{report.Headers(p.columns)}, rows...)
	}
	for _, row := range rows {
		if err := p.template.Execute(tabs, report.Fields(p.columns, row)); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		fmt.Fprintln(tabs)
	}
	return tabs.Flush()
}
