package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/secretx/secretx/shared/command"
	"github.com/secretx/secretx/shared/report"
)

// printer prints as kubectl does, by -o.
type printer struct {
	columns     []report.Column
	format      string
	template    string
	missingKeys bool
	noHeaders   bool
	other       printers.ResourcePrinter // for the formats that kubectl's own printers know
}

const formats = "json, yaml, kyaml, name, wide, go-template, go-template-file, template, templatefile, jsonpath, jsonpath-as-json, jsonpath-file"

func newPrinter(flags *pflag.FlagSet, columns []report.Column) command.Printer {
	p := &printer{columns: columns}
	flags.StringVarP(&p.format, "output", "o", "", "Output format. One of: ("+formats+").")
	flags.StringVar(&p.template, "template", "", "Template string or path to template file to use when -o=go-template, -o=go-template-file. The template format is golang templates [http://golang.org/pkg/text/template/#pkg-overview].")
	flags.BoolVar(&p.missingKeys, "allow-missing-template-keys", true, "If true, ignore any errors in templates when a field or map key is missing in the template. Only applies to golang and jsonpath output formats.")
	flags.BoolVar(&p.noHeaders, "no-headers", false, "Print the table without its header")
	return p
}

// Check makes the printer of the format that was asked for.
func (p *printer) Check() (err error) {
	switch {
	case p.Human(), p.format == "json", p.format == "yaml", p.format == "name":
		return nil
	case p.format == "kyaml":
		p.other = &printers.KYAMLPrinter{}
		return nil
	}
	if p.other, err = p.ofTemplate(); err != nil {
		err = fmt.Errorf("--output: %w", err)
	}
	return err
}

// ofTemplate makes one of kubectl's printers of a template that stands behind the format, in --template, or
// in a file.
func (p *printer) ofTemplate() (printers.ResourcePrinter, error) {
	format, text, _ := strings.Cut(p.format, "=")
	if p.template != "" {
		text = p.template
	}
	isPath := false
	switch format {
	case "", "go-template", "go-template-file", "template", "templatefile":
	case "jsonpath", "jsonpath-file", "jsonpath-as-json":
		isPath = true
	default:
		return nil, fmt.Errorf("%q is none of %s", format, formats)
	}
	if text == "" {
		return nil, errors.New(format + " needs a template")
	}
	if strings.HasSuffix(format, "file") {
		b, err := os.ReadFile(text)
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	if !isPath {
		t, err := printers.NewGoTemplatePrinter([]byte(text))
		if err != nil {
			return nil, err
		}
		t.AllowMissingKeys(p.missingKeys)
		return t, nil
	}
	t, err := printers.NewJSONPathPrinter(text)
	if err != nil {
		return nil, err
	}
	t.AllowMissingKeys(p.missingKeys)
	t.EnableJSONOutput(format == "jsonpath-as-json")
	return t, nil
}

// Human tells that a table is printed.
func (p *printer) Human() bool { return p.format == "" && p.template == "" || p.format == "wide" }

// Print prints the document.
func (p *printer) Print(out io.Writer, d report.Document) error {
	switch {
	case p.Human():
		return report.Table(out, p.columns, d.Rows(), report.TableOptions{NoHeader: p.noHeaders, Wide: p.format == "wide", Screen: command.ScreenOf(os.Stdout)})
	case p.format == "json":
		return report.JSON(out, d)
	case p.format == "yaml":
		return report.YAML(out, d)
	case p.format == "name":
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
