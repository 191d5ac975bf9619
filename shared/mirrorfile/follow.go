package mirrorfile

import (
	"bytes"
	"context"
	"io"
	"os"
	"time"
)

// Files are followed to see when they declare something else.
type Files struct {
	names []string
	seen  [][]byte
	every time.Duration
}

// lookEvery is how often files are read again. That costs next to nothing, and works for every kind of file, a
// mounted ConfigMap, whose name leads somewhere else when it changes, among them.
const lookEvery = 3 * time.Second

// Follow begins with what the files hold now. Standard input doesn't change.
func Follow(names []string) *Files {
	f := &Files{every: lookEvery}
	for _, name := range names {
		if name != Stdin {
			f.names = append(f.names, name)
		}
	}
	f.seen = f.read()
	return f
}

func (f *Files) read() [][]byte {
	all := make([][]byte, len(f.names))
	for i, name := range f.names {
		file, err := os.Open(name)
		if err != nil {
			continue // one that is gone for a moment is being replaced
		}
		all[i], _ = io.ReadAll(io.LimitReader(file, largestFile+1))
		_ = file.Close()
	}
	return all
}

// Differ tells whether the files hold something else than when it was last asked.
func (f *Files) Differ() bool {
	now := f.read()
	differ := !equal(now, f.seen)
	f.seen = now
	return differ
}

// Changed waits until the files hold something else, and stay like that for a moment: who writes a file may not
// have finished. It is false when ctx has ended.
func (f *Files) Changed(ctx context.Context) bool {
	before := f.seen
	last := before
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(f.every):
		}
		now := f.read()
		if !equal(now, before) && equal(now, last) {
			f.seen = now
			return true
		}
		last = now
	}
}

func equal(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}
