// Package inside is what the probe's helper is asked of containers and what it answers: where to
// look, and what stands there. The request is public and stands in the helper's arguments; the answers
// travel in the sealed stream of package envelope, one record for each container. It imports the
// standard library alone.
//
// Where values weren't asked for, an answer has nothing in it whose length tells that of a value.
package inside

import (
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
)

// Bounds of what is looked at in one container. What is beyond them is told of, without its bytes.
const (
	MaxFile   = 1 << 20 // of one file or variable
	MaxValues = 6 << 20 // of all values together; as base64 they fit into envelope.MaxLook
	MaxFiles  = 1000    // in the directories
	MaxDepth  = 8       // of the directories
)

// Request is what to look at.
type Request struct {
	// Proc is where the helper finds the processes: /proc, or wherever that of the node is mounted.
	Proc string
	// Reveal asks for the bytes beside their digests.
	Reveal bool `json:",omitempty"`
	// Wants are what is looked for; many containers share one.
	Wants      []Want
	Containers []Container
}

// Want is what one kind of container is looked into for.
type Want struct {
	Files       []string `json:",omitempty"` // absolute paths within the container
	Directories []string `json:",omitempty"` // all files in them
	Variables   []string `json:",omitempty"` // of its process's environment
}

// Container is one to look into.
type Container struct {
	PID  int
	ID   string // stands in the process's control groups or mounts, or it is another one by now
	Want int    // index into Wants
}

// ErrRequest says that a request makes no sense.
var ErrRequest = errors.New("this is not a request to look into containers")

// Marshal is the request as an argument.
func (r Request) Marshal() ([]byte, error) { return json.Marshal(r) }

// ParseRequest reads what Marshal made. All paths in it are absolute and clean.
func ParseRequest(b []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(b, &r); err != nil || !r.valid() {
		return Request{}, ErrRequest
	}
	return r, nil
}

func (r Request) valid() bool {
	paths := []string{r.Proc}
	for _, w := range r.Wants {
		paths = slices.Concat(paths, w.Files, w.Directories)
	}
	for _, p := range paths {
		if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
			return false
		}
	}
	for _, c := range r.Containers {
		if c.PID < 1 || len(c.ID) < 12 || c.Want < 0 || c.Want >= len(r.Wants) {
			return false
		}
	}
	return len(r.Containers) > 0
}

// Ended is why nothing is seen of a container whose process is no more.
const Ended = "it ended meanwhile"

// Answer is what stands in one container.
type Answer struct {
	// Unseen says why nothing could be looked at; all else is empty then.
	Unseen string `json:",omitempty"`
	// Files are those wanted that exist and all in the directories, each once. One that is wanted
	// and isn't here doesn't exist.
	Files []File `json:",omitempty"`
	// More tells that the directories hold more files than are listed.
	More bool `json:",omitempty"`
	// Variables are those wanted that are set.
	Variables []Variable `json:",omitempty"`
	// EnvUnseen says why the environment could not be read.
	EnvUnseen string `json:",omitempty"`
}

// File is one file, symbolic links followed within the container.
type File struct {
	Path   string
	Unseen string `json:",omitempty"` // why it has no digest
	Stat   bool   // the rest is known
	Mode   uint32 // permission bits, with set-ID and sticky ones
	UID    int
	GID    int
	Content
}

// Variable is one of the environment.
type Variable struct {
	Name   string
	Unseen string `json:",omitempty"`
	Content
}

// Content is what is told of some bytes: HMAC-SHA-256 under the job's nonce, and themselves where
// they were asked for.
type Content struct {
	Digest []byte `json:",omitempty"`
	Value  []byte `json:",omitempty"`
	// Withheld tells that they were asked for, but that the container has more of them than fit.
	Withheld bool `json:",omitempty"`
}

// ErrAnswer says that an answer makes no sense.
var ErrAnswer = errors.New("the helper's answer makes no sense")

// Marshal is the answer as the body of a record.
func (a Answer) Marshal() ([]byte, error) { return json.Marshal(a) }

// ParseAnswer reads what Marshal made.
func ParseAnswer(b []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(b, &a); err != nil {
		return Answer{}, ErrAnswer // json's own error may quote
	}
	for _, f := range a.Files {
		if !path.IsAbs(f.Path) || !f.valid(f.Unseen) {
			return Answer{}, ErrAnswer
		}
	}
	for _, v := range a.Variables {
		if v.Name == "" || !v.valid(v.Unseen) {
			return Answer{}, ErrAnswer
		}
	}
	return a, nil
}

const digestSize = 32

// valid: there is a digest or a reason for none.
func (c Content) valid(unseen string) bool {
	return len(c.Digest) == digestSize && unseen == "" || c.Digest == nil && c.Value == nil && unseen != ""
}
