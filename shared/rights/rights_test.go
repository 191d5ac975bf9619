package rights

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write docs/rights.md")

const (
	page  = "../../docs/rights.md"
	begin = "<!-- made by make docs, from shared/rights -->\n\n"
	end   = "\n<!-- end of what is made -->"
)

func TestTable(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	old, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	table, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table {
		t.Errorf("%s has drifted: make docs", page)
	}
}

// Each verb has a row, and no two rows one name.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	of := map[string]bool{}
	for _, row := range Rows {
		if seen[row.Name] {
			t.Errorf("%s is there twice", row.Name)
		}
		seen[row.Name], of[row.Use.Verb] = true, true
	}
	for _, verb := range Verbs {
		if !of[verb] {
			t.Errorf("%s has no row", verb)
		}
		if _, known := verbs[verb]; !known {
			t.Errorf("%s has no rules", verb)
		}
	}
	if len(verbs) != len(Verbs) {
		t.Errorf("%d verbs have rules, %d are listed", len(verbs), len(Verbs))
	}
}

func anyRules(t *rapid.T) Rules {
	some := func(label string, of ...string) []string {
		return slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.SampledFrom(of), 1, 2).Draw(t, label))))
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rule {
		r := rule(rapid.SampledFrom([]string{"secrets", "pods", "deployments.apps"}).Draw(t, "resource"), some("verbs", "get", "list", "patch")...)
		if rapid.Bool().Draw(t, "named") {
			r = r.named(some("names", "a", "b")...)
		}
		return r.or(rapid.SampledFrom([]string{"", "worse"}).Draw(t, "without"))
	}), 0, 8).Draw(t, "rules")
}

// What is merged allows just the same, needs just the same, and has no rule too many.
func TestMergedAllowsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := anyRules(t)
		merged := all.Merged()
		needed := func(rules Rules) Rules {
			return slices.DeleteFunc(slices.Clone(rules), func(r Rule) bool { return r.Without != "" })
		}
		for _, resource := range []string{"secrets", "pods", "deployments.apps"} {
			for _, verb := range []string{"get", "list", "patch"} {
				for _, name := range []string{"", "a", "b", "c"} {
					if all.Allows(verb, resource, name) != merged.Allows(verb, resource, name) {
						t.Fatalf("%s %s/%s: %v, merged %v", verb, resource, name, all, merged)
					}
					if needed(all).Allows(verb, resource, name) != needed(merged).Allows(verb, resource, name) {
						t.Fatalf("needed: %s %s/%s: %v, merged %v", verb, resource, name, all, merged)
					}
				}
			}
		}
		for i, r := range merged {
			for _, verb := range r.Verbs {
				for j, other := range merged {
					if i != j && other.covers(r, verb) && (other.Without == "" || r.Without != "") {
						t.Fatalf("%s of %v is in %v, too", verb, r, other)
					}
				}
			}
		}
	})
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"pod/a": {"pods", "a"}, "po/a": {"pods", "a"}, "Deployment/web": {"deployments.apps", "web"}, "deploy/web": {"deployments.apps", "web"},
		"deployments.apps/web": {"deployments.apps", "web"}, "ingress/front": {"ingresses.networking.k8s.io", "front"}, "cj/nightly": {"cronjobs.batch", "nightly"},
		"rollouts.argoproj.io/web": {"rollouts.argoproj.io", "web"}, "svc/web": {"services", "web"}, "sa/robot": {"serviceaccounts", "robot"},
	} {
		if got, err := ParseTarget(text); err != nil || got != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "web", "/web", "pod/", "pod/a/b", "rollout/web"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
