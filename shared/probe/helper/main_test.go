package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/secretx/secretx/shared/probe"
	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/secret"
)

// TestHelper is both ends with files between them: index 1 has no file, index 2 is too long.
func TestHelper(t *testing.T) {
	directory := t.TempDir()
	contents := map[int][]byte{
		0: []byte("a value\n\x00\xff"),
		2: make([]byte, envelope.MaxBody+1),
		3: make([]byte, envelope.MaxBody),
		4: {},
		5: bytes.Repeat([]byte("0123456789"), 51200)[:511999],
	}
	for i, content := range contents {
		if err := os.WriteFile(filepath.Join(directory, probe.File(i)), content, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	for name, nonce := range map[string][]byte{"values": nil, "digests": []byte("a nonce")} {
		t.Run(name, func(t *testing.T) {
			r, err := probe.NewRun(6, nonce)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			if code := run(r.Args(), directory, &log); code != envelope.ExitDone {
				t.Fatalf("exit code %d", code)
			}
			err = r.Read(&log, func(got probe.Result) error {
				switch got.Index {
				case 1:
					if !errors.Is(got.Err, probe.ErrUnreadable) {
						t.Errorf("no file: %v", got.Err)
					}
					return nil
				case 2:
					if !errors.Is(got.Err, probe.ErrTooLong) {
						t.Errorf("a file that is too long: %v", got.Err)
					}
					return nil
				}
				want := secret.NewValue(contents[got.Index])
				if got.Err != nil || nonce == nil && !got.Value.Equal(want) || nonce != nil && !got.Digest.Equal(want.Digest(nonce)) {
					t.Errorf("%d: wrong, %v", got.Index, got.Err)
				}
				return nil
			})
			if err != nil || !r.Done() {
				t.Error(err)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	r, err := probe.NewRun(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := r.Args()
	newer := append([]string{"999"}, good[1:]...)
	badKey := append([]string{}, good...)
	badKey[4] = "AAAA"
	for name, c := range map[string]struct {
		args []string
		out  io.Writer
		want int
	}{
		"no arguments":    {nil, io.Discard, envelope.ExitArgs},
		"another version": {newer, io.Discard, envelope.ExitVersion},
		"no key":          {badKey, io.Discard, envelope.ExitArgs},
		"closed log":      {good, closed{}, envelope.ExitWrite},
	} {
		if got := run(c.args, t.TempDir(), c.out); got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
