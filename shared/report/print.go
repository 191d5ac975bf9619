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

// JSON prints a document.
func JSON(w io.Writer, d Document) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

// YAML prints a document.
func YAML(w io.Writer, d Document) error {
	text, err := yaml.Marshal(d)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// TableOptions say how a table looks.
type TableOptions struct {
	NoHeader bool
	Wide     bool
}

// Table prints rows in aligned columns, without those that would be empty all the way down.
func Table(w io.Writer, columns []Column, rows []Row, options TableOptions) error {
	var shown []int
	for i, c := range columns {
		keep := c.Always
		for _, r := range rows {
			keep = keep || r[i] != ""
		}
		if keep && (options.Wide || !c.Wide) {
			shown = append(shown, i)
		}
	}
	var padded bytes.Buffer
	tabs := tabwriter.NewWriter(&padded, 0, 8, 3, ' ', 0)
	line := func(r Row) {
		cells := make([]string, len(shown))
		for i, at := range shown {
			cells[i] = Printable(r[at])
		}
		fmt.Fprintln(tabs, strings.Join(cells, "\t"))
	}
	if !options.NoHeader && len(rows) > 0 {
		line(Headers(columns))
	}
	for _, r := range rows {
		line(r)
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
