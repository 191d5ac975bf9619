// Package mirrorfile reads files that declare mirrors: `kind: SecretMirror`, as many in a file as one likes.
// Whatever is wrong with a file is found in one pass, with its place and with what would be right; the JSON
// Schema that is published with it, secretmirror.schema.json, is the one that is used. It imports
// endpoint, mapping, plan, secret and selector, and the libraries for YAML and JSON Schema.
package mirrorfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
)

// What the documents of a file say of themselves.
const (
	APIVersion = "secretx.github.io/v1alpha1"
	Kind       = "SecretMirror"
)

// Stdin is the name of a file that stands for standard input.
const Stdin = "-"

// Mirror is one that a file declares.
type Mirror struct {
	Name     string
	At       Position
	From, To endpoint.Address
	// Request is what is asked for, as on the command line.
	Request plan.Request
	Rollout bool
}

// Position is a place in a file, counted from 1.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one thing that is wrong with a file: where, why, and what would be right.
type Problem struct {
	At   Position
	Text string
}

// Problems is the error of files that can't be used: all that is wrong with them.
type Problems []Problem

// mostProblems are shown; who has more begins with these.
const mostProblems = 200

func (p Problems) Error() string {
	var lines []string
	for i, one := range p {
		if i == mostProblems {
			lines = append(lines, fmt.Sprintf("and %d more", len(p)-i))
			break
		}
		lines = append(lines, one.At.String()+": "+one.Text)
	}
	if len(p) > 1 {
		lines = append(lines, fmt.Sprintf("%d mistakes; nothing was done", len(p)))
	}
	return strings.Join(lines, "\n")
}

// Limits of what is read. A file of 10,000 mirrors has 3 MB.
const (
	largestFile     = 16 << 20
	largestDocument = 1 << 20
)

// Read reads files, where "-" is in, and gives all mirrors that they declare, in their order. What is wrong
// with them is a Problems.
func Read(files []string, in io.Reader) ([]Mirror, error) {
	var all []Mirror
	var problems Problems
	for i, name := range files {
		if slices.Contains(files[:i], name) {
			return nil, fmt.Errorf("%s is named twice", name)
		}
		text, err := load(name, in)
		if err != nil {
			return nil, err
		}
		if name == Stdin {
			name = "<stdin>"
		}
		mirrors, found := Parse(name, text)
		if len(mirrors) == 0 && len(found) == 0 {
			found = Problems{{Position{File: name}, "there is no " + Kind + " in it"}}
		}
		all, problems = append(all, mirrors...), append(problems, found...)
	}
	problems = append(problems, twice(all)...)
	if len(problems) > 0 {
		return nil, problems
	}
	return all, nil
}

func load(name string, in io.Reader) (text []byte, err error) {
	if name == "" {
		return nil, errors.New("a file's name can't be empty")
	}
	if name != Stdin {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err = io.ReadAll(io.LimitReader(in, largestFile+1))
	if err == nil && len(text) > largestFile {
		err = fmt.Errorf("%s has more than %d bytes: split it", name, largestFile)
	}
	return text, err
}

// twice finds mirrors with one name.
func twice(all []Mirror) (problems Problems) {
	first := map[string]Position{}
	for _, m := range all {
		if at, seen := first[m.Name]; seen {
			problems = append(problems, Problem{m.At, fmt.Sprintf("metadata.name: another mirror is called %q already, at %s: give this one another name", m.Name, at)})
			continue
		}
		first[m.Name] = m.At
	}
	return problems
}
