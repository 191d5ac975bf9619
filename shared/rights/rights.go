// Package rights says what each verb takes in Kubernetes. It is the only place that does: rbac prints
// it, doctor asks the API server for it, the table in docs/rights.md is made of it, and the end-to-end
// tests grant just it. It is pure, and imports the standard library alone.
package rights

import (
	"cmp"
	"slices"
	"strings"
)

// Rule allows verbs on a resource.
type Rule struct {
	Group    string   // empty for the first one of all
	Resource string   // the plural, with a subresource behind a slash: pods/exec
	Names    []string // empty: all
	Verbs    []string
	// Without says what is missing without the rule; empty: the verb fails, and names the right.
	Without string
}

// Rules are those of one Role.
type Rules []Rule

// all are the verbs that a rule can have, in the order in which they are printed.
var order = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

func rule(resource string, verbs ...string) Rule {
	plural, group, _ := strings.Cut(resource, ".")
	return Rule{Group: group, Resource: plural, Verbs: verbs}
}

func (r Rule) named(names ...string) Rule {
	r.Names = slices.Compact(slices.Sorted(slices.Values(names)))
	return r
}

func (r Rule) or(without string) Rule {
	r.Without = without
	return r
}

// Plural is the resource with its group, as kubectl takes it: deployments.apps.
func (r Rule) Plural() string {
	if r.Group == "" {
		return r.Resource
	}
	return r.Resource + "." + r.Group
}

// covers tells whether a verb on whatever another rule is about is allowed by this one.
func (r Rule) covers(other Rule, verb string) bool {
	if r.Group != other.Group || r.Resource != other.Resource || !slices.Contains(r.Verbs, verb) {
		return false
	}
	return len(r.Names) == 0 || len(other.Names) > 0 && !slices.ContainsFunc(other.Names, func(n string) bool { return !slices.Contains(r.Names, n) })
}

// Allows tells whether the rules allow a verb on a resource, such as deployments.apps, of a name; an empty
// one stands for all.
func (all Rules) Allows(verb, resource, name string) bool {
	wanted := rule(resource)
	if name != "" {
		wanted = wanted.named(name)
	}
	return slices.ContainsFunc(all, func(r Rule) bool { return r.covers(wanted, verb) })
}

// Merged are the same rights in as few rules as can be: what a wider rule allows is not said again.
// What somebody can't do without is nobody's to leave out.
func (all Rules) Merged() Rules {
	// Each verb by itself, so that what is covered can go.
	var single Rules
	for _, r := range all {
		for _, verb := range r.Verbs {
			one := r
			one.Verbs = []string{verb}
			single = append(single, one)
		}
	}
	var kept Rules
	for i, r := range single {
		covered := false
		for j, other := range single {
			if i == j || !other.covers(r, r.Verbs[0]) || other.Without != "" && r.Without == "" {
				continue
			}
			same := r.covers(other, r.Verbs[0]) && (r.Without == "") == (other.Without == "")
			covered = covered || !same || j < i
		}
		if !covered {
			kept = append(kept, r)
		}
	}
	var merged Rules
	for _, r := range kept {
		at := slices.IndexFunc(merged, func(m Rule) bool {
			return m.Group == r.Group && m.Resource == r.Resource && m.Without == r.Without && slices.Equal(m.Names, r.Names)
		})
		if at < 0 {
			merged = append(merged, r)
			continue
		}
		merged[at].Verbs = append(slices.Clone(merged[at].Verbs), r.Verbs...)
	}
	for i := range merged {
		slices.SortFunc(merged[i].Verbs, func(a, b string) int {
			return cmp.Compare(slices.Index(order, a), slices.Index(order, b))
		})
	}
	return merged
}
