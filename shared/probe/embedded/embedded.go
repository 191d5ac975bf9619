// Package embedded carries the probe inside the binary that imports it: the helper of package
// probe, built for the machines that a Swarm runs on. It imports nothing but the standard library.
package embedded

import (
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
)

// files has the helpers when scripts/build-probe has been run before, and else only the page that
// keeps the pattern from matching nothing.
//
//go:embed probe-linux*
var files embed.FS

// ErrMissing says that there is no helper for an architecture, and what to do.
var ErrMissing = errors.New("secretx was built without the probe's helper for this engine; build it with make build, or use --probe-image")

// Helper gives the helper for linux on an architecture, amd64 or arm64, as an executable.
func Helper(architecture string) ([]byte, error) {
	f, err := files.Open("probe-linux-" + architecture + ".gz")
	if err != nil {
		return nil, fmt.Errorf("linux/%s: %w", architecture, ErrMissing)
	}
	defer func() { _ = f.Close() }() // it is in memory
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
