package command

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

func newProbeImageCommand(host Host) *cobra.Command {
	var platform string
	cmd := &cobra.Command{
		Use:   "probe-image",
		Short: "Write the image of the probe to standard output, for other nodes or a registry",
		Long: `Write the image of the probe, the program that reads secrets where a Swarm shows them,
to standard output, in the format of docker save.

On the node that it talks to, secretx loads the image by itself. To look into containers
on other nodes, those need it too: load it there, or push it to a registry and name
it with --helper-image or --probe-image.`,
		Example: examples(host,
			"probe-image | docker --context node2 load", "Load it into another node, by its Docker context",
			"probe-image --platform linux/arm64 >probe.tar", "For another machine",
		),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			system, architecture, found := strings.Cut(platform, "/")
			if !found || system != "linux" {
				return fmt.Errorf("--platform %q: it must be linux/amd64 or linux/arm64", platform)
			}
			if host.Shown() {
				return errors.New("an image is nothing for a terminal: redirect the output, or pipe it to docker load")
			}
			return host.ProbeImage(host.Out, architecture)
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "linux/"+runtime.GOARCH, "`Platform` of the nodes")
	return cmd
}
