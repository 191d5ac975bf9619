package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// The kinds of Verify, and of those of mirrors that files declare.
const (
	KindVerify   = "Verify"
	KindVerifies = "VerifyList"
)

// Verify is the result of verify: a tree for each origin, down to its running containers.
type Verify struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// SecretMirrors are what the mirrors are called that files declare between these two places.
	SecretMirrors []string `json:"secretMirrors,omitempty"`
	// Error says why nothing could be proven, where there are others.
	Error   string        `json:"error,omitempty"`
	Places  []Listed      `json:"places"`
	Secrets []Node        `json:"secrets"`
	Summary VerifySummary `json:"summary"`
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

// Verifies is the result of verify of all mirrors that files declare: one for each two places.
type Verifies struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Items      []Verify        `json:"items"`
	Summary    VerifiesSummary `json:"summary"`
}

// VerifiesSummary counts the nodes of all, and the items that nothing could be proven of.
type VerifiesSummary struct {
	VerifySummary
	Errors int `json:"errors"`
}

// Judge makes all summaries.
func (d *Verifies) Judge() {
	d.Summary.Fine, d.Summary.States = true, map[string]int{}
	for i := range d.Items {
		one := &d.Items[i]
		one.Judge()
		d.Summary.Fine = d.Summary.Fine && one.Summary.Fine && one.Error == ""
		for state, n := range one.Summary.States {
			d.Summary.States[state] += n
		}
		if one.Error != "" {
			d.Summary.Errors++
		}
	}
}

// Rows are those of all.
func (d Verifies) Rows() []Row {
	var rows []Row
	for _, one := range d.Items {
		if one.Error != "" {
			rows = append(rows, Row{strings.Join(one.SecretMirrors, ", "), "error", "", one.Error})
		}
		rows = append(rows, one.Rows()...)
	}
	return rows
}

// Names are those of all origins.
func (d Verifies) Names() []string {
	var names []string
	for _, one := range d.Items {
		names = append(names, one.Names()...)
	}
	return names
}

// Text sums all up.
func (d Verifies) Text() string {
	secrets, text := 0, ""
	for _, one := range d.Items {
		secrets += len(one.Secrets)
		if left := leftOut(one.Places); left != "" {
			text += "\n" + left
		}
	}
	return sum(secrets, "secret", maps.Clone(d.Summary.States)) + text
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
