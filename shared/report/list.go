package report

import (
	"strconv"
	"strings"
	"time"
)

// KindList is the kind of a List.
const KindList = "List"

// List is the result of ls: both sides.
type List struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Places     []Listed `json:"places"`
	Items      []Entry  `json:"items"`

	// Ago says how old something is in the words of the host CLI.
	Ago func(time.Time) string `json:"-"`
}

// Listed is one endpoint that was listed, or why it was not.
type Listed struct {
	Place
	Unreachable string `json:"unreachable,omitempty"`
	// Blind says what could not be looked at for consumers.
	Blind []string `json:"blind,omitempty"`
}

// Entry is one secret: in a Swarm with all its versions.
type Entry struct {
	Side      string            `json:"side"` // swarm or kubernetes
	Namespace string            `json:"namespace,omitempty"`
	Name      string            `json:"name"` // in a Swarm the logical one
	ID        string            `json:"id"`   // of the newest version
	Type      string            `json:"type,omitempty"`
	Keys      []string          `json:"keys"`
	Versions  []string          `json:"versions,omitempty"` // names in a Swarm, the newest last
	Immutable bool              `json:"immutable,omitempty"`
	Internal  string            `json:"internal,omitempty"`
	State     string            `json:"state,omitempty"`    // of the mirror, or the worst of its mirrors
	MirrorOf  string            `json:"mirrorOf,omitempty"` // SECRET, or SECRET at PLACE where that isn't the other side
	Mirrors   []string          `json:"mirrors,omitempty"`  // at the other side
	Consumers int               `json:"consumers"`
	Created   time.Time         `json:"created,omitzero"`
	Labels    map[string]string `json:"labels,omitempty"`
}

// ListColumns are those of ls, in docker's words or in kubectl's.
func ListColumns(kubectl bool) []Column {
	if kubectl {
		return []Column{
			{Name: "Namespace"}, {Name: "Name", Always: true}, {Name: "Side", Always: true}, {Name: "Type", Always: true, Text: true}, {Name: "Data", Always: true},
			{Name: "Versions"}, {Name: "State", State: true}, {Name: "Mirror", Text: true}, {Name: "Consumers", Always: true}, {Name: "Age"}, {Name: "ID", Wide: true}, {Name: "Keys", Wide: true},
		}
	}
	return []Column{
		{Name: "ID", Always: true}, {Name: "Name", Always: true}, {Name: "Side", Always: true}, {Name: "Namespace"}, {Name: "Type", Text: true}, {Name: "Keys", Always: true},
		{Name: "Versions"}, {Name: "State", State: true}, {Name: "Mirror", Text: true}, {Name: "Consumers", Always: true}, {Name: "Created"},
	}
}

// ForKubectl is the list with the rows that kubectl's users know.
type ForKubectl struct{ List }

// Rows gives one for each secret.
func (d ForKubectl) Rows() []Row {
	rows := make([]Row, 0, len(d.Items))
	for _, e := range d.Items {
		rows = append(rows, Row{
			e.Namespace, e.Name, e.Side, e.Type, strconv.Itoa(len(e.Keys)), e.versions(), e.State, e.mirror(), strconv.Itoa(e.Consumers), d.ago(e), e.ID, strings.Join(e.Keys, ","),
		})
	}
	return rows
}

// Rows gives one for each secret.
func (d List) Rows() []Row {
	rows := make([]Row, 0, len(d.Items))
	for _, e := range d.Items {
		rows = append(rows, Row{
			e.ID, e.Name, e.Side, e.Namespace, e.Type, strconv.Itoa(len(e.Keys)), e.versions(), e.State, e.mirror(), strconv.Itoa(e.Consumers), d.ago(e),
		})
	}
	return rows
}

func (d List) ago(e Entry) string {
	if e.Created.IsZero() || d.Ago == nil {
		return ""
	}
	return d.Ago(e.Created)
}

func (e Entry) versions() string {
	if len(e.Versions) == 0 {
		return ""
	}
	return strconv.Itoa(len(e.Versions))
}

// mirror says where a secret came from, or where it went.
func (e Entry) mirror() string {
	switch {
	case e.MirrorOf != "":
		return "of " + e.MirrorOf
	case len(e.Mirrors) > 0:
		return "as " + strings.Join(e.Mirrors, ",")
	}
	return ""
}

// Names are those of the secrets.
func (d List) Names() []string {
	names := make([]string, 0, len(d.Items))
	for _, e := range d.Items {
		names = append(names, name(e.Side, e.Name))
	}
	return names
}

// Text counts, and says which side is not in it.
func (d List) Text() string {
	return strings.TrimSuffix(sum(len(d.Items), "secret", nil)+"\n"+leftOut(d.Places), "\n")
}

// leftOut says what was not looked at, in lines.
func leftOut(places []Listed) string {
	var lines []string
	for _, p := range places {
		if p.Unreachable != "" {
			lines = append(lines, p.Name+" is left out: "+Printable(p.Unreachable))
		}
		for _, what := range p.Blind {
			lines = append(lines, "not seen for consumers: "+Printable(what))
		}
	}
	return strings.Join(lines, "\n")
}
