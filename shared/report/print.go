package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// JSON prints the document.
func (d Document) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

// YAML prints the document.
func (d Document) YAML(w io.Writer) error {
	text, err := yaml.Marshal(d)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// Table prints the rows in aligned columns, without those that would be empty all the way down.
func (d Document) Table(w io.Writer, header bool) error {
	rows := d.Rows()
	columns := []struct {
		name   string
		cell   func(Row) string
		always bool
	}{
		{"SECRET", func(r Row) string { return r.Secret }, true},
		{"KEY", func(r Row) string { return r.Key }, true},
		{"STATE", func(r Row) string { return r.State }, true},
		{"MIRROR", func(r Row) string { return r.Mirror }, true},
		{"ACTION", func(r Row) string { return r.Action }, false},
		{"RESULT", func(r Row) string { return r.Result }, false},
		{"DETAIL", func(r Row) string { return r.Detail }, false},
	}
	var shown []func(Row) string
	var names []string
	for _, c := range columns {
		keep := c.always
		for _, r := range rows {
			keep = keep || c.cell(r) != ""
		}
		if keep {
			shown, names = append(shown, c.cell), append(names, c.name)
		}
	}
	var padded bytes.Buffer
	tabs := tabwriter.NewWriter(&padded, 0, 8, 3, ' ', 0)
	line := func(cells []string) { fmt.Fprintln(tabs, strings.Join(cells, "\t")) }
	if header && len(rows) > 0 {
		line(names)
	}
	cells := make([]string, len(shown))
	for _, r := range rows {
		for i, cell := range shown {
			cells[i] = Printable(cell(r))
		}
		line(cells)
	}
	if err := tabs.Flush(); err != nil {
		return err
	}
	for text := range strings.Lines(padded.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(text, " \n")); err != nil {
			return err
		}
	}
	return nil
}
