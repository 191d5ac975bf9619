package swarm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/docker/docker/api/types/swarm"
)

// unknown names a field of a service's spec that our client doesn't know, as a newer engine may have
// some: writing the spec back would take it away. It is empty when there is none; raw is what the
// engine said of the service.
func unknown(raw []byte) (field string, err error) {
	var said struct{ Spec any }
	var understood struct{ Spec swarm.ServiceSpec }
	if err := json.Unmarshal(raw, &said); err != nil {
		return "", err
	}
	if err := json.Unmarshal(raw, &understood); err != nil {
		return "", err
	}
	written, err := json.Marshal(understood.Spec)
	if err != nil {
		return "", err
	}
	var kept any
	if err := json.Unmarshal(written, &kept); err != nil {
		return "", err
	}
	return missing(said.Spec, kept, ""), nil
}

// missing gives the path of the first thing in a that isn't in b. That something is empty may as well go
// unsaid.
func missing(a, b any, path string) string {
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(a)) {
			if at := missing(a[name], b[name], path+"."+name); at != "" {
				return at
			}
		}
	case []any:
		b, _ := b.([]any)
		for i := range a {
			var beside any
			if i < len(b) {
				beside = b[i]
			}
			if at := missing(a[i], beside, fmt.Sprintf("%s[%d]", path, i)); at != "" {
				return at
			}
		}
	case nil:
	default:
		empty := a == "" || a == false || a == float64(0)
		if b == nil && !empty {
			return path[1:]
		}
	}
	return ""
}
