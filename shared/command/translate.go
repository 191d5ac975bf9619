package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/selector"
	"github.com/secretx/secretx/shared/translate"
)

// declared is an endpoint that shows how its workloads are declared, as its API has them.
type declared interface {
	// Declared gives the objects of a target, and others that belong to it. A target that isn't there is
	// ErrNotFound.
	Declared(ctx context.Context, target peek.Target) ([]json.RawMessage, error)
}

// imager is an endpoint that knows what an image runs.
type imager interface {
	ImageCommand(ctx context.Context, image string) (entrypoint, command []string, err error)
}

type translateOptions struct {
	bothOptions
	files                         []string
	stack, selector               string
	full, create, update, compose bool
	patch                         string
	strict, explain               bool
	withSync                      string
	into, nameTemplate            string
	mount, env                    string
	set, keys, images             []string
	workload, container           string
	offline                       bool
}

func newTranslateCommand(host Host) *cobra.Command {
	var options translateOptions
	var printer Printer
	native, other := "web", "k8s/deployment/web"
	if host.Native == secret.Kubernetes {
		native, other = "deployment/web", "swarm/web"
	}
	cmd := &cobra.Command{
		Use:   "translate (TARGET... | [TYPE] -l SELECTOR | -f FILE)",
		Short: "Say what a workload and its secrets are in the words of the other orchestrator",
		Long: `Say what a workload and its secrets are in the words of the other orchestrator: a
service, a stack or a Compose file as Kubernetes manifests, or as a patch with the
wiring of the secrets alone; a pod, a workload or a manifest as docker service create,
docker service update, or a Compose file. Secrets are called what sync calls them.

A target is a service, or stack/NAME, of a Swarm; a pod or TYPE/NAME in Kubernetes. The
other side's are reached with a prefix: swarm/SERVICE, swarm/stack/NAME, k8s/TYPE/NAME.
With -l, those with these labels are translated, of the type that is named, or of all
types, where no other one stands for them, as a Deployment does for its pods. With -f,
files are read and nothing else: no endpoint is needed, and neither the environment nor
any other file is looked at. The manifests of all files are one stream; Compose files
stand for themselves, and are not merged.

What the other side has no form for gets the nearest one that works, and a note. Notes
go to the error output, and stand as comments in what is printed. With --strict, they
are errors, and nothing is printed.

Exits 0, with --strict 1 when there are notes, 2 on errors.`,
		Example: examples(host,
			"translate "+native, "To the other side",
			"translate "+other+" --with-sync", "From the other side, with the commands that make its secrets",
			"translate -f compose.yaml --patch strategic", "The secrets of a Compose file, for a workload that is there",
			"translate -f pod.yaml --explain", "Both next to each other",
		),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			t, err := options.check(host, args)
			if err != nil {
				return err
			}
			t.printer, t.namespace = printer, flagValue(cmd.Flags(), "namespace")
			if t.both, err = options.complete(host, newProgress(host).say); err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, t.run)
		},
	}
	flags := cmd.Flags()
	options.addFlags(flags, host.Native)
	flags.StringArrayVarP(&options.files, "file", "f", nil, "Read this `file`, the .yaml, .yml and .json files of a folder, or - for standard input: Compose, Kubernetes manifests, or what docker service inspect prints; may be repeated")
	flags.StringVar(&options.stack, "stack", "", "The services of this `stack`; with -f, what a Compose file, or the one that --compose prints, is deployed as")
	flags.StringVarP(&options.selector, "selector", "l", "", "The workloads in Kubernetes with these `labels`, such as app=web,tier!=test")
	flags.BoolVar(&options.full, "full", false, "Whole workloads (the default)")
	flags.StringVar(&options.patch, "patch", "", "To Kubernetes: the wiring of secrets alone, as a patch: strategic, json or kustomize (a component)")
	flags.BoolVar(&options.create, "create", false, "To a Swarm: docker service create (the default)")
	flags.BoolVar(&options.update, "update", false, "To a Swarm: the wiring of secrets alone, as docker service update")
	flags.BoolVar(&options.compose, "compose", false, "To a Swarm: a Compose file for docker stack deploy")
	flags.StringVar(&options.workload, "workload", "", "What a patch or update is for, where it isn't called so: TYPE/NAME, or a `service`")
	flags.StringVar(&options.container, "container", "", "The container that a patch is for, by its `name`")
	flags.BoolVar(&options.strict, "strict", false, "Print nothing when anything has no form at the other side")
	flags.BoolVar(&options.explain, "explain", false, "Put both sides next to each other, piece by piece")
	flags.StringVar(&options.withSync, "with-sync", "", "Add what makes the secrets that the result needs: the `commands`, or with =mirror a SecretMirror")
	flags.Lookup("with-sync").NoOptDefVal = syncCommands
	flags.StringVar(&options.into, "into", "", "The secrets are in one mirror of this `name`, as sync --into makes it")
	flags.StringVar(&options.nameTemplate, "name-template", "", "Mirrors are named by this Go `template`, as sync --name-template does")
	flags.StringVar(&options.mount, "mount", "auto", "To Kubernetes, mount files one by one (file), as a whole directory (directory), or as suits (auto)")
	flags.StringVar(&options.env, "env", "auto", "To a Swarm, give variables from secrets by a shell (shell), as NAME_FILE (file), or as can be (auto)")
	flags.StringArrayVar(&options.set, "set", nil, "A variable of a Compose file: `NAME=VALUE`; may be repeated")
	flags.StringArrayVar(&options.keys, "keys", nil, "The keys of a Secret: `SECRET=KEY,KEY`; may be repeated")
	flags.StringArrayVar(&options.images, "image-command", nil, "What an image runs: `IMAGE=COMMAND`; may be repeated")
	flags.BoolVar(&options.offline, "offline", false, "With -f, ask the Swarm nothing, not even what an image runs")
	printer = host.Printer(flags, report.TranslationColumns)
	return cmd
}

func flagValue(flags *pflag.FlagSet, name string) string {
	if f := flags.Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// translation is what is to be done.
type translation struct {
	*both
	translateOptions
	targets   []peekTarget
	read      translate.ReadOptions
	to        translate.Options
	form      translate.Form // empty for the whole of either side
	printer   Printer
	namespace string
}

// check checks all that can be checked without a connection.
func (o *translateOptions) check(host Host, args []string) (*translation, error) {
	t := &translation{translateOptions: *o}
	var err error
	if t.targets, err = o.translateTargets(host, args); err != nil {
		return nil, err
	}
	if t.form, err = o.form(); err != nil {
		return nil, err
	}
	t.to = translate.Options{Form: t.form, Mount: translate.Mount(o.mount), Env: translate.Env(o.env), Stack: o.stack, Workload: o.workload, Container: o.container, Images: map[string]translate.Command{}}
	t.read = translate.ReadOptions{Stack: o.stack, Set: map[string]string{}}
	switch {
	case !slices.Contains([]translate.Mount{translate.MountAuto, translate.MountDir, translate.MountFile}, t.to.Mount):
		return nil, fmt.Errorf("--mount %q is neither auto, directory nor file", o.mount)
	case !slices.Contains([]translate.Env{translate.EnvAuto, translate.EnvShell, translate.EnvFile}, t.to.Env):
		return nil, fmt.Errorf("--env %q is neither auto, shell nor file", o.env)
	case !slices.Contains([]string{"", syncCommands, syncMirror}, o.withSync):
		return nil, fmt.Errorf("--with-sync=%s is neither commands nor mirror", o.withSync)
	case o.into != "" && o.nameTemplate != "":
		return nil, errors.New("--into and --name-template exclude each other")
	}
	t.to.Rules = mapping.Rules{Into: o.into}
	if o.nameTemplate != "" {
		if t.to.Rules.NameTemplate, err = mapping.ParseNameTemplate(o.nameTemplate); err != nil {
			return nil, fmt.Errorf("--name-template: %w", err)
		}
	}
	for _, text := range o.set {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--set %q is not NAME=VALUE", text)
		}
		t.read.Set[name] = value
	}
	for _, text := range o.keys {
		name, keys, ok := strings.Cut(text, "=")
		if !ok || name == "" || keys == "" {
			return nil, fmt.Errorf("--keys %q is not SECRET=KEY,KEY", text)
		}
		s := secret.Secret{Name: name, Type: secret.Opaque}
		for key := range strings.SplitSeq(keys, ",") {
			s.Keys = append(s.Keys, secret.Key{Name: key})
		}
		secret.SortKeys(s.Keys)
		t.read.Known = append(t.read.Known, s)
	}
	for _, text := range o.images {
		name, command, ok := strings.Cut(text, "=")
		if !ok || name == "" || command == "" {
			return nil, fmt.Errorf("--image-command %q is not IMAGE=COMMAND", text)
		}
		t.to.Images[name] = translate.Command{Cmd: translate.Split(command)}
	}
	return t, nil
}

func (o *translateOptions) translateTargets(host Host, args []string) ([]peekTarget, error) {
	if len(o.files) > 0 {
		if len(args) > 0 || o.selector != "" {
			return nil, errors.New("targets and -f exclude each other")
		}
		return nil, nil
	}
	if o.selector != "" {
		return o.selected(host, args)
	}
	var targets []peekTarget
	if o.stack != "" {
		targets = append(targets, peekTarget{secret.Swarm, peek.Target{Type: stackType, Name: o.stack}})
	}
	for _, text := range args {
		target, ok := parseStack(text, host.Native)
		if !ok {
			var err error
			if target, err = parseTarget(text, host.Native); err != nil {
				return nil, err
			}
		}
		targets = append(targets, target)
	}
	if len(targets) == 0 {
		return nil, errors.New("say what to translate: a target, --stack NAME or -f FILE; see --help")
	}
	for _, target := range targets {
		if target.kind != targets[0].kind {
			return nil, errors.New("one side at a time: translate the targets of each side by themselves")
		}
	}
	return targets, nil
}

// selected reads what -l selects from: all, or a type.
func (o *translateOptions) selected(host Host, args []string) ([]peekTarget, error) {
	kind, of := host.Native, ""
	if len(args) > 0 {
		of = args[0]
		if first, rest, found := strings.Cut(of, "/"); found && (first == "k8s" || first == "kubernetes") {
			kind, of = secret.Kubernetes, rest
		}
	}
	switch {
	case len(args) > 1 || o.stack != "" || strings.Contains(of, "/"):
		return nil, errors.New("-l goes with one type or none, such as deployments -l app=web: names and --stack exclude it")
	case kind == secret.Swarm:
		return nil, errors.New("-l selects workloads in Kubernetes: docker secretx translate k8s/ -l " + o.selector)
	}
	if _, err := selector.Parse(o.selector, secret.Kubernetes); err != nil {
		return nil, fmt.Errorf("--selector: %w", err)
	}
	return []peekTarget{{secret.Kubernetes, peek.Target{Type: of, Selector: o.selector}}}, nil
}

// stackType is how a stack is told from a service.
const stackType = "stack"

// parseStack reads stack/NAME of a Swarm.
func parseStack(text string, native secret.Kind) (peekTarget, bool) {
	first, rest, _ := strings.Cut(text, "/")
	swarm := native == secret.Swarm
	if first == "swarm" || first == "docker" {
		first, rest, _ = strings.Cut(rest, "/")
		swarm = true
	}
	return peekTarget{secret.Swarm, peek.Target{Type: stackType, Name: rest}}, swarm && first == stackType && rest != "" && !strings.Contains(rest, "/")
}

func (o *translateOptions) form() (translate.Form, error) {
	var forms []translate.Form
	if o.patch != "" {
		form := translate.Form("patch-" + o.patch)
		if !slices.Contains([]translate.Form{translate.StrategicPatch, translate.JSONPatch, translate.Kustomize}, form) {
			return "", fmt.Errorf("--patch %q is neither strategic, json nor kustomize", o.patch)
		}
		forms = append(forms, form)
	}
	for _, f := range []struct {
		set  bool
		form translate.Form
	}{{o.full, ""}, {o.create, translate.Create}, {o.update, translate.Update}, {o.compose, translate.Compose}} {
		if f.set {
			forms = append(forms, f.form)
		}
	}
	switch {
	case len(forms) > 1:
		return "", errors.New("--full, --patch, --create, --update and --compose exclude each other")
	case (o.workload != "" || o.container != "") && (len(forms) == 0 || o.full || o.create || o.compose):
		return "", errors.New("--workload and --container are for --patch and --update")
	case o.workload != "" && o.patch != "":
		if _, _, ok := translate.PatchTarget(o.workload); !ok {
			return "", fmt.Errorf("--workload %q is not TYPE/NAME of what has pods", o.workload)
		}
	}
	if len(forms) == 0 {
		return "", nil
	}
	return forms[0], nil
}

func (t *translation) run(ctx context.Context) error {
	var source *translate.Source
	var err error
	if len(t.files) > 0 {
		source, err = t.readFiles()
	} else {
		source, err = t.readRunning(ctx)
	}
	if err != nil {
		return err
	}
	if len(t.files) == 0 || !t.offline {
		t.askImages(ctx, source)
	}
	result, err := translate.Translate(source, t.to)
	if err != nil {
		return err
	}
	return t.print(source, result)
}

func (t *translation) readFiles() (*translate.Source, error) {
	var texts []translate.Text
	for _, name := range t.files {
		names, err := filesOf(name)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := t.readFile(name)
			if err != nil {
				return nil, err
			}
			texts = append(texts, text)
		}
	}
	return translate.ReadAll(texts, t.read)
}

// filesOf are those of a folder that kubectl would take, sorted, or the file itself.
func filesOf(name string) ([]string, error) {
	info, err := os.Stat(name)
	if name == "-" || err != nil || !info.IsDir() {
		return []string{name}, nil // opening it says what is wrong
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		// Its files are parts of what kustomize makes, and patches among them look like whole objects.
		if slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, e.Name()) {
			return nil, fmt.Errorf("%s has a %s, which is not followed: pipe what kubectl kustomize %s prints to -f -, or name the files that are meant", name, e.Name(), translate.Quote([]string{name}))
		}
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			names = append(names, filepath.Join(name, e.Name()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no files that end in .yaml, .yml or .json; folders in it are not looked into", name)
	}
	return names, nil
}

func (t *translation) readFile(name string) (translate.Text, error) {
	from := t.host.In
	if name == "-" {
		name = "standard input"
	} else {
		file, err := os.Open(name)
		if err != nil {
			return translate.Text{}, err
		}
		defer func() { _ = file.Close() }()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, translate.LargestText+1))
	if err != nil {
		return translate.Text{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return translate.Text{Name: name, Text: text}, nil
}

// readRunning reads targets, and what is known of their secrets.
func (t *translation) readRunning(ctx context.Context) (*translate.Source, error) {
	kind := t.targets[0].kind
	s, err := t.side(kind)
	if err != nil {
		return nil, err
	}
	e, ok := s.Endpoint.(declared)
	if !ok {
		return nil, fmt.Errorf("%s doesn't show how its workloads are declared", s.name)
	}
	var objects []json.RawMessage
	for _, target := range t.targets {
		found, err := e.Declared(ctx, target.Target)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	text, err := json.Marshal(objects)
	if err != nil {
		return nil, err
	}
	source, err := translate.Read(text, t.read)
	if err != nil {
		return nil, err
	}
	if source.Kind != kind {
		return nil, fmt.Errorf("%s is nothing that %s runs", cmp.Or(t.targets[0].Name, t.targets[0].Selector), kind)
	}
	// What is known of the secrets says their names exactly; without it, they are those that sync gives to
	// secrets that it didn't make.
	if names := source.References(); len(names) > 0 {
		known, err := s.List(ctx, names)
		if err != nil {
			t.say("the secrets could not be looked at, and are called what sync calls those that it has not made: " + err.Error())
		}
		source.Secrets = append(source.Secrets, withoutValues(known)...)
		if place, err := s.Place(ctx); err == nil {
			t.to.Rules.Namespace = place.Namespace
		}
		if far, err := t.side(otherKind(kind)); err == nil {
			t.to.Far, t.to.Mirrors = far.mirrors(ctx, kind == secret.Kubernetes)
		}
	}
	return source, nil
}

func otherKind(kind secret.Kind) secret.Kind {
	if kind == secret.Swarm {
		return secret.Kubernetes
	}
	return secret.Swarm
}

// askTime is how long the other side is asked for what is good to know, and not needed.
const askTime = 5 * time.Second

// mirrors says who the other side is and which secrets it has, where it can be reached.
func (s side) mirrors(ctx context.Context, listed bool) (identity string, all []secret.Secret) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	place, err := s.Place(ctx)
	if err != nil {
		return "", nil
	}
	if listed {
		all, _ = s.List(ctx, nil)
	}
	return place.Identity, withoutValues(all)
}

// withoutValues leaves the names of keys.
func withoutValues(secrets []secret.Secret) []secret.Secret {
	for i := range secrets {
		keys := make([]secret.Key, len(secrets[i].Keys))
		for j, k := range secrets[i].Keys {
			keys[j] = secret.Key{Name: k.Name}
		}
		secrets[i].Keys = keys
	}
	return secrets
}

// askImages asks the Swarm what those images run that a shell has to run: no manifest says it. Where it
// can't be reached, there is another way, and a note.
func (t *translation) askImages(ctx context.Context, source *translate.Source) {
	if t.to.Env == translate.EnvFile {
		return
	}
	s, err := t.side(secret.Swarm)
	if err != nil {
		return
	}
	e, ok := s.Endpoint.(imager)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for _, image := range source.Unknown() {
		if _, given := t.to.Images[image]; given {
			continue
		}
		entrypoint, command, err := e.ImageCommand(ctx, image)
		if err == nil {
			t.to.Images[image] = translate.Command{Entrypoint: entrypoint, Cmd: command}
		}
	}
}

func (t *translation) print(source *translate.Source, result *translate.Result) error {
	var commands []string
	var mirror translate.Fields
	var err error
	switch t.withSync {
	case syncCommands:
		commands = append(result.Preparations(), t.syncCommand(source, result)...)
	case syncMirror:
		commands = result.Preparations()
		mirror = t.mirror(source, result)
	}
	document, err := report.OfTranslation(result, commands, mirror)
	if err != nil {
		return err
	}
	// A shell runs the commands; the mirror is a comment everywhere, since it is for sync -f and nobody else.
	if len(mirror) > 0 {
		text, err := translate.YAML(mirror)
		if err != nil {
			return err
		}
		shell := result.Form == translate.Create || result.Form == translate.Update
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\n")
			if shell {
				line = "# " + line
			}
			commands = append(commands, line)
		}
	}
	text, err := result.Text(commands)
	if err != nil {
		return err
	}
	human := t.printer.Human()
	// On a terminal, the comments are there to be read.
	if human && (!t.host.Shown() || t.strict || t.explain || result.Form == translate.JSONPatch) || t.strict {
		for _, n := range result.Notes {
			_, _ = fmt.Fprintln(t.host.Err, report.Printable(n.Line()))
		}
		if result.Form == translate.JSONPatch || t.explain {
			for _, c := range commands {
				_, _ = fmt.Fprintln(t.host.Err, report.Printable(c))
			}
		}
	}
	switch {
	case t.strict && len(result.Notes) > 0:
		return &ExitError{Code: ExitDifferent, Err: errors.New("not all of it has a form at the other side, as the notes say: nothing was printed (--strict)")}
	case !human:
		return t.printer.Print(t.host.Out, document)
	case t.explain:
		text = result.Explain(t.host.width())
	}
	_, err = io.WriteString(t.host.Out, text)
	return err
}

// What --with-sync adds.
const (
	syncCommands = "commands"
	syncMirror   = "mirror"
)

// ends are the endpoints that the secrets go from and to.
func (t *translation) ends(source *translate.Source) (from, to side) {
	from, _ = t.side(source.Kind)
	to, _ = t.side(otherKind(source.Kind))
	return from, to
}

// namespaceOf is the one that the secrets go from or to, as far as anybody has said.
func (t *translation) namespaceOf(source *translate.Source) string {
	if t.namespace == "" && len(source.Workloads) > 0 {
		return source.Workloads[0].Namespace
	}
	return t.namespace
}

// mirror is the SecretMirror that makes the secrets which the result needs.
func (t *translation) mirror(source *translate.Source, result *translate.Result) translate.Fields {
	names := result.Selected()
	if len(names) == 0 {
		return nil
	}
	from, to := t.ends(source)
	address := func(s side) string {
		a := s.name
		if a.Kind == secret.Kubernetes && a.Namespace == "" {
			a.Namespace = t.namespaceOf(source)
		}
		return a.String()
	}
	return result.Mirror(address(from), address(to), names, t.into, t.nameTemplate)
}

// syncCommand makes the secrets which the result needs.
func (t *translation) syncCommand(source *translate.Source, result *translate.Result) []string {
	names := result.Selected()
	if len(names) == 0 {
		return nil
	}
	words := append([]string{"sync"}, names...)
	if t.into != "" {
		words = append(words, "--into", t.into)
	}
	if t.nameTemplate != "" {
		words = append(words, "--name-template", t.nameTemplate)
	}
	from, to := t.ends(source)
	if source.Kind != t.host.Native || from.asked || to.asked {
		words = append(words, "--from", from.name.String(), "--to", to.name.String())
	}
	if namespace := t.namespaceOf(source); namespace != "" {
		words = append(words, "--namespace", namespace)
	}
	return []string{t.host.CLI + " " + translate.Quote(words)}
}
