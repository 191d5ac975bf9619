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
	reference.Check(t, newRoot(dockerCLI), "docker", "../../../docs/reference/docker")
}
