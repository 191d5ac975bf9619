package main

import (
	"testing"

	"github.com/secretx/secretx/shared/command/reference"
)

func TestReferencePages(t *testing.T) {
	// What depends on who runs it must not get into the pages.
	t.Setenv("HOME", "/home/user")
	t.Setenv("KUBECACHEDIR", "")
	root, err := newRoot()
	if err != nil {
		t.Fatal(err)
	}
	reference.Check(t, root, "kubectl", "../../../docs/reference/kubectl")
	reference.CheckManual(t, root, "kubectl", "../../../docs/man/kubectl")
}
