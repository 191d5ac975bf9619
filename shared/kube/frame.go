package kube

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/secret"
)

// question is what is asked of one container.
type question struct {
	files, directories, variables []string
}

// questionOf asks for everything that a container is meant to have.
func questionOf(container *peek.Container) question {
	q := question{directories: container.Directories}
	for _, w := range container.Wants {
		switch w.How {
		case peek.File:
			if w.Key != "" && !slices.Contains(q.files, w.Path) {
				q.files = append(q.files, w.Path)
			}
		case peek.Env, peek.Pointer:
			if w.Variable != "" && !slices.Contains(q.variables, w.Variable) {
				q.variables = append(q.variables, w.Variable)
			}
		case peek.Pull:
		}
	}
	return q
}

func (q question) empty() bool { return len(q.files)+len(q.directories)+len(q.variables) == 0 }

// arguments are those of the script.
func (q question) arguments() []string {
	var all []string
	for _, p := range q.files {
		all = append(all, "f", p)
	}
	for _, p := range q.directories {
		all = append(all, "d", p)
	}
	if len(q.variables) > 0 {
		all = append(all, "e", "")
	}
	return all
}

var (
	// errCut: the script didn't get to its end.
	errCut = errors.New("the answer of the container broke off")
	// errClosed: the processes of the other container are not ours to look at.
	errClosed = errors.New("its files can't be reached from beside it")
)

// answerReader takes an answer of the script apart.
type answerReader struct {
	question
	options peek.LookOptions
	seen    peek.Seen

	next   int    // of the files that were asked for
	path   string // of the file that is being told of
	bytes  []byte // of that file, or of the environment
	expect string // the word of the frame that must follow, empty for any but the next two
}

// What must follow a file that wasn't asked for, and bytes of one and of the environment.
const (
	expectAbout  = "about"
	expectStatus = "status"
)

// read gives what a container has. What wasn't asked for isn't in it, and the bytes of the answer stay
// the caller's.
func (q question) read(answer []byte, boundary string, options peek.LookOptions) (peek.Seen, error) {
	r := answerReader{question: q, options: options, seen: peek.Seen{Files: map[string]peek.FileSeen{}, Env: map[string]peek.Content{}}}
	// Before the first frame there may be whatever a shell says when it starts.
	for i, frame := range bytes.Split(answer, []byte(boundary)) {
		if i == 0 {
			continue
		}
		head, body, _ := bytes.Cut(frame, []byte("\n"))
		switch word, argument, _ := strings.Cut(string(head), " "); word {
		case "closed":
			return peek.Seen{}, errClosed
		case "end":
			if r.expect != "" || r.next < len(r.files) {
				return peek.Seen{}, errCut
			}
			return r.seen, nil
		default:
			if !r.frame(word, argument, body) {
				return peek.Seen{}, errCut
			}
		}
	}
	return peek.Seen{}, errCut
}

// frame takes one frame; it is false when that can't stand there.
func (r *answerReader) frame(word, argument string, body []byte) bool {
	if r.expect != word && (r.expect != "" || word == expectAbout || word == expectStatus) {
		return false
	}
	r.expect = ""
	switch word {
	case "file":
		if r.next >= len(r.files) {
			return false
		}
		r.path = r.files[r.next]
		r.next++
		r.about(string(body))
	case "bytes":
		r.bytes, r.expect = body, expectStatus
		_, there := r.seen.Files[r.path]
		return there
	case "other":
		r.path, r.expect = path.Clean(string(body)), expectAbout
		return slices.ContainsFunc(r.directories, func(d string) bool { return strings.HasPrefix(r.path, strings.TrimSuffix(d, "/")+"/") })
	case expectAbout:
		if !slices.Contains(r.files, r.path) {
			r.about(string(body))
		}
		r.path = ""
	case "environment":
		r.path, r.bytes, r.expect = "", body, expectStatus
	case expectStatus:
		r.status(argument == "0")
	default:
		return false
	}
	return true
}

// about takes what stat or ls said of the file. One that isn't there isn't in what was seen.
func (r *answerReader) about(said string) {
	said = strings.TrimSuffix(said, "\n")
	file, ok := parseStat(said)
	switch {
	case ok:
	case strings.HasSuffix(said, "No such file or directory"), strings.HasSuffix(said, "Not a directory"):
		return
	case strings.HasSuffix(said, "Permission denied"):
		file.Unseen = deniedFile
	default:
		file.Unseen = "it can't be looked at: " + brief(lastWords(said))
	}
	r.seen.Files[r.path] = file
}

const (
	deniedFile = "the user of the container may not read it"
	deniedEnv  = "the environment of process 1 may not be read by the user of the container"
)

// status ends the bytes of a file or of the environment.
func (r *answerReader) status(read bool) {
	if r.path == "" {
		r.variablesOf(read)
		return
	}
	file := r.seen.Files[r.path]
	switch {
	case file.Unseen != "":
	case !read:
		file.Unseen = deniedFile
	default:
		file.Content = r.content(r.bytes)
	}
	r.seen.Files[r.path] = file
}

// variablesOf finds those that were asked for. The first of a name counts, as it does for getenv.
func (r *answerReader) variablesOf(read bool) {
	if !read {
		r.seen.EnvUnseen = deniedEnv
		return
	}
	if len(bytes.Trim(r.bytes, "\x00")) == 0 {
		r.seen.EnvUnseen = "process 1 has overwritten its environment"
		return
	}
	for entry := range bytes.SplitSeq(r.bytes, []byte{0}) {
		name, value, _ := bytes.Cut(entry, []byte("="))
		if _, twice := r.seen.Env[string(name)]; !twice && slices.Contains(r.variables, string(name)) {
			r.seen.Env[string(name)] = r.content(value)
		}
	}
}

func (r *answerReader) content(b []byte) peek.Content {
	c := peek.Content{Digest: secret.NewValue(b).Digest(r.options.Nonce)}
	if r.options.Reveal {
		c.Value = secret.NewValue(bytes.Clone(b))
	}
	return c
}

// parseStat reads a line of stat -c '%a %u %g %F', or of ls -ln.
func parseStat(line string) (peek.FileSeen, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return peek.FileSeen{}, false
	}
	if mode, err := strconv.ParseUint(fields[0], 8, 32); err == nil {
		return fileSeen(uint32(mode), fields[1], fields[2], strings.Contains(line, " regular "))
	}
	mode, ok := parseMode(fields[0])
	if !ok {
		return peek.FileSeen{}, false
	}
	return fileSeen(mode, fields[2], fields[3], fields[0][0] == '-')
}

func fileSeen(mode uint32, uid, gid string, regular bool) (peek.FileSeen, bool) {
	user, errUser := strconv.Atoi(uid)
	group, errGroup := strconv.Atoi(gid)
	if errUser != nil || errGroup != nil {
		return peek.FileSeen{}, false
	}
	file := peek.FileSeen{Stat: true, Mode: mode & 0o777, UID: user, GID: group}
	if !regular {
		file.Unseen = "it is not a regular file"
	}
	return file, true
}

// parseMode reads -rwxr-x---, whatever stands behind it.
func parseMode(text string) (mode uint32, ok bool) {
	if len(text) < 10 || !strings.ContainsRune("-dlbcps", rune(text[0])) {
		return 0, false
	}
	for i, letter := range []byte(text[1:10]) {
		mode <<= 1
		switch {
		case letter == "rwxrwxrwx"[i], letter == 's', letter == 't':
			mode |= 1
		case letter != '-' && letter != 'S' && letter != 'T':
			return 0, false
		}
	}
	return mode, true
}

// lastWords is what a program says after its own name and that of the file.
func lastWords(said string) string {
	return strings.TrimSpace(said[strings.LastIndex(said, ": ")+1:])
}
