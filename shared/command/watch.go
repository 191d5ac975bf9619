package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/audit"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/watch"
)

// watchOptions are the flags of sync --watch.
type watchOptions struct {
	watch  bool
	resync time.Duration
	audit  string
	listen string
	lease  string
	events bool
}

func (o *watchOptions) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.watch, "watch", false, "Stay, and bring the mirrors in line whenever something changes")
	flags.DurationVar(&o.resync, "resync", time.Hour, "With --watch: compare everything about this often, to be safe")
	flags.StringVar(&o.audit, "audit", "", "With --watch: write what is done as JSON lines to this `file`, - for the output")
	flags.StringVar(&o.listen, "listen", "", "With --watch: answer /healthz, /readyz and /metrics at this `address`, such as :8080")
	flags.BoolVar(&o.events, "events", false, "With --watch: tell what is done by Events on the Secrets in Kubernetes, and on the Lease")
	flags.StringVar(&o.lease, "leader-elect", "", "With --watch: of several that run, let only the holder of this Lease write, `NAMESPACE/NAME`")
}

// check looks at flags that don't go together.
func (o *watchOptions) check(flags *pflag.FlagSet, printer Printer) error {
	if !o.watch {
		for _, name := range []string{"resync", "audit", "listen", "events", "leader-elect"} {
			if flags.Changed(name) {
				return fmt.Errorf("--%s goes with --watch", name)
			}
		}
		return nil
	}
	for _, name := range []string{"plan", "save-plan", "dry-run", "force", "prove"} {
		if flags.Changed(name) {
			return fmt.Errorf("--%s doesn't go with --watch: run sync with it once", name)
		}
	}
	if !printer.Human() {
		return errors.New("--watch gives no document, as it has no end: --audit - writes what is done as JSON lines")
	}
	if o.resync < time.Second {
		return errors.New("--resync must be a second at least")
	}
	if o.lease != "" {
		if _, _, err := splitName("--leader-elect", o.lease); err != nil {
			return err
		}
	}
	return nil
}

// auditLog opens the log; without one, nothing is written.
func (o *watchOptions) auditLog(host Host) (*audit.Log, func() error, error) {
	nothing := func() error { return nil }
	switch o.audit {
	case "":
		return audit.New(io.Discard), nothing, nil
	case "-":
		return audit.New(host.Out), nothing, nil
	}
	f, err := os.OpenFile(o.audit, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("--audit: %w", err)
	}
	return audit.New(f), f.Close, nil
}

// lineOf says in a line what happened, for people.
func lineOf(e watch.Event) string {
	whose := ""
	if e.Mirror != "" {
		whose = e.Mirror + ": "
	}
	switch e.Kind {
	case watch.Compared:
		states := map[string]int{}
		total := 0
		for state, n := range e.Items {
			states[string(state)], total = n, total+n
		}
		return fmt.Sprintf("%s to %s: compared %s in %s", e.From.Name, e.To.Name, report.Sum(total, "mirror", states), e.Took.Round(time.Millisecond))
	case watch.Write:
		o := e.Outcome
		line := fmt.Sprintf("%s%s at %s: %s %s", whose, o.Item.Name, e.To.Name, o.Item.Action, o.Result)
		if e.Took > 0 {
			line += fmt.Sprintf(", %s after its origin had changed", e.Took.Round(time.Millisecond))
		}
		if o.Err != nil {
			line += ": " + o.Err.Error()
		}
		if o.Result == apply.Interrupted {
			return ""
		}
		return line
	case watch.Left:
		item := e.Outcome.Item
		line := fmt.Sprintf("%s%s at %s: %s", whose, cmp.Or(item.Name, strings.Join(item.Origins, ",")), e.To.Name, item.State)
		if item.Reason != "" {
			line += ": " + item.Reason
		}
		return line
	case watch.Failure:
		return whose + e.Err.Error()
	case watch.Rolled:
		if e.Err != nil {
			return "not rolled out: " + e.Err.Error()
		}
		return "rolled out"
	}
	return ""
}
