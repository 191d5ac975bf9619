package command

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/rights"
	"github.com/secretx/secretx/shared/secret"
)

// patience is how long a shell waits for words. What isn't there by then is left out.
const patience = time.Second

// namer is an endpoint that tells what it holds without reading a value.
type namer interface {
	// ListNames gives the secrets as far as their metadata tells: without keys.
	ListNames(ctx context.Context) ([]secret.Secret, error)
}

// targeter is an endpoint that knows what can be looked into.
type targeter interface {
	// Targets are those that a word may become, and beginnings of some, which end in a slash.
	Targets(ctx context.Context, word string) ([]string, error)
	// ContainerNames are those of a target's containers, as --container takes them.
	ContainerNames(ctx context.Context, target peek.Target) ([]string, error)
}

// completer finds what a word on the command line may become. It says nothing of what fails: nobody
// who presses TAB wants to read an error.
type completer struct{ host Host }

// offer is what a word may become.
type offer struct {
	words   []string
	unended bool // more may follow directly
}

// source gives words for one argument or flag. It need not look at what was typed already.
type source func(ctx context.Context, cmd *cobra.Command, args []string, word string) offer

// complete tells cobra what completes the arguments and flags of a verb.
func (c completer) complete(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = c.with(c.arguments(cmd.Name()))
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, there := cmd.GetFlagCompletionFunc(f.Name); there || f.Value.Type() == "bool" {
			return
		}
		complete := c.with(c.flag(cmd.Name(), f.Name))
		if takesFile(f) {
			complete = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
				return nil, cobra.ShellCompDirectiveDefault
			}
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // fails for a flag that isn't there alone
	})
}

func takesFile(f *pflag.Flag) bool {
	name, usage := pflag.UnquoteUsage(f)
	return name == "file" || name == "[KEY=]PATH" || strings.HasPrefix(usage, "Path to")
}

// with makes of a source what cobra wants.
func (c completer) with(s source) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if s == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(contextOf(cmd), patience)
		defer cancel()
		// No hook runs before a completion.
		cmd.SetContext(ctx)
		if c.host.Prepare != nil && c.host.Prepare(cmd, args) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found := make(chan offer, 1)
		go func() { found <- s(ctx, cmd, args, word) }()
		var o offer
		select {
		case o = <-found:
		case <-ctx.Done(): // not every library listens
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if o.unended {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return fitting(o.words, args, word), directive
	}
}

// harmless words are those that need no quotes in any shell.
var harmless = regexp.MustCompile(`^[A-Za-z0-9._:/@+=,-]+$`)

// fitting leaves what goes on as the word begins, once and in order, but for what stands there already.
func fitting(words, args []string, word string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return !strings.HasPrefix(w, word) || !harmless.MatchString(w) || slices.Contains(args, w)
	})
	slices.Sort(words)
	return slices.Compact(words)
}

// arguments are the source of a verb's arguments; nil where nothing can be known.
func (c completer) arguments(verb string) source {
	switch verb {
	case "sync", "diff":
		return c.secrets("from")
	case "inspect", "verify", "consumers", "prune":
		return c.secrets("from", "to")
	case "rm", "rotate", "current":
		return c.secrets("in")
	case "peek-in-container", "translate":
		return c.targets
	case "rbac":
		return c.secretsAndTargets
	}
	return nil
}

// flag is the source of a flag's value.
func (c completer) flag(verb, name string) source {
	switch name {
	case "from", "to":
		return c.endpoints
	case "in":
		if verb == "rm" {
			return of(string(secret.Swarm), string(secret.Kubernetes), inBoth)
		}
		return c.where(verb == "create")
	case "namespace":
		return c.namespaces
	case "kube-context", "context":
		return c.contexts(secret.Kubernetes)
	case "docker-context":
		return c.contexts(secret.Swarm)
	case "container":
		return c.containers
	case "secret":
		return c.secretsOfTarget
	case "for":
		return verbsWithRights
	case "patch":
		return of("strategic", "json", "kustomize")
	case "with-sync":
		return of(syncCommands, syncMirror)
	case "mount":
		return of("auto", "directory", "file")
	case "env":
		if verb == "translate" {
			return of("auto", "file", "shell")
		}
	case "side":
		return of("from", "to")
	case "filter":
		return filters
	case "generate":
		return generators
	case "dry-run":
		return of("none", "client")
	case "format":
		return of("table", "json", "yaml")
	case "output":
		return of("wide", "json", "yaml", "name", "jsonpath=", "go-template=", "go-template-file=", "jsonpath-file=")
	case "platform":
		return of("linux/amd64", "linux/arm64")
	case "type":
		return of(secret.Opaque, "kubernetes.io/basic-auth", "kubernetes.io/dockerconfigjson", "kubernetes.io/ssh-auth", "kubernetes.io/tls", secret.ServiceAccountToken)
	}
	return nil
}

// of is the source of a few words. Those that end in an equals sign go on.
func of(words ...string) source {
	return func(_ context.Context, _ *cobra.Command, _ []string, word string) offer {
		o := offer{words: words}
		for _, w := range words {
			o.unended = o.unended || word != "" && strings.HasPrefix(w, word) && strings.HasSuffix(w, "=")
		}
		return o
	}
}

// open gives the endpoints that flags name.
func (c completer) open(cmd *cobra.Command, flags ...string) []endpoint.Endpoint {
	var all []endpoint.Endpoint
	for _, name := range flags {
		texts := []string{cmd.Flag(name).Value.String()}
		if texts[0] == inBoth {
			texts = []string{string(secret.Swarm), string(secret.Kubernetes)}
		}
		for _, text := range texts {
			if e := c.openOne(text); e != nil {
				all = append(all, e)
			}
		}
	}
	return all
}

func (c completer) openOne(text string) endpoint.Endpoint {
	address, err := endpoint.ParseAddress(text)
	if err != nil {
		return nil
	}
	e, err := c.host.Open(address, OpenOptions{NoProbe: true, Progress: func(string) {}})
	if err != nil {
		return nil
	}
	return e
}

// gather asks all endpoints at once, and takes what has come when the time is over.
func gather(ctx context.Context, all []endpoint.Endpoint, ask func(context.Context, endpoint.Endpoint) []string) []string {
	answers := make(chan []string, len(all))
	for _, e := range all {
		go func() { answers <- ask(ctx, e) }()
	}
	// A little less than all of the time, so that what one side has said isn't lost with the other.
	last := time.After(patience * 9 / 10)
	var words []string
	for range all {
		select {
		case some := <-answers:
			words = append(words, some...)
		case <-last:
			return words
		}
	}
	return words
}

// secrets are the names of secrets at the endpoints of flags.
func (c completer) secrets(flags ...string) source {
	return func(ctx context.Context, cmd *cobra.Command, _ []string, word string) offer {
		return offer{words: gather(ctx, c.open(cmd, flags...), func(ctx context.Context, e endpoint.Endpoint) []string {
			return secretNames(ctx, e, word)
		})}
	}
}

// secretNames are those that users mean: of versions, and of what secretx keeps for itself, only what the word
// is about to become.
func secretNames(ctx context.Context, e endpoint.Endpoint, word string) (names []string) {
	n, ok := e.(namer)
	if !ok {
		return nil
	}
	all, err := n.ListNames(ctx)
	if err != nil {
		return nil
	}
	for _, s := range all {
		logical := s.LogicalName()
		if s.Internal == "" {
			names = append(names, logical)
		}
		if word != "" && (s.Internal != "" || strings.HasPrefix(word, logical+".")) {
			names = append(names, s.Name)
		}
	}
	return names
}

// prefixes of the targets at each side.
var prefixes = map[secret.Kind]string{secret.Swarm: "swarm/", secret.Kubernetes: "k8s/"}

// sideOf is the endpoint of the side that a target is at, and the prefix that says so.
func (c completer) sideOf(cmd *cobra.Command, word string) (e endpoint.Endpoint, prefix string) {
	kind := c.host.Native
	for of, before := range map[string]secret.Kind{"swarm/": secret.Swarm, "docker/": secret.Swarm, "k8s/": secret.Kubernetes, "kubernetes/": secret.Kubernetes} {
		if strings.HasPrefix(word, of) {
			kind, prefix = before, of
		}
	}
	for _, flag := range []string{"from", "to"} {
		text := cmd.Flag(flag).Value.String()
		if address, err := endpoint.ParseAddress(text); err == nil && address.Kind == kind {
			return c.openOne(text), prefix
		}
	}
	return nil, prefix
}

// targets are what can be looked into.
func (c completer) targets(ctx context.Context, cmd *cobra.Command, _ []string, word string) offer {
	e, prefix := c.sideOf(cmd, word)
	var o offer
	if t, ok := e.(targeter); ok {
		words, _ := t.Targets(ctx, strings.TrimPrefix(word, prefix))
		for _, w := range words {
			o.words = append(o.words, prefix+w)
		}
	}
	if prefix == "" {
		for kind, before := range prefixes {
			if kind != c.host.Native {
				o.words = append(o.words, before)
			}
		}
	}
	left := fitting(o.words, nil, word)
	o.unended = len(left) > 0 && !slices.ContainsFunc(left, func(w string) bool { return !strings.HasSuffix(w, "/") })
	return o
}

// secretsAndTargets are what rbac is told of: the names of secrets, and TYPE/NAME in Kubernetes.
func (c completer) secretsAndTargets(ctx context.Context, cmd *cobra.Command, args []string, word string) offer {
	o := c.secrets("from")(ctx, cmd, args, word)
	e := c.openOne(string(secret.Kubernetes))
	for _, side := range c.open(cmd, "from", "to") {
		if _, ok := side.(settledIn); ok {
			e = side
			break
		}
	}
	if t, ok := e.(targeter); ok {
		words, _ := t.Targets(ctx, word)
		for _, w := range append(words, "pod/") {
			if strings.Contains(w, "/") { // a pod is pod/NAME here
				o.words = append(o.words, w)
			}
		}
	}
	left := fitting(o.words, args, word)
	o.unended = len(left) > 0 && !slices.ContainsFunc(left, func(w string) bool { return !strings.HasSuffix(w, "/") })
	return o
}

// containers are those of the targets that stand on the command line.
func (c completer) containers(ctx context.Context, cmd *cobra.Command, args []string, _ string) (o offer) {
	for _, text := range args {
		target, err := parseTarget(text, c.host.Native)
		if err != nil {
			continue
		}
		e, _ := c.sideOf(cmd, text)
		if t, ok := e.(targeter); ok {
			names, _ := t.ContainerNames(ctx, target.Target)
			o.words = append(o.words, names...)
		}
	}
	return o
}

// secretsOfTarget are the names of secrets at the side of the target.
func (c completer) secretsOfTarget(ctx context.Context, cmd *cobra.Command, args []string, word string) offer {
	target := ""
	if len(args) > 0 {
		target = args[0]
	}
	e, _ := c.sideOf(cmd, target)
	return offer{words: secretNames(ctx, e, word)}
}

// contexts are those that the host knows of a kind.
func (c completer) contexts(kind secret.Kind) source {
	return func(context.Context, *cobra.Command, []string, string) offer {
		return offer{words: c.host.Contexts(kind)}
	}
}

// endpoints are addresses: kinds, contexts of a kind once it is typed, and then namespaces.
func (c completer) endpoints(ctx context.Context, cmd *cobra.Command, args []string, word string) offer {
	kind, rest, colon := strings.Cut(word, ":")
	if !colon {
		o := offer{words: []string{string(secret.Swarm), string(secret.Kubernetes)}}
		for _, known := range o.words {
			for _, name := range c.contexts(secret.Kind(known))(ctx, cmd, args, "").words {
				o.words = append(o.words, known+":"+name)
			}
		}
		return o
	}
	var o offer
	of := secret.Kind(kind)
	if kind == "k8s" {
		of = secret.Kubernetes
	}
	for _, name := range c.contexts(of)(ctx, cmd, args, "").words {
		o.words = append(o.words, kind+":"+name)
	}
	if of != secret.Kubernetes {
		return o
	}
	o.unended = true // a namespace may follow
	slash := strings.LastIndexByte(rest, '/')
	if slash < 0 {
		return o
	}
	if found := namespacesAt(ctx, c.openOne(kind+":"+rest[:slash]+"/default")); len(found) > 0 {
		o.unended = false
		for _, name := range found {
			o.words = append(o.words, kind+":"+rest[:slash]+"/"+name)
		}
	}
	return o
}

// where completes --in.
func (c completer) where(both bool) source {
	return func(ctx context.Context, cmd *cobra.Command, args []string, word string) offer {
		o := c.endpoints(ctx, cmd, args, word)
		if both {
			o.words = append(o.words, inBoth)
		}
		return o
	}
}

func (c completer) namespaces(ctx context.Context, _ *cobra.Command, _ []string, _ string) offer {
	return offer{words: namespacesAt(ctx, c.openOne(string(secret.Kubernetes)))}
}

func namespacesAt(ctx context.Context, e endpoint.Endpoint) []string {
	n, ok := e.(namespaced)
	if !ok {
		return nil
	}
	names, _ := n.Namespaces(ctx)
	return names
}

// verbsWithRights are those that --for takes, with commas between.
func verbsWithRights(_ context.Context, _ *cobra.Command, _ []string, word string) (o offer) {
	before := word[:strings.LastIndexByte(word, ',')+1]
	for _, verb := range rights.Verbs {
		o.words = append(o.words, before+verb)
	}
	return o
}

// filters are keys of ls, and the values of those that have few.
func filters(_ context.Context, _ *cobra.Command, _ []string, word string) offer {
	values := map[string][]string{
		"side": {string(secret.Swarm), string(secret.Kubernetes)}, "mirror": {"true", "false"}, "unused": {"true", "false"},
		"state": {"in-sync", "changed", "drifted", "missing", "orphan", "conflict", "unknown"},
		"name":  nil, "id": nil, "type": nil, "label": nil,
	}
	key, _, typed := strings.Cut(word, "=")
	if !typed {
		o := offer{unended: true}
		for key := range values {
			o.words = append(o.words, key+"=")
		}
		return o
	}
	var o offer
	for _, value := range values[key] {
		o.words = append(o.words, key+"="+value)
	}
	return o
}

// generators are usual lengths, and the alphabets that have a name.
func generators(_ context.Context, _ *cobra.Command, _ []string, word string) offer {
	length, _, typed := strings.Cut(word, ":")
	if !typed {
		return offer{words: []string{"16", "24", "32", "48", "64"}}
	}
	var o offer
	for name := range alphabets {
		o.words = append(o.words, length+":"+name)
	}
	return o
}
