// Package selector reads selectors of labels in the words of the side that they select from. It imports
// secret, and the label selectors of Kubernetes.
package selector

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/secretx/secretx/shared/secret"
)

// Parse reads a selector: all of Kubernetes' label selectors there; in a Swarm, whose labels may hold any
// text, a comma between key, !key, key=value and key!=value.
func Parse(text string, from secret.Kind) (func(map[string]string) bool, error) {
	if from == secret.Kubernetes {
		selector, err := labels.Parse(text)
		if err != nil {
			return nil, err
		}
		return func(have map[string]string) bool { return selector.Matches(labels.Set(have)) }, nil
	}
	var terms []func(map[string]string) bool
	for term := range strings.SplitSeq(text, ",") {
		key, value, hasValue := strings.Cut(term, "=")
		not := false
		if trimmed, found := strings.CutSuffix(key, "!"); found && hasValue {
			key, not = trimmed, true
		} else if trimmed, found := strings.CutPrefix(key, "!"); found && !hasValue {
			key, not = trimmed, true
		}
		key = strings.TrimSpace(key)
		if key == "" || strings.ContainsAny(key, "!() ") {
			return nil, fmt.Errorf("can't read %q: a Swarm's selector is key, !key, key=value or key!=value, with commas between", term)
		}
		terms = append(terms, func(have map[string]string) bool {
			v, there := have[key]
			return (there && (!hasValue || v == value)) != not
		})
	}
	return func(have map[string]string) bool {
		for _, matches := range terms {
			if !matches(have) {
				return false
			}
		}
		return true
	}, nil
}
