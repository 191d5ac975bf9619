package mirrorfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads one file: the mirrors that are declared well, and all that is wrong with the others.
func Parse(file string, text []byte) (mirrors []Mirror, problems Problems) {
	for _, part := range split(text) {
		d := document{file: file, offset: part.line - 1}
		if m, ok := d.read(part.text); ok {
			mirrors = append(mirrors, m)
		}
		problems = append(problems, d.problems...)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if a.At.Line != b.At.Line {
			return a.At.Line - b.At.Line
		}
		return a.At.Column - b.At.Column
	})
	return mirrors, problems
}

// part is one document of a file, and the line that it begins at.
type part struct {
	text []byte
	line int
}

// split cuts a file at its --- lines, which can't stand for anything else in YAML: so one that can't be
// parsed keeps none of the others from being checked.
func split(text []byte) (parts []part) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	begin, line, number := 0, 1, 0
	for at := 0; at < len(text); {
		number++
		end := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if l := bytes.TrimRight(text[at:end], "\r\n"); bytes.Equal(l, []byte("---")) || bytes.HasPrefix(l, []byte("--- ")) || bytes.HasPrefix(l, []byte("---\t")) {
			parts = append(parts, part{text[begin:at], line})
			begin, line = at, number
		}
		at = end
	}
	return append(parts, part{text[begin:], line})
}

// document is one document as it is read.
type document struct {
	file     string
	offset   int // of its first line in the file
	root     *yaml.Node
	problems Problems
}

func (d *document) at(n *yaml.Node) Position {
	return Position{File: d.file, Line: n.Line + d.offset, Column: n.Column}
}

func (d *document) wrong(n *yaml.Node, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.at(n), fmt.Sprintf(format, args...)})
}

// yamlPrefix is how the parser says where the block begins that it stumbled in.
var yamlPrefix = regexp.MustCompile(`^yaml: (?:line \d+: )?`)

// stumble finds the line that keeps a text from being YAML: the one behind the longest beginning that is.
func stumble(text []byte) int {
	lines := bytes.SplitAfter(text, []byte("\n"))
	const most = 500 // it takes parsing each beginning
	n, length := min(len(lines), most), 0
	for _, l := range lines[:n] {
		length += len(l)
	}
	for ; n > 0; n-- {
		if yaml.Unmarshal(text[:length], &yaml.Node{}) == nil {
			break
		}
		length -= len(lines[n-1])
	}
	return min(n+1, len(lines))
}

func (d *document) read(text []byte) (Mirror, bool) {
	first := &yaml.Node{Line: 1, Column: 1}
	if len(text) > largestDocument {
		d.wrong(first, "this document has more than %d bytes: make several mirrors of it", largestDocument)
		return Mirror{}, false
	}
	var tree yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&tree)
	if errors.Is(err, io.EOF) {
		return Mirror{}, false // comments alone
	}
	if err == nil {
		if rest := decoder.Decode(&yaml.Node{}); !errors.Is(rest, io.EOF) {
			err = errors.New("something follows the end of the document: put --- before it")
		}
	}
	if err != nil {
		first.Line = stumble(text)
		d.wrong(first, "this is not YAML: %s", yamlPrefix.ReplaceAllString(err.Error(), ""))
		return Mirror{}, false
	}
	d.root = tree.Content[0]
	if d.root.Kind == yaml.ScalarNode && d.root.ShortTag() == "!!null" {
		return Mirror{}, false // nothing between two ---
	}
	value := d.plain(d.root, "", 0)
	if value == nil {
		return Mirror{}, false
	}
	d.check(value)
	m := d.mirror()
	return m, len(d.problems) == 0
}

// deepest is how far a document may be nested; a SecretMirror is three deep.
const deepest = 16

// plain makes of a tree what a JSON document of the same meaning would be. What JSON has no word for is
// wrong; so are anchors, of which a few lines could become gigabytes.
func (d *document) plain(n *yaml.Node, path string, depth int) any {
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		d.wrong(n, "anchors and aliases are not supported: write it out")
		if n.Kind == yaml.AliasNode {
			return nil
		}
	}
	if depth > deepest {
		d.wrong(n, "nested too deep: a %s has spec and its fields", Kind)
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.plainMapping(n, path, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			list = append(list, d.plain(item, path+"["+strconv.Itoa(i)+"]", depth+1))
		}
		return list
	}
	switch n.ShortTag() {
	case "!!str":
		return n.Value
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		number, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			return float64(0) // 0x10 or the like: that it is a number is what matters
		}
		return number
	case "!!timestamp":
		return n.Value // a text to everybody but YAML
	}
	d.wrong(n, "the tag %s means nothing here: leave it out", n.Tag)
	return nil
}

func (d *document) plainMapping(n *yaml.Node, path string, depth int) any {
	fields := make(map[string]any, len(n.Content)/2)
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			d.wrong(key, "a field's name must be a text")
			continue
		}
		field := key.Value
		if path != "" {
			field = path + "." + key.Value
		}
		if line, twice := first[key.Value]; twice {
			d.wrong(key, "%s: it stands there twice, first in line %d: leave one", field, line)
			continue
		}
		first[key.Value] = d.at(key).Line
		fields[key.Value] = d.plain(value, field, depth+1)
	}
	return fields
}

// find goes along a path from the root: the node there, and the key above it where it is a field.
func (d *document) find(path []string) (key, value *yaml.Node) {
	value = d.root
	for _, step := range path {
		switch value.Kind {
		case yaml.MappingNode:
			k, v := field(value, step)
			if k == nil {
				return key, value
			}
			key, value = k, v
		case yaml.SequenceNode:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(value.Content) {
				return key, value
			}
			key, value = nil, value.Content[i]
		default:
			return key, value
		}
	}
	return key, value
}

// field finds a field of a mapping; nil where it has none of that name.
func field(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}
