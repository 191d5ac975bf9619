package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/selector"
)

type lsOptions struct {
	bothOptions
	selector string
	filters  []string
	all      bool
	quiet    bool
}

func newLsCommand(host Host) *cobra.Command {
	var options lsOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the secrets of both sides, their mirrors and how many use them",
		Long: `List the secrets of both sides: keys, versions, whether a mirror is in line with its
origin as far as is noted on it, and how many consumers there are. No value is read
out of a Swarm.

Filters are name=TEXT (the beginning of it), id=TEXT, side=swarm or kubernetes,
type=TYPE, state=STATE, label=KEY or KEY=VALUE, mirror=true or false, unused=true or
false. Of the same key any may hold, of different ones all must.`,
		Example: examples(host,
			"ls", "Both sides",
			"ls --filter side=swarm --filter unused=true", "What no service of the Swarm uses",
			"ls -A -l app=web", "In all namespaces, by their labels",
		),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			keep, err := options.keeps()
			if err != nil {
				return err
			}
			progress := newProgress(host)
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runLs(ctx, b, options, keep, printer)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	flags.StringVarP(&options.selector, "selector", "l", "", "Secrets with these `labels`, such as app=web,tier!=test")
	filter := ""
	if host.Native == secret.Swarm {
		filter = "f"
	}
	flags.StringArrayVarP(&options.filters, "filter", filter, nil, "Secrets for which `KEY=VALUE` holds; may be repeated")
	flags.BoolVarP(&options.all, "all-namespaces", "A", false, "Those of all namespaces of the Kubernetes side")
	flags.BoolVarP(&options.quiet, "quiet", "q", false, "Print names alone")
	printer = host.Printer(flags, report.ListColumns(host.Native == secret.Kubernetes))
	return cmd
}

// keeps makes the condition that filters and selector state.
func (o *lsOptions) keeps() (func(report.Entry) bool, error) {
	conditions := map[string][]func(report.Entry) bool{}
	for _, text := range o.filters {
		key, value, found := strings.Cut(text, "=")
		if !found || value == "" {
			return nil, fmt.Errorf("--filter %q: it must be KEY=VALUE", text)
		}
		condition, err := filterOf(key, value)
		if err != nil {
			return nil, err
		}
		conditions[key] = append(conditions[key], condition)
	}
	if o.selector != "" {
		matches, err := selector.Parse(o.selector, secret.Kubernetes)
		if err != nil {
			return nil, fmt.Errorf("--selector: %w", err)
		}
		conditions["selector"] = []func(report.Entry) bool{func(e report.Entry) bool { return matches(e.Labels) }}
	}
	return func(e report.Entry) bool {
		for _, any := range conditions {
			if !slices.ContainsFunc(any, func(holds func(report.Entry) bool) bool { return holds(e) }) {
				return false
			}
		}
		return true
	}, nil
}

func filterOf(key, value string) (func(report.Entry) bool, error) {
	truth := map[string]bool{"true": true, "1": true}[value]
	switch key {
	case "name":
		return func(e report.Entry) bool { return strings.HasPrefix(e.Name, value) }, nil
	case "id":
		return func(e report.Entry) bool { return strings.HasPrefix(e.ID, value) }, nil
	case "side":
		if value == "k8s" {
			value = string(secret.Kubernetes)
		}
		if value != string(secret.Kubernetes) && value != string(secret.Swarm) {
			return nil, fmt.Errorf("--filter side=%s: a side is swarm or kubernetes", value)
		}
		return func(e report.Entry) bool { return e.Side == value }, nil
	case "type":
		return func(e report.Entry) bool { return e.Type == value }, nil
	case "state":
		return func(e report.Entry) bool { return e.State == value }, nil
	case "label":
		name, wanted, given := strings.Cut(value, "=")
		return func(e report.Entry) bool {
			have, there := e.Labels[name]
			return there && (!given || have == wanted)
		}, nil
	case "mirror":
		return func(e report.Entry) bool { return (e.MirrorOf != "") == truth }, nil
	case "unused":
		return func(e report.Entry) bool { return (e.Consumers == 0) == truth }, nil
	}
	return nil, fmt.Errorf("--filter %s: unknown, it must be name, id, side, type, state, label, mirror or unused", key)
}

// namespaced is an endpoint that knows which others stand beside it.
type namespaced interface {
	Namespaces(ctx context.Context) ([]string, error)
}

func runLs(ctx context.Context, b *both, options lsOptions, keep func(report.Entry) bool, printer Printer) error {
	found, err := b.scenes(ctx)
	if err != nil {
		return err
	}
	key, err := b.key(ctx, found)
	if err != nil {
		return err
	}
	entries, places := b.entries(found, key), []report.Listed{}
	for _, s := range found {
		places = append(places, listed(s))
	}
	if options.all {
		more, err := b.elsewhere(ctx, found, key)
		if err != nil {
			return err
		}
		for i, e := range entries {
			if e.Side == string(secret.Kubernetes) {
				entries[i].Namespace = namespaceOf(found)
			}
		}
		entries = append(entries, more...)
	}
	d := report.List{APIVersion: report.APIVersion, Kind: report.KindList, Places: places, Items: slices.DeleteFunc(entries, func(e report.Entry) bool { return !keep(e) }), Ago: b.host.Ago}
	slices.SortStableFunc(d.Items, func(a, b report.Entry) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Side, b.Side))
	})
	if options.quiet {
		for _, e := range d.Items {
			if _, err := fmt.Fprintln(b.host.Out, report.Printable(e.Name)); err != nil {
				return err
			}
		}
		return nil
	}
	if b.host.Native == secret.Kubernetes {
		return show(b.host, printer, report.ForKubectl{List: d})
	}
	return show(b.host, printer, d)
}

func listed(s scene) report.Listed {
	l := report.Listed{Place: report.PlaceOf(s.place), Blind: s.graph.Blind}
	if s.absent != nil {
		l.Unreachable = s.absent.Error()
	}
	return l
}

func namespaceOf(found [2]scene) string {
	for _, s := range found {
		if s.place.Kind == secret.Kubernetes {
			return s.place.Namespace
		}
	}
	return ""
}

// key finds the installation key of two sides, for judging what is noted on mirrors.
func (b *both) key(ctx context.Context, found [2]scene) (secret.FingerprintKey, error) {
	for i := len(found) - 1; i >= 0; i-- {
		keeper, ok := b.sides[i].Endpoint.(endpoint.Keeper)
		if !ok || found[i].absent != nil || found[i].place.Kind != secret.Kubernetes {
			continue
		}
		if key, err := keeper.FingerprintKey(ctx, false); err != nil || key.Known() {
			return key, err
		}
	}
	return secret.FingerprintKey{}, nil
}

// mirrored is what is known of mirrors between two sides: by side, and by the name of the object.
type mirrored struct {
	states  [2]map[string]plan.Item
	mirrors [2]map[string][]string // of origins, by side and by the name that they are known by
	worst   [2]map[string]plan.State
}

func mirrorsOf(found [2]scene, key secret.FingerprintKey, options plan.Options) (m mirrored, plans [2]plan.Plan) {
	options.Key = key
	for to := range found {
		from := 1 - to
		m.states[to], m.mirrors[from], m.worst[from] = map[string]plan.Item{}, map[string][]string{}, map[string]plan.State{}
		if found[from].absent != nil || found[to].absent != nil {
			continue
		}
		plans[to] = plan.Mirrors(found[from].side(), found[to].side(), options)
		for _, item := range plans[to].Items {
			m.states[to][item.Name] = item
			for _, origin := range item.Origins {
				m.mirrors[from][origin] = append(m.mirrors[from][origin], item.Name)
				m.worst[from][origin] = plan.Worse(m.worst[from][origin], item.State)
			}
		}
	}
	return m, plans
}

func (s scene) side() plan.Side { return plan.Side{Place: s.place, Secrets: s.secrets} }

// entries makes the rows of both sides.
func (b *both) entries(found [2]scene, key secret.FingerprintKey) []report.Entry {
	m, _ := mirrorsOf(found, key, plan.Options{})
	var entries []report.Entry
	for i, s := range found {
		if s.absent != nil {
			continue
		}
		for name, versions := range s.families() {
			newest := mapping.Newest(versions)[0]
			e := report.Entry{
				Side: string(s.place.Kind), Name: name, ID: newest.UID, Type: newest.Type, Immutable: newest.Immutable,
				Internal: newest.Internal, Created: newest.Created, Labels: newest.Labels, Mirrors: m.mirrors[i][name], State: string(m.worst[i][name]),
			}
			for _, k := range newest.Keys {
				e.Keys = append(e.Keys, k.Name)
			}
			var references []consumers.Reference
			for _, v := range versions {
				references = append(references, s.used[v.Name]...)
				if s.place.Kind == secret.Swarm || len(versions) > 1 {
					e.Versions = append(e.Versions, v.Name)
				}
			}
			e.Consumers = consumers.Count(references)
			if newest.Mark != nil {
				e.MirrorOf, e.State = mirrorOf(newest.Mark, found[1-i].place), string(m.states[i][newest.Name].State)
			}
			entries = append(entries, e)
		}
	}
	return entries
}

// mirrorOf names the origins of a mirror, and their place where it isn't the other side.
func mirrorOf(m *secret.Mark, other endpoint.Place) string {
	var names []string
	for _, p := range m.Parts {
		if !slices.Contains(names, p.Secret) {
			names = append(names, p.Secret)
		}
	}
	text := strings.Join(names, ",")
	if m.Origin != other.Identity {
		text += " at " + m.Place
	}
	return text
}

// families gathers the versions of secrets, the newest last.
func (s scene) families() map[string][]secret.Secret {
	all := map[string][]secret.Secret{}
	for _, object := range s.secrets {
		name := object.LogicalName()
		all[name] = append(all[name], object)
	}
	for _, versions := range all {
		slices.SortFunc(versions, func(a, b secret.Secret) int { return cmp.Compare(a.Lineage.Sequence, b.Lineage.Sequence) })
	}
	return all
}

// elsewhere lists the other namespaces of the Kubernetes side.
func (b *both) elsewhere(ctx context.Context, found [2]scene, key secret.FingerprintKey) ([]report.Entry, error) {
	at := slices.IndexFunc(found[:], func(s scene) bool { return s.place.Kind == secret.Kubernetes && s.absent == nil })
	if at < 0 {
		return nil, errors.New("-A needs a Kubernetes side that can be reached")
	}
	n, ok := b.sides[at].Endpoint.(namespaced)
	if !ok {
		return nil, fmt.Errorf("%s has no namespaces", b.sides[at].name)
	}
	names, err := n.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == found[at].place.Namespace })
	all := make([][]report.Entry, len(names))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, name := range names {
		group.Go(func() error {
			address := b.sides[at].name
			address.Namespace = name
			e, err := b.host.Open(address, OpenOptions{NoProbe: true, Progress: b.say})
			if err != nil {
				return err
			}
			var two [2]scene
			two[1-at] = found[1-at]
			if err := (side{Endpoint: e, name: address}).look(groupCtx, &two[at]); err != nil {
				return err
			}
			for _, entry := range b.entries(two, key) {
				if entry.Side == string(secret.Kubernetes) {
					entry.Namespace = name
					all[i] = append(all[i], entry)
				}
			}
			return nil
		})
	}
	err = group.Wait()
	return slices.Concat(all...), err
}
