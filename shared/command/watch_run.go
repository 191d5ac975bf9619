package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/secretx/secretx/shared/audit"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/events"
	"github.com/secretx/secretx/shared/metrics"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/mirrorfile"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/watch"
)

// single is the group of a pair that flags name.
func single(p *pair, rollout bool) *group {
	return &group{pair: p, declared: []mirrorfile.Mirror{{From: p.fromName, To: p.toName, Request: p.request, Rollout: rollout}}}
}

// watching is a run of sync --watch.
type watching struct {
	options  syncOptions
	host     Host
	progress *progress
	log      *audit.Log
	counts   *metrics.Metrics
	events   *events.Teller // nil where nobody wants any
	identity string
	files    *mirrorfile.Files // nil without any
	again    func() ([]*group, error)

	groups  []*group
	telling sync.Mutex
	rolling atomic.Int32
}

// runWatch keeps the mirrors of all groups in line until ctx ends, which is how it is meant to end. What files
// declare is read by again, whenever they have changed.
func runWatch(ctx context.Context, groups []*group, again func() ([]*group, error), options syncOptions, host Host, progress *progress) error {
	if prunes(groups) && !options.yes {
		if err := confirm(host, "Are you sure that from now on, mirrors are to be removed whose origin is gone?"); err != nil {
			return err
		}
		options.yes = true
	}
	log, end, err := options.watching.auditLog(host)
	if err != nil {
		return err
	}
	w := &watching{options: options, host: host, progress: progress, log: log, counts: metrics.New(options.watching.lease != ""), again: again, groups: groups}
	machine, err := os.Hostname() // in a pod, its name
	if err != nil {
		return err
	}
	w.identity = machine + "_" + strings.ToLower(rand.Text()[:8])
	if options.watching.events {
		w.events = events.New(w.identity, progress.say)
		go w.events.Run(ctx)
	}
	if len(options.files) > 0 {
		w.files = mirrorfile.Follow(options.files)
	}
	if options.watching.listen != "" {
		if err := w.counts.Serve(ctx, options.watching.listen); err != nil {
			return err
		}
	}
	work := w.run
	if options.watching.lease != "" {
		if work, err = w.elected(); err != nil {
			return err
		}
	}
	over := make(chan error, 1)
	go func() { over <- work(ctx) }()
	select {
	case err = <-over:
	case <-ctx.Done():
		patience := 2 * grace // the lease has to be given back, too
		if w.rolling.Load() > 0 {
			patience = retreat
		}
		select {
		case err = <-over:
		case <-time.After(patience):
		}
	}
	w.telling.Lock() // nothing is told any more
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, end())
}

func prunes(groups []*group) bool {
	return slices.ContainsFunc(groups, func(g *group) bool {
		return slices.ContainsFunc(g.Wanted, func(w mirror.Wanted) bool { return w.Options.Prune })
	})
}

// elected gives what runs only while this process holds the Lease.
func (w *watching) elected() (func(context.Context) error, error) {
	namespace, name, _ := strings.Cut(w.options.watching.lease, "/")
	at, err := w.host.Open(endpoint.Address{Kind: secret.Kubernetes, Namespace: namespace}, OpenOptions{})
	if err != nil {
		return nil, err
	}
	elector, ok := at.(endpoint.Elector)
	if !ok {
		return nil, errors.New("--leader-elect: there are no Leases")
	}
	board, _ := at.(endpoint.Announcer)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var last endpoint.Leadership
		var failed error // of the work, which has ended when Lead has
		err := elector.Lead(ctx, endpoint.Election{
			Lease: name, Identity: w.identity,
			Do: func(ctx context.Context) {
				if err := w.run(ctx); err != nil && ctx.Err() == nil {
					failed = err
					cancel()
				}
			},
			Heard: func(now endpoint.Leadership) {
				w.counts.Lead(now)
				if w.events != nil && board != nil && now.UID != "" {
					w.events.Board(board, name, now.UID)
				}
				switch {
				case now.Leading && !last.Leading:
					if w.events != nil {
						w.events.Tell(endpoint.Notice{Reason: events.Elected, Action: "Elect", Text: w.identity + " became leader"})
					}
					w.progress.say("leading, by the lease " + w.options.watching.lease)
				case !now.Leading && last.Leading:
					w.progress.say("not leading any more")
				case !now.Leading && now.Holder != last.Holder && now.Holder != "" && now.Holder != w.identity:
					w.progress.say("standby: " + now.Holder + " leads")
				}
				last = now
			},
			Failed: func(err error) { w.progress.say(err.Error()) },
		})
		if err == nil {
			err = failed
		}
		return err
	}, nil
}

// run keeps the mirrors in line until ctx ends. When files declare something else, it goes on with that.
func (w *watching) run(ctx context.Context) error {
	if w.files == nil {
		w.loops(ctx, w.groups)
		return nil
	}
	w.renew()
	// Two that would write one object are found before anything is written. An end that isn't there yet is
	// waited for.
	if err := lookAtAll(ctx, w.groups, mirror.AskNothing); err != nil {
		return err
	}
	for ctx.Err() == nil {
		term, cancel := context.WithCancel(ctx)
		over := make(chan struct{})
		go func() {
			defer close(over)
			w.loops(term, w.groups)
		}()
		for w.files.Changed(ctx) {
			if groups, err := w.read(); err != nil {
				w.progress.say(err.Error())
			} else if err := lookAtAll(ctx, groups, mirror.AskNothing); err != nil {
				w.progress.say(err.Error())
			} else {
				w.groups = groups
				w.progress.say("the files have changed: " + count(declaredBy(groups), "mirror"))
				break
			}
			w.progress.say("the files have changed, and can't be used; what they declared before stays in force")
		}
		cancel()
		<-over
	}
	return nil
}

// renew takes over what files declare that have changed while nothing was done.
func (w *watching) renew() {
	if !w.files.Differ() {
		return
	}
	if groups, err := w.read(); err != nil {
		w.progress.say(err.Error())
	} else {
		w.groups = groups
	}
}

func (w *watching) read() ([]*group, error) {
	groups, err := w.again()
	if err == nil && prunes(groups) && !w.options.yes {
		err = errors.New("mirrors are to be removed whose origin is gone, which nobody has confirmed: start it anew, with --yes")
	}
	return groups, err
}

func declaredBy(groups []*group) (n int) {
	for _, g := range groups {
		n += len(g.declared)
	}
	return n
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// loops watch all groups until ctx ends, and what was begun has.
func (w *watching) loops(ctx context.Context, groups []*group) {
	all := make([]*watch.Loop, len(groups))
	for i, g := range groups {
		all[i] = watch.New(&g.Pair, watch.Options{
			Concurrency: w.options.concurrency, Resync: w.options.watching.resync, Tell: w.tell(g),
			RollsOut: func(name string) bool {
				return slices.ContainsFunc(g.declared, func(m mirrorfile.Mirror) bool { return m.Name == name && (m.Rollout || w.options.rollout) })
			},
			Rollout: func(ctx context.Context, p plan.Plan) error {
				w.rolling.Add(1)
				defer w.rolling.Add(-1)
				d, err := g.rollout(ctx, p, w.options)
				if err == nil && rolledOut(d) != nil {
					err = errors.New(d.Text())
				}
				return err
			},
		})
	}
	w.counts.Watch(all)
	defer w.counts.Watch(nil)
	var running sync.WaitGroup
	for _, loop := range all {
		running.Go(func() {
			if err := loop.Run(ctx); err != nil && ctx.Err() == nil {
				w.progress.say(err.Error())
			}
		})
	}
	running.Wait()
}

// tell gives what is told of what happens to the mirrors of a group.
func (w *watching) tell(g *group) func(watch.Event) {
	var ends events.Ends
	ends.From, _ = g.From.(endpoint.Announcer)
	ends.To, _ = g.To.(endpoint.Announcer)
	return func(e watch.Event) {
		w.telling.Lock()
		defer w.telling.Unlock()
		w.log.Record(e)
		w.counts.Record(e)
		if w.events != nil {
			w.events.Record(ends, e)
		}
		if line := lineOf(e); line != "" {
			w.progress.say(line)
		}
	}
}
