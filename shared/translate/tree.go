package translate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What is read is bounded before it costs anything: no Compose file or manifest of this world comes near,
// and what somebody made up to blow up a reader stops here.
const (
	LargestText = 4 << 20  // bytes
	mostMarks   = 800_000  // characters that may begin a YAML node: a node takes some 200 bytes
	mostNodes   = 500_000  // once aliases are expanded
	mostBytes   = 16 << 20 // of scalars, once aliases are expanded
	deepest     = 100      // levels
	// What one text may hold of what is translated.
	mostWorkloads = 5_000
	mostPublished = 20_000     // ports: a Service may be for all pods
	mostTexts     = 10_000     // documents in a stream
	marks         = ",[{:-?\n" // what a YAML node begins or ends with
)

// scalar is a value as it was written, which a number doesn't tell any more: 0400 and 256 are the same.
type scalar struct {
	text string
	tag  string // !!str, !!int, !!float, !!bool, !!null
	line int
}

func (s scalar) null() bool { return s.tag == "!!null" }

// object is a mapping that remembers what was asked of it, so that nothing is lost in silence.
type object struct {
	at     string // its path in the document, "" at the top
	keys   []string
	values map[string]any // scalar, []any, *object
	asked  map[string]bool
	doc    *document
}

// document collects the first complaint about what doesn't have the form that it should have.
type document struct {
	of   *Text // nil where that goes without saying
	line int
	err  error
	// twice notes keys that a mapping has more than once.
	twice []Note
	// expand is what becomes of each text before it is handed out; nil for nothing.
	expand func(string) string
}

func (d *document) text(s scalar) scalar {
	if d.expand != nil && !s.null() {
		s.text = d.expand(s.text)
	}
	return s
}

// notes are those on keys that stand twice, each once: the documents of a list share one.
func (d *document) notes() []Note {
	notes := d.twice
	d.twice = nil
	for i := range notes {
		if d.of != nil && d.of.Name != "" {
			notes[i].Text = d.of.Name + ": " + notes[i].Text
		}
	}
	return notes
}

func (d *document) complain(at, want string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s should be %s", at, want)
	}
}

var (
	errTooLarge = fmt.Errorf("it is larger than the %d MiB that are read", LargestText>>20)
	errBomb     = errors.New("its aliases, or its nesting, make it grow beyond all measure")
)

// parse reads JSON or a stream of YAML documents. Empty documents are left out; a JSON array is a document
// for each of its elements.
func parse(text []byte) ([]*object, error) {
	if len(text) > LargestText {
		return nil, errTooLarge
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var tops []any
	var err error
	if first := bytes.TrimLeft(text, " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') && json.Valid(first) {
		tops, err = parseJSON(first)
	} else {
		if tops, err = parseYAML(text); err != nil && bytes.Contains(text, []byte("{{")) {
			err = fmt.Errorf("%w; it looks like a template: what is between {{ and }} has to be filled in first, as helm template does for a chart", err)
		}
	}
	if err != nil {
		return nil, err
	}
	var docs []*object
	for _, top := range tops {
		elements := []any{top}
		if list, ok := top.([]any); ok {
			elements = list
		}
		for _, e := range elements {
			switch e := e.(type) {
			case *object:
				docs = append(docs, e)
			case scalar:
				if !e.null() {
					return nil, fmt.Errorf("line %d: it is neither a Compose file, a Kubernetes object nor a service: it begins with plain text", max(e.line, 1))
				}
			default:
				return nil, errors.New("it is a list of lists, and neither a Compose file, a Kubernetes object nor a service")
			}
		}
	}
	return docs, nil
}

func parseJSON(text []byte) ([]any, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("it isn't JSON: %w", err)
	}
	g := grower{}
	top, err := g.fromJSON(value, "", 0, &document{line: 1})
	return []any{top}, err
}

func parseYAML(text []byte) ([]any, error) {
	count := 0
	for _, b := range text {
		if strings.IndexByte(marks, b) >= 0 {
			count++
		}
	}
	if count > mostMarks {
		return nil, errTooLarge
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var tops []any
	g := grower{} // one for all documents of a stream
	for range mostTexts {
		var node yaml.Node
		err := decode(decoder, &node)
		if errors.Is(err, io.EOF) {
			return tops, nil
		}
		if err != nil {
			return nil, err
		}
		if len(node.Content) == 0 {
			continue
		}
		top, err := g.fromYAML(node.Content[0], "", 0, &document{line: node.Content[0].Line})
		if err != nil {
			return nil, err
		}
		tops = append(tops, top)
	}
	return nil, fmt.Errorf("it has more than %d documents", mostTexts)
}

// decode reads the next document. What the library stumbles over may be a line with a value in it: its
// complaint is kept only as far as it names a line.
func decode(decoder *yaml.Decoder, node *yaml.Node) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it isn't YAML that can be read")
		}
	}()
	err = decoder.Decode(node)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.ContainsAny(text, "'\"`") {
		text, _, _ = strings.Cut(text, ": ")
	}
	return fmt.Errorf("it isn't YAML: %s", text)
}

// grower expands a tree, and counts what comes of it.
type grower struct{ nodes, bytes int }

func (g *grower) count(text string, depth int) error {
	g.nodes++
	g.bytes += len(text)
	if g.nodes > mostNodes || g.bytes > mostBytes || depth > deepest {
		return errBomb
	}
	return nil
}

func (g *grower) fromJSON(value any, at string, depth int, doc *document) (any, error) {
	plain := func(text, tag string) (any, error) {
		return scalar{text: withoutMarks(text), tag: tag}, g.count(text, depth)
	}
	switch v := value.(type) {
	case string:
		return plain(v, "!!str")
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err != nil {
			return plain(v.String(), "!!float")
		}
		return plain(v.String(), "!!int")
	case bool:
		return plain(strconv.FormatBool(v), "!!bool")
	case nil:
		return plain("", "!!null")
	case []any:
		list := make([]any, 0, len(v))
		for i, element := range v {
			e, err := g.fromJSON(element, join(at, i), depth+1, doc)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, g.count("", depth)
	case map[string]any:
		o := newObject(at, doc)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			e, err := g.fromJSON(v[key], join(at, key), depth+1, doc)
			if err != nil {
				return nil, err
			}
			o.set(key, e)
			g.bytes += len(key)
		}
		return o, g.count("", depth)
	}
	return nil, errors.New("it isn't JSON")
}

func (g *grower) fromYAML(node *yaml.Node, at string, depth int, doc *document) (any, error) {
	if err := g.count(node.Value, depth); err != nil {
		return nil, err
	}
	switch node.Kind {
	case yaml.AliasNode:
		return g.fromYAML(node.Alias, at, depth+1, doc)
	case yaml.ScalarNode:
		return scalar{text: withoutMarks(node.Value), tag: node.ShortTag(), line: node.Line}, nil
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for i, element := range node.Content {
			e, err := g.fromYAML(element, join(at, i), depth+1, doc)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	case yaml.MappingNode:
		o := newObject(at, doc)
		var merged []*object
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			for key.Kind == yaml.AliasNode {
				key = key.Alias
			}
			if key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key that isn't text", key.Line)
			}
			path := join(at, key.Value)
			if key.ShortTag() == "!!merge" {
				path = at
			}
			if err := g.count(key.Value, depth); err != nil {
				return nil, err
			}
			e, err := g.fromYAML(node.Content[i+1], path, depth+1, doc)
			if err != nil {
				return nil, err
			}
			if key.ShortTag() != "!!merge" {
				if _, there := o.values[key.Value]; there && len(doc.twice) < 20 {
					doc.twice = append(doc.twice, Note{
						Text: fmt.Sprintf("%s is what line %d says", path, key.Line), Reason: "it stands twice, and the last one holds, where a reader takes both at all",
					})
				}
				o.set(key.Value, e)
				continue
			}
			from, ok := e.([]any)
			if !ok {
				from = []any{e}
			}
			for _, m := range from {
				if m, ok := m.(*object); ok {
					merged = append(merged, m)
				}
			}
		}
		// What stands in the mapping itself wins, then what was merged first.
		for _, m := range merged {
			for _, key := range m.keys {
				if _, there := o.values[key]; !there {
					o.set(key, m.values[key])
				}
			}
		}
		return o, nil
	}
	return nil, fmt.Errorf("line %d: it isn't YAML that can be read", node.Line)
}

func newObject(at string, doc *document) *object {
	return &object{at: at, values: map[string]any{}, asked: map[string]bool{}, doc: doc}
}

func (o *object) set(key string, value any) {
	if _, there := o.values[key]; !there {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

// join makes the path of what is in a list or mapping, no longer than is of use in a message.
func join(at string, key any) string {
	if len(at) > 200 {
		return at
	}
	switch key := key.(type) {
	case int:
		return at + "[" + strconv.Itoa(key) + "]"
	case string:
		if len(key) > 100 {
			key = key[:100]
		}
		if at != "" {
			return at + "." + key
		}
		return key
	}
	return at
}

// The ways of asking. What is absent or null is the zero value; what has another form is complained about. All
// of them may be called on nil.

func (o *object) get(key string) (any, bool) {
	if o == nil {
		return nil, false
	}
	o.asked[key] = true
	v, there := o.values[key]
	if s, ok := v.(scalar); ok && s.null() {
		return nil, false
	}
	return v, there
}

func (o *object) has(key string) bool { _, there := o.get(key); return there }

func (o *object) scalar(key string) (scalar, bool) {
	v, there := o.get(key)
	if !there {
		return scalar{}, false
	}
	s, ok := v.(scalar)
	if !ok {
		o.doc.complain(join(o.at, key), "one value")
	}
	return o.doc.text(s), ok
}

func (o *object) str(key string) string { s, _ := o.scalar(key); return s.text }

func (o *object) object(key string) *object {
	v, there := o.get(key)
	if !there {
		return nil
	}
	m, ok := v.(*object)
	if !ok {
		o.doc.complain(join(o.at, key), "a mapping")
	}
	return m
}

func (o *object) list(key string) []any {
	v, there := o.get(key)
	if !there {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		o.doc.complain(join(o.at, key), "a list")
	}
	return list
}

func (o *object) objects(key string) []*object {
	var all []*object
	for i, e := range o.list(key) {
		switch e := e.(type) {
		case *object:
			all = append(all, e)
		case scalar:
			if !e.null() {
				o.doc.complain(join(join(o.at, key), i), "a mapping")
			}
		default:
			o.doc.complain(join(join(o.at, key), i), "a mapping")
		}
	}
	return all
}

func (o *object) strings(key string) []string {
	var all []string
	for i, e := range o.list(key) {
		s, ok := e.(scalar)
		if !ok {
			o.doc.complain(join(join(o.at, key), i), "one value")
		}
		all = append(all, o.doc.text(s).text)
	}
	return all
}

func (o *object) pairs(key string) []Pair {
	m := o.object(key)
	if m == nil {
		return nil
	}
	var all []Pair
	for _, k := range m.keys {
		all = append(all, Pair{k, m.str(k)})
	}
	return all
}

func (o *object) boolean(key string) bool {
	s, there := o.scalar(key)
	switch strings.ToLower(s.text) {
	case "true", "yes", "on", "y":
		return true
	case "false", "no", "off", "n", "":
	default:
		if there {
			o.doc.complain(join(o.at, key), "true or false")
		}
	}
	return false
}

// number reads a whole number, in whichever notation.
func (o *object) number(key string) (int64, bool) {
	s, there := o.scalar(key)
	if !there {
		return 0, false
	}
	n, err := wholeNumber(s)
	if err != nil {
		want := "a whole number"
		if strings.HasPrefix(s.text, "${") && len(s.text) < 100 {
			want += ", and nobody has set " + s.text + " (--set NAME=VALUE does)"
		}
		o.doc.complain(join(o.at, key), want)
		return 0, false
	}
	return n, true
}

// wholeNumber reads it as YAML does: 0400 is octal, as 0o400 is. Between quotes it is decimal.
func wholeNumber(s scalar) (int64, error) {
	text := strings.ReplaceAll(s.text, "_", "")
	if s.tag == "!!str" {
		return strconv.ParseInt(text, 10, 64)
	}
	if f, err := strconv.ParseFloat(text, 64); s.tag == "!!float" && err == nil && f == float64(int64(f)) {
		return int64(f), nil
	}
	return strconv.ParseInt(text, 0, 64)
}

// ignore tells that keys mean nothing here, nor anything below them.
func (o *object) ignore(keys ...string) {
	if o == nil {
		return
	}
	for _, k := range keys {
		delete(o.values, k)
	}
}

// left are the paths that nobody has asked for, sorted, without what is empty. Their values are not told: a
// value may be one that nobody should see.
func (o *object) left() []string {
	var all []string
	o.gather(&all, 0)
	slices.Sort(all)
	return slices.Compact(all)
}

func (o *object) gather(into *[]string, depth int) {
	if o == nil || depth > deepest {
		return
	}
	for _, key := range o.keys {
		value, there := o.values[key]
		if !there {
			continue
		}
		if !o.asked[key] {
			if !empty(value) {
				*into = append(*into, join(o.at, key))
			}
			continue
		}
		switch v := value.(type) {
		case *object:
			v.gather(into, depth+1)
		case []any:
			for _, e := range v {
				if e, ok := e.(*object); ok {
					e.gather(into, depth+1)
				}
			}
		}
	}
}

func empty(value any) bool {
	switch v := value.(type) {
	case scalar:
		return v.null() || v.text == "" || v.tag == "!!bool" && v.text == "false" || v.text == "0" && v.tag == "!!int"
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !empty(e) })
	case *object:
		for _, key := range v.keys {
			if !empty(v.values[key]) {
				return false
			}
		}
		return true
	}
	return value == nil
}
