package report

import (
	"cmp"
	"strings"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
)

// The kinds of comparisons.
const (
	KindDiff = "Diff"
	KindSync = "Sync"
)

// Comparison is the result of diff and sync: origins and their mirrors.
type Comparison struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	From       Place  `json:"from"`
	To         Place  `json:"to"`
	// DryRun tells that sync wrote nothing because it was told so.
	DryRun bool `json:"dryRun,omitempty"`
	// Proven tells that values were compared and not only claims.
	Proven  bool    `json:"proven,omitempty"`
	Items   []Item  `json:"items"`
	Summary Summary `json:"summary"`
	// Rollout is what became of those who use the mirrors, where that was asked for.
	Rollout *Rotation `json:"rollout,omitempty"`
}

// Place is one side.
type Place struct {
	Kind     string `json:"kind"`     // swarm or kubernetes
	Name     string `json:"name"`     // as it was addressed
	Identity string `json:"identity"` // the same however it is addressed
}

// Item is one mirror.
type Item struct {
	Origins []string `json:"origins"` // the secrets that it is a copy of
	Mirror  string   `json:"mirror"`  // its name at the far side; empty where it can have none
	State   string   `json:"state"`   // what was found, before anything was written
	Reason  string   `json:"reason,omitempty"`
	Keys    []Key    `json:"keys"`
	Action  string   `json:"action,omitempty"` // what sync does, or would do, about it
	Result  string   `json:"result,omitempty"` // done, failed or interrupted; empty where nothing was tried
	Error   string   `json:"error,omitempty"`
}

// Key is one key of a mirror, by its name at the origin.
type Key struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// Summary counts mirrors.
type Summary struct {
	Total  int            `json:"total"`
	States map[string]int `json:"states"` // as found
	Done   int            `json:"done"`
	Failed int            `json:"failed"` // or interrupted
}

// OfPlan is the document of a plan that was not carried out.
func OfPlan(kind string, p plan.Plan) Comparison {
	outcomes := make([]apply.Outcome, len(p.Items))
	for i, item := range p.Items {
		outcomes[i].Item = item
	}
	return OfOutcomes(kind, p.From, p.To, outcomes)
}

// OfOutcomes is the document of a plan that was carried out.
func OfOutcomes(kind string, from, to endpoint.Place, outcomes []apply.Outcome) Comparison {
	d := Comparison{
		APIVersion: APIVersion, Kind: kind, From: placeOf(from), To: placeOf(to),
		Items: make([]Item, 0, len(outcomes)), Summary: Summary{Total: len(outcomes), States: map[string]int{}},
	}
	for _, o := range outcomes {
		item := Item{
			Origins: o.Item.Origins, Mirror: o.Item.Name, State: string(o.Item.State), Reason: o.Item.Reason,
			Keys: make([]Key, 0, len(o.Item.Keys)), Action: string(o.Item.Action), Result: string(o.Result),
		}
		for _, k := range o.Item.Keys {
			item.Keys = append(item.Keys, Key{k.Name, string(k.State)})
		}
		d.Summary.States[item.State]++
		switch o.Result {
		case apply.Done:
			d.Summary.Done++
		case apply.Failed, apply.Interrupted:
			d.Summary.Failed++
			item.Error = o.Err.Error()
		}
		d.Items = append(d.Items, item)
	}
	return d
}

func placeOf(p endpoint.Place) Place { return Place{string(p.Kind), p.Name, p.Identity} }

// Same tells whether all was found in sync.
func (d Comparison) Same() bool { return d.Summary.States[string(plan.InSync)] == d.Summary.Total }

// ComparisonColumns are those of diff and sync.
var ComparisonColumns = []Column{
	{Name: "Secret", Always: true}, {Name: "Key", Always: true}, {Name: "State", Always: true, State: true},
	{Name: "Mirror", Always: true}, {Name: "Action"}, {Name: "Result", State: true}, {Name: "Detail", Text: true},
}

// Rows gives a row for each key, and one for a mirror without keys.
func (d Comparison) Rows() []Row {
	rows := make([]Row, 0, len(d.Items))
	for _, item := range d.Items {
		row := func(key, state, detail string) Row {
			return Row{strings.Join(item.Origins, ","), key, state, item.Mirror, item.Action, item.Result, detail}
		}
		detail := cmp.Or(item.Error, item.Reason)
		if len(item.Keys) == 0 {
			rows = append(rows, row("", item.State, detail))
		}
		for _, k := range item.Keys {
			rows = append(rows, row(k.Name, k.State, detail))
			detail = "" // once is enough
		}
	}
	return rows
}

// Names are those of the mirrors.
func (d Comparison) Names() []string {
	var names []string
	for _, item := range d.Items {
		if item.Mirror != "" {
			names = append(names, name(d.To.Kind, item.Mirror))
		}
	}
	return names
}

// Text is the line that sums it up: "3 mirrors: 1 changed, 2 in-sync" for what was only looked at,
// "3 mirrors: 1 written, 2 in-sync" for what was worked on.
func (d Comparison) Text() string {
	counts := map[string]int{}
	for _, item := range d.Items {
		what := item.State
		switch {
		case d.Kind != KindSync || item.Action == "":
		case d.DryRun:
			what = "would be written"
		case item.Result == string(apply.Done):
			what = "written"
		default:
			what = item.Result
		}
		counts[what]++
	}
	return sum(len(d.Items), "mirror", counts)
}
