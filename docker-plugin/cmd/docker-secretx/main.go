// Command docker-secretx is the Docker CLI plugin `docker secretx`. It speaks the plugin protocol,
// gives the verbs the docker CLI's idiom, and wires the endpoints.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli-plugins/plugin"
	dockercommand "github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/debug"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"
	"golang.org/x/term"

	"github.com/secretx/secretx/docker-plugin/metadata"
	"github.com/secretx/secretx/shared/command"
	"github.com/secretx/secretx/shared/connect"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/swarm"
)

func main() {
	// The CLI's telemetry complains about schemas on the error output otherwise.
	otel.SetErrorHandler(debug.OTELErrorHandler)
	dockerCLI, err := dockercommand.NewDockerCli()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(command.ExitUsage)
	}
	err = plugin.RunPlugin(dockerCLI, newRoot(dockerCLI), metadata.About)
	os.Exit(exit(dockerCLI.Err(), err))
}

// exit prints what is left to say and gives the exit code.
func exit(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(w, report.PrintableLines(text))
	}
	var status cli.StatusError
	if errors.As(err, &status) && status.StatusCode != 0 {
		return status.StatusCode
	}
	return command.ExitCode(err)
}

func newRoot(dockerCLI dockercommand.Cli) *cobra.Command {
	config := &kubeconfig{}
	host := command.Host{
		CLI:    "docker secretx",
		Native: secret.Swarm,
		In:     dockerCLI.In(), Out: dockerCLI.Out(), Err: dockerCLI.Err(),
		Terminal: func() bool { return dockerCLI.In().IsTerminal() && term.IsTerminal(int(os.Stderr.Fd())) },
		Shown:    func() bool { return dockerCLI.Out().IsTerminal() },
		Width:    func() int { w, _, _ := term.GetSize(int(os.Stdout.Fd())); return w },
		Ago:      func(t time.Time) string { return units.HumanDuration(time.Since(t)) + " ago" },
		Password: func(ctx context.Context, question string) ([]byte, error) {
			return command.AskHidden(ctx, os.Stdin, dockerCLI.Err(), question)
		},
		ProbeImage: swarm.ProbeImage,
		Contexts: func(kind secret.Kind) []string {
			if kind == secret.Kubernetes {
				return connect.KubernetesContexts(config.read)
			}
			return connect.DockerContexts(dockerCLI)
		},
		Completion: "docker completion prints the same.",
		Version:    metadata.About.Version,
		Printer:    newPrinter,
		Flags:      config.addFlags,
		Prepare: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			cmd.SetContext(ctx)
			go watchParent(ctx, cancel)
			return plugin.PersistentPreRunE(cmd, args)
		},
	}
	host.Open = func(address endpoint.Address, options command.OpenOptions) (endpoint.Endpoint, error) {
		if address.Kind == secret.Kubernetes {
			return kube.New(connect.Kubernetes(config.read, address), address.String(), kube.Options{}), nil
		}
		return swarm.New(connect.Docker(dockerCLI, address.Context), address.String(), swarm.Options{
			NoProbe: options.NoProbe, ProbeImage: options.ProbeImage, Progress: options.Progress,
		}), nil
	}
	root := command.NewRoot(host)
	root.SetUsageFunc(usage)
	return root
}

// watchParent ends the verb when the docker CLI is gone: an old one passes no signal on, and is
// killed from under us.
func watchParent(ctx context.Context, cancel context.CancelFunc) {
	parent := os.Getppid()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if os.Getppid() != parent {
				cancel()
				return
			}
		}
	}
}
