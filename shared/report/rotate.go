package report

import (
	"strings"

	"github.com/secretx/secretx/shared/rollout"
)

// KindRotate is the kind of a Rotation.
const KindRotate = "Rotate"

// The results of a rollout as a whole.
const (
	RolloutDone        = "done"        // all who use it have the new value, and that was proven
	RolloutUnproven    = "unproven"    // all were moved; what some containers have could not be seen
	RolloutPartly      = "partly"      // all that can be moved have it; some can't, or the old value can't be removed
	RolloutReturned    = "returned"    // all are back on the old version
	RolloutInterrupted = "interrupted" // all were told to go back, and nobody waited for it
	RolloutStranded    = "stranded"    // some could neither be moved nor taken back
	RolloutFailed      = "failed"      // it failed, and there is nothing to go back to
)

// Rotation is the result of rotate, and of the rollout of a sync.
type Rotation struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Place      Place           `json:"place"`
	Secrets    []Rotated       `json:"secrets"`
	Resumed    bool            `json:"resumed,omitempty"` // a rollout that was cut off was brought to its end
	Workloads  []MovedWorkload `json:"workloads"`
	Result     string          `json:"result"`
	Error      string          `json:"error,omitempty"`
	// Removed are versions that nothing needs any more.
	Removed []string `json:"removed,omitempty"`
	// Notes say what else the user ought to know.
	Notes []string `json:"notes,omitempty"`
}

// Rotated is one secret with a new value.
type Rotated struct {
	Name string `json:"name"`          // the logical one
	Key  string `json:"key,omitempty"` // in Kubernetes, where it was one
	Old  string `json:"old"`           // version before
	New  string `json:"new"`           // version now
}

// MovedWorkload is one that uses such a secret.
type MovedWorkload struct {
	ID    string `json:"id"`
	Stack string `json:"stack,omitempty"`
	// Result is moved, unchanged, returned, returning, unwell, gone, stranded, left, or fixed for what can't be
	// moved.
	Result string `json:"result"`
	Detail string `json:"detail,omitempty"`
}

// Add puts outcomes into the document.
func (d *Rotation) Add(outcomes []rollout.Outcome, fixed []rollout.Workload) {
	for _, o := range outcomes {
		w := MovedWorkload{ID: o.Workload.ID, Stack: o.Workload.Stack, Result: string(o.Result)}
		if o.Err != nil {
			w.Detail = o.Err.Error()
		}
		d.Workloads = append(d.Workloads, w)
	}
	for _, w := range fixed {
		d.Workloads = append(d.Workloads, MovedWorkload{ID: w.ID, Stack: w.Stack, Result: resultFixed, Detail: w.Fixed})
	}
}

// Judge says how it ended by what became of the workloads.
func (d *Rotation) Judge(err error) {
	d.Result = RolloutDone
	has := map[string]bool{}
	for _, w := range d.Workloads {
		has[w.Result] = true
	}
	if err == nil {
		if has[resultFixed] {
			d.Result = RolloutPartly
		}
		return
	}
	d.Error = err.Error()
	switch {
	case has[string(rollout.Stranded)]:
		d.Result = RolloutStranded
	case has[string(rollout.Returning)]:
		d.Result = RolloutInterrupted
	case has[string(rollout.Left)]:
		d.Result = RolloutFailed
	default:
		d.Result = RolloutReturned
	}
}

// resultFixed is that of a workload that nothing moves.
const resultFixed = "fixed"

// RotationColumns are those of rotate.
var RotationColumns = []Column{
	{Name: "Secret", Always: true}, {Name: "Old", Always: true}, {Name: "New", Always: true}, {Name: "Workload", Always: true}, {Name: "Result", Always: true, State: true}, {Name: "Stack"}, {Name: "Detail", Text: true},
}

// Rows gives one for each workload, and one for secrets that nobody uses.
func (d Rotation) Rows() []Row {
	var names, old, now []string
	for _, s := range d.Secrets {
		names, old, now = append(names, s.Name), append(old, s.Old), append(now, s.New)
	}
	row := func(w MovedWorkload) Row {
		return Row{strings.Join(names, ","), strings.Join(old, ","), strings.Join(now, ","), w.ID, w.Result, w.Stack, w.Detail}
	}
	if len(d.Workloads) == 0 {
		return []Row{row(MovedWorkload{Result: d.Result})}
	}
	var rows []Row
	for _, w := range d.Workloads {
		rows = append(rows, row(w))
	}
	return rows
}

// Names are those of the new versions.
func (d Rotation) Names() []string {
	var all []string
	for _, s := range d.Secrets {
		all = append(all, name(d.Place.Kind, s.New))
	}
	return all
}

// Text says how it ended, and the notes.
func (d Rotation) Text() string {
	counts := map[string]int{}
	for _, w := range d.Workloads {
		counts[w.Result]++
	}
	text := d.Result + "; " + sum(len(d.Workloads), "workload", counts)
	if d.Resumed {
		text = "resumed; " + text
	}
	if len(d.Removed) > 0 {
		text += "; removed " + strings.Join(d.Removed, ", ")
	}
	if d.Error != "" {
		text += "\n" + PrintableLines(d.Error)
	}
	for _, note := range d.Notes {
		text += "\n" + Printable(note)
	}
	return text
}
