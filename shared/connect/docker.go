// Package connect turns addresses into connections the way the host CLIs do: Docker contexts,
// DOCKER_HOST and the docker CLI's global flags on one side, kubeconfig, its flags and in-cluster
// configuration on the other. Only the mains import it. Nothing here connects before the returned
// functions are called.
package connect

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/docker/cli/cli/command"
	dockercontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
)

// kept is how many connections stay open between requests: as many as are usually made at a time.
const kept = 16

// Docker gives the client of a Docker context, or of the current one when name is empty.
//
// It is made of what the CLI says (context store, flags, configuration), as the CLI makes its own.
// That one would end the process when the context can't be used, greets the engine without listening
// to a context.Context, and comes with connections that nothing can be set of any more.
func Docker(cli command.Cli, name string) func(context.Context) (client.APIClient, error) {
	return func(ctx context.Context) (client.APIClient, error) {
		if name == "" {
			name = cli.CurrentContext()
		}
		api, err := newClient(cli, name)
		if err != nil {
			hint := "docker context ls shows those there are."
			if name == command.DefaultContextName { // has no entry: the environment and the flags are it
				hint = "Check DOCKER_HOST and DOCKER_CERT_PATH, or the host and the certificates among the flags."
			}
			return nil, &endpoint.Error{Op: "use Docker context", Object: name, Cause: err, Hint: hint}
		}
		if name == cli.CurrentContext() && special() {
			_ = api.Close()
			return own(ctx, cli)
		}
		return api, nil
	}
}

// DockerContexts are the names of all Docker contexts.
func DockerContexts(cli command.Cli) []string {
	all, _ := cli.ContextStore().List()
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Name
	}
	return names
}

// special tells whether the environment asks for what only the CLI's own client knows of: headers of
// its own, and the connection that docker has already.
func special() bool {
	return os.Getenv("DOCKER_CUSTOM_HEADERS") != "" || os.Getenv("DOCKER_CLI_PLUGIN_USE_DIAL_STDIO") != ""
}

// own is the client of the CLI, which greets the engine before it is given, and does so without our
// context.
func own(ctx context.Context, cli command.Cli) (client.APIClient, error) {
	ready := make(chan client.APIClient, 1)
	go func() { ready <- cli.Client() }()
	select {
	case api := <-ready:
		return api, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newClient(cli command.Cli, name string) (*client.Client, error) {
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
	opts = append(opts, client.WithUserAgent(command.UserAgent()), connections(ep.Host))
	if headers := cli.ConfigFile().HTTPHeaders; len(headers) > 0 {
		opts = append(opts, client.WithHTTPHeaders(headers))
	}
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", ep.Host, err)
	}
	return api, nil
}

// connections sets how they are made and kept. Docker's defaults keep two, and open a new one for
// each request beyond.
func connections(host string) client.Opt {
	return func(api *client.Client) error {
		transport, ok := api.HTTPClient().Transport.(*http.Transport)
		if !ok {
			return nil
		}
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = kept, kept
		if u, err := url.Parse(host); err == nil && u.Scheme == "ssh" {
			transport.DialContext = queued(transport.DialContext)
		}
		return nil
	}
}
