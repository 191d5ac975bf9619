package command

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/rights"
	"github.com/secretx/secretx/shared/secret"
)

type rbacOptions struct {
	pairOptions
	verbs    []string
	files    []string
	side     string
	name     string
	accounts []string
	users    []string
	groups   []string
	lease    string
	use      rights.Use // but for what is known later
	deploy   deployOptions

	targets  []rights.Target
	subjects []report.Subject
}

func newRbacCommand(host Host) *cobra.Command {
	var options rbacOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "rbac [NAME | TYPE/NAME]...",
		Short: "Print the smallest Role and bindings that a mirror or a verb needs",
		Long: `Print the smallest Role, and with --service-account, --user or --group its bindings,
that a mirror or a verb needs in Kubernetes, for kubectl apply -f -.

Secrets are named as for sync, with the same flags; TYPE/NAME names what is looked into
by peek-in-container, or moved to a new value by rotate and sync --rollout. What is
named is all that is allowed, as far as Kubernetes can tell by names: a list shows all,
with the values.

With --deployment or --stack, all is printed that runs sync -f --watch by itself: in
Kubernetes by two replicas, of which one writes, with an account that has just the
rights of its mirrors; in a Swarm as a stack.

Rules with a comment can be left out, for the price that the comment says. Nothing is
written, and nobody is asked but a Swarm for what the mirrors of its secrets are
called.`,
		Example: examples(host,
			"rbac --all --service-account ci/deployer", "What sync --all takes",
			"rbac -f mirrors.yaml --service-account ci/deployer", "What sync -f takes, for all mirrors that the file declares",
			"rbac -f mirrors.yaml --deployment secretx/mirrors --swarm-host tcp://manager:2376", "All that keeps these mirrors in line as a Deployment",
			"rbac -f mirrors.yaml --stack mirrors", "And as a service of a Swarm",
			"rbac user-pass --for diff --user jane", "To compare one secret",
			"rbac deployment/web --for peek --group developers", "To look into the pods of one Deployment",
			"rbac db-password deployment/web --for rotate --service-account ci/rotator", "To rotate what a Deployment uses",
		),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			if err := options.check(cmd, args); err != nil {
				return err
			}
			progress := newProgress(host)
			var stdin strings.Builder
			host := host
			host.In = io.TeeReader(host.In, &stdin)
			asked, err := options.asked(host, cmd, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				if options.deploy != (deployOptions{}) {
					texts, err := keep(options.files, stdin.String())
					if err != nil {
						return err
					}
					return runDeploy(ctx, host, asked, options, texts, printer)
				}
				return runRbac(ctx, host, asked, options, printer)
			})
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	addFileFlag(flags, &options.files)
	flags.StringSliceVar(&options.verbs, "for", []string{"sync"}, "The `verbs` that are to work: "+strings.Join(rights.Verbs, ", "))
	flags.StringArrayVar(&options.accounts, "service-account", nil, "Bind it to this ServiceAccount, `NAMESPACE/NAME`; may be repeated")
	flags.StringArrayVar(&options.users, "user", nil, "Bind it to this `user`; may be repeated")
	flags.StringArrayVar(&options.groups, "group", nil, "Bind it to this `group`; may be repeated")
	flags.StringVar(&options.name, "role-name", "", "What the Role is called, if not after the verbs and the secrets")
	flags.StringVar(&options.side, "side", "", "Only what is needed at this end of the pair: from or to")
	flags.BoolVar(&options.use.Rollout, "rollout", false, "For sync --rollout")
	flags.BoolVar(&options.use.Watch, "watch", false, "For sync --watch")
	flags.BoolVar(&options.use.Events, "events", false, "For sync --watch --events")
	flags.StringVar(&options.lease, "leader-elect", "", "For sync --watch --leader-elect `NAMESPACE/NAME`")
	options.deploy.addFlags(flags)
	flags.BoolVar(&options.use.Immutable, "immutable", false, "For Secrets that are immutable, too, or mirrors that change their type: they are made anew")
	flags.BoolVar(&options.use.Ephemeral, "allow-ephemeral", false, "For looks into containers with --allow-ephemeral")
	flags.BoolVar(&options.use.Both, "in-both", false, "For create --in both")
	flags.BoolVarP(&options.use.AllNamespaces, "all-namespaces", "A", false, "For ls -A: a ClusterRole")
	printer = host.Printer(flags, report.AccessColumns)
	return cmd
}

var (
	// pairVerbs are those that take a selection of secrets.
	pairVerbs = []string{"diff", "sync"}
	// targetVerbs are those whose rights objects narrow.
	targetVerbs = []string{"peek-in-container", "rotate", "translate"}
)

func (o *rbacOptions) check(cmd *cobra.Command, args []string) (err error) {
	if len(o.verbs) == 0 {
		return errors.New("--for: say which verb")
	}
	for i, name := range o.verbs {
		if o.verbs[i], err = rights.Verb(name); err != nil {
			return fmt.Errorf("--for: %w", err)
		}
	}
	o.request.Names, o.targets = nil, nil
	for _, arg := range args {
		if !strings.Contains(arg, "/") {
			o.request.Names = append(o.request.Names, arg)
			continue
		}
		t, err := rights.ParseTarget(arg)
		if err != nil {
			return err
		}
		o.targets = append(o.targets, t)
	}
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	for _, rule := range []struct {
		flag  string
		verbs []string
	}{
		{"all", pairVerbs}, {"selector", append(slices.Clone(pairVerbs), "peek-in-container", "translate")}, {"into", pairVerbs}, {"name-template", pairVerbs}, {"prune", pairVerbs}, {"adopt", pairVerbs},
		{"force", pairVerbs}, {"prove", pairVerbs}, {"rollout", []string{"sync"}}, {"watch", []string{"sync"}}, {"immutable", []string{"sync", "rotate"}},
		{"allow-ephemeral", []string{"peek-in-container", "verify", "rotate", "sync"}}, {"in-both", []string{"create"}}, {"all-namespaces", []string{"ls"}},
	} {
		if given(rule.flag) && !slices.ContainsFunc(o.verbs, func(v string) bool { return slices.Contains(rule.verbs, v) }) {
			return fmt.Errorf("--%s goes with --for %s", rule.flag, strings.Join(rule.verbs, " or "))
		}
	}
	if len(o.targets) > 0 && !o.use.Rollout && !slices.ContainsFunc(o.verbs, func(v string) bool { return slices.Contains(targetVerbs, v) }) {
		return errors.New("TYPE/NAME goes with --for peek, rotate or translate, and with --rollout")
	}
	if o.side != "" && o.side != "from" && o.side != "to" {
		return fmt.Errorf("--side %q: it must be from or to", o.side)
	}
	for _, name := range []string{"events", "leader-elect"} {
		if given(name) && !o.use.Watch {
			return fmt.Errorf("--%s goes with --watch", name)
		}
	}
	if o.lease != "" {
		if _, _, err := splitName("--leader-elect", o.lease); err != nil {
			return err
		}
	}
	if err := o.checkDeploy(cmd); err != nil {
		return err
	}
	return o.readSubjects()
}

func (o *rbacOptions) readSubjects() error {
	const group = "rbac.authorization.k8s.io"
	o.subjects = nil
	for _, text := range o.accounts {
		namespace, name, found := strings.Cut(text, "/")
		if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
			return fmt.Errorf("--service-account %q: it must be NAMESPACE/NAME", text)
		}
		o.subjects = append(o.subjects, report.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name})
	}
	for kind, names := range map[string][]string{"User": o.users, "Group": o.groups} {
		for _, name := range names {
			if name == "" {
				return fmt.Errorf("--%s can't be empty", strings.ToLower(kind))
			}
			o.subjects = append(o.subjects, report.Subject{APIGroup: group, Kind: kind, Name: name})
		}
	}
	slices.SortStableFunc(o.subjects, func(a, b report.Subject) int { return strings.Compare(a.Kind, b.Kind) })
	return nil
}

// asked is one selection of secrets of a pair of endpoints.
type asked struct {
	*pair
	plan.Options
	name    string // of the mirror, where a file declares it
	names   []string
	request plan.Request
	rollout bool
}

// asked opens the endpoints. A verb that takes no selection of secrets needs none.
func (o *rbacOptions) asked(host Host, cmd *cobra.Command, say func(string)) ([]asked, error) {
	if len(o.files) > 0 {
		groups, err := o.pairOptions.groups(host, o.files, cmd.Flags(), append(o.request.Names, slices.Repeat([]string{""}, len(o.targets))...), say)
		if err != nil {
			return nil, err
		}
		var all []asked
		for _, g := range groups {
			for i, m := range g.declared {
				all = append(all, asked{g.pair, g.Wanted[i].Options, m.Name, m.Request.Names, m.Request, m.Rollout})
			}
		}
		return all, nil
	}
	given := o.request
	if !slices.ContainsFunc(o.verbs, func(v string) bool { return slices.Contains(pairVerbs, v) }) {
		o.request = plan.Request{All: true}
	}
	p, err := o.complete(host, nil, say)
	o.request = given
	if err != nil {
		return nil, err
	}
	return []asked{{p, p.Wanted[0].Options, "", given.Names, given, o.use.Rollout}}, nil
}

// settledIn is an endpoint that knows its namespace without asking anybody.
type settledIn interface{ Namespace() (string, error) }

// place is where a Role stands.
type place struct{ context, namespace string }

// access gives the Roles and bindings for what is asked.
func access(ctx context.Context, all []asked, options rbacOptions) ([]report.AccessObject, error) {
	rules := map[place][2]rights.Rules{} // of the namespace, and of the cluster
	var order []place
	var mirrors []string
	for _, one := range all {
		if one.name != "" {
			mirrors = append(mirrors, one.name)
		}
		for _, end := range one.ends(options.side) {
			s, ok := end.Endpoint.(settledIn)
			if !ok {
				return nil, fmt.Errorf("%s has no namespace", end.name)
			}
			namespace, err := s.Namespace()
			if err != nil {
				return nil, err
			}
			names, err := one.namesAt(ctx, end)
			if err != nil {
				return nil, err
			}
			at := place{end.name.Context, namespace}
			if _, there := rules[at]; !there {
				order = append(order, at)
			}
			more, err := options.rules(namespace, names, end.side, one)
			if err != nil {
				return nil, err
			}
			rules[at] = [2]rights.Rules{append(rules[at][0], more[0]...), append(rules[at][1], more[1]...)}
		}
	}
	if options.lease != "" {
		namespace, name, _ := strings.Cut(options.lease, "/")
		at := place{namespace: namespace}
		if len(order) > 0 { // it is in the cluster that we run in
			at.context = order[0].context
		}
		if _, there := rules[at]; !there {
			order = append(order, at)
		}
		rules[at] = [2]rights.Rules{append(rules[at][0], rights.Lease(name, options.use.Events)...), rules[at][1]}
	}
	if len(order) == 0 {
		return nil, fmt.Errorf("neither --from %s nor --to %s is in Kubernetes, so that there is nothing to allow", all[0].fromName, all[0].toName)
	}
	var items []report.AccessObject
	for _, at := range order {
		if at.context != order[0].context {
			return nil, fmt.Errorf("the contexts %q and %q may be two clusters, and Roles are applied to one: --side from and --side to print what to apply to each", order[0].context, at.context)
		}
		for i, kind := range []string{"Role", "ClusterRole"} {
			if of := rules[at][i]; len(of) > 0 {
				items = append(items, options.role(kind, map[bool]string{true: at.namespace}[i == 0], mirrors, of)...)
			}
		}
	}
	return items, nil
}

func runRbac(ctx context.Context, host Host, all []asked, options rbacOptions, printer Printer) error {
	items, err := access(ctx, all, options)
	if err != nil {
		return err
	}
	d := report.NewAccess(items)
	if !printer.Human() {
		return printer.Print(host.Out, d)
	}
	if text := d.Text(); text != "" {
		if _, err := fmt.Fprintln(host.Err, text); err != nil {
			return err
		}
	}
	return d.Write(host.Out)
}

// end is a Kubernetes end of a pair.
type end struct {
	opened
	side rights.Side
}

func (p *pair) ends(only string) []end {
	var all []end
	if p.fromName.Kind == secret.Kubernetes && only != "to" {
		all = append(all, end{opened{p.From, p.fromName}, rights.Origins})
	}
	if p.toName.Kind == secret.Kubernetes && only != "from" {
		all = append(all, end{opened{p.To, p.toName}, rights.Mirrors})
	}
	return all
}

// namesAt says what the named secrets are called at an end: there, a mirror may have another name than its
// origin, which only the origin's labels and keys tell.
func (p asked) namesAt(ctx context.Context, at end) ([]string, error) {
	same := p.fromName.Kind == secret.Kubernetes && p.request.NameTemplate == ""
	if at.side == rights.Origins || same || !plan.ByName(p.Options) {
		return p.names, nil
	}
	var from plan.Side
	var err error
	if from.Place, err = p.From.Place(ctx); err != nil {
		return nil, err
	}
	asked := p.Names
	if from.Place.Kind == secret.Swarm {
		asked = nil // versions have names of their own
	}
	if from.Secrets, err = p.From.List(ctx, asked); err != nil {
		return nil, err
	}
	for _, name := range p.Names {
		if !slices.ContainsFunc(from.Secrets, func(s secret.Secret) bool { return consumers.Matches(s, name) }) {
			p.say(fmt.Sprintf("there is no secret %q at %s yet: its mirror is taken to be called likewise", name, from.Place.Name))
		}
	}
	return plan.Names(from, at.name.Kind, p.Options)
}

// rules are those of one end: of the namespace, and of the cluster.
func (o *rbacOptions) rules(namespace string, names []string, side rights.Side, p asked) (all [2]rights.Rules, err error) {
	for _, verb := range o.verbs {
		use := o.use
		use.Verb, use.Namespace, use.Secrets, use.Targets, use.Side = verb, namespace, names, o.targets, side
		use.AllNamespaces = o.use.AllNamespaces && verb == "ls"
		use.Rollout = p.rollout
		use.Selector = o.request.Selector != "" && len(o.targets) == 0
		if slices.Contains(pairVerbs, verb) {
			use.Select = !plan.ByName(p.Options)
			use.Prune = p.request.Prune
			named := p.Pair.Names() // of all mirrors of these ends: they share a watch
			use.WatchAll = len(named) == 0 || len(named) > rights.FewNames
			// They stand on the origins, where these are in Kubernetes.
			use.Events = use.Events && (side == rights.Origins || p.fromName.Kind != secret.Kubernetes)
			use.Immutable = use.Immutable || p.request.Force
			use.KeyElsewhere = p.Pair.Key.Known() || side == rights.Origins && p.toName.Kind == secret.Kubernetes
		}
		rules, err := rights.For(use)
		if err != nil {
			return all, err
		}
		at := 0
		if use.Cluster() {
			at = 1
		}
		all[at] = append(all[at], rules...)
	}
	return all, nil
}

const rbacVersion = "rbac.authorization.k8s.io/v1"

func (o *rbacOptions) role(kind, namespace string, mirrors []string, rules rights.Rules) []report.AccessObject {
	metadata := report.AccessMetadata{
		Name: o.roleName(mirrors), Namespace: namespace, Labels: map[string]string{"app.kubernetes.io/managed-by": "secretx"},
		Annotations: map[string]string{secret.AnnotationPrefix + "verbs": strings.Join(o.verbs, ",")},
	}
	items := []report.AccessObject{{APIVersion: rbacVersion, Kind: kind, Metadata: metadata, Rules: policy(rules.Merged())}}
	if len(o.subjects) == 0 {
		return items
	}
	ref := &report.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: kind, Name: metadata.Name}
	if len(o.subjects) == 1 { // two people may have the same Role, by a binding each
		metadata.Name = shortened(metadata.Name + "-" + o.subjects[0].Name)
	}
	return append(items, report.AccessObject{APIVersion: rbacVersion, Kind: kind + "Binding", Metadata: metadata, RoleRef: ref, Subjects: o.subjects})
}

// roleName says what the Role is for, so that two uses don't have one name.
func (o *rbacOptions) roleName(mirrors []string) string {
	if o.name != "" {
		return o.name
	}
	parts := append([]string{"secretx"}, o.verbs...)
	parts = slices.Concat(parts, o.request.Names, mirrors)
	for _, t := range o.targets {
		kind, _, _ := strings.Cut(t.Resource, ".")
		parts = append(parts, kind, t.Name)
	}
	return shortened(strings.Join(parts, "-"))
}

// shortened makes a name that Kubernetes takes for a Role.
func shortened(name string) string {
	const longest = 100
	full := name
	name = strings.NewReplacer("/", "-", "%", "-").Replace(name)
	if len(name) <= longest && name == full {
		return name
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(full))
	return fmt.Sprintf("%s-%08x", name[:min(len(name), longest)], sum.Sum32())
}

// policy puts resources that are allowed the same into one rule.
func policy(rules rights.Rules) []report.AccessRule {
	var all []report.AccessRule
	for _, r := range rules {
		at := slices.IndexFunc(all, func(a report.AccessRule) bool {
			return a.APIGroups[0] == r.Group && slices.Equal(a.Verbs, r.Verbs) && slices.Equal(a.ResourceNames, r.Names) && a.Without == r.Without && len(r.Names) == 0
		})
		if at >= 0 {
			all[at].Resources = append(all[at].Resources, r.Resource)
			continue
		}
		all = append(all, report.AccessRule{APIGroups: []string{r.Group}, Resources: []string{r.Resource}, Verbs: r.Verbs, ResourceNames: r.Names, Without: r.Without})
	}
	return all
}
