package probe

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/secret"
)

// answer is what a helper would log that was started with the run's arguments.
func answer(t *testing.T, r *Run, records ...envelope.Record) *bytes.Buffer {
	t.Helper()
	job, err := envelope.ParseArgs(r.Args())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w, err := envelope.NewWriter(&log, job)
	if err != nil {
		t.Fatal(err)
	}
	for i, record := range records {
		if err := w.Record(i, record.Kind, record.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &log
}

func TestRun(t *testing.T) {
	r, err := NewRun(3, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := answer(t, r, envelope.Record{Kind: envelope.Body, Body: []byte("a value")}, envelope.Record{Kind: envelope.Unreadable}, envelope.Record{Kind: envelope.TooLong})
	var got []Result
	if err := r.Read(log, func(one Result) error { got = append(got, one); return nil }); err != nil || !r.Done() || r.Next() != 3 {
		t.Fatalf("done %v, next %d: %v", r.Done(), r.Next(), err)
	}
	if !got[0].Value.Equal(secret.NewValue([]byte("a value"))) || got[0].Err != nil {
		t.Errorf("value: %v", got[0].Err)
	}
	if !errors.Is(got[1].Err, ErrUnreadable) || !errors.Is(got[2].Err, ErrTooLong) || got[1].Value.Known() || got[2].Value.Known() {
		t.Errorf("failures: %v, %v", got[1].Err, got[2].Err)
	}
	if text := fmt.Sprintf("%+v %#v", got, got); strings.Contains(text, "a value") {
		t.Errorf("a result prints its value: %s", text)
	}
}

func TestRunForDigests(t *testing.T) {
	value, nonce := secret.NewValue([]byte("a value")), []byte("nonce")
	r, err := NewRun(1, nonce)
	if err != nil {
		t.Fatal(err)
	}
	want := value.Digest(nonce)
	log := answer(t, r, envelope.Record{Kind: envelope.Body, Body: want[:]})
	err = r.Read(log, func(got Result) error {
		if !got.Digest.Equal(want) || got.Value.Known() || got.Err != nil {
			t.Errorf("it is %v", got.Err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRunsDiffer: nothing that a run is told says what another one was told.
func TestRunsDiffer(t *testing.T) {
	a, errA := NewRun(1, nil)
	b, errB := NewRun(1, nil)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a.ID() == b.ID() || a.Args()[4] == b.Args()[4] {
		t.Error("two runs with one ID or key")
	}
	log := answer(t, a, envelope.Record{Kind: envelope.Body, Body: []byte("x")})
	if err := b.Read(log, func(Result) error { t.Error("read by another run"); return nil }); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
}

func TestRunBounds(t *testing.T) {
	for _, count := range []int{-1, 0, MaxCount + 1} {
		if _, err := NewRun(count, nil); err == nil {
			t.Errorf("%d secrets are taken", count)
		}
	}
}

func TestExitText(t *testing.T) {
	seen := map[string]bool{}
	for _, code := range []int{1, 2, envelope.ExitArgs, envelope.ExitVersion, envelope.ExitWrite} {
		seen[ExitText(code)] = true
	}
	if len(seen) != 5 {
		t.Errorf("texts are %v", seen)
	}
}
