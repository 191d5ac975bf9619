// Package command has the verbs: flags become options, options a call of the core, its result a
// document, and errors an exit code. It imports cobra and everything of ours but the endpoints
// themselves, which the mains wire in; the host CLI's idiom comes from the mains too.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

// Host is the CLI that a binary is a plugin of: what differs between `docker secretx` and `kubectl
// secretx`.
type Host struct {
	// CLI is how users call us, "docker secretx".
	CLI string
	// Native is the orchestrator of the host CLI: the side that is --from unless it is said otherwise.
	Native secret.Kind

	In       io.Reader
	Out, Err io.Writer
	// Terminal tells whether somebody sits there to be asked: input and error output are terminals.
	Terminal func() bool
	// Password asks on the terminal for what must not be seen there.
	Password func(ctx context.Context, question string) ([]byte, error)
	// Shown tells whether standard output is a terminal.
	Shown func() bool

	// Width is how many columns standard output has, 0 where it is no terminal.
	Width func() int

	// Open gives an endpoint without connecting to it.
	Open func(endpoint.Address, OpenOptions) (endpoint.Endpoint, error)
	// Printer adds the host's output flags and gives what prints documents with these columns by them.
	Printer func(*pflag.FlagSet, []report.Column) Printer
	// Flags adds the host's own flags for reaching the endpoints to every verb.
	Flags func(*pflag.FlagSet)
	// Prepare runs before each verb; its cancel ends the verb in the way in which the host passes
	// signals on.
	Prepare func(*cobra.Command, []string) error
	// ProbeImage writes the image of the probe for an architecture, as docker save does.
	ProbeImage func(out io.Writer, architecture string) error
	// Ago says how long ago something was, in the host's words.
	Ago func(time.Time) string
	// Contexts are the names of those that the configuration of an orchestrator has; nil: nothing is completed.
	Contexts func(secret.Kind) []string
	// Completion says what else there is to know of the host's completion.
	Completion string
	// Version is printed by the verb version.
	Version string

	live *live
}

// width is how many columns there are to write in.
func (h Host) width() int {
	if h.Width != nil {
		if n := h.Width(); n > 0 {
			return n
		}
	}
	return 100
}

// OpenOptions are what a verb asks of its endpoints.
type OpenOptions struct {
	NoProbe    bool
	ProbeImage string
	Progress   func(string)
}

// Printer prints documents in the idiom of the host CLI.
type Printer interface {
	// Check fails on output flags that can't be used, before anything is done.
	Check() error
	// Human tells that a person reads the output, so that a summary belongs to it.
	Human() bool
	Print(out io.Writer, d report.Document) error
}

// Exit codes of both binaries.
const (
	ExitDifferent   = 1   // different, unknown or partly failed
	ExitUsage       = 2   // usage, or nothing could be done
	ExitInterrupted = 130 // by a signal
)

// ExitError is an error with the code that the process ends with. Without Err there is nothing to
// say that was not printed.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap gives the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode is the code that an error of the root command stands for: every error that doesn't say
// otherwise kept the verb from doing anything.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitUsage
}

// NewRoot gives the command `secretx` with all its verbs.
func NewRoot(host Host) *cobra.Command {
	root := &cobra.Command{
		Use:   "secretx",
		Short: "Secrets across Docker Swarm and Kubernetes: mirror, compare, look inside, rotate",
		Long: `Secrets across Docker Swarm and Kubernetes: mirror them in both directions, compare them
without showing a value, see what running containers really have, tell who uses what,
and bring a new value to all who do.

An endpoint is a place that holds secrets: swarm, swarm:CONTEXT, kubernetes,
kubernetes:CONTEXT, kubernetes:CONTEXT/NAMESPACE or kubernetes:/NAMESPACE.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		// What a verb does runs under a context that ends with a signal; the host adds its own ways.
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			// cobra starts without a context of its own under docker
			ctx, stop := signal.NotifyContext(contextOf(cmd), os.Interrupt, syscall.SIGTERM)
			cmd.SetContext(ctx)
			// A second signal ends the process at once.
			context.AfterFunc(ctx, stop)
			if host.Prepare != nil {
				return host.Prepare(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	host.Printer = host.printer()
	host, onScreen := host.onScreen()
	verbs := []*cobra.Command{newDiffCommand(host), newSyncCommand(host), newPeekCommand(host), newConsumersCommand(host), newLsCommand(host), newInspectCommand(host), newVerifyCommand(host),
		newCreateCommand(host), newCurrentCommand(host), newRotateCommand(host),
		newRmCommand(host), newPruneCommand(host), newTranslateCommand(host), newRbacCommand(host), newDoctorCommand(host)}
	for _, verb := range verbs {
		if host.Flags != nil {
			grouped(verb.Flags(), groupConnection, func() { host.Flags(verb.Flags()) })
		}
		onScreen(verb)
	}
	root.AddCommand(verbs...)
	root.AddCommand(newProbeImageCommand(host), newCompletionCommand(host), newVersionCommand(host))
	for _, verb := range root.Commands() {
		if host.Contexts != nil { // cobra keeps all flags that it completes, forever: tests make many
			completer{host}.complete(verb)
		}
		host.inStyle(verb)
	}
	return root
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// grace is how long a verb has to tidy up after a signal, before it is left to end with the process.
const grace = 500 * time.Millisecond

// run calls a verb's work under the time limit, and returns soon after the context has ended even
// where a library doesn't listen to it: no user waits for more than a second after Ctrl-C.
func run(ctx context.Context, timeout time.Duration, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %s (--timeout)", timeout))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(grace):
			err = ctx.Err()
		}
	}
	if err == nil || ctx.Err() == nil {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &ExitError{Code: ExitDifferent, Err: context.Cause(ctx)}
	}
	return errInterrupted
}

var errInterrupted = &ExitError{Code: ExitInterrupted, Err: errors.New("interrupted; what was written is whole, and the next run goes on from there")}

// retreat is how long a verb has after a signal that takes back what it has begun.
const retreat = 15 * time.Second

// runLong calls the work of a verb that goes back when it is interrupted, and waits for that. It bounds
// its time itself.
func runLong(ctx context.Context, work func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		if err == nil || errors.Is(err, context.Canceled) {
			return errInterrupted
		}
		return err
	case <-time.After(retreat):
		return errInterrupted
	}
}
