package inside

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

func request() Request {
	return Request{
		Proc: "/proc", Reveal: true,
		Wants:      []Want{{Files: []string{"/run/secrets/a", "/"}, Directories: []string{"/run/secrets"}, Variables: []string{"A_FILE"}}, {}},
		Containers: []Container{{PID: 1, ID: "0123456789abcdef", Want: 1}, {PID: 4194304, ID: "fedcba9876543210"}},
	}
}

func TestRequest(t *testing.T) {
	b, err := request().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseRequest(b); err != nil || !reflect.DeepEqual(got, request()) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*Request){
		"no containers":  func(r *Request) { r.Containers = nil },
		"process 0":      func(r *Request) { r.Containers[0].PID = 0 },
		"no want":        func(r *Request) { r.Containers[0].Want = 2 },
		"want -1":        func(r *Request) { r.Containers[0].Want = -1 },
		"no ID":          func(r *Request) { r.Containers[1].ID = "" },
		"proc":           func(r *Request) { r.Proc = "proc" },
		"relative":       func(r *Request) { r.Wants[0].Files[0] = "run/secrets/a" },
		"unclean":        func(r *Request) { r.Wants[0].Files[0] = "/run/../secrets/a" },
		"zero":           func(r *Request) { r.Wants[0].Files[0] = "/run/\x00" },
		"relative, tree": func(r *Request) { r.Wants[0].Directories[0] = "." },
	} {
		r := request()
		change(&r)
		b, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseRequest(b); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func answer() Answer {
	digest := bytes.Repeat([]byte{7}, digestSize)
	return Answer{
		Files: []File{
			{Path: "/run/secrets/a", Stat: true, Mode: 0o400, UID: 1000, GID: 5, Content: Content{Digest: digest, Value: []byte("v")}},
			{Path: "/run/secrets/b", Unseen: "it is a directory"},
		},
		More:      true,
		Variables: []Variable{{Name: "A_FILE", Content: Content{Digest: digest, Withheld: true}}},
		EnvUnseen: "no",
	}
}

func TestAnswer(t *testing.T) {
	b, err := answer().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseAnswer(b); err != nil || !reflect.DeepEqual(got, answer()) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*Answer){
		"short digest":     func(a *Answer) { a.Files[0].Digest = []byte{1} },
		"no digest":        func(a *Answer) { a.Files[0].Digest = nil },
		"digest unseen":    func(a *Answer) { a.Files[0].Unseen = "why" },
		"relative":         func(a *Answer) { a.Files[0].Path = "a" },
		"no name":          func(a *Answer) { a.Variables[0].Name = "" },
		"no digest of one": func(a *Answer) { a.Variables[0].Digest = nil },
	} {
		a := answer()
		change(&a)
		b, err := a.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseAnswer(b); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestErrorsDontQuote: what makes no sense may be a value.
func TestErrorsDontQuote(t *testing.T) {
	for _, text := range []string{`hunter2`, `{"Files": "hunter2"}`, `{"Files": [{"Value": "hunter2!"}]}`} {
		if _, err := ParseAnswer([]byte(text)); err == nil || bytes.Contains([]byte(err.Error()), []byte("hunter2")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzRequest: what is taken is as it should be, and stays what it is.
func FuzzRequest(f *testing.F) {
	b, err := request().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"Proc":"/","Wants":[{}],"Containers":[{"PID":1,"ID":"0123456789ab"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseRequest(again); err != nil || !same(got, r) {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	})
}

// FuzzAnswer likewise.
func FuzzAnswer(f *testing.F) {
	b, err := answer().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"Unseen":"it ended meanwhile"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAnswer(b)
		if err != nil {
			return
		}
		again, err := a.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseAnswer(again); err != nil || !same(got, a) {
			t.Errorf("%+v became %+v, %v", a, got, err)
		}
	})
}

// same compares what is written: an empty list is as good as none.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
