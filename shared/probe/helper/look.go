package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/probe/inside"
)

// look answers for each container of the job's request.
func look(job envelope.Job, w *envelope.Writer) int {
	request, err := inside.ParseRequest(job.Request)
	if err != nil || len(request.Containers) != job.Count {
		return envelope.ExitArgs
	}
	buffer := make([]byte, inside.MaxFile+1) // the same for all, so that few copies of a value come to be
	for i, c := range request.Containers {
		one := looker{request: &request, nonce: job.Nonce, want: request.Wants[c.Want], left: inside.MaxValues, buffer: buffer}
		body, err := one.container(c).Marshal()
		if err != nil || len(body) > envelope.MaxLook {
			body = []byte(`{"Unseen":"there is too much in it"}`)
		}
		err = w.Record(i, envelope.Body, body)
		clear(body)
		if err != nil {
			return envelope.ExitWrite
		}
	}
	clear(buffer)
	if err := w.Close(); err != nil {
		return envelope.ExitWrite
	}
	return envelope.ExitDone
}

// looker looks into one container.
type looker struct {
	request *inside.Request
	nonce   []byte
	want    inside.Want
	left    int // bytes that may still be revealed
	buffer  []byte
	root    *os.Root // of the container
	owners  owners
	answer  inside.Answer
}

// container looks through the root directory of the container's process, where its mounts are.
func (l *looker) container(c inside.Container) inside.Answer {
	process := l.request.Proc + "/" + strconv.Itoa(c.PID)
	root, err := os.OpenRoot(process + "/root")
	if err != nil {
		return inside.Answer{Unseen: unseen(err)}
	}
	defer func() { _ = root.Close() }()
	l.root = root
	environ, badEnviron := os.Open(process + "/environ")
	if badEnviron == nil {
		defer environ.Close()
	}
	// A number is given to another process later. Both are open by now, and stay what they are.
	if is, err := belongs(process, c.ID); !is {
		return inside.Answer{Unseen: unseen(err)}
	}
	l.owners = ownersOf(process)
	for _, file := range l.want.Files {
		l.wanted(file)
	}
	for _, directory := range l.want.Directories {
		l.directory(directory, 0)
	}
	if len(l.want.Variables) > 0 {
		if badEnviron != nil {
			l.answer.EnvUnseen = unseen(badEnviron)
		} else {
			l.environment(environ)
		}
	}
	return l.answer
}

// unseen is why something of a container can't be looked at.
func unseen(err error) string {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return inside.Ended
	case errors.Is(err, fs.ErrPermission):
		return "its node doesn't let the helper look into it, SELinux or AppArmor maybe (" + reason(err) + ")"
	}
	return "it can't be looked into (" + reason(err) + ")"
}

// reason is an error without the path.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return "unknown error"
}

// belongs tells whether a process is of the container: its control groups are named after it, and
// the files that the engine mounts into it stand in a folder of that name.
func belongs(process, id string) (is bool, err error) {
	for _, file := range []string{"/cgroup", "/mountinfo"} {
		content, failed := os.ReadFile(process + file)
		if strings.Contains(string(content), id) {
			return true, nil
		}
		if failed != nil {
			err = failed
		}
	}
	return false, err
}

// wanted looks at a file that should be there; one that isn't is left out.
func (l *looker) wanted(file string) {
	resolved, info, err := resolve(l.root, file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return
	case err != nil:
		l.add(inside.File{Path: file, Unseen: "it can't be looked at: " + reason(err)})
	default:
		l.add(l.file(file, resolved, info))
	}
}

// directory looks at all files under a directory that weren't looked at before.
func (l *looker) directory(directory string, depth int) {
	resolved, info, err := resolve(l.root, directory)
	if err != nil || !info.IsDir() {
		return
	}
	f, err := l.root.Open(resolved)
	if err != nil {
		l.add(inside.File{Path: directory, Unseen: "it is a directory that can't be read: " + reason(err)})
		return
	}
	defer f.Close()
	entries, _ := f.ReadDir(inside.MaxFiles + 1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		name := directory + "/" + entry.Name()
		switch {
		case len(l.answer.Files) >= inside.MaxFiles, len(name) > maxPath, depth == inside.MaxDepth:
			l.answer.More = true
		case entry.IsDir():
			l.directory(name, depth+1)
		case !l.has(name):
			l.extra(name)
		}
	}
}

// maxPath bounds a path that is found, so that the answer stays within its bounds.
const maxPath = 1000

// extra looks at what stands in a directory without being wanted. What a symbolic link leads to is
// of interest only if it is a file.
func (l *looker) extra(file string) {
	resolved, info, err := resolve(l.root, file)
	if err != nil || info.IsDir() {
		return
	}
	l.add(l.file(file, resolved, info))
}

func (l *looker) add(f inside.File) { l.answer.Files = append(l.answer.Files, f) }

func (l *looker) has(file string) bool {
	return slices.ContainsFunc(l.answer.Files, func(f inside.File) bool { return f.Path == file })
}

// file reads a file where it was found.
func (l *looker) file(name, resolved string, info fs.FileInfo) inside.File {
	one := inside.File{Path: name, Stat: true}
	one.Mode, one.UID, one.GID = l.owners.of(info)
	if one.Unseen = what(info.Mode()); one.Unseen != "" {
		return one
	}
	// What has become a pipe by now must not make us wait.
	f, err := l.root.OpenFile(resolved, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		one.Unseen = "it can't be read: " + reason(err)
		return one
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		one.Unseen = "it is changing just now"
		return one
	}
	one.Mode, one.UID, one.GID = l.owners.of(info)
	n, err := io.ReadFull(f, l.buffer)
	switch {
	case err == nil:
		one.Unseen = "it has more than 1 MiB"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		one.Content = l.content(l.buffer[:n])
	default:
		one.Unseen = "it can't be read: " + reason(err)
	}
	return one
}

// what says what something is other than a file.
func what(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return ""
	case fs.ModeDir:
		return "it is a directory"
	case fs.ModeNamedPipe:
		return "it is a named pipe"
	case fs.ModeSocket:
		return "it is a socket"
	}
	return "it is a device"
}

// content tells of bytes as much as was asked for.
func (l *looker) content(b []byte) inside.Content {
	mac := hmac.New(sha256.New, l.nonce)
	mac.Write(b)
	c := inside.Content{Digest: mac.Sum(nil)}
	switch {
	case !l.request.Reveal:
	case len(b) > l.left:
		c.Withheld = true
	default:
		c.Value = slices.Clone(b)
		l.left -= len(b)
	}
	return c
}

// maxEnvironment is more than the kernel gives to a process.
const maxEnvironment = 8 << 20

// environment is what the process was started with.
func (l *looker) environment(environ io.Reader) {
	all, err := io.ReadAll(io.LimitReader(environ, maxEnvironment))
	if err != nil {
		l.answer.EnvUnseen = unseen(err)
		return
	}
	found := map[string]string{}
	for entry := range strings.SplitSeq(string(all), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		if _, before := found[name]; !before { // of two, programs take the first
			found[name] = value
		}
	}
	for _, name := range l.want.Variables {
		value, set := found[name]
		switch {
		case !set:
		case len(value) > inside.MaxFile:
			l.answer.Variables = append(l.answer.Variables, inside.Variable{Name: name, Unseen: "it has more than 1 MiB"})
		default:
			l.answer.Variables = append(l.answer.Variables, inside.Variable{Name: name, Content: l.content([]byte(value))})
		}
	}
}

// maxLinks is how many symbolic links the kernel follows.
const maxLinks = 40

// resolve follows the symbolic links of an absolute path as a process in the container would: its
// root is theirs too. os.Root sees to it that, however the links change meanwhile, nothing outside is
// ever opened.
func resolve(root *os.Root, name string) (string, fs.FileInfo, error) {
	todo, done, links := strings.Split(name, "/"), ".", 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done) // that of "." is "."
			continue
		}
		here := path.Join(done, part)
		info, err := root.Lstat(here)
		if err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = here
			continue
		}
		if links++; links > maxLinks {
			return "", nil, syscall.ELOOP
		}
		target, err := root.Readlink(here)
		if err != nil {
			return "", nil, err
		}
		if path.IsAbs(target) {
			done = "."
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	info, err := root.Lstat(done)
	return done, info, err
}
