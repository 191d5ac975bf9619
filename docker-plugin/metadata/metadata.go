// Package metadata answers the one question that docker asks of every plugin, and waits for, whenever
// it prints its help or completes a word. It does so before the rest of the program begins: with what
// the clients of two orchestrators set up for themselves, the answer would take three times as long.
//
// That rests on the language: of the packages whose imports have been initialized, the one whose path
// sorts first is the next. So this one imports next to nothing. TestFirst sees to it.
package metadata

import (
	"encoding/json"
	"os"

	"github.com/docker/cli/cli-plugins/metadata"
)

// version is set by the build.
var version = "dev"

// About is what docker is told of the plugin.
var About = metadata.Metadata{
	SchemaVersion:    "0.1.0",
	Vendor:           "The secretx authors",
	Version:          version,
	ShortDescription: "Secrets between Docker Swarm and Kubernetes",
	URL:              "https://github.com/secretx/secretx",
}

func init() {
	if len(os.Args) != 2 || os.Args[1] != metadata.MetadataSubcommandName {
		return
	}
	if err := json.NewEncoder(os.Stdout).Encode(About); err != nil {
		os.Exit(2)
	}
	os.Exit(0)
}
