package main

import (
	"testing"

	dockercommand "github.com/docker/cli/cli/command"

	"github.com/secretx/secretx/shared/command/reference"
)

func TestReferencePages(t *testing.T) {
	dockerCLI, err := dockercommand.NewDockerCli()
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(dockerCLI)
	reference.Check(t, root, "docker", "../../../docs/reference/docker")
	reference.CheckManual(t, root, "docker", "../../../docs/man/docker")
}
