package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

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
	return func(apply.Outcome) {
		n++
		p.mu.Lock()
		due := time.Since(p.last) > progressEvery
		p.mu.Unlock()
		if due {
			p.say(fmt.Sprintf("%d of %d written", n, total))
		}
	}
}
