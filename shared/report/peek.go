package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

// KindPeek is the kind of a Peek.
const KindPeek = "Peek"

// Peek is the result of peek-in-container.
type Peek struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Place      Place       `json:"place"`
	Containers []Container `json:"containers"`
	Summary    PeekSummary `json:"summary"`
}

// Container is one container that was looked into.
type Container struct {
	Object    string `json:"object"`              // what it belongs to: "service web", "deployment/web"
	Name      string `json:"name"`                // of the task or pod
	Container string `json:"container,omitempty"` // its name in the pod
	Type      string `json:"type,omitempty"`      // init, sidecar or ephemeral
	Node      string `json:"node,omitempty"`
	Over      bool   `json:"over,omitempty"`   // it has ended, as it should: there is nothing in it
	Unseen    string `json:"unseen,omitempty"` // why it could not be looked into
	Note      string `json:"note,omitempty"`   // what the look has left behind
	Lines     []Line `json:"lines"`
}

// Line is one thing that a container is meant to have, or has although it isn't meant to.
type Line struct {
	How      string `json:"how"` // file, env, pointer or pull
	Secret   string `json:"secret,omitempty"`
	Key      string `json:"key,omitempty"`
	Path     string `json:"path,omitempty"`
	Variable string `json:"variable,omitempty"`
	State    string `json:"state"`
	Detail   string `json:"detail,omitempty"`
	Mend     string `json:"mend,omitempty"`
	Origin   string `json:"origin,omitempty"` // whose value it was compared with, where not its own secret's
	Mode     string `json:"mode,omitempty"`   // as seen: 0400
	Owner    string `json:"owner,omitempty"`  // as seen: UID:GID
	// Value is there with --reveal alone: the text, or what Go would write between quotes where it
	// isn't one that a terminal can show (Escaped).
	Value   *string `json:"value,omitempty"`
	Escaped bool    `json:"escaped,omitempty"`
	fine    bool
}

// PeekSummary counts lines.
type PeekSummary struct {
	Containers int            `json:"containers"`
	Lines      int            `json:"lines"`
	States     map[string]int `json:"states"`
}

// OfPeek is the document of containers that were looked into, judged.
func OfPeek(place endpoint.Place, containers []peek.Container, judge peek.Judge) Peek {
	d := Peek{APIVersion: APIVersion, Kind: KindPeek, Place: placeOf(place), Containers: make([]Container, 0, len(containers))}
	for _, c := range containers {
		d.Containers = append(d.Containers, containerOf(c, judge.Lines(c)))
	}
	d.Count()
	return d
}

func containerOf(c peek.Container, judged []peek.Line) Container {
	lines := make([]Line, 0, len(judged))
	for _, l := range judged {
		lines = append(lines, lineOf(l))
	}
	return Container{
		Object: c.Object, Name: c.Name, Container: c.Container, Type: c.Kind, Node: c.Node,
		Over: c.Over, Unseen: c.Unseen, Note: c.Note, Lines: lines,
	}
}

func lineOf(l peek.Line) Line {
	line := Line{
		How: string(l.How), Secret: l.Secret, Key: l.Key, Path: l.Path, Variable: l.Variable,
		State: string(l.State), Detail: l.Detail, Mend: l.Mend, Origin: l.Origin, fine: l.Fine,
	}
	if l.HasSeen {
		line.Mode, line.Owner = fmt.Sprintf("%04o", l.Seen.Mode), fmt.Sprintf("%d:%d", l.Seen.UID, l.Seen.GID)
	}
	if l.Value.Known() {
		text := string(l.Value.Reveal())
		shown := Printable(text)
		if !utf8.ValidString(text) || shown != text {
			line.Escaped = true
		}
		line.Value = &shown
	}
	return line
}

// Count makes the summary.
func (d *Peek) Count() {
	d.Summary = PeekSummary{Containers: len(d.Containers), States: map[string]int{}}
	for _, c := range d.Containers {
		d.Summary.Lines += len(c.Lines)
		for _, l := range c.Lines {
			d.Summary.States[l.State]++
		}
	}
}

// Fine tells whether all is as it should be.
func (d Peek) Fine() bool {
	for _, c := range d.Containers {
		for _, l := range c.Lines {
			if !l.fine {
				return false
			}
		}
	}
	return true
}

// PeekColumns are those of peek-in-container.
var PeekColumns = []Column{
	{Name: "Container", Always: true}, {Name: "Node"}, {Name: "Secret", Always: true}, {Name: "Key"}, {Name: "Place", Always: true},
	{Name: "State", Always: true, State: true}, {Name: "Mode"}, {Name: "Owner"}, {Name: "Value"}, {Name: "Detail", Text: true},
}

// Rows gives one for each line.
func (d Peek) Rows() []Row {
	var rows []Row
	for _, c := range d.Containers {
		name := c.Name
		if c.Container != "" {
			name += "/" + c.Container
		}
		for _, l := range c.Lines {
			value := ""
			if l.Value != nil {
				value = *l.Value
			}
			rows = append(rows, Row{name, c.Node, l.Secret, l.Key, l.place(), l.State, l.Mode, l.Owner, value, strings.TrimSpace(sentence(l.Detail, l.Mend))})
		}
	}
	return rows
}

// place says where in the container something is.
func (l Line) place() string {
	switch {
	case l.How == string(peek.Pointer):
		return "$" + l.Variable + " = " + l.Path
	case l.Variable != "":
		return "$" + l.Variable
	case l.How == string(peek.Pull):
		return "(image pull)"
	}
	return l.Path
}

// sentence puts what is wrong and what mends it together.
func sentence(detail, mend string) string {
	if detail == "" || mend == "" {
		return detail + mend
	}
	return strings.TrimSuffix(detail, ".") + ". " + mend
}

// Names are those of the tasks or pods.
func (d Peek) Names() []string {
	var names []string
	kind := map[bool]string{true: "swarm/", false: "pod/"}[d.Place.Kind == "swarm"]
	for _, c := range d.Containers {
		if n := kind + c.Name; len(names) == 0 || names[len(names)-1] != n {
			names = append(names, n)
		}
	}
	return names
}

// Text sums it up: "2 containers: 1 fresh, 1 stale-env".
func (d Peek) Text() string {
	text := sum(len(d.Containers), "container", d.Summary.States)
	for _, c := range d.Containers {
		if c.Note != "" {
			text += "\n" + c.Note
		}
	}
	return text
}
