package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/secretx/secretx/shared/command"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

// printer prints as kubectl does, by -o.
type printer struct {
	flags     *genericclioptions.PrintFlags
	noHeaders bool
	other     printers.ResourcePrinter // for the formats that kubectl's own printers know
}

func newPrinter(flags *pflag.FlagSet) command.Printer {
	p := &printer{flags: genericclioptions.NewPrintFlags("")}
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
		return d.Table(out, !p.noHeaders)
	case "json":
		return d.JSON(out)
	case "yaml":
		return d.YAML(out)
	case "name":
		return names(out, d)
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

// names prints each mirror the way in which `kubectl secretx` takes it as a target.
func names(out io.Writer, d report.Document) error {
	prefix := "secret/"
	if d.To.Kind == string(secret.Swarm) {
		prefix = "swarm/"
	}
	for _, item := range d.Items {
		if item.Mirror == "" {
			continue
		}
		if _, err := fmt.Fprintln(out, prefix+report.Printable(item.Mirror)); err != nil {
			return err
		}
	}
	return nil
}
