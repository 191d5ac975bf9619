package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Access is the result of rbac: Roles and bindings, as a list that kubectl apply takes in every format.
type Access struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Items      []AccessObject `json:"items"`
}

// AccessObject is a Role, a ClusterRole or a binding.
type AccessObject struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   AccessMetadata `json:"metadata"`
	Rules      []AccessRule   `json:"rules,omitempty"`
	RoleRef    *RoleRef       `json:"roleRef,omitempty"`
	Subjects   []Subject      `json:"subjects,omitempty"`
}

// AccessMetadata is what such an object is called.
type AccessMetadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// AccessRule is one rule of a Role.
type AccessRule struct {
	APIGroups     []string `json:"apiGroups"`
	Resources     []string `json:"resources"`
	Verbs         []string `json:"verbs"`
	ResourceNames []string `json:"resourceNames,omitempty"`

	// Without says what is missing without it; empty: the verb fails.
	Without string `json:"-"`
}

// RoleRef says which Role a binding is of.
type RoleRef struct {
	APIGroup string `json:"apiGroup"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
}

// Subject is somebody whom a binding is for.
type Subject struct {
	APIGroup  string `json:"apiGroup,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// NewAccess makes the list.
func NewAccess(items []AccessObject) Access {
	return Access{APIVersion: "v1", Kind: "List", Items: items}
}

// AccessColumns are those of rbac, one row for each rule.
var AccessColumns = []Column{
	{Name: "Role", Always: true}, {Name: "Namespace"}, {Name: "Group"}, {Name: "Resources", Always: true}, {Name: "Verbs", Always: true}, {Name: "Names"}, {Name: "Without"},
}

// Rows gives one for each rule.
func (d Access) Rows() []Row {
	var rows []Row
	for _, o := range d.Items {
		for _, r := range o.Rules {
			rows = append(rows, Row{
				o.Metadata.Name, o.Metadata.Namespace, strings.Join(r.APIGroups, ","), strings.Join(r.Resources, ","), strings.Join(r.Verbs, ","),
				strings.Join(r.ResourceNames, ","), r.Without,
			})
		}
	}
	return rows
}

// Names are those of the objects.
func (d Access) Names() []string {
	var names []string
	for _, o := range d.Items {
		names = append(names, strings.ToLower(o.Kind)+"/"+o.Metadata.Name)
	}
	return names
}

// Text says whom it is for.
func (d Access) Text() string {
	if slices.ContainsFunc(d.Items, func(o AccessObject) bool { return len(o.Subjects) > 0 }) {
		return ""
	}
	return "without a binding: --service-account, --user or --group say whom it is for"
}

// Write prints the objects as YAML, with a comment on each rule that can be left out.
func (d Access) Write(out io.Writer) error {
	var text bytes.Buffer
	for i, o := range d.Items {
		if i > 0 {
			text.WriteString("---\n")
		}
		rules := o.Rules
		o.Rules = nil
		head, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		text.Write(head)
		if len(rules) > 0 {
			text.WriteString("rules:\n")
		}
		for _, r := range rules {
			if r.Without != "" {
				fmt.Fprintf(&text, "# can be left out: then %s\n", r.Without)
			}
			if err := r.write(&text); err != nil {
				return err
			}
		}
	}
	_, err := text.WriteTo(out)
	return err
}

// write prints a rule in a few lines: each list is one of JSON, as YAML takes it.
func (r AccessRule) write(out *bytes.Buffer) error {
	before := "- "
	for _, list := range []struct {
		name string
		of   []string
	}{{"apiGroups", r.APIGroups}, {"resources", r.Resources}, {"resourceNames", r.ResourceNames}, {"verbs", r.Verbs}} {
		if len(list.of) == 0 {
			continue
		}
		line, err := json.Marshal(list.of)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s%s: %s\n", before, list.name, line)
		before = "  "
	}
	return nil
}
