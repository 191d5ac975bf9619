package command

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// mover is an endpoint whose workloads can be moved and looked into.
type mover interface {
	looker
	rollout.Mover
	used
}

// roller brings new values at one endpoint to those who use them.
type roller struct {
	mover
	host        Host
	place       endpoint.Place
	look        peek.LookOptions
	concurrency int
	timeout     time.Duration
	retain      int
	say         func(string)
}

// course is what a rollout is to do.
type course struct {
	steps []rollout.Step
	fixed []rollout.Workload // those that would have to be moved and can't be
	// prove are the workloads whose containers must have what now holds at the end.
	prove []rollout.Workload
	// now are the versions that they shall have; values that aren't known are asked for.
	now []secret.Secret
	// undo puts the old values back before workloads go back; nil where versions do that.
	undo func(context.Context) error
	// stays: there is nothing to go back to.
	stays bool
}

// courseTo is the course to new versions, or to new values under the old names.
func (r *roller) courseTo(ctx context.Context, change rollout.Change, now ...secret.Secret) (course, error) {
	workloads, err := r.Workloads(ctx)
	if err != nil {
		return course{}, err
	}
	c := course{now: now}
	c.steps, c.fixed = rollout.Steps(workloads, change)
	for _, w := range workloads {
		if w.Fixed == "" && !w.Scheduled && slices.ContainsFunc(w.Refs, func(ref rollout.Ref) bool {
			_, moves := change.Newest[cmp.Or(ref.UID, ref.Name)]
			_, came := change.Before[cmp.Or(ref.UID, ref.Name)]
			return moves || came || change.Written[ref.Name]
		}) {
			c.prove = append(c.prove, w)
		}
	}
	return c, nil
}

// roll moves all workloads of a course, proves that their containers have what they should, and notes
// it in the document.
func (r *roller) roll(ctx context.Context, d *report.Rotation, c course) error {
	var unproven []string
	options := rollout.Options{
		Concurrency: r.concurrency, Timeout: r.timeout, Say: r.say, Undo: c.undo, NoReturn: c.stays,
		Prove: func(ctx context.Context) (err error) {
			unproven, err = r.prove(ctx, c)
			return err
		},
	}
	outcomes, err := rollout.Run(ctx, r.mover, c.steps, options)
	d.Add(outcomes, c.fixed)
	d.Judge(err)
	for _, s := range c.steps {
		w := s.Workload
		switch {
		case err != nil || len(s.Replace) == 0:
		case w.Stack != "":
			d.Notes = append(d.Notes, fmt.Sprintf("%s is of the stack %q: the next docker stack deploy takes it back unless the Compose file replaces %s (secrets: NAME: {external: true, name: …})", w.ID, w.Stack, replaced(s)))
		case r.place.Kind == secret.Kubernetes:
			d.Notes = append(d.Notes, fmt.Sprintf("%s: the next kubectl apply or Helm upgrade takes it back unless its manifest replaces %s", w.ID, replaced(s)))
		}
	}
	if err == nil && len(unproven) > 0 {
		if d.Result == report.RolloutDone {
			d.Result = report.RolloutUnproven
		}
		d.Notes = append(d.Notes, unproven...)
	}
	return err
}

// replaced says which references now name what.
func replaced(s rollout.Step) string {
	var lines []string
	for _, ref := range s.Workload.Refs {
		for was, to := range s.Replace {
			if was == ref.UID || was == ref.Name {
				lines = append(lines, fmt.Sprintf("%s by %s", ref.Name, to.Name))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// between is how long to wait before containers are looked into again.
const between = 2 * time.Second

// prove looks into the containers of all workloads that were moved. What is pending is waited for; what
// can't be seen is told apart from what is wrong.
func (r *roller) prove(ctx context.Context, c course) (unproven []string, err error) {
	for {
		lines, err := r.lines(ctx, c.prove, c.now)
		if err != nil {
			return nil, err
		}
		waiting := false
		unproven = nil
		var wrong []string
		for _, l := range lines {
			switch {
			case l.Fine, l.State == peek.WrongMode, l.State == peek.WrongOwner, l.State == peek.Extra: // not the value's doing
			case l.State == peek.Unverifiable:
				unproven = append(unproven, "not proven: "+l.where+": "+l.Detail)
			case l.State == peek.Pending:
				waiting = true
			default:
				wrong = append(wrong, fmt.Sprintf("%s is %s: %s", l.where, l.State, l.Detail))
			}
		}
		if len(wrong) > 0 {
			return nil, errors.New(strings.Join(wrong, "; "))
		}
		if !waiting {
			slices.Sort(unproven)
			return slices.Compact(unproven), nil
		}
		r.say("waiting for the kubelets")
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(between):
		}
	}
}

// seenLine is a line and where it is.
type seenLine struct {
	peek.Line
	workload, where string
}

// lines looks into the containers of workloads and judges what they have of the newest versions.
func (r *roller) lines(ctx context.Context, workloads []rollout.Workload, now []secret.Secret) ([]seenLine, error) {
	found := make([][]peek.Container, len(workloads))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, w := range workloads {
		group.Go(func() (err error) {
			found[i], err = r.Containers(groupCtx, targetOf(w.ID, r.place.Kind))
			if errors.Is(err, endpoint.ErrNotFound) {
				return nil // nothing of it runs
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	containers := slices.Concat(found...)
	if len(containers) == 0 {
		return nil, nil
	}
	// What a container says it belongs to may be a ReplicaSet, to somebody who may not look at those.
	var owners []string
	for i, w := range workloads {
		owners = append(owners, slices.Repeat([]string{w.ID}, len(found[i]))...)
	}
	options := r.look
	options.Nonce, options.Progress = make([]byte, 32), r.say
	_, _ = rand.Read(options.Nonce) // never fails
	current, err := r.current(ctx, containers, now, options.Nonce)
	if err != nil {
		return nil, err
	}
	if err := r.Look(ctx, containers, options); err != nil {
		return nil, err
	}
	judge := peek.Judge{Kind: r.place.Kind, Nonce: options.Nonce, Now: time.Now(), Current: current}
	var all []seenLine
	for i, c := range containers {
		for _, l := range judge.Lines(c) {
			if !slices.ContainsFunc(now, func(s secret.Secret) bool { return s.LogicalName() == l.Secret || s.Name == l.Secret }) {
				continue
			}
			where := c.Name
			if c.Container != "" {
				where += "/" + c.Container
			}
			if l.Variable != "" {
				where += " $" + l.Variable
			} else {
				where += " " + l.Path
			}
			all = append(all, seenLine{l, owners[i], where})
		}
	}
	return all, nil
}

// targetOf is how a workload is looked into.
func targetOf(id string, kind secret.Kind) peek.Target {
	what, name, _ := strings.Cut(id, "/")
	if kind == secret.Swarm {
		return peek.Target{Name: name}
	}
	return peek.Target{Type: what, Name: name}
}

// current gives what the newest versions hold: of those whose values aren't known, all are asked for at
// once. Nobody asks about others.
func (r *roller) current(ctx context.Context, containers []peek.Container, now []secret.Secret, nonce []byte) (func(peek.Want) peek.Current, error) {
	of := func(w peek.Want) (s secret.Secret, ref secret.Ref, there bool) {
		i := slices.IndexFunc(now, func(s secret.Secret) bool { return w.UID != "" && w.UID == s.UID || w.UID == "" && w.Secret == s.Name })
		switch {
		case i < 0:
			return s, ref, false
		case r.place.Kind == secret.Swarm:
			return now[i], now[i].Ref(now[i].Name), true
		}
		return now[i], now[i].Ref(w.Key), true
	}
	var refs []secret.Ref
	for _, w := range wantsOf(containers) {
		if s, ref, there := of(w); there && w.How != peek.Pull {
			if _, has := s.Key(ref.Key); has {
				refs = append(refs, ref)
			}
		}
	}
	made, failed := mirror.Digests(ctx, r, plan.Side{Place: r.place, Secrets: now}, refs, nonce)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return func(w peek.Want) peek.Current {
		s, ref, there := of(w)
		if !there {
			return peek.Current{Unknown: "it is none of those that were rotated"}
		}
		c := peek.Current{UID: s.UID, Name: s.Name, Immutable: s.Immutable, Created: s.Created, Changed: s.Changed}
		c.Digest, c.Exists = made[ref]
		c.Exists = c.Exists || w.How == peek.Pull
		if !c.Exists && failed != nil { // no probe, or none that ran: not known, which is no reason to go back
			c.Unknown = failed.Error()
		}
		return c
	}, nil
}

// stale has only those workloads restarted whose containers don't have what now holds already; those that
// can't be looked into are, to be on the safe side. The others are settled and taken back with them, unless
// there is nothing to go back to.
func (r *roller) stale(ctx context.Context, c course) (course, error) {
	var concerned []rollout.Workload
	for _, s := range c.steps {
		concerned = append(concerned, s.Workload)
	}
	lines, err := r.lines(ctx, concerned, c.now)
	if err != nil {
		return c, err
	}
	behind := map[string]bool{}
	for _, l := range lines {
		if !l.Fine && l.State != peek.Pending {
			behind[l.workload] = true
		}
	}
	if c.stays {
		c.steps = slices.DeleteFunc(c.steps, func(s rollout.Step) bool { return !behind[s.Workload.ID] })
		return c, nil
	}
	for i := range c.steps {
		if s := &c.steps[i]; s.Restart && !behind[s.Workload.ID] {
			s.Restart, s.Has = false, true
		}
	}
	return c, nil
}

// rollOptions are the flags of verbs that bring a new value to those who use it.
type rollOptions struct {
	concurrency int
	retain      int
	look        peek.LookOptions
}

func (o *rollOptions) addFlags(flags *pflag.FlagSet) {
	flags.IntVar(&o.concurrency, "concurrency", 8, "How many workloads to write to at a time")
	o.addOwnFlags(flags)
}

func (o *rollOptions) addOwnFlags(flags *pflag.FlagSet) {
	flags.IntVar(&o.retain, "retain", 1, "How many older versions to keep beside the newest, where nothing needs them")
	addLookFlags(flags, &o.look)
}

func (o *rollOptions) check() error {
	switch {
	case o.concurrency < 1 || o.concurrency > 256:
		return errors.New("--concurrency must be from 1 to 256")
	case o.retain < 0:
		return errors.New("--retain can't be less than nothing")
	}
	return nil
}

func (o *rollOptions) roller(host Host, m mover, place endpoint.Place, timeout time.Duration, say func(string)) *roller {
	return &roller{mover: m, host: host, place: place, look: o.look, concurrency: o.concurrency, timeout: timeout, retain: o.retain, say: say}
}

// retire removes versions that nothing needs: beyond those that are to be kept beside the newest, and those
// that a rollout took back.
func (r *roller) retire(ctx context.Context, names []string) (removed []string, err error) {
	s := scene{place: r.place}
	if s.secrets, err = r.List(ctx, nil); err != nil {
		return nil, err
	}
	if s.graph, err = r.Consumers(ctx); err != nil {
		return nil, err
	}
	s.used = s.graph.ByName(r.place.Kind, s.secrets)
	for _, c := range s.retirable(names, r.retain) {
		if c.Action != actionRemove {
			continue
		}
		if err := r.Remove(ctx, c.object); err != nil {
			if errors.Is(err, endpoint.ErrInUse) || errors.Is(err, endpoint.ErrMoved) {
				continue // somebody needs it by now
			}
			return removed, err
		}
		removed = append(removed, c.object.Name)
	}
	return removed, nil
}

// The actions of a change.
const (
	actionCreate = "create"
	actionRemove = "remove"
	actionKeep   = "keep"
)

// candidate is an old version and whether it may go.
type candidate struct {
	object secret.Secret
	Action string
	Why    string
}

// retirable judges the old versions of secrets; no names stands for all.
func (s scene) retirable(names []string, keep int) []candidate {
	var all []candidate
	for name, versions := range s.families() {
		if len(versions) < 2 || len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		newest := newestOf(versions)
		kept := 0
		for _, v := range slices.Backward(versions) {
			if v.UID == newest.UID {
				continue
			}
			c := candidate{object: v, Action: actionRemove, Why: "an older version of " + newest.Name}
			references := s.used[v.Name]
			switch {
			case v.Lineage.Rollout == secret.Pending:
				c.Action, c.Why = actionKeep, "its rollout was not brought to its end: rotate does that"
			case len(references) > 0:
				c.Action, c.Why = actionKeep, "needed by "+whoNeeds(references)
			case len(s.graph.Blind) > 0:
				c.Action, c.Why = actionKeep, "not all who may need it could be seen: "+s.graph.Blind[0]
			case v.Lineage.Rollout == secret.Failed:
				c.Why = "a rollout took it back"
			case kept < keep:
				kept++
				c.Action, c.Why = actionKeep, fmt.Sprintf("one of the last %d", keep)
			}
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return strings.Compare(a.object.Name, b.object.Name) })
	return all
}

func whoNeeds(references []consumers.Reference) string {
	var who []string
	for _, r := range consumers.Top(references) {
		text := r.Consumer.ID()
		if r.Use.Previous {
			text += " (for a rollback)"
		}
		if !slices.Contains(who, text) {
			who = append(who, text)
		}
	}
	return strings.Join(who, ", ")
}
