package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

type verifyOptions struct {
	bothOptions
	all   bool
	files []string
	look  peek.LookOptions
}

func newVerifyCommand(host Host) *cobra.Command {
	var options verifyOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "verify [NAME...]",
		Short: "Prove secrets end to end: origins, mirrors and what running containers have",
		Long: `Prove secrets end to end: that each mirror has the value of its origin, and that each
running container of those who use either has it too. Values are compared by digests
under a key that is used once; what is noted on a mirror is not believed.

Each secret is a tree: who uses it, with what their containers really have, and its
mirrors, with the same of those.

Exits 0 when all is proven, 1 when something differs or can't be known, 2 on errors.`,
		Example: examples(host,
			"verify OWN", "One secret, its mirrors and whoever uses them",
			"verify --all", "All secrets of both sides that are mirrored or used",
			"verify -f mirrors.yaml", "All mirrors that a file declares",
		),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			progress := newProgress(host)
			options.look.Progress = progress.say
			if len(options.files) > 0 {
				pairs := pairOptions{timeout: options.timeout, probeImage: options.open.ProbeImage}
				pairs.request.NoProbe = options.open.NoProbe
				groups, err := pairs.groups(host, options.files, cmd.Flags(), names, progress.say)
				if err != nil {
					return err
				}
				return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
					return runVerifyFiles(ctx, groups, options, host, printer)
				})
			}
			if options.all == (len(names) > 0) {
				return errors.New("say which secrets: names, --all or -f FILE")
			}
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runVerify(ctx, b, options, names, printer)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	addFileFlag(flags, &options.files)
	flags.BoolVar(&options.all, "all", false, "All secrets that are mirrored or used")
	addLookFlags(flags, &options.look)
	printer = host.Printer(flags, report.VerifyColumns)
	return cmd
}

// evidence is what was found at one side: who uses which object, and what running containers have.
type evidence struct {
	scene
	containers []peek.Container
	judge      peek.Judge
}

func runVerify(ctx context.Context, b *both, options verifyOptions, names []string, printer Printer) error {
	found, err := b.scenes(ctx)
	if err != nil {
		return err
	}
	if err := b.known(found, names); err != nil {
		return err
	}
	d, err := b.verify(ctx, found, options, names)
	if err != nil {
		return err
	}
	d.Judge()
	if err := show(b.host, printer, d); err != nil {
		return err
	}
	if !d.Summary.Fine {
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

// verify proves what was named, or all where nothing was.
func (b *both) verify(ctx context.Context, found [2]scene, options verifyOptions, names []string) (report.Verify, error) {
	d := report.Verify{APIVersion: report.APIVersion, Kind: report.KindVerify, Secrets: []report.Node{}}
	key, err := b.key(ctx, found)
	if err != nil {
		return d, err
	}
	var sides [2]evidence
	var m mirrored
	var proven [2]plan.Plan
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		m, proven, err = b.proveMirrors(groupCtx, found, key, options.open.NoProbe)
		return err
	})
	for i := range found {
		sides[i].scene = found[i]
		if found[i].absent == nil {
			group.Go(func() error { return b.gather(groupCtx, i, &sides[i], names, options.look) })
		}
	}
	if err := group.Wait(); err != nil {
		return d, err
	}
	for _, s := range found {
		d.Places = append(d.Places, listed(s))
	}
	for i := range sides {
		d.Secrets = append(d.Secrets, trees(sides, i, m, proven, names)...)
	}
	return d, nil
}

// known fails for names that stand at neither side.
func (b *both) known(found [2]scene, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(found[:], func(s scene) bool {
			return slices.ContainsFunc(s.secrets, func(o secret.Secret) bool { return isMeant(o, name) })
		}) {
			return fmt.Errorf("no secret %q at %s or %s", name, b.sides[0].name, b.sides[1].name)
		}
	}
	return nil
}

// proveMirrors compares the values of all mirrors with those of their origins.
func (b *both) proveMirrors(ctx context.Context, found [2]scene, key secret.FingerprintKey, noProbe bool) (mirrored, [2]plan.Plan, error) {
	options := plan.Options{Prove: true}
	m, plans := mirrorsOf(found, key, options)
	if noProbe {
		return m, plans, nil
	}
	options.Proofs = plan.Proofs{}
	for to, p := range plans {
		var questions []plan.Question
		for _, item := range p.Items {
			questions = append(questions, item.Questions...)
		}
		if len(questions) == 0 {
			continue
		}
		from := 1 - to
		proofs, err := mirror.Prove(ctx, b.sides[from], b.sides[to], mirror.Sides{From: found[from].side(), To: found[to].side()}, questions)
		if err != nil {
			return m, plans, err
		}
		for q, equal := range proofs {
			options.Proofs[q] = equal
		}
	}
	m, plans = mirrorsOf(found, key, options)
	return m, plans, nil
}

// gather looks into all containers of a side that have to do with the names.
func (b *both) gather(ctx context.Context, i int, e *evidence, names []string, options peek.LookOptions) error {
	l, ok := b.sides[i].Endpoint.(looker)
	if !ok {
		return nil
	}
	all, err := l.Containers(ctx, peek.Target{})
	if err != nil {
		return err
	}
	meant := map[string]bool{}
	for _, o := range e.secrets {
		if len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return isMeant(o, name) }) {
			meant[o.UID], meant[o.Name] = true, true
		}
	}
	for _, c := range all {
		if slices.ContainsFunc(c.Wants, func(w peek.Want) bool { return w.UID != "" && meant[w.UID] || w.UID == "" && meant[w.Secret] }) {
			e.containers = append(e.containers, c)
		}
	}
	if len(e.containers) == 0 {
		return nil
	}
	e.judge, err = b.lookInto(ctx, l, e.place, e.containers, options)
	return err
}

// trees makes those of the secrets of one side that are no mirrors of the other.
func trees(sides [2]evidence, i int, m mirrored, proven [2]plan.Plan, names []string) []report.Node {
	s := sides[i]
	if s.absent != nil {
		return nil
	}
	var all []report.Node
	for name, versions := range s.families() {
		newest := versions[len(versions)-1]
		item, isMirror := m.states[i][newest.Name]
		if isMirror && item.State != plan.Orphan || newest.Internal != "" {
			continue // it stands below its origin
		}
		meant := len(names) == 0
		for _, n := range names {
			meant = meant || slices.ContainsFunc(versions, func(v secret.Secret) bool { return isMeant(v, n) })
			// A mirror's name means its origin.
			meant = meant || slices.ContainsFunc(proven[1-i].Items, func(mirror plan.Item) bool {
				return slices.Contains(mirror.Origins, name) && isMeant(*mirror.Existing, n)
			})
		}
		if !meant {
			continue
		}
		node := report.Node{Kind: report.NodeSecret, Name: name, Place: s.place.Name, Fine: true}
		if isMirror {
			node.State, node.Fine, node.Detail = string(item.State), false, item.Reason
		}
		node.Nodes = s.consumers(versions)
		for _, mirror := range proven[1-i].Items {
			if slices.Contains(mirror.Origins, name) {
				node.Nodes = append(node.Nodes, sides[1-i].mirror(mirror))
			}
		}
		if len(names) == 0 && len(node.Nodes) == 0 && !isMirror {
			continue // nothing to prove
		}
		node.Sort()
		all = append(all, node)
	}
	slices.SortFunc(all, func(a, b report.Node) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// mirror is the node of a mirror and those who use it.
func (e evidence) mirror(item plan.Item) report.Node {
	node := report.Node{
		Kind: report.NodeMirror, Name: item.Name, Place: e.place.Name, State: string(item.State), Fine: item.State == plan.InSync, Detail: item.Reason,
	}
	if item.State == plan.Changed || item.State == plan.Drifted {
		node.Mend = "Bring it in line: secretx sync"
	}
	versions := []secret.Secret{*item.Existing}
	if e.place.Kind == secret.Swarm {
		versions = e.families()[item.Existing.LogicalName()]
	}
	node.Nodes = e.consumers(versions)
	return node
}

// consumers are the nodes of those who use any version of a secret: running ones with what their
// containers have of it, others by themselves.
func (e evidence) consumers(versions []secret.Secret) []report.Node {
	ids, byName := map[string]bool{}, map[string]bool{}
	var references []consumers.Reference
	for _, v := range versions {
		ids[v.UID], byName[v.Name] = true, true
		references = append(references, e.used[v.Name]...)
	}
	nodes := map[string]*report.Node{}
	var order []string
	at := func(id string) *report.Node {
		if nodes[id] == nil {
			nodes[id] = &report.Node{Kind: report.NodeConsumer, Name: id, Fine: true}
			order = append(order, id)
		}
		return nodes[id]
	}
	for _, c := range e.containers {
		wanted := func(w peek.Want) bool {
			return e.place.Kind == secret.Swarm && ids[w.UID] || e.place.Kind == secret.Kubernetes && byName[w.Secret]
		}
		if c.Over || !slices.ContainsFunc(c.Wants, wanted) {
			continue
		}
		owner := at(strings.Replace(c.Object, " ", "/", 1))
		owner.Nodes = append(owner.Nodes, containerNode(c, e.judge.Lines(c), byName))
	}
	for _, r := range consumers.Top(references) {
		if r.Use.Previous {
			continue
		}
		id := r.Consumer.ID()
		if r.Consumer.Owner != "" {
			id = r.Consumer.Owner
		}
		if nodes[id] == nil {
			at(id).Detail = r.Use.Summary() + "; nothing of it runs here"
		}
	}
	var all []report.Node
	for _, id := range order {
		all = append(all, *nodes[id])
	}
	return all
}

// containerNode is one container with its lines of a secret.
func containerNode(c peek.Container, lines []peek.Line, names map[string]bool) report.Node {
	node := report.Node{Kind: report.NodeContainer, Name: c.Name, Place: c.Node, Fine: true, Detail: c.Note}
	if c.Container != "" {
		node.Name += "/" + c.Container
	}
	for _, l := range lines {
		if !names[l.Secret] {
			continue
		}
		where := l.Path
		if l.Variable != "" {
			where = "$" + l.Variable
		}
		if l.How == peek.Pull {
			where = "image pull"
		}
		node.Nodes = append(node.Nodes, report.Node{Kind: report.NodeLine, Name: where, State: string(l.State), Fine: l.Fine, Detail: l.Detail, Mend: l.Mend})
	}
	return node
}
