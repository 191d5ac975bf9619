package report

import (
	"strings"

	"sigs.k8s.io/yaml"
)

// Manifests are objects of Kubernetes as a list that kubectl apply takes in every format. A Compose file is the
// only one of its kind.
type Manifests struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Items      []map[string]any `json:"items"`
}

// OfManifests reads them from YAML.
func OfManifests(text string) (Document, error) {
	d := Manifests{APIVersion: "v1", Kind: "List"}
	for one := range strings.SplitSeq(text, "\n---\n") { // the end of a text may be a line of its own
		var object map[string]any
		if err := yaml.Unmarshal([]byte(one+"\n"), &object); err != nil {
			return nil, err
		}
		d.Items = append(d.Items, object)
	}
	if len(d.Items) == 1 && d.Items[0]["kind"] == nil {
		return compose(d.Items[0]), nil
	}
	return d, nil
}

// field gives a text of an object.
func field(object map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		object, _ = object[name].(map[string]any)
	}
	text, _ := object[path[len(path)-1]].(string)
	return text
}

// Rows gives none: there is no table of them.
func (d Manifests) Rows() []Row { return nil }

// Names are those of the objects.
func (d Manifests) Names() []string {
	var names []string
	for _, o := range d.Items {
		names = append(names, strings.ToLower(field(o, "kind"))+"/"+field(o, "metadata", "name"))
	}
	return names
}

// Text is empty: what there is to know stands beside the objects.
func (d Manifests) Text() string { return "" }

// compose is a Compose file.
type compose map[string]any

func (compose) Rows() []Row     { return nil }
func (compose) Names() []string { return nil }
func (compose) Text() string    { return "" }
