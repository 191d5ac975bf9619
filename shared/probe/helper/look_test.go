//go:build linux

package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/probe"
	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/probe/inside"
	"github.com/secretx/secretx/shared/secret"
)

// tree writes files and links under a new folder. A content that begins with -> is a link.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "->"); link {
			err = os.Symlink(target, file)
		} else {
			err = os.WriteFile(file, []byte(content), 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestResolve: links lead where they would for a process in the container, and never out of it.
func TestResolve(t *testing.T) {
	outer := tree(t, map[string]string{
		"secret": "outside", "etc/passwd": "outside",
		"root/etc/passwd": "inside", "root/run/secrets/plain": "inside", "root/data/value": "inside",
		"root/run/secrets/absolute":  "->/etc/passwd",
		"root/run/secrets/up":        "->../../../../../../../etc/passwd",
		"root/run/secrets/out":       "->../../../secret",
		"root/run/secrets/out2":      "->/../secret",
		"root/run/secrets/through":   "->/var/run/secrets/absolute",
		"root/run/secrets/loop":      "->loop",
		"root/run/secrets/nowhere":   "->/none",
		"root/run/secrets/directory": "->/data",
		"root/var/run":               "->/run",
		"root/long/a":                "->b/../b/../c", "root/long/b/x": "x", "root/long/c": "->/data/value",
	})
	root, err := os.OpenRoot(filepath.Join(outer, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	for name, want := range map[string]string{
		"/run/secrets/plain": "run/secrets/plain", "/run/secrets/absolute": "etc/passwd", "/run/secrets/up": "etc/passwd",
		"/run/secrets/through": "etc/passwd", "/var/run/secrets/plain": "run/secrets/plain",
		"/run/secrets/directory/value": "data/value", "/long/a": "data/value", "/": ".", "/../../etc/passwd": "etc/passwd",
		"/run/secrets/out": "", "/run/secrets/out2": "", "/run/secrets/loop": "", "/run/secrets/nowhere": "", "/none/at/all": "",
	} {
		got, info, err := resolve(root, name)
		if got != want && err == nil || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err == nil && info == nil {
			t.Errorf("%s: nothing is known of it", name)
		}
	}
}

// FuzzResolve: however a link is written, what is opened is inside.
func FuzzResolve(f *testing.F) {
	for _, target := range []string{"../secret", "/secret", "../../../../secret", "a/../../secret", "/./../root/secret", "b/c", "/b/../../secret"} {
		f.Add(target, target, "/a")
		f.Add(target, "/", "/a/b/"+target)
	}
	f.Fuzz(func(t *testing.T, first, second, name string) {
		outer := tree(t, map[string]string{"secret": "outside", "root/secret": "inside", "root/d/secret": "inside"})
		if os.Symlink(first, filepath.Join(outer, "root/a")) != nil || os.Symlink(second, filepath.Join(outer, "root/d/b")) != nil {
			t.Skip()
		}
		root, err := os.OpenRoot(filepath.Join(outer, "root"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = root.Close() }()
		found, info, err := resolve(root, name)
		if err != nil || !info.Mode().IsRegular() {
			return
		}
		if content, err := root.ReadFile(found); err != nil || string(content) != "inside" {
			t.Errorf("%q leads to %q with %q: %v", name, found, content, err)
		}
	})
}

// idHere is something that stands in this process's mounts, as the ID of a container does.
func idHere(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Skip(err)
	}
	return slices.MaxFunc(strings.Fields(string(mounts)), func(a, b string) int { return len(a) - len(b) })
}

// child is another process, with an environment.
func child(t *testing.T, environment ...string) int {
	t.Helper()
	command := exec.Command("sleep", "60")
	command.Env = environment
	if err := command.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	for { // until it has become another program
		if name, err := os.ReadFile(filepath.Join("/proc", itoa(command.Process.Pid), "comm")); err != nil || strings.TrimSpace(string(name)) == "sleep" {
			return command.Process.Pid
		}
	}
}

func itoa(n int) string { return envelope.File(n) }

// ask is both ends with real processes and files between them.
func ask(t *testing.T, request inside.Request) []probe.Inside {
	t.Helper()
	l, err := probe.NewLook(request, []byte("a nonce"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if code := run(l.Args(), t.TempDir(), &log); code != envelope.ExitDone {
		t.Fatalf("exit code %d", code)
	}
	var all []probe.Inside
	if err := l.Read(&log, func(one probe.Inside) error { all = append(all, one); return nil }); err != nil || !l.Done() {
		t.Fatal(err)
	}
	return all
}

func TestLook(t *testing.T) {
	folder := tree(t, map[string]string{
		"wanted": "value", "extra": "extra", "deep/er/file": "deep", "empty": "", "link": "->wanted", "nowhere": "->none",
		"many": "->..", "big": strings.Repeat("x", inside.MaxFile+1), "full": strings.Repeat("x", inside.MaxFile),
	})
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, "wanted"), 0o440); err != nil {
		t.Fatal(err)
	}
	pid, id := child(t, "A_FILE=/run/secrets/x", "B=1=2", "EMPTY="), idHere(t)
	request := inside.Request{
		Proc: "/proc",
		Wants: []inside.Want{
			{Files: []string{folder + "/wanted", folder + "/none", folder, folder + "/wanted/below"}, Directories: []string{folder}, Variables: []string{"A_FILE", "B", "EMPTY", "NONE"}},
			{Files: []string{folder + "/wanted"}},
		},
		Containers: []inside.Container{
			{PID: pid, ID: id}, {PID: pid, ID: id, Want: 1},
			{PID: pid, ID: strings.Repeat("0", 64)}, {PID: 1 << 30, ID: id},
		},
	}
	for _, reveal := range []bool{false, true} {
		request.Reveal = reveal
		all := ask(t, request)
		seen := all[0].Seen
		if all[0].Unseen != "" || all[1].Unseen != "" || all[2].Unseen != inside.Ended || all[3].Unseen != inside.Ended {
			t.Errorf("unseen: %q, %q, %q, %q", all[0].Unseen, all[1].Unseen, all[2].Unseen, all[3].Unseen)
		}
		for name, want := range map[string]string{
			"/wanted": "value", "/extra": "extra", "/deep/er/file": "deep", "/empty": "", "/link": "value", "/full": strings.Repeat("x", inside.MaxFile),
		} {
			file := seen.Files[folder+name]
			isSeen(t, name, file.Content, want, reveal)
			if file.Unseen != "" || !file.Stat || file.UID != os.Getuid() || file.GID != os.Getgid() {
				t.Errorf("%s: %+v", name, file)
			}
		}
		if mode := seen.Files[folder+"/wanted"].Mode; mode != 0o440 {
			t.Errorf("the mode is %o", mode)
		}
		for name, want := range map[string]string{"/big": "it has more than 1 MiB", "/pipe": "it is a named pipe", "": "it is a directory"} {
			if file := seen.Files[folder+name]; file.Unseen != want || file.Content.Value.Known() {
				t.Errorf("%s: %+v", name, file)
			}
		}
		if len(seen.Files) != 9 || len(all[1].Seen.Files) != 1 {
			t.Errorf("%d and %d files", len(seen.Files), len(all[1].Seen.Files))
		}
		for name, want := range map[string]string{"A_FILE": "/run/secrets/x", "B": "1=2", "EMPTY": ""} {
			isSeen(t, name, seen.Env[name], want, reveal)
		}
		if len(seen.Env) != 3 || seen.EnvUnseen != "" {
			t.Errorf("%d variables, %s", len(seen.Env), seen.EnvUnseen)
		}
	}
}

func isSeen(t *testing.T, name string, got peek.Content, want string, reveal bool) {
	t.Helper()
	value := secret.NewValue([]byte(want))
	if !got.Digest.Equal(value.Digest([]byte("a nonce"))) || got.Value.Known() != reveal || reveal && !got.Value.Equal(value) {
		t.Errorf("%s is something else", name)
	}
}

// TestLookBounds: too many files, too deep, too many bytes to show.
func TestLookBounds(t *testing.T) {
	files := map[string]string{strings.Repeat("d/", inside.MaxDepth+2) + "file": "deep", "d/d/file": "seen"}
	for i := range inside.MaxFiles + 10 {
		files["z/"+itoa(i)] = "x"
	}
	many, full := tree(t, files), map[string]string{}
	for i := range 10 {
		full[itoa(i)] = strings.Repeat("x", inside.MaxFile)
	}
	heavy := tree(t, full)
	all := ask(t, inside.Request{
		Proc: "/proc", Reveal: true, Wants: []inside.Want{{Directories: []string{many}}, {Directories: []string{heavy}}},
		Containers: []inside.Container{{PID: os.Getpid(), ID: idHere(t)}, {PID: os.Getpid(), ID: idHere(t), Want: 1}},
	})
	if n := len(all[0].Seen.Files); n != inside.MaxFiles {
		t.Errorf("%d files", n)
	}
	if _, there := all[0].Seen.Files[many+"/d/d/file"]; !there {
		t.Error("what isn't deep is not there")
	}
	shown := 0
	for _, file := range all[1].Seen.Files {
		if file.Content.Value.Known() {
			shown++
		} else if file.Content.Digest == (secret.Digest{}) {
			t.Error("neither value nor digest")
		}
	}
	if shown != inside.MaxValues/inside.MaxFile {
		t.Errorf("%d are shown", shown)
	}
}

func TestLookExitCodes(t *testing.T) {
	good := inside.Request{Proc: "/proc", Wants: []inside.Want{{}}, Containers: []inside.Container{{PID: 1 << 30, ID: strings.Repeat("0", 64)}}}
	l, err := probe.NewLook(good, []byte("n"))
	if err != nil {
		t.Fatal(err)
	}
	args := l.Args()
	two := slices.Clone(args)
	two[3] = "2"
	bad := slices.Clone(args)
	bad[6] = "AAAA"
	for name, c := range map[string]struct {
		args []string
		want int
	}{"good": {args, envelope.ExitDone}, "two": {two, envelope.ExitArgs}, "bad": {bad, envelope.ExitArgs}} {
		var log bytes.Buffer
		if got := run(c.args, "", &log); got != c.want {
			t.Errorf("%s: exit code %d", name, got)
		}
	}
	if got := run(args, "", closed{}); got != envelope.ExitWrite {
		t.Errorf("closed log: exit code %d", got)
	}
}

// TestOwners: what is root in a container that has users of its own.
func TestOwners(t *testing.T) {
	all := []stretch{{inside: 0, outside: 100000, length: 1000}, {inside: 1000, outside: 300000, length: 1}}
	for id, want := range map[int]int{100000: 0, 100999: 999, 300000: 1000, 300001: nobody, 0: nobody} {
		if got := translate(id, all); got != want {
			t.Errorf("%d is %d", id, got)
		}
	}
	if translate(7, nil) != 7 {
		t.Error("without users of its own")
	}
}

func TestUnseen(t *testing.T) {
	for err, want := range map[error]string{
		&fs.PathError{Op: "open", Path: "/proc/1/root", Err: syscall.ESRCH}:  inside.Ended,
		&fs.PathError{Op: "open", Path: "/proc/1/root", Err: syscall.ENOENT}: inside.Ended,
		&fs.PathError{Op: "open", Path: "/proc/1/root", Err: syscall.EACCES}: "permission denied",
		&fs.PathError{Op: "open", Path: "/proc/1/root", Err: syscall.EIO}:    "input/output error",
	} {
		if got := unseen(err); !strings.Contains(got, want) || strings.Contains(got, "/proc") {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// TestEnvironment: of two variables with one name programs take the first.
func TestEnvironment(t *testing.T) {
	l := looker{request: &inside.Request{Reveal: true}, want: inside.Want{Variables: []string{"A", "B", "C", "D"}}, left: 100}
	l.environment(strings.NewReader("A=first\x00B\x00A=second\x00=C\x00D=\n=\x00"))
	var got []string
	for _, v := range l.answer.Variables {
		got = append(got, v.Name+" "+string(v.Value))
	}
	if want := []string{"A first", "B ", "D \n="}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
