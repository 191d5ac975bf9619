// Package report turns what a verb found and did into one document, and the document into rows.
// How it is printed belongs to each host CLI. It imports the packages whose results it tells of and
// the standard library; no document holds a value, nor anything that is derived from one, but for
// the one of peek-in-container --reveal.
package report

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// APIVersion is the version of all documents. Fields are only ever added to them.
const APIVersion = "secretx.github.io/v1"

// Document is the result of a verb, the same for both hosts and in every format. As JSON it has at
// least apiVersion and kind.
type Document interface {
	// Rows are those of its table, with the columns of its verb.
	Rows() []Row
	// Names are those of the objects that it is about, as kubectl prints and takes them: secret/NAME,
	// swarm/NAME.
	Names() []string
	// Text sums it up in a line.
	Text() string
}

// Column is one column of a table, and one field of a Go template.
type Column struct {
	Name   string // of the field: Secret. The header is SECRET.
	Always bool   // shown although it is empty all the way down
	Wide   bool   // shown in wide tables alone
	State  bool   // words that colours tell apart
	Text   bool   // of which the beginning is enough where there is little room: no name that is needed
}

// Row has one text for each column.
type Row []string

// Fields is the row as a Go template sees it.
func Fields(columns []Column, row Row) map[string]string {
	fields := make(map[string]string, len(columns))
	for i, c := range columns {
		fields[c.Name] = Printable(row[i])
	}
	return fields
}

// Headers is the header of a table, as a row.
func Headers(columns []Column) Row {
	headers := make(Row, len(columns))
	for i, c := range columns {
		headers[i] = strings.ToUpper(c.Name)
	}
	return headers
}

// name is how an object that holds a secret is called across both sides.
func name(kind, secret string) string {
	if kind == "swarm" {
		return "swarm/" + secret
	}
	return "secret/" + secret
}

// sum makes "3 mirrors: 1 changed, 2 in-sync".
func sum(n int, what string, counts map[string]int) string {
	text := strconv.Itoa(n) + " " + what
	if n != 1 {
		text += "s"
	}
	for i, of := range slices.Sorted(maps.Keys(counts)) {
		text += []string{": ", ", "}[min(i, 1)] + strconv.Itoa(counts[of]) + " " + of
	}
	return text
}

// Sum makes "3 mirrors: 1 changed, 2 in-sync".
func Sum(n int, what string, counts map[string]int) string { return sum(n, what, counts) }

// Printable makes text from the other side fit for a terminal: whatever could move a cursor or
// reverse a line is shown as an escape.
func Printable(text string) string {
	clean := func(r rune) bool { return !unicode.IsPrint(r) }
	if !strings.ContainsFunc(text, clean) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// PrintableLines is Printable for text of several lines, which stay lines.
func PrintableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}
