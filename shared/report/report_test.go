package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
)

func outcomes() []apply.Outcome {
	key := func(name string, s plan.State) []plan.KeyState { return []plan.KeyState{{Name: name, State: s}} }
	return []apply.Outcome{
		{Item: plan.Item{Origins: []string{"a"}, Name: "a.k", State: plan.InSync, Keys: key("k", plan.InSync)}},
		{Item: plan.Item{Origins: []string{"b"}, Name: "b.k.v2", State: plan.Changed, Keys: key("k", plan.Changed), Action: plan.AddVersion}, Result: apply.Done},
		{Item: plan.Item{Origins: []string{"c\x1b[2J\u202e"}, Name: "c.k", State: plan.Missing, Keys: key("k", plan.Missing), Action: plan.Create}, Result: apply.Failed, Err: errors.New("disk\nfull")},
		{Item: plan.Item{Origins: []string{"d"}, State: plan.Unmappable, Reason: "it has no keys"}},
	}
}

func TestTable(t *testing.T) {
	d := OfOutcomes(KindSync, endpoint.Place{}, endpoint.Place{}, outcomes())
	var b bytes.Buffer
	if err := Table(&b, ComparisonColumns, d.Rows(), TableOptions{}); err != nil {
		t.Fatal(err)
	}
	want := `SECRET           KEY   STATE        MIRROR   ACTION        RESULT   DETAIL
a                k     in-sync      a.k
b                k     changed      b.k.v2   add-version   done
c\x1b[2J\u202e   k     missing      c.k      create        failed   disk\nfull
d                      unmappable                                   it has no keys
`
	got := ""
	for line := range strings.Lines(b.String()) {
		got += strings.TrimRight(line, " \n") + "\n"
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := d.Text(); got != "4 mirrors: 1 failed, 1 in-sync, 1 unmappable, 1 written" {
		t.Error(got)
	}
	d.DryRun = true
	if got := d.Text(); got != "4 mirrors: 1 in-sync, 1 unmappable, 2 would be written" {
		t.Error(got)
	}
}

func TestSummary(t *testing.T) {
	d := OfOutcomes(KindSync, endpoint.Place{}, endpoint.Place{}, outcomes())
	if d.Summary.Done != 1 || d.Summary.Failed != 1 || d.Same() || d.Items[2].Error != "disk\nfull" {
		t.Errorf("%+v", d.Summary)
	}
	p := plan.Plan{Items: []plan.Item{outcomes()[0].Item}}
	if d := OfPlan(KindDiff, p); !d.Same() || d.Text() != "1 mirror: 1 in-sync" {
		t.Errorf("%+v", d)
	}
	if d := OfPlan(KindDiff, plan.Plan{}); !d.Same() || d.Text() != "0 mirrors" {
		t.Error(d.Text())
	}
}
