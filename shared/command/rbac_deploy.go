package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/deploy"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/mirrorfile"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

// deployOptions are the flags of rbac for all that runs a watch, beside its rights.
type deployOptions struct {
	deployment, stack   string
	image               string
	swarmHost, swarmTLS string
	socket              string
}

func (o *deployOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.deployment, "deployment", "", "With -f: print all that runs sync -f --watch as a Deployment, `NAMESPACE/NAME`, its rights among it")
	flags.StringVar(&o.stack, "stack", "", "With -f: print a Compose file that runs sync -f --watch as a stack of this `name` in a Swarm")
	flags.StringVar(&o.image, "image", "", "The `image` that --deployment and --stack run, if not this version's own")
	flags.StringVar(&o.swarmHost, "swarm-host", "", "With --deployment: how its pods reach the Swarm, `tcp://MANAGER:2376`; with --stack: unix://SOCKET on its managers, if not the usual one")
	flags.StringVar(&o.swarmTLS, "swarm-tls", "", "With --deployment: the `Secret` with ca.pem, cert.pem and key.pem for that, if not NAME-docker-tls")
}

// checkDeploy looks at the flags, and makes of a Deployment what it needs to be allowed.
func (o *rbacOptions) checkDeploy(cmd *cobra.Command) error {
	d := &o.deploy
	for _, name := range []string{"image", "swarm-host", "swarm-tls"} {
		if cmd.Flags().Changed(name) && d.deployment == "" && (name == "swarm-tls" || d.stack == "") {
			return fmt.Errorf("--%s goes with --deployment", name)
		}
	}
	if d.deployment == "" && d.stack == "" {
		return nil
	}
	if d.deployment != "" && d.stack != "" {
		return errors.New("--deployment and --stack exclude each other")
	}
	if len(o.files) == 0 {
		return errors.New("--deployment and --stack go with -f: what they run is declared in files")
	}
	for _, name := range []string{"for", "service-account", "user", "group", "side", "leader-elect"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--deployment and --stack say by themselves who may do what: leave out --%s", name)
		}
	}
	if d.stack != "" {
		if !mapping.ValidName(secret.Swarm, d.stack) || strings.Contains(d.stack, ".") {
			return fmt.Errorf("--stack %q can't be the name of a stack", d.stack)
		}
		if d.socket = "/var/run/docker.sock"; d.swarmHost != "" {
			var found bool
			if d.socket, found = strings.CutPrefix(d.swarmHost, "unix://"); !found || !strings.HasPrefix(d.socket, "/") {
				return fmt.Errorf("--swarm-host %q: a service reaches its manager by a socket, unix:///PATH", d.swarmHost)
			}
		}
		return nil
	}
	namespace, name, err := splitName("--deployment", d.deployment)
	if err != nil {
		return err
	}
	if len(name) > 63 || strings.Contains(name, ".") {
		return fmt.Errorf("--deployment %q: the name must be one label of at most 63 characters", d.deployment)
	}
	if d.swarmHost != "" {
		if u, err := url.Parse(d.swarmHost); err != nil || u.Scheme != "tcp" || u.Port() == "" || u.Path != "" {
			return fmt.Errorf("--swarm-host %q: it must be tcp://HOST:PORT, with TLS", d.swarmHost)
		}
	}
	if d.swarmTLS == "" {
		d.swarmTLS = name + "-docker-tls"
	}
	o.use.Watch, o.use.Events, o.lease = true, true, d.deployment
	o.accounts = []string{namespace + "/" + name}
	if o.name == "" {
		o.name = shortened("secretx-" + namespace + "-" + name)
	}
	return nil
}

// splitName reads NAMESPACE/NAME.
func splitName(flag, text string) (namespace, name string, err error) {
	namespace, name, _ = strings.Cut(text, "/")
	if !mapping.ValidName(secret.Kubernetes, namespace) || !mapping.ValidName(secret.Kubernetes, name) {
		err = fmt.Errorf("%s %q: it must be NAMESPACE/NAME", flag, text)
	}
	return namespace, name, err
}

// runDeploy prints all that runs a watch.
func runDeploy(ctx context.Context, host Host, all []asked, options rbacOptions, texts []deploy.File, printer Printer) error {
	d := options.deploy
	w := deploy.Watch{Name: d.stack, Image: d.image, Files: texts, SwarmTLS: d.swarmTLS, Socket: d.socket}
	if w.Image == "" {
		w.Image = "ghcr.io/secretx/secretx:" + imageTag(host.Version)
	}
	swarms := false
	for _, one := range all {
		w.Prunes = w.Prunes || one.request.Prune
		for _, end := range []opened{{one.From, one.fromName}, {one.To, one.toName}} {
			if end.name.Kind == secret.Swarm {
				swarms = true
			} else {
				w.Kubeconfig = true
			}
			if err := d.reachable(one.name, end.name); err != nil {
				return err
			}
			if end.name.Kind == secret.Kubernetes && end.name.Namespace == "" {
				at, ok := end.Endpoint.(settledIn)
				if !ok {
					return fmt.Errorf("%s has no namespace", end.name)
				}
				var err error
				if w.Default, err = at.Namespace(); err != nil {
					return err
				}
			}
		}
	}
	var items []report.AccessObject
	if d.deployment != "" {
		var err error
		if items, err = access(ctx, all, options); err != nil {
			return err
		}
		var text strings.Builder
		if err := report.NewAccess(items).Write(&text); err != nil {
			return err
		}
		w.Access = text.String()
		w.Namespace, w.Name, _ = splitName("--deployment", d.deployment)
		switch {
		case swarms && d.swarmHost == "":
			return errors.New("--swarm-host: say how the pods reach the Swarm: tcp://MANAGER:2376")
		case swarms:
			w.SwarmHost = d.swarmHost
		}
	}
	write := w.Stack
	if d.deployment != "" {
		write = w.Kubernetes
	}
	text, err := write()
	if err != nil {
		return err
	}
	if !printer.Human() {
		document, err := report.OfManifests(text)
		if err != nil {
			return err
		}
		return printer.Print(host.Out, document)
	}
	_, err = io.WriteString(host.Out, text)
	return err
}

// reachable tells whether an endpoint means there what it means here.
func (d *deployOptions) reachable(mirror string, a endpoint.Address) error {
	switch {
	case a.Context == "":
		return nil
	case a.Kind == secret.Swarm && d.stack != "":
		return fmt.Errorf("%s: %s is a Docker context, and a service has none: write swarm for the Swarm that it runs in", mirror, a)
	case a.Kind == secret.Swarm:
		return fmt.Errorf("%s: %s is a Docker context, and a pod has none: write swarm, and --swarm-host for how it is reached", mirror, a)
	case d.deployment != "":
		return fmt.Errorf("%s: %s is a context of a kubeconfig, and a pod has none: write kubernetes:/NAMESPACE for the cluster that it runs in", mirror, a)
	}
	return nil
}

// imageTag is that of the image of a version.
func imageTag(version string) string {
	if strings.HasPrefix(version, "v") && !strings.ContainsAny(version, "+ ") {
		return version
	}
	return "latest"
}

// keep gives the texts of files, after what was read from standard input.
func keep(files []string, stdin string) ([]deploy.File, error) {
	all := make([]deploy.File, len(files))
	for i, path := range files {
		all[i] = deploy.File{Name: "mirrors.yaml", Path: path, Text: stdin}
		if len(files) > 1 {
			all[i].Name = fmt.Sprintf("mirrors-%d.yaml", i+1)
		}
		if path == mirrorfile.Stdin {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		all[i].Text = string(text)
	}
	return all, nil
}
