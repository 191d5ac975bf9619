package report

import "fmt"

// KindDoctor is the kind of a Doctor.
const KindDoctor = "Doctor"

// Doctor is the result of doctor.
type Doctor struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Checks     []Checked      `json:"checks"`
	Summary    map[string]int `json:"summary"` // how many ended in each state
}

// Checked is one check.
type Checked struct {
	Place  string `json:"place"` // as the endpoint was addressed, or "here"
	Check  string `json:"check"`
	State  string `json:"state"` // ok, skipped, warning or failed
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do
}

// DoctorColumns are those of doctor.
var DoctorColumns = []Column{
	{Name: "Place", Always: true}, {Name: "Check", Always: true}, {Name: "State", Always: true}, {Name: "Detail", Always: true}, {Name: "Advice"},
}

// NewDoctor counts.
func NewDoctor(checks []Checked) Doctor {
	d := Doctor{APIVersion: APIVersion, Kind: KindDoctor, Checks: checks, Summary: map[string]int{}}
	for _, c := range checks {
		d.Summary[c.State]++
	}
	return d
}

// Rows gives one for each check.
func (d Doctor) Rows() []Row {
	rows := make([]Row, len(d.Checks))
	for i, c := range d.Checks {
		rows[i] = Row{c.Place, c.Check, c.State, c.Detail, c.Advice}
	}
	return rows
}

// Names are those of the checks.
func (d Doctor) Names() []string {
	names := make([]string, len(d.Checks))
	for i, c := range d.Checks {
		names[i] = fmt.Sprintf("%s %s", c.Place, c.Check)
	}
	return names
}

// Text sums it up.
func (d Doctor) Text() string { return sum(len(d.Checks), "check", d.Summary) }
