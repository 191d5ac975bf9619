package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
)

// confirm asks on the error output, so that nothing but results is on the other. Without anybody to
// ask, the answer is no.
func confirm(host Host, question string) error {
	if !host.Terminal() {
		return errors.New("this needs a confirmation, and there is no terminal to ask on: use --yes")
	}
	if _, err := fmt.Fprintf(host.Err, "%s [y/N] ", question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(host.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed: nothing was written")
}

// progress tells on the error output what a long verb is doing: each failure at once, and a count
// every now and then.
type progress struct {
	host Host
	mu   sync.Mutex
	last time.Time
}

// progressEvery is how long a verb may be silent.
const progressEvery = 2 * time.Second

func newProgress(host Host) *progress { return &progress{host: host, last: time.Now()} }

func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintln(p.host.Err, report.Printable(line))
	p.last = time.Now()
}

// each gives what counts the outcomes of a plan.
func (p *progress) each(todo plan.Plan) func(apply.Outcome) {
	total, n := 0, 0
	for _, item := range todo.Items {
		if item.Action != plan.Nothing {
			total++
		}
	}
	return func(o apply.Outcome) {
		n++
		if p.host.live.set(fmt.Sprintf("%d of %d written: %s", n, total, o.Item.Name)) {
			return
		}
		p.mu.Lock()
		due := time.Since(p.last) > progressEvery
		p.mu.Unlock()
		if due {
			p.say(fmt.Sprintf("%d of %d written", n, total))
		}
	}
}

// AskHidden asks on a terminal without showing what is typed. When ctx ends the terminal is set right
// again, whatever was typed by then.
func AskHidden(ctx context.Context, terminal *os.File, out io.Writer, question string) ([]byte, error) {
	fd := int(terminal.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprint(out, question)
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		answered <- answer{text, err}
	}()
	defer fmt.Fprintln(out)
	select {
	case a := <-answered:
		return a.text, a.err
	case <-ctx.Done():
		_ = term.Restore(fd, state)
		return nil, ctx.Err()
	}
}
