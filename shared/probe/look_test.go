package probe

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/probe/inside"
	"github.com/secretx/secretx/shared/secret"
)

func testRequest(reveal bool) inside.Request {
	return inside.Request{
		Proc: "/proc", Reveal: reveal, Wants: []inside.Want{{}},
		Containers: []inside.Container{{PID: 1, ID: "0123456789ab"}, {PID: 2, ID: "0123456789ab"}},
	}
}

// said is what a helper would log.
func said(t *testing.T, l *Look, bodies ...string) *bytes.Buffer {
	t.Helper()
	job, err := envelope.ParseArgs(l.Args())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w, err := envelope.NewWriter(&log, job)
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range bodies {
		if err := w.Record(i, envelope.Body, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &log
}

func TestLook(t *testing.T) {
	value := secret.NewValue([]byte("a value"))
	digest := value.Digest([]byte("nonce"))
	body, err := inside.Answer{
		Files: []inside.File{
			{Path: "/a", Stat: true, Mode: 0o400, UID: 5, GID: 6, Content: inside.Content{Digest: digest[:], Value: []byte("a value")}},
			{Path: "/empty", Content: inside.Content{Digest: digest[:]}},
			{Path: "/much", Content: inside.Content{Digest: digest[:], Withheld: true}},
			{Path: "/pipe", Unseen: "it is a named pipe"},
		},
		Variables: []inside.Variable{{Name: "A", Content: inside.Content{Digest: digest[:]}}},
	}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, reveal := range []bool{false, true} {
		l, err := NewLook(testRequest(reveal), []byte("nonce"))
		if err != nil {
			t.Fatal(err)
		}
		var all []Inside
		if err := l.Read(said(t, l, string(body), `{"Unseen":"why"}`), func(one Inside) error { all = append(all, one); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(all) != 2 || all[1].Unseen != "why" || all[1].Index != 1 || all[1].Seen.Files != nil {
			t.Fatalf("%+v", all)
		}
		files := all[0].Seen.Files
		if a := files["/a"]; a.Mode != 0o400 || a.UID != 5 || a.GID != 6 || !a.Stat || !a.Content.Digest.Equal(digest) {
			t.Errorf("%+v", a)
		}
		for name, known := range map[string]bool{"/a": reveal, "/empty": reveal, "/much": false, "/pipe": false} {
			if got := files[name].Content.Value.Known(); got != known {
				t.Errorf("%s: known %v", name, got)
			}
		}
		if reveal && !files["/a"].Content.Value.Equal(value) || files["/pipe"].Unseen == "" || all[0].Seen.Env["A"].Digest != digest {
			t.Errorf("%+v", files)
		}
		if text := fmt.Sprintf("%+v %#v", all, all); strings.Contains(text, "a value") {
			t.Error("it prints a value")
		}
	}
}

func TestLookBounds(t *testing.T) {
	none := testRequest(false)
	none.Containers = nil
	long := testRequest(false)
	long.Wants[0].Files = []string{"/" + strings.Repeat("x", MaxRequest)}
	for name, request := range map[string]inside.Request{"none": none, "long": long} {
		if _, err := NewLook(request, []byte("n")); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := NewLook(testRequest(false), nil); err == nil {
		t.Error("without a nonce: taken")
	}
	l, err := NewLook(testRequest(false), []byte("n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Read(said(t, l, "hunter2", "{}"), func(Inside) error { return nil }); !errors.Is(err, inside.ErrAnswer) || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
