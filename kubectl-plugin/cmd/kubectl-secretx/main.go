// Command kubectl-secretx is the kubectl plugin `kubectl secretx`. It gives the verbs kubectl's
// idiom, and wires the endpoints.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	dockercommand "github.com/docker/cli/cli/command"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/secretx/secretx/shared/command"
	"github.com/secretx/secretx/shared/connect"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/swarm"
)

// version is set by the build.
var version = "dev"

func main() {
	root, err := newRoot()
	if err == nil {
		err = root.Execute()
	}
	if err != nil && err.Error() != "" {
		fmt.Fprintln(os.Stderr, "error:", report.PrintableLines(err.Error()))
	}
	os.Exit(command.ExitCode(err))
}

func newRoot() (*cobra.Command, error) {
	dockerCLI, err := dockercommand.NewDockerCli()
	if err != nil {
		return nil, err
	}
	config := &kubeconfig{}
	docker, dockerFlags := cliflags.NewClientOptions(), pflag.NewFlagSet("docker", pflag.ContinueOnError)
	docker.InstallFlags(dockerFlags) // what the environment says of TLS becomes their defaults
	var dockerHost string
	host := command.Host{
		CLI:    "kubectl secretx",
		Native: secret.Kubernetes,
		In:     os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: func() bool { return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())) },
		Shown:    func() bool { return term.IsTerminal(int(os.Stdout.Fd())) },
		Width:    func() int { w, _, _ := term.GetSize(int(os.Stdout.Fd())); return w },
		Ago:      func(t time.Time) string { return duration.HumanDuration(time.Since(t)) },
		Password: func(ctx context.Context, question string) ([]byte, error) {
			return command.AskHidden(ctx, os.Stdin, os.Stderr, question)
		},
		ProbeImage: swarm.ProbeImage,
		Contexts: func(kind secret.Kind) []string {
			if kind == secret.Kubernetes {
				return connect.KubernetesContexts(config.read)
			}
			return connect.DockerContexts(dockerCLI)
		},
		Completion: `With kubectl_complete-secretx on PATH, which the packages bring, the script of kubectl
completion does all of this by itself.`,
		Version: version,
		Printer: newPrinter,
		Flags: func(flags *pflag.FlagSet) {
			// A verb's own flag is meant where both have the name: --user of rbac is kubectl create rolebinding's.
			its := pflag.NewFlagSet("kubectl", pflag.ContinueOnError)
			config.addFlags(its)
			flags.AddFlagSet(its)
			flags.StringVar(&docker.Context, "docker-context", "", "Docker `context`, where an endpoint names none")
			flags.StringVar(&dockerHost, "docker-host", "", "Docker `host` to connect to, where an endpoint names no context")
		},
		Prepare: func(*cobra.Command, []string) error {
			if dockerHost != "" {
				docker.Hosts = []string{dockerHost}
			}
			docker.SetDefaultOptions(dockerFlags)
			if err := dockerCLI.Initialize(docker); err != nil {
				return fmt.Errorf("--docker-host, --docker-context: %w", err)
			}
			return nil
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
	root.SetFlagErrorFunc(flagError)
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl secretx"}
	return root, nil
}
