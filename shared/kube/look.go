package kube

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

//go:embed look.sh
var lookScript string

// lookTimeout bounds a look into one container, so that one which hangs doesn't hold up the others.
const lookTimeout = 30 * time.Second

// Look fills Seen, or Unseen and Hint, of all containers that run, in one wave. It is an error only
// when exec is forbidden for each of them.
func (e *Endpoint) Look(ctx context.Context, containers []peek.Container, options peek.LookOptions) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var looked int
	var refused []error
	err = parallel(ctx, len(containers), func(ctx context.Context, i int) error {
		container := &containers[i]
		question := questionOf(container)
		if container.Unseen != "" || container.Over || question.empty() {
			return nil
		}
		err := c.lookInto(ctx, container, question, options)
		mu.Lock()
		defer mu.Unlock()
		looked++
		if errors.Is(err, endpoint.ErrForbidden) {
			refused = append(refused, err)
		}
		return ctx.Err()
	})
	if err != nil {
		return c.fail(ctx, "look into containers", "", err)
	}
	if looked > 0 && len(refused) == looked {
		return refused[0]
	}
	return nil
}

// lookInto looks by exec and, where that is not enough, from beside. Its error is in the container
// already.
func (c *connection) lookInto(ctx context.Context, container *peek.Container, question question, options peek.LookOptions) error {
	seen, err := c.ask(ctx, container.Name, container.Container, question, options, "in", "")
	switch {
	case err == nil && !partly(seen):
		container.Seen = seen
		return nil
	case err == nil:
		container.Seen = seen
	case errors.Is(err, errNoShell):
		container.Unseen = err.Error()
	default:
		container.Unseen, container.Hint = told(err)
		return err
	}
	if !options.AllowEphemeral {
		container.Hint = "With --allow-ephemeral an ephemeral container looks into it, and stays in the spec of the pod."
		return nil
	}
	seen, failure := c.lookBeside(ctx, container, question, options, err == nil)
	if failure == nil {
		container.Seen, container.Unseen = seen, ""
		return nil
	}
	why, hint := told(failure)
	if err != nil {
		container.Unseen += ", and " + why
		container.Hint = hint
	} else {
		container.Hint = strings.TrimSpace("Nor from beside it: " + why + ". " + hint)
	}
	return failure
}

// partly tells whether something could not be read that another user may read.
func partly(seen peek.Seen) bool {
	if seen.EnvUnseen == deniedEnv {
		return true
	}
	for _, file := range seen.Files {
		if file.Unseen == deniedFile {
			return true
		}
	}
	return false
}

var (
	errNoShell = errors.New("the image has no shell")
	errGone    = errors.New("it ended while it was being looked into")
)

// ask runs the script in one container.
func (c *connection) ask(ctx context.Context, pod, container string, question question, options peek.LookOptions, place, id string) (peek.Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	boundary := rand.Text()
	command := append([]string{"sh", "-c", lookScript, "secretx", boundary, place, id}, question.arguments()...)
	stdout, stderr, err := c.exec(ctx, pod, container, command)
	defer clear(stdout)
	seen, cut := question.read(stdout, boundary, options)
	if cut == nil {
		return seen, nil
	}
	if err == nil {
		err = cut
	}
	return peek.Seen{}, c.execError(ctx, pod, err, string(stderr))
}

// How runtimes say that there is no such program, and that there is no such container any more.
var (
	noProgram   = regexp.MustCompile(`executable file .*not found|no such file or directory|error finding executable|exec: .*permission denied`)
	noContainer = regexp.MustCompile(`container not found|not running|not created or running|stopped|no running task|process does not exist|not in a running state|container .* does not exist|cannot exec in`)
)

// execError finds out what an exec failed of.
func (c *connection) execError(ctx context.Context, pod string, err error, stderr string) error {
	const op = "exec into pod"
	text := strings.TrimSuffix(err.Error()+": "+brief(stderr), ": ")
	var exit utilexec.CodeExitError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("it has not answered within %s", lookTimeout)
	case ctx.Err() != nil:
		return ctx.Err()
	case denied.MatchString(text):
		text = strings.TrimPrefix(text, "unable to upgrade connection: ")
		return &endpoint.Error{Op: op, Object: pod, Place: c.place, Reason: endpoint.ErrForbidden, Cause: errors.New(text), Hint: c.missingRight(text)}
	case apierrors.IsNotFound(err), noContainer.MatchString(text), strings.Contains(text, fmt.Sprintf("pods %q not found", pod)):
		return errGone
	case noProgram.MatchString(text):
		return errNoShell
	case errors.As(err, &exit) && (exit.Code == 137 || exit.Code == 143):
		return errGone
	case errors.Is(err, errClosed), errors.Is(err, errCut):
		return err
	}
	return fmt.Errorf("exec failed: %s", text)
}

// brief is as much as is shown of what a container says, which may be anything.
func brief(said string) string {
	said, _, _ = strings.Cut(strings.TrimSpace(said), "\n")
	if len(said) > 200 {
		said = said[:200] + "…"
	}
	return strings.ToValidUTF8(said, "?")
}

// told gives the parts of an error of one container: why there is nothing to see, and what helps.
func told(err error) (why, hint string) {
	var failure *endpoint.Error
	if !errors.As(err, &failure) {
		return err.Error(), ""
	}
	return fmt.Sprintf("could not %s: %s", failure.Op, failure.Cause), failure.Hint
}
