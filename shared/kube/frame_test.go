package kube

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/secret"
)

const boundary = "QWERTYUIOPASDFGHJKLZXCVBNM"

func digest(b []byte) secret.Digest { return secret.NewValue(b).Digest([]byte("nonce")) }

// Whatever the bytes of the files and variables are, they arrive as they are.
func TestFramesAreBinarySafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(
			rapid.SliceOf(rapid.Byte()),
			rapid.Custom(func(t *rapid.T) []byte { // what looks like frames
				parts := []string{boundary[:20], "end\n", "file\n", "status 0\n", "\n", "\x00", "X=y"}
				return []byte(strings.Join(rapid.SliceOf(rapid.SampledFrom(parts)).Draw(t, "parts"), ""))
			}),
		)
		files := rapid.MapOf(rapid.StringMatching(`/[a-z/]{1,8}`), value).Draw(t, "files")
		env := rapid.MapOf(rapid.StringMatching(`[A-Z_.-]{1,5}`), rapid.StringMatching(`[^\x00]*`)).Draw(t, "env")
		q := question{files: slices.Sorted(maps.Keys(files)), variables: slices.Sorted(maps.Keys(env))}
		var answer bytes.Buffer
		answer.WriteString("a profile that prints something\n")
		for _, path := range q.files {
			fmt.Fprintf(&answer, "%sfile\n640 1 2 regular file\n%sbytes\n%s%sstatus 0\n", boundary, boundary, files[path], boundary)
		}
		fmt.Fprintf(&answer, "%senvironment\n", boundary)
		for _, name := range q.variables {
			fmt.Fprintf(&answer, "%s=%s\x00OTHER-ONE=x\x00", name, env[name])
		}
		fmt.Fprintf(&answer, "%sstatus 0\n%send\n", boundary, boundary)
		seen, err := q.read(answer.Bytes(), boundary, peek.LookOptions{Nonce: []byte("nonce"), Reveal: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(seen.Files) != len(files) || len(seen.Env) != len(env) {
			t.Fatalf("%d files of %d, %d variables of %d: %s", len(seen.Files), len(files), len(seen.Env), len(env), seen.EnvUnseen)
		}
		for path, value := range files {
			f := seen.Files[path]
			if f.Content.Digest != digest(value) || !bytes.Equal(f.Content.Value.Reveal(), value) || !f.Stat || f.Mode != 0o640 || f.UID != 1 || f.GID != 2 || f.Unseen != "" {
				t.Fatalf("%s: %+v", path, f)
			}
		}
		for name, value := range env {
			if seen.Env[name].Digest != digest([]byte(value)) {
				t.Fatal(name)
			}
		}
		for cut := range answer.Len() - len("end\n") {
			if _, err := q.read(answer.Bytes()[:cut], boundary, peek.LookOptions{}); err == nil {
				t.Fatalf("an answer cut at %d of %d is taken for whole", cut, answer.Len())
			}
		}
	})
}

// A container may answer what it likes: only what was asked for counts, and nothing breaks.
func FuzzFrames(f *testing.F) {
	for _, text := range []string{
		"", "Bend", "Bend\n", "Bclosed\n", "Bfile\n644 0 0 regular file\nBbytes\nxBstatus 0\nBend\n",
		"Bother\n/v/xBabout\n644 0 0 regular file\nBend\n", "Benvironment\nA=b\x00Bstatus 0\nBend\n", "Bbytes\nBstatus 0\nBend\n",
		"Bfile\n-rw-r--r-- 1 0 0 5 Jan  1 00:00 /v/x\nBend\n", "Babout\nx\nBend\n", "Bfile\nstat: can't stat 'x': Permission denied\nBstatus 1\nBend\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		q := question{files: []string{"/v/a"}, directories: []string{"/v"}, variables: []string{"A"}}
		seen, err := q.read(answer, "B", peek.LookOptions{Nonce: []byte("n"), Reveal: true})
		if err != nil {
			return
		}
		if len(seen.Env) > 1 {
			t.Errorf("%d variables", len(seen.Env))
		}
		for path, file := range seen.Files {
			if path != "/v/a" && (file.Content.Value.Known() || !strings.HasPrefix(path, "/v/")) {
				t.Errorf("%q was not asked for: %+v", path, file)
			}
		}
	})
}

func TestWhatStatSays(t *testing.T) {
	for line, want := range map[string]peek.FileSeen{
		"644 0 0 regular file":        {Stat: true, Mode: 0o644},
		"0 0 0 regular empty file":    {Stat: true},
		"2750 1000 2000 regular file": {Stat: true, Mode: 0o750, UID: 1000, GID: 2000},
		"755 0 0 directory":           {Stat: true, Mode: 0o755, Unseen: "it is not a regular file"},
		"644 0 0 fifo":                {Stat: true, Mode: 0o644, Unseen: "it is not a regular file"},
		"-rw-r-----    1 1000     2000             5 Jan  1 00:00 /x": {Stat: true, Mode: 0o640, UID: 1000, GID: 2000},
		"-rwsr-sr-t. 1 0 0 5 Jan  1 00:00 /x":                         {Stat: true, Mode: 0o755},
		"-rwSr-Sr-T+ 1 0 0 5 Jan  1 00:00 /x":                         {Stat: true, Mode: 0o644},
		"prw-r--r-- 1 0 0 0 Jan  1 00:00 /x":                          {Stat: true, Mode: 0o644, Unseen: "it is not a regular file"},
	} {
		if got, ok := parseStat(line); !ok || got.Mode != want.Mode || got.UID != want.UID || got.GID != want.GID || got.Unseen != want.Unseen || !got.Stat {
			t.Errorf("%q: %+v", line, got)
		}
	}
	for _, line := range []string{"", "stat: can't stat '/x': No such file or directory", "999 0 0 regular file", "644 root root regular file", "-rw", "-rw-r--r-- 1 root root 5"} {
		if got, ok := parseStat(line); ok {
			t.Errorf("%q: %+v", line, got)
		}
	}
	q := question{files: []string{"/a", "/b", "/c", "/d"}}
	seen, err := q.read([]byte("Bfile\nstat: can't stat '/a': No such file or directory\nBfile\nls: /b: Not a directory\nBfile\nstat: can't stat '/c': Permission denied\nBfile\nstat: '/d': Input/output error\nBend\n"), "B", peek.LookOptions{})
	if err != nil || len(seen.Files) != 2 || seen.Files["/c"].Unseen != deniedFile || seen.Files["/d"].Unseen != "it can't be looked at: Input/output error" {
		t.Errorf("%v %+v", err, seen)
	}
}

func TestEnvironment(t *testing.T) {
	q := question{variables: []string{"A", "B"}}
	for answer, want := range map[string]struct {
		a, b   bool
		unseen string
	}{
		"A=x\x00B=\x00":              {true, true, ""},
		"A=x\x00A=y\x00":             {true, false, ""},
		"AB=x\x00":                   {false, false, ""},
		"":                           {false, false, "process 1 has overwritten its environment"},
		"\x00\x00\x00":               {false, false, "process 1 has overwritten its environment"},
		"X=A=x\x00B=many\nlines\x00": {false, true, ""},
	} {
		seen, err := q.read([]byte("|environment\n"+answer+"|status 0\n|end\n"), "|", peek.LookOptions{Nonce: []byte("nonce")})
		a, hasA := seen.Env["A"]
		_, hasB := seen.Env["B"]
		if err != nil || hasA != want.a || hasB != want.b || seen.EnvUnseen != want.unseen || hasA && a.Digest != digest([]byte("x")) {
			t.Errorf("%q: %+v, %v", answer, seen, err)
		}
		if a.Value.Known() {
			t.Error("a value is kept that nobody asked to see")
		}
	}
	seen, err := q.read([]byte("|environment\n|status 1\n|end\n"), "|", peek.LookOptions{})
	if err != nil || seen.EnvUnseen != deniedEnv {
		t.Errorf("%+v %v", seen, err)
	}
	if _, err := q.read([]byte("|closed\n|end\n"), "|", peek.LookOptions{}); err != errClosed {
		t.Error(err)
	}
}
