package mirrorfile

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
)

//go:embed secretmirror.schema.json
var schemaText []byte

// schema is compiled when the first file is read, and never when a binary starts.
var schema = sync.OnceValue(func() *jsonschema.Schema {
	const url = "secretmirror.schema.json"
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		panic(err) // it is part of the program
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(url, parsed); err != nil {
		panic(err)
	}
	return compiler.MustCompile(url)
})

// JSONSchema is the schema as it is published.
func JSONSchema() []byte { return slices.Clone(schemaText) }

// check holds a document against the schema.
func (d *document) check(value any) {
	var failed *jsonschema.ValidationError
	if err := schema().Validate(value); errors.As(err, &failed) {
		d.explain(failed)
	}
}

// explain says in words what the leaves of a validation error are about.
func (d *document) explain(e *jsonschema.ValidationError) {
	path := dotted(e.InstanceLocation)
	key, value := d.find(e.InstanceLocation)
	at := value
	if key != nil {
		at = key
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			unknown, _ := field(value, name)
			d.wrong(unknown, "%s: there is no such field%s", join(path, name), d.instead(e.InstanceLocation, name))
		}
	case *kind.Required:
		for _, name := range k.Missing {
			if !d.misspelt(e.InstanceLocation, value, name) {
				d.wrong(at, "%s is missing: %s", join(path, name), wanted[join(path, name)])
			}
		}
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			if !slices.ContainsFunc([]string{"names", "all", "selector"}, func(name string) bool { return d.misspelt(e.InstanceLocation, value, name) }) {
				d.wrong(at, "%s: nothing says which secrets: give names, all: true or selector", path)
			}
			return
		}
		d.contradiction(path, value, []string{"names", "all", "selector"}, "exclude each other: leave one of them")
	case *kind.Not:
		d.not(e, path, value)
	case *kind.Const:
		d.wrong(value, "%s: it must be %v, not %s", path, k.Want, shown(value))
	case *kind.Type:
		d.wrong(value, "%s: it must be %s, not %s%s", path, typeNames[k.Want[0]], shown(value), like(k.Want[0], value))
	case *kind.MinLength, *kind.MinItems:
		d.wrong(value, "%s: it can't be empty: %s", path, emptyMeans(e.InstanceLocation))
	case *kind.MaxLength:
		d.wrong(value, "%s: it has %d characters, and %d is the most", path, k.Got, k.Want)
	case *kind.Pattern:
		d.wrong(value, "%s: %q can't be a name: lower-case letters, digits and hyphens, with a letter or a digit at both ends", path, k.Got)
	case *kind.UniqueItems:
		_, again := d.find(append(slices.Clone(e.InstanceLocation), strconv.Itoa(k.Duplicates[1])))
		d.wrong(again, "%s: %s stands there twice: leave it out", path, shown(again))
	default:
		if len(e.Causes) == 0 {
			d.wrong(at, "%s: %v", path, e)
		}
		for _, cause := range e.Causes {
			d.explain(cause)
		}
	}
}

// not explains the rules of what doesn't go together.
func (d *document) not(e *jsonschema.ValidationError, path string, value *yaml.Node) {
	if strings.Contains(e.SchemaURL, "oneName") {
		d.contradiction(path, value, []string{"into", "nameTemplate"}, "exclude each other: leave one of them")
		return
	}
	d.contradiction(path, value, []string{"prune", "selector"},
		"exclude each other: what labels a secret had that is gone nobody knows; prune goes with names or with all")
}

// contradiction is reported at the last of the fields that make it.
func (d *document) contradiction(path string, of *yaml.Node, fields []string, why string) {
	var there []string
	last := of
	for _, name := range fields {
		if key, _ := field(of, name); key != nil {
			there = append(there, name)
			if last == of || key.Line > last.Line {
				last = key
			}
		}
	}
	d.wrong(last, "%s: %s %s", path, list(there), why)
}

// wanted says what would be right where something is missing.
var wanted = map[string]string{
	"apiVersion":    "write apiVersion: " + APIVersion,
	"kind":          "write kind: " + Kind,
	"metadata":      "write metadata: {name: NAME}",
	"metadata.name": "call the mirror something",
	"spec":          "it says what to mirror, with from, to and names, all or selector",
	"spec.from":     "write where the origins are, such as from: kubernetes:/NAMESPACE",
	"spec.to":       "write where the mirrors shall be, such as to: swarm",
}

// emptyMeans says what to do about an empty field.
func emptyMeans(path []string) string {
	if n := len(path); n == 2 && path[0] == "spec" && !slices.Contains(properties(path[:1]), path[1]) || n == 3 {
		return "write a secret's name"
	}
	if w, needed := wanted[dotted(path)]; needed {
		return w
	}
	return "leave it out, or fill it in"
}

// flags are fields that one may look for here, and that are no fields.
var flags = map[string]string{
	"force":          "a file can't ask to overwrite what secretx did not make, since it would for ever: run sync -f FILE --force once",
	"prove":          "run diff -f FILE --prove, or verify -f FILE",
	"noProbe":        "give --no-probe",
	"probeImage":     "give --probe-image",
	"fingerprintKey": "give --fingerprint-key",
	"retain":         "give --retain",
	"dryRun":         "give --dry-run",
	"namespace":      "a namespace is part of an endpoint: from: kubernetes:/NAMESPACE",
	"secrets":        "write names, all or selector",
	"name":           "write names: [NAME]",
	"labels":         "write selector: KEY=VALUE",
}

// instead says what may have been meant by a field that there is none of.
func (d *document) instead(path []string, name string) string {
	known := properties(path)
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	if hint, known := flags[name]; known {
		return ": " + hint
	}
	if len(path) == 0 && slices.Contains(properties([]string{"spec"}), name) {
		return ": it belongs below spec"
	}
	return "; there are " + list(known)
}

// misspelt tells whether a field that is missing stands there under a name that was taken for it: that is
// one mistake and not two.
func (d *document) misspelt(path []string, of *yaml.Node, name string) bool {
	known := properties(path)
	for i := 0; of != nil && i+1 < len(of.Content); i += 2 {
		if given := of.Content[i].Value; !slices.Contains(known, given) && nearest(given, known) == name {
			return true
		}
	}
	return false
}

// properties are the fields that the schema has at a path, in their order.
func properties(path []string) []string {
	at := schema()
	for _, step := range path {
		if at = at.Properties[step]; at == nil {
			return nil
		}
	}
	names := make([]string, 0, len(at.Properties))
	for name := range at.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// nearest finds the word that may have been meant: written in another case, or with up to two letters
// wrong, fewer where it is short.
func nearest(word string, words []string) string {
	best, least := "", 3
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return w
		}
		if n := distance(strings.ToLower(word), strings.ToLower(w)); n < least && n*2 < len(w)+1 {
			best, least = w, n
		}
	}
	return best
}

// distance counts the letters that have to be put in, taken out, changed or swapped.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

var typeNames = map[string]string{"string": "a text", "boolean": "true or false", "array": "a list", "object": "fields of its own"}

// like shows how what was given would be right.
func like(want string, n *yaml.Node) string {
	switch {
	case want == "array" && n.Kind == yaml.ScalarNode && n.Value != "" && n.ShortTag() != "!!null":
		return ": write [" + n.Value + "]"
	case want == "string" && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null":
		return ": put it in quotes"
	case want == "boolean" && slices.Contains([]string{"yes", "on", "y"}, strings.ToLower(n.Value)):
		return ": write true"
	case want == "boolean" && slices.Contains([]string{"no", "off", "n"}, strings.ToLower(n.Value)):
		return ": write false"
	case want == "boolean" && (n.Value == "true" || n.Value == "false"):
		return ": leave the quotes out"
	case want == "array" && n.Kind == yaml.ScalarNode:
		return ": write what belongs into it below, a line with a hyphen each"
	}
	return ""
}

// shown is what stands in a file, in words.
func shown(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "nothing"
	case n.ShortTag() == "!!str":
		text := n.Value
		if len(text) > 60 {
			text = text[:60] + "…"
		}
		return fmt.Sprintf("the text %q", text)
	}
	return n.Value
}

// whole is what a path of no steps is called.
const whole = "the document"

func join(path, name string) string {
	if path == whole {
		return name
	}
	return path + "." + name
}

func dotted(path []string) string {
	text := ""
	for _, step := range path {
		if _, err := strconv.Atoi(step); err == nil {
			text += "[" + step + "]"
			continue
		}
		if text != "" {
			text += "."
		}
		text += step
	}
	if text == "" {
		return whole
	}
	return text
}

// list makes "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
