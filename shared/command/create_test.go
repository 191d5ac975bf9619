package command

import "testing"

// What create mirrors is marked as sync would mark it.
func TestCreateInBothHasAFingerprint(t *testing.T) {
	w := newWorld(t)
	w.in = "value"
	if _, code := w.run("create", "a", "--from-file", "v=-", "--in", "both"); code != 0 {
		t.Fatalf("%d: %s", code, w.err.String())
	}
	mirror, there := w.swarm.Get("a.v")
	if !there || mirror.Mark == nil || mirror.Mark.Parts[0].Fingerprint == "" {
		t.Errorf("%t %+v", there, mirror.Mark)
	}
}
