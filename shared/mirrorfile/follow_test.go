package mirrorfile

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFollow: a change is told once it stands, also where the name leads to another file, as a mounted
// ConfigMap's does; what is written half, and what is written again without a change, isn't.
func TestFollow(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one", "1")
	write("two", "2")
	path := filepath.Join(folder, "link")
	if err := os.Symlink("one", path); err != nil {
		t.Fatal(err)
	}
	f := Follow([]string{path, Stdin})
	f.every = 5 * time.Millisecond
	changed := func(within time.Duration) bool {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return f.Changed(ctx)
	}
	write("one", "1")
	if f.Differ() || changed(100*time.Millisecond) {
		t.Error("a change where there is none")
	}
	if err := os.Symlink("two", path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if !changed(10 * time.Second) {
		t.Error("a link that leads elsewhere")
	}
	if changed(50 * time.Millisecond) {
		t.Error("the same change twice")
	}
	f.every = 500 * time.Millisecond
	done := make(chan bool, 1)
	go func() { done <- changed(2500 * time.Millisecond) }()
	for i := range 30 { // it never stands for as long
		time.Sleep(100 * time.Millisecond)
		write("two", "written on and on"[:i%17])
	}
	if <-done {
		t.Error("a file that is still being written")
	}
	if !f.Differ() || f.Differ() {
		t.Error("asked, it doesn't tell once that there is a difference")
	}
}
