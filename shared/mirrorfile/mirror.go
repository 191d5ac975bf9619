package mirrorfile

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/selector"
)

// mirror takes over what a document says. What the schema can't tell is checked on the way, field by
// field, also when others are wrong.
func (d *document) mirror() Mirror {
	m := Mirror{At: d.at(d.root)}
	_, metadata := field(d.root, "metadata")
	if key, name := field(metadata, "name"); key != nil {
		m.Name, m.At = text(name), d.at(key)
	}
	_, spec := field(d.root, "spec")
	var fromOK, toOK bool
	m.From, fromOK = d.address(spec, "from")
	m.To, toOK = d.address(spec, "to")
	if fromOK && toOK && m.From == m.To {
		_, to := field(spec, "to")
		d.wrong(to, "spec.to: it is the same place as spec.from, %s", m.From)
	}
	if _, names := field(spec, "names"); names != nil && names.Kind == yaml.SequenceNode {
		for _, n := range names.Content {
			m.Request.Names = append(m.Request.Names, text(n))
		}
	}
	m.Request.All = d.flag(spec, "all")
	m.Request.Prune = d.flag(spec, "prune")
	m.Request.Adopt = d.flag(spec, "adopt")
	m.Rollout = d.flag(spec, "rollout")
	var node *yaml.Node
	if _, node = field(spec, "selector"); text(node) != "" {
		m.Request.Selector = text(node)
		if _, err := selector.Parse(m.Request.Selector, m.From.Kind); fromOK && err != nil {
			d.wrong(node, "spec.selector: %v", err)
		}
	}
	if _, node = field(spec, "nameTemplate"); text(node) != "" {
		m.Request.NameTemplate = text(node)
		if _, err := mapping.ParseNameTemplate(m.Request.NameTemplate); err != nil {
			d.wrong(node, "spec.nameTemplate: %v; there are .Name, .Key, .Namespace and .Default", err)
		}
	}
	if _, node = field(spec, "into"); text(node) != "" {
		m.Request.Into = text(node)
		if toOK && !mapping.ValidName(m.To.Kind, m.Request.Into) {
			d.wrong(node, "spec.into: %q can't be the name of a secret in %s: %s", m.Request.Into, m.To.Kind, nameRules[m.To.Kind])
		}
	}
	return m
}

var nameRules = map[secret.Kind]string{
	secret.Swarm:      "at most 64 letters, digits, hyphens, underscores and dots, with a letter or a digit at both ends",
	secret.Kubernetes: "lower-case letters, digits, hyphens and dots, with a letter or a digit at both ends",
}

// text is that of a node that holds one; empty for all others, which the schema has something against.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" && n.ShortTag() != "!!timestamp" {
		return ""
	}
	return n.Value
}

func (d *document) flag(spec *yaml.Node, name string) bool {
	_, n := field(spec, name)
	return n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" && strings.EqualFold(n.Value, "true")
}

func (d *document) address(spec *yaml.Node, name string) (endpoint.Address, bool) {
	_, n := field(spec, name)
	if text(n) == "" {
		return endpoint.Address{}, false
	}
	a, err := endpoint.ParseAddress(text(n))
	if err != nil {
		kind, rest, _ := strings.Cut(text(n), ":")
		hint := ""
		if near := nearest(kind, []string{"swarm", "kubernetes", "k8s"}); near != "" && near != kind {
			hint = "; did you mean " + near
			if rest != "" {
				hint += ":" + rest
			}
			hint += "?"
		}
		d.wrong(n, "spec.%s: %v%s", name, err, hint)
		return a, false
	}
	return a, true
}
