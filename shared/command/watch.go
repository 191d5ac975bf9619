package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/audit"
	"github.com/secretx/secretx/shared/metrics"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/mirrorfile"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/watch"
)

// watchOptions are the flags of sync --watch.
type watchOptions struct {
	watch  bool
	resync time.Duration
	audit  string
	listen string
}

func (o *watchOptions) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.watch, "watch", false, "Stay, and bring the mirrors in line whenever something changes")
	flags.DurationVar(&o.resync, "resync", time.Hour, "With --watch: compare everything about this often, to be safe")
	flags.StringVar(&o.audit, "audit", "", "With --watch: write what is done as JSON lines to this `file`, - for the output")
	flags.StringVar(&o.listen, "listen", "", "With --watch: answer /healthz, /readyz and /metrics at this `address`, such as :8080")
}

// check looks at flags that don't go together.
func (o *watchOptions) check(flags *pflag.FlagSet, printer Printer) error {
	if !o.watch {
		for _, name := range []string{"resync", "audit", "listen"} {
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

// single is the group of a pair that flags name.
func single(p *pair, rollout bool) *group {
	return &group{pair: p, declared: []mirrorfile.Mirror{{From: p.fromName, To: p.toName, Request: p.request, Rollout: rollout}}}
}

// runWatch keeps the mirrors of all groups in line until ctx ends, which is how it is meant to end.
func runWatch(ctx context.Context, groups []*group, options syncOptions, host Host, progress *progress) error {
	prunes := slices.ContainsFunc(groups, func(g *group) bool {
		return slices.ContainsFunc(g.Wanted, func(w mirror.Wanted) bool { return w.Options.Prune })
	})
	if prunes && !options.yes {
		if err := confirm(host, "Are you sure that from now on, mirrors are to be removed whose origin is gone?"); err != nil {
			return err
		}
	}
	log, end, err := options.watching.auditLog(host)
	if err != nil {
		return err
	}
	if len(options.files) > 0 {
		// Two that would write one object are found before anything is written. An end that isn't there yet is
		// waited for.
		if err := lookAtAll(ctx, groups, mirror.AskNothing); err != nil {
			return ended(ctx, err)
		}
	}
	var telling sync.Mutex
	var running sync.WaitGroup
	loops := make([]*watch.Loop, len(groups))
	counts := metrics.New(func() []*watch.Loop { return loops })
	for i, g := range groups {
		loops[i] = watch.New(&g.Pair, watch.Options{
			Concurrency: options.concurrency, Resync: options.watching.resync,
			RollsOut: func(name string) bool {
				return slices.ContainsFunc(g.declared, func(m mirrorfile.Mirror) bool { return m.Name == name && (m.Rollout || options.rollout) })
			},
			Rollout: func(ctx context.Context, p plan.Plan) error {
				d, err := g.rollout(ctx, p, options)
				if err == nil && rolledOut(d) != nil {
					err = errors.New(d.Text())
				}
				return err
			},
			Tell: func(e watch.Event) {
				telling.Lock()
				defer telling.Unlock()
				log.Record(e)
				counts.Record(e)
				if line := lineOf(e); line != "" {
					progress.say(line)
				}
			},
		})
	}
	if options.watching.listen != "" {
		if err := counts.Serve(ctx, options.watching.listen); err != nil {
			return err
		}
	}
	for _, loop := range loops {
		running.Go(func() {
			if err := loop.Run(ctx); err != nil && ctx.Err() == nil {
				progress.say(err.Error())
			}
		})
	}
	over := make(chan struct{})
	go func() { running.Wait(); close(over) }()
	<-ctx.Done()
	select {
	case <-over:
	case <-time.After(grace):
	}
	telling.Lock() // nothing is told any more
	return end()
}

// ended is no error where it was asked for.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
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
