package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/secretx/secretx/shared/command"
	"github.com/secretx/secretx/shared/report"
)

// printer prints as kubectl does, by -o.
type printer struct {
	columns   []report.Column
	flags     *genericclioptions.PrintFlags
	noHeaders bool
	other     printers.ResourcePrinter // for the formats that kubectl's own printers know
}

func newPrinter(flags *pflag.FlagSet, columns []report.Column) command.Printer {
	p := &printer{columns: columns, flags: genericclioptions.NewPrintFlags("")}
	// PrintFlags are made for commands, and a verb's flags are all that they touch of one.
	cmd := &cobra.Command{}
	p.flags.AddFlags(cmd)
	flags.AddFlagSet(cmd.Flags())
	flags.BoolVar(&p.noHeaders, "no-headers", false, "Print the table without its header")
	return p
}

func (p *printer) format() string { return *p.flags.OutputFormat }

// Check makes the printer of the format that was asked for.
func (p *printer) Check() error {
	var err error
	switch p.format() {
	case "", "wide", "json", "yaml", "name":
	default:
		if p.other, err = p.flags.ToPrinter(); err != nil {
			err = fmt.Errorf("--output: %w", err)
		}
	}
	return err
}

// Human tells that a table is printed.
func (p *printer) Human() bool { return p.format() == "" || p.format() == "wide" }

// Print prints the document.
func (p *printer) Print(out io.Writer, d report.Document) error {
	switch p.format() {
	case "", "wide":
		return report.Table(out, p.columns, d.Rows(), report.TableOptions{NoHeader: p.noHeaders, Wide: p.format() == "wide", Screen: command.ScreenOf(os.Stdout)})
	case "json":
		return report.JSON(out, d)
	case "yaml":
		return report.YAML(out, d)
	case "name":
		for _, name := range d.Names() {
			if _, err := fmt.Fprintln(out, report.Printable(name)); err != nil {
				return err
			}
		}
		return nil
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, &object.Object); err != nil {
		return err
	}
	return p.other.PrintObj(object, out)
}
