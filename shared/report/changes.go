package report

// The kinds of Changes.
const (
	KindCreate = "Create"
	KindRemove = "Remove"
	KindPrune  = "Prune"
)

// Changes is the result of create, rm and prune: objects that were made or removed.
type Changes struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	DryRun     bool     `json:"dryRun,omitempty"`
	Objects    []Change `json:"objects"`
}

// Change is what became of one object.
type Change struct {
	Side   string `json:"side"`
	Place  string `json:"place"`
	Name   string `json:"name"`
	ID     string `json:"id,omitempty"`
	Action string `json:"action"` // create, remove or keep
	// Result is done or failed; empty where nothing was tried.
	Result string `json:"result,omitempty"`
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

// The results of a change.
const (
	Done   = "done"
	Failed = "failed"
)

// ChangesColumns are those of create, rm and prune.
var ChangesColumns = []Column{
	{Name: "Secret", Always: true}, {Name: "Side", Always: true}, {Name: "Action", Always: true}, {Name: "Result", State: true}, {Name: "Detail", Text: true},
}

// Rows gives one for each object.
func (d Changes) Rows() []Row {
	rows := make([]Row, 0, len(d.Objects))
	for _, o := range d.Objects {
		detail := o.Reason
		if o.Error != "" {
			detail = o.Error
		}
		rows = append(rows, Row{o.Name, o.Side, o.Action, o.Result, detail})
	}
	return rows
}

// Names are those of the objects.
func (d Changes) Names() []string {
	names := make([]string, 0, len(d.Objects))
	for _, o := range d.Objects {
		names = append(names, name(o.Side, o.Name))
	}
	return names
}

// Text counts: "3 secrets: 1 keep, 2 removed".
func (d Changes) Text() string {
	counts := map[string]int{}
	for _, o := range d.Objects {
		what := map[string]string{"create": "created", "remove": "removed", "keep": "kept"}[o.Action]
		switch {
		case d.DryRun && o.Action != "keep":
			what = "would be " + what
		case o.Result == Failed:
			what = "failed"
		}
		counts[what]++
	}
	return sum(len(d.Objects), "secret", counts)
}

// Failures counts what failed.
func (d Changes) Failures() int {
	n := 0
	for _, o := range d.Objects {
		if o.Result == Failed {
			n++
		}
	}
	return n
}
