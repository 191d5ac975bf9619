package translate

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/secretx/secretx/shared/secret"
)

// The widths between which two columns are written.
const (
	narrowest = 40
	widest    = 160
)

// Explain puts both sides next to each other, what is read on the left, what comes out on the right, the
// corresponding pieces on the same lines, within so many columns.
func (r *Result) Explain(width int) string {
	width = min(max(width, narrowest), widest)
	half := (width - 3) / 2
	var b strings.Builder
	row := func(left, right []string) {
		left, right = fold(left, half), fold(right, half)
		for i := range max(len(left), len(right)) {
			l, m := "", ""
			if i < len(left) {
				l = left[i]
			}
			if i < len(right) {
				m = right[i]
			}
			b.WriteString(strings.TrimRight(l+strings.Repeat(" ", max(half-utf8.RuneCountInString(l), 0))+" | "+m, " ") + "\n")
		}
	}
	rule := strings.Repeat("-", half) + "-+-" + strings.Repeat("-", half) + "\n"
	for i, t := range r.Workloads {
		if i > 0 {
			b.WriteString("\n")
		}
		heads := []string{"SWARM", "KUBERNETES"}
		if r.From == secret.Kubernetes {
			heads[0], heads[1] = heads[1], heads[0]
		}
		row(heads[:1], heads[1:])
		for _, p := range t.Pieces {
			b.WriteString(rule)
			if r.From == secret.Swarm {
				row(p.Swarm, p.Kubernetes)
			} else {
				row(p.Kubernetes, p.Swarm)
			}
		}
	}
	return b.String()
}

// mostLines are shown of what is one line, such as the value of a variable.
const mostLines = 20

// fold breaks lines that are too long, at a blank or behind a comma where there is one, and makes what a terminal
// can't show visible.
func fold(lines []string, width int) []string {
	var all []string
	for _, line := range lines {
		if most := width * mostLines; len(line) > most {
			line = strings.ToValidUTF8(line[:most], "") + "…"
		}
		line = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '\ufffd'
			}
			return r
		}, line)
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if len(indent) > width/2 {
			indent = ""
		}
		rest := []rune(line)
		for len(rest) > width {
			cut := width
			for i := width; i > len(indent)+width/3; i-- {
				if rest[i-1] == ' ' || rest[i-1] == ',' {
					cut = i
					break
				}
			}
			all = append(all, strings.TrimRight(string(rest[:cut]), " "))
			rest = []rune(indent + "  " + strings.TrimLeft(string(rest[cut:]), " "))
		}
		all = append(all, string(rest))
	}
	return all
}
