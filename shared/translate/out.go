package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fields is a mapping in the order in which it is to be written. Its values are string, int64, bool, octal,
// []any and Fields.
type Fields []Field

// Field is one of them.
type Field struct {
	Name  string
	Value any
}

// octal is a mode: a person wants to read it as one, and JSON has no way to write it so.
type octal uint32

// with adds a field, unless it is empty.
func (f Fields) with(name string, value any) Fields {
	switch v := value.(type) {
	case nil:
		return f
	case string:
		if v == "" {
			return f
		}
	case bool:
		if !v {
			return f
		}
	case []any:
		if len(v) == 0 {
			return f
		}
	case Fields:
		if len(v) == 0 {
			return f
		}
	}
	return append(f, Field{name, value})
}

// get gives a field's value, nil when it isn't there.
func (f Fields) get(name string) any {
	for _, field := range f {
		if field.Name == name {
			return field.Value
		}
	}
	return nil
}

// MarshalJSON keeps the order.
func (f Fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, field := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshal(field.Name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(field.Value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// YAML writes a document.
func YAML(doc Fields) (string, error) { return yamlOf(doc) }

// yamlOf writes a document.
func yamlOf(value any) (string, error) {
	node := nodeOf(value)
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return "", fmt.Errorf("writing YAML: %w", err)
	}
	return b.String(), encoder.Close()
}

func nodeOf(value any) *yaml.Node {
	switch v := value.(type) {
	case Fields:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, f := range v {
			node.Content = append(node.Content, textNode(f.Name), nodeOf(f.Value))
		}
		return node
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, e := range v {
			node.Content = append(node.Content, nodeOf(e))
		}
		return node
	case int64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v, 10)}
	case octal:
		// YAML 1.1 and 1.2 differ about other spellings; kubectl, kustomize and docker all take this one.
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprintf("%04o", uint32(v))}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	case string:
		return textNode(v)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

// textNode leaves it to the library what has to be quoted so that every YAML reads it as text.
func textNode(text string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(text)
	if node.Tag == "!!str" && node.Style == 0 && looksOdd(text) {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// looksOdd: text that a YAML 1.1 reader might take for something else.
func looksOdd(text string) bool {
	if text == "" {
		return true
	}
	switch lower(text) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<":
		return true
	}
	first := text[0]
	if first >= '0' && first <= '9' || first == '.' || first == '+' || first == '-' {
		return strings.ContainsAny(text, "0123456789") && strings.Trim(text, "0123456789abcdefABCDEFxoXO_.:+-") == ""
	}
	return false
}

// list makes a list of texts.
func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, t := range texts {
		all[i] = t
	}
	return all
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func marshalIndent(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
