package report

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KindInspect is the kind of an Inspect.
const KindInspect = "Inspect"

// Inspect is the result of inspect: all that is known of some secrets, but for their values.
type Inspect struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Places     []Listed `json:"places"`
	Objects    []Object `json:"objects"`

	// Ago says how old something is in the words of the host CLI.
	Ago func(time.Time) string `json:"-"`
}

// Object is one object: in a Swarm one version of a secret.
type Object struct {
	Side       string            `json:"side"`
	Place      string            `json:"place"`
	Name       string            `json:"name"`
	Logical    string            `json:"logicalName,omitempty"` // in a Swarm the name that all versions share
	Newest     bool              `json:"newest,omitempty"`      // in a Swarm
	Sequence   int               `json:"sequence,omitempty"`    // of the version, where it was numbered
	Rollout    string            `json:"rollout,omitempty"`     // pending or failed, where the rollout of the version did not end well
	ID         string            `json:"id"`
	Version    string            `json:"version"` // Version.Index or resourceVersion
	Type       string            `json:"type,omitempty"`
	Immutable  bool              `json:"immutable,omitempty"`
	Created    time.Time         `json:"created,omitzero"`
	Changed    time.Time         `json:"changed,omitzero"`
	Labels     map[string]string `json:"labels,omitempty"`
	Keys       []string          `json:"keys"`
	Internal   string            `json:"internal,omitempty"`
	Unreadable string            `json:"unreadable,omitempty"`
	Damaged    string            `json:"damaged,omitempty"`
	Mirror     *Mirror           `json:"mirror,omitempty"`  // what it is a copy of
	Mirrors    []string          `json:"mirrors,omitempty"` // its copies at the other side
	Consumers  []Consumer        `json:"consumers"`
}

// Mirror is what is noted on a mirror.
type Mirror struct {
	Place  string       `json:"place"`  // of the origin, as it was addressed then
	Origin string       `json:"origin"` // its identity
	Parts  []MirrorPart `json:"parts"`
	// State is how it compares with the origin by what is noted, empty where the origin's place was
	// not looked at, or an older version.
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// MirrorPart is one key and its origin.
type MirrorPart struct {
	Key     string `json:"key"`
	Secret  string `json:"secret"`
	Origin  string `json:"originKey"`
	UID     string `json:"uid,omitempty"`     // of the origin when it was copied
	Version string `json:"version,omitempty"` // likewise
	State   string `json:"state,omitempty"`
}

// InspectColumns are those of inspect.
var InspectColumns = []Column{{Name: "Field", Always: true}, {Name: "Value", Always: true}}

// Rows gives one for each field of each object, with an empty one between objects.
func (d Inspect) Rows() []Row {
	var rows []Row
	for i, o := range d.Objects {
		if i > 0 {
			rows = append(rows, Row{"", ""})
		}
		for _, r := range o.rows(d.Ago) {
			if r[1] != "" {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

func (o Object) rows(ago func(time.Time) string) []Row {
	when := func(t time.Time) string {
		if t.IsZero() || ago == nil {
			return ""
		}
		return t.UTC().Format(time.RFC3339) + " (" + ago(t) + ")"
	}
	yes, sequence := map[bool]string{true: "yes"}, ""
	if o.Sequence > 0 {
		sequence = strconv.Itoa(o.Sequence)
	}
	rows := []Row{
		{"Name", o.Name}, {"Place", o.Place}, {"ID", o.ID}, {"Version", o.Version}, {"Type", o.Type}, {"Immutable", yes[o.Immutable]},
		{"Version of", o.Logical}, {"Sequence", sequence}, {"Newest", yes[o.Newest]}, {"Rollout", o.Rollout}, {"Created", when(o.Created)}, {"Changed", when(o.Changed)},
		{"Keys", strings.Join(o.Keys, ", ")},
	}
	for _, name := range slices.Sorted(maps.Keys(o.Labels)) {
		rows = append(rows, Row{"Label", name + "=" + o.Labels[name]})
	}
	rows = append(rows, Row{"Internal", o.Internal}, Row{"Unreadable", o.Unreadable}, Row{"Damaged", o.Damaged})
	if m := o.Mirror; m != nil {
		for _, p := range m.Parts {
			text := p.Secret
			if p.Origin != p.Secret {
				text += " key " + p.Origin
			}
			if len(m.Parts) > 1 {
				text = p.Key + " of " + text
			}
			if p.State != "" {
				text += ": " + p.State
			}
			rows = append(rows, Row{"Mirror of", text + " at " + m.Place})
		}
		rows = append(rows, Row{"State", m.State}, Row{"Reason", m.Reason})
	}
	rows = append(rows, Row{"Mirrors", strings.Join(o.Mirrors, ", ")})
	for _, c := range o.Consumers {
		rows = append(rows, Row{"Consumer", c.line()})
	}
	return rows
}

func (c Consumer) line() string {
	text := c.Kind + "/" + c.Name + ": " + c.How
	if c.Key != "" {
		text += " " + c.Key
	}
	if c.Target != "" {
		text += " at " + c.Target
	}
	if c.Where != "" {
		text += " in " + c.Where
	}
	if c.Previous {
		text += ", for a rollback alone"
	}
	return text
}

// Names are those of the objects.
func (d Inspect) Names() []string {
	var names []string
	for _, o := range d.Objects {
		names = append(names, name(o.Side, o.Name))
	}
	return names
}

// Text says which side is not in it.
func (d Inspect) Text() string { return leftOut(d.Places) }
