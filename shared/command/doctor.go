package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/doctor"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/rights"
	"github.com/secretx/secretx/shared/secret"
)

// examined is an endpoint that can tell how it fares.
type examined interface {
	Examine(ctx context.Context, options doctor.Options) []doctor.Check
}

type doctorOptions struct {
	bothOptions
	probe bool
	verbs []string
}

func newDoctorCommand(host Host) *cobra.Command {
	var options doctorOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check both ends, and say what to do about what fails",
		Long: `Check both ends: whether they can be reached, their versions, Swarm mode and manager,
nodes, log driver, the helper's image, clocks, namespace, rights, the installation key,
and whether both plugins are found. Each check that fails says what to do.

Nothing is written. With --probe, the one thing that can't be known by looking is tried
out: a secret with a random value is made in the Swarm, read by a job on each node as
every verb would, and removed with the jobs.

Rights are those that the verbs take (see rbac). Without --for, what is not allowed is a
warning; the verbs that --for names have to be allowed.

Exits 0 when nothing has failed, 1 when something has, 2 when neither end can be
reached.`,
		Example: examples(host,
			"doctor", "Both ends, as far as looking tells",
			"doctor --probe", "Run a probe on each node of the Swarm, too",
			"doctor --for sync,rotate", "Whether these verbs are allowed",
		),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			for i, name := range options.verbs {
				verb, err := rights.Verb(name)
				if err != nil {
					return fmt.Errorf("--for: %w", err)
				}
				options.verbs[i] = verb
			}
			progress := newProgress(host)
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runDoctor(ctx, b, options, printer)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	flags.BoolVar(&options.probe, "probe", false, "Run a probe on each node of the Swarm, on a secret that is made for it and removed")
	flags.StringSliceVar(&options.verbs, "for", nil, "The `verbs` that have to be allowed: "+strings.Join(rights.Verbs, ", "))
	printer = host.Printer(flags, report.DoctorColumns)
	return cmd
}

func runDoctor(ctx context.Context, b *both, options doctorOptions, printer Printer) error {
	var here []report.Checked
	var ends [2][]report.Checked
	reached := false
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { here = plugins(groupCtx, b.host); return nil })
	for i, s := range b.sides {
		e, ok := s.Endpoint.(examined)
		if !ok {
			return fmt.Errorf("%s can't be checked", s.name)
		}
		group.Go(func() error {
			for _, c := range e.Examine(groupCtx, b.examination(options, i)) {
				ends[i] = append(ends[i], report.Checked{Place: s.name.String(), Check: c.Name, State: string(c.State), Detail: c.Detail, Advice: c.Advice})
			}
			return groupCtx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, checks := range ends {
		reached = reached || len(checks) > 1 // what can't be reached is one check
	}
	d := report.NewDoctor(slices.Concat(here, ends[0], ends[1]))
	if err := show(b.host, printer, d); err != nil {
		return err
	}
	switch {
	case !reached:
		return &ExitError{Code: ExitUsage}
	case d.Summary[string(doctor.Failed)] > 0:
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// examination says what one of the sides is to be looked at for.
func (b *both) examination(options doctorOptions, i int) doctor.Options {
	return doctor.Options{
		Probe: options.probe, Now: time.Now, Progress: b.say,
		Allow: func(verb string) string {
			flags := map[string]string{"sync": " --all", "diff": " --all"}[verb]
			return fmt.Sprintf("Somebody who may should run: %s rbac --for %s%s --user NAME | kubectl apply -f -", b.host.CLI, verb, flags)
		},
		Needs: func(namespace string) ([]doctor.Need, error) {
			asked := options.verbs
			if len(asked) == 0 {
				asked = slices.DeleteFunc(slices.Clone(rights.Verbs), func(verb string) bool { return verb == "doctor" })
			}
			var needs []doctor.Need
			for _, verb := range asked {
				side := rights.Origins
				if i == 1 {
					side = rights.Mirrors
				}
				rules, err := rights.For(rights.Use{
					Verb: verb, Namespace: namespace, Side: side, Select: true,
					KeyElsewhere: side == rights.Origins && b.sides[1].name.Kind == secret.Kubernetes,
				})
				if err != nil {
					return nil, err
				}
				needs = append(needs, doctor.Need{Verb: verb, Rules: rules, Asked: len(options.verbs) > 0})
			}
			return needs, nil
		},
	}
}

// plugins asks both host CLIs for the version of the plugin that they find.
func plugins(ctx context.Context, host Host) []report.Checked {
	const longest = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	all := make([]report.Checked, 2)
	group := errgroup.Group{}
	for i, cli := range []string{"docker", "kubectl"} {
		group.Go(func() error {
			all[i] = plugin(ctx, cli, host.Version)
			return nil
		})
	}
	_ = group.Wait()
	return all
}

func plugin(ctx context.Context, cli, version string) report.Checked {
	c := report.Checked{Place: "here", Check: cli + " secretx", State: string(doctor.OK)}
	path, err := exec.LookPath(cli)
	if err != nil {
		c.State, c.Detail = string(doctor.Skipped), cli+" is not on the PATH"
		return c
	}
	cmd := exec.CommandContext(ctx, path, "secretx", "version")
	// What docker tells its plugins is meant for this one.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "DOCKER_CLI_PLUGIN_") })
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	found, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		c.State, c.Detail, c.Advice = string(doctor.Warning), fmt.Sprintf("%s secretx version has not answered", path), "Run it by hand."
	case errors.As(err, &exit):
		c.State, c.Detail = string(doctor.Warning), path+" doesn't find the plugin"
		c.Advice = map[string]string{
			"docker":  "Put docker-secretx into ~/.docker/cli-plugins, and see docker info.",
			"kubectl": "Put kubectl-secretx on the PATH, and see kubectl plugin list.",
		}[cli]
	case err != nil:
		c.State, c.Detail = string(doctor.Warning), err.Error()
	case found != version:
		c.State, c.Detail = string(doctor.Warning), fmt.Sprintf("%s runs version %s, and this is %s", path, found, version)
		c.Advice = "Use the same version of both plugins: an older one may not know what the other has noted."
	default:
		c.Detail = fmt.Sprintf("%s runs version %s", path, found)
	}
	return c
}
