package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

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

// Screen is what a table is to be read on. The zero Screen is none: a file, or another program.
type Screen struct {
	Width   int // 0: without end
	Colours bool
}

// TableOptions say how a table looks.
type TableOptions struct {
	NoHeader bool
	Wide     bool // all columns, and all of their text
	Screen   Screen
}

const ellipsis = "…"

// room is how many spaces stand between columns, and how much of a text is left at least.
type room struct{ gap, least int }

var (
	ample  = room{3, 16}
	little = room{1, 8}
)

// Table prints rows in aligned columns, without those that would be empty all the way down. Where the screen is
// too narrow, texts are cut short, the widest first; names never are.
func Table(w io.Writer, columns []Column, rows []Row, options TableOptions) error {
	shown := shownColumns(columns, rows, options.Wide)
	lines := make([][]string, 0, len(rows)+1)
	add := func(r Row) {
		cells := make([]string, len(shown))
		for i, at := range shown {
			cells[i] = Printable(r[at])
		}
		lines = append(lines, cells)
	}
	header := !options.NoHeader && len(rows) > 0
	if header {
		add(Headers(columns))
	}
	for _, r := range rows {
		add(r)
	}
	widths := make([]int, len(shown))
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	between := ample
	if options.Screen.Width > 0 && !options.Wide && !fit(widths, columns, shown, options.Screen.Width, ample) {
		between = little
		fit(widths, columns, shown, options.Screen.Width, little)
	}
	for n, cells := range lines {
		var b strings.Builder
		for i, cell := range cells {
			cell = short(cell, widths[i])
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+between.gap)
			if options.Screen.Colours && columns[shown[i]].State && !(header && n == 0) {
				cell = coloured(cell)
			}
			b.WriteString(cell + padding)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func shownColumns(columns []Column, rows []Row, wide bool) (shown []int) {
	for i, c := range columns {
		keep := c.Always
		for _, r := range rows {
			keep = keep || r[i] != ""
		}
		if keep && (wide || !c.Wide) {
			shown = append(shown, i)
		}
	}
	return shown
}

// fit takes from the widest texts until a line fits, or nothing is left to take, and tells which.
func fit(widths []int, columns []Column, shown []int, width int, in room) bool {
	over := in.gap*(len(widths)-1) - width
	for _, w := range widths {
		over += w
	}
	for ; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if columns[shown[i]].Text && w > in.least && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return false
		}
		widths[widest]--
	}
	return true
}

func short(cell string, width int) string {
	if utf8.RuneCountInString(cell) <= width {
		return cell
	}
	return string([]rune(cell)[:width-1]) + ellipsis
}

// colours of the words that states and results are: all is well, something is to be done, it went wrong. Where
// a word stands for one by itself it is left as it is.
var colours = func() map[string]string {
	all := map[string]string{}
	for colour, words := range map[string]string{
		"\x1b[32m": "in-sync fresh done moved unchanged verified",
		"\x1b[33m": "changed missing orphan unknown pending extra unverifiable unproven unmappable partly interrupted returning returned gone fixed",
		"\x1b[31m": "drifted conflict failed stale-file stale-env stale-subpath wrong-mode wrong-owner stranded left unwell different",
	} {
		for word := range strings.FieldsSeq(words) {
			all[word] = colour
		}
	}
	return all
}()

func coloured(word string) string {
	if colour := colours[word]; colour != "" {
		return colour + word + "\x1b[0m"
	}
	return word
}
