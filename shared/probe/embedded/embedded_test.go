package embedded

import (
	"bytes"
	"errors"
	"testing"
)

// TestHelper holds with and without helpers: they are not in git.
func TestHelper(t *testing.T) {
	for _, architecture := range []string{"amd64", "arm64"} {
		helper, err := Helper(architecture)
		switch {
		case errors.Is(err, ErrMissing):
			t.Logf("no helper for %s: scripts/build-probe has not been run", architecture)
		case err != nil:
			t.Error(err)
		case !bytes.HasPrefix(helper, []byte("\x7fELF")) || len(helper) > 3<<20:
			t.Errorf("%s: %d bytes of something else", architecture, len(helper))
		}
	}
	if _, err := Helper("mips"); !errors.Is(err, ErrMissing) {
		t.Errorf("mips: %v", err)
	}
}
