package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
)

// The kinds of comparisons.
const (
	KindDiff = "Diff"
	KindSync = "Sync"
	// Those of mirrors that files declare.
	KindDiffs = "DiffList"
	KindSyncs = "SyncList"
)

// Comparison is the result of diff and sync: origins and their mirrors.
type Comparison struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// SecretMirror is what the mirror is called that a file declares.
	SecretMirror string `json:"secretMirror,omitempty"`
	From         Place  `json:"from"`
	To           Place  `json:"to"`
	// Error says why nothing could be done about any of it, where there are others.
	Error string `json:"error,omitempty"`
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
	d := comparisonOf(kind, p.From, p.To, len(p.Items))
	for i := range p.Items {
		d.add(&p.Items[i], apply.None, nil)
	}
	return d
}

// OfOutcomes is the document of a plan that was carried out.
func OfOutcomes(kind string, from, to endpoint.Place, outcomes []apply.Outcome) Comparison {
	d := comparisonOf(kind, from, to, len(outcomes))
	for i := range outcomes {
		o := &outcomes[i]
		d.add(&o.Item, o.Result, o.Err)
	}
	return d
}

func comparisonOf(kind string, from, to endpoint.Place, n int) Comparison {
	return Comparison{
		APIVersion: APIVersion, Kind: kind, From: placeOf(from), To: placeOf(to),
		Items: make([]Item, 0, n), Summary: Summary{Total: n, States: map[string]int{}},
	}
}

func (d *Comparison) add(found *plan.Item, result apply.Result, err error) {
	item := Item{
		Origins: found.Origins, Mirror: found.Name, State: string(found.State), Reason: found.Reason,
		Keys: make([]Key, 0, len(found.Keys)), Action: string(found.Action), Result: string(result),
	}
	for _, k := range found.Keys {
		item.Keys = append(item.Keys, Key{k.Name, string(k.State)})
	}
	d.Summary.States[item.State]++
	switch result {
	case apply.Done:
		d.Summary.Done++
	case apply.Failed, apply.Interrupted:
		d.Summary.Failed++
		item.Error = err.Error()
	}
	d.Items = append(d.Items, item)
}

func placeOf(p endpoint.Place) Place { return Place{string(p.Kind), p.Name, p.Identity} }

// Same tells whether all was found in sync.
func (d Comparison) Same() bool { return d.Summary.States[string(plan.InSync)] == d.Summary.Total }

// ComparisonColumns are those of diff and sync.
var ComparisonColumns = []Column{
	{Name: "SecretMirror"},
	{Name: "Secret", Always: true}, {Name: "Key", Always: true}, {Name: "State", Always: true, State: true},
	{Name: "Mirror", Always: true}, {Name: "Action"}, {Name: "Result", State: true}, {Name: "Detail", Text: true},
}

// Rows gives a row for each key, and one for a mirror without keys.
func (d Comparison) Rows() []Row {
	rows := make([]Row, 0, len(d.Items))
	if d.Error != "" {
		rows = append(rows, Row{d.SecretMirror, "", "", "error", "", "", "", d.Error})
	}
	for _, item := range d.Items {
		row := func(key, state, detail string) Row {
			return Row{d.SecretMirror, strings.Join(item.Origins, ","), key, state, item.Mirror, item.Action, item.Result, detail}
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
func (d Comparison) Text() string { return sum(len(d.Items), "mirror", d.counts()) }

func (d Comparison) counts() map[string]int {
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
	return counts
}

// Comparisons is the result of diff and sync of all mirrors that files declare.
type Comparisons struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Items      []Comparison       `json:"items"`
	Summary    ComparisonsSummary `json:"summary"`
}

// ComparisonsSummary counts the mirrors of all, and those declared ones that nothing could be done about.
type ComparisonsSummary struct {
	Summary
	Errors int `json:"errors"`
}

// OfComparisons gathers results.
func OfComparisons(kind string, items []Comparison) Comparisons {
	d := Comparisons{APIVersion: APIVersion, Kind: kind, Items: items, Summary: ComparisonsSummary{Summary: Summary{States: map[string]int{}}}}
	for _, one := range items {
		d.Summary.Total += one.Summary.Total
		d.Summary.Done += one.Summary.Done
		d.Summary.Failed += one.Summary.Failed
		for state, n := range one.Summary.States {
			d.Summary.States[state] += n
		}
		if one.Error != "" {
			d.Summary.Errors++
		}
	}
	return d
}

// Same tells whether all was found in sync.
func (d Comparisons) Same() bool {
	return d.Summary.Errors == 0 && d.Summary.States[string(plan.InSync)] == d.Summary.Total
}

// Rows are those of all.
func (d Comparisons) Rows() []Row {
	var rows []Row
	for _, one := range d.Items {
		rows = append(rows, one.Rows()...)
	}
	return rows
}

// Names are those of all mirrors.
func (d Comparisons) Names() []string {
	var names []string
	for _, one := range d.Items {
		names = append(names, one.Names()...)
	}
	return names
}

// Text sums all up.
func (d Comparisons) Text() string {
	counts := map[string]int{}
	for _, one := range d.Items {
		for what, n := range one.counts() {
			counts[what] += n
		}
	}
	text := sum(d.Summary.Total, "mirror", counts)
	if n := d.Summary.Errors; n > 0 {
		text += fmt.Sprintf("; %d of %d declared could not be looked at", n, len(d.Items))
	}
	return text
}
