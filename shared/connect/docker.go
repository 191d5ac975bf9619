// Package connect turns addresses into connections the way the host CLIs do: Docker contexts,
// DOCKER_HOST and the docker CLI's global flags on one side, kubeconfig, its flags and in-cluster
// configuration on the other. Only the mains import it. Nothing here connects before the returned
// functions are called.
package connect

import (
	"context"
	"fmt"

	"github.com/docker/cli/cli/command"
	dockercontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
)

// Docker gives the client of a Docker context, or of the current one when name is empty. The
// current one is the client that the CLI itself would use.
func Docker(cli command.Cli, name string) func(context.Context) (client.APIClient, error) {
	return func(ctx context.Context) (client.APIClient, error) {
		current := name == "" || name == cli.CurrentContext()
		if current {
			name = cli.CurrentContext()
		}
		// Asking the CLI for its client ends the process when the context can't be used, so that is
		// found out before.
		api, err := dial(cli, name)
		if err != nil {
			return nil, &endpoint.Error{
				Op: "use Docker context", Object: name, Cause: err,
				Hint: "docker context ls shows those there are.",
			}
		}
		if !current {
			return api, nil
		}
		_ = api.Close()
		// The CLI greets the engine before it gives its client, and does so without our context.
		ready := make(chan client.APIClient, 1)
		go func() { ready <- cli.Client() }()
		select {
		case api := <-ready:
			return api, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func dial(cli command.Cli, name string) (client.APIClient, error) {
	meta, err := cli.ContextStore().GetMetadata(name)
	if err != nil {
		return nil, err
	}
	epMeta, err := dockercontext.EndpointFromContext(meta)
	if err != nil {
		return nil, err
	}
	ep, err := dockercontext.WithTLSData(cli.ContextStore(), name, epMeta)
	if err != nil {
		return nil, err
	}
	opts, err := ep.ClientOpts()
	if err != nil {
		return nil, err
	}
	api, err := client.NewClientWithOpts(append(opts, client.WithUserAgent(command.UserAgent()))...)
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", ep.Host, err)
	}
	return api, nil
}
