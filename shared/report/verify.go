package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// KindVerify is the kind of a Verify.
const KindVerify = "Verify"

// Verify is the result of verify: a tree for each origin, down to its running containers.
type Verify struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Places     []Listed      `json:"places"`
	Secrets    []Node        `json:"secrets"`
	Summary    VerifySummary `json:"summary"`
}

// VerifySummary counts the nodes that have a state.
type VerifySummary struct {
	Fine   bool           `json:"fine"` // all of it was proven to be as it should be
	States map[string]int `json:"states"`
}

// The kinds of nodes.
const (
	NodeSecret    = "secret"
	NodeMirror    = "mirror"
	NodeConsumer  = "consumer"
	NodeContainer = "container"
	NodeLine      = "line"
)

// Node is one object in a tree. Its state is that of the edge above it: what was proven of it against
// its origin.
type Node struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Place string `json:"place,omitempty"`
	// State is one of a mirror's states, or of a line's; empty where there is nothing to prove.
	State  string `json:"state,omitempty"`
	Fine   bool   `json:"fine"` // it and all below it
	Detail string `json:"detail,omitempty"`
	Mend   string `json:"mend,omitempty"`
	Nodes  []Node `json:"nodes,omitempty"`
}

// Judge makes the summary, and tells of each node whether all below it is fine too.
func (d *Verify) Judge() {
	d.Summary = VerifySummary{Fine: true, States: map[string]int{}}
	for i := range d.Secrets {
		d.Secrets[i].judge(d.Summary.States)
		d.Summary.Fine = d.Summary.Fine && d.Secrets[i].Fine
	}
}

func (n *Node) judge(states map[string]int) {
	if n.State != "" {
		states[n.State]++
	}
	for i := range n.Nodes {
		n.Nodes[i].judge(states)
		n.Fine = n.Fine && n.Nodes[i].Fine
	}
}

// VerifyColumns are those of verify.
var VerifyColumns = []Column{{Name: "Object", Always: true}, {Name: "State", Always: true, State: true}, {Name: "Place"}, {Name: "Detail", Text: true}}

// Rows draws the trees.
func (d Verify) Rows() []Row {
	var rows []Row
	for _, n := range d.Secrets {
		rows = append(rows, n.rows("", "")...)
	}
	return rows
}

func (n Node) rows(first, rest string) []Row {
	name := n.Name
	if n.Kind == NodeSecret || n.Kind == NodeMirror {
		name = n.Kind + " " + name
	}
	rows := []Row{{first + name, n.State, n.Place, sentence(n.Detail, n.Mend)}}
	for i, child := range n.Nodes {
		branch, below := "├─ ", "│  "
		if i == len(n.Nodes)-1 {
			branch, below = "└─ ", "   "
		}
		rows = append(rows, child.rows(rest+branch, rest+below)...)
	}
	return rows
}

// Names are those of the origins.
func (d Verify) Names() []string {
	var names []string
	for _, n := range d.Secrets {
		kind, _, _ := strings.Cut(n.Place, ":")
		names = append(names, name(kind, n.Name))
	}
	return names
}

// Text sums it up.
func (d Verify) Text() string {
	text := sum(len(d.Secrets), "secret", maps.Clone(d.Summary.States))
	if left := leftOut(d.Places); left != "" {
		text += "\n" + left
	}
	return text
}

// nodeKinds are in the order in which siblings stand.
var nodeKinds = []string{NodeSecret, NodeConsumer, NodeContainer, NodeLine, NodeMirror}

// Sort puts nodes into an order that doesn't change.
func (n *Node) Sort() {
	slices.SortStableFunc(n.Nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(slices.Index(nodeKinds, a.Kind), slices.Index(nodeKinds, b.Kind)), cmp.Compare(a.Name, b.Name))
	})
	for i := range n.Nodes {
		n.Nodes[i].Sort()
	}
}
