// Package translate says what a workload of one orchestrator is in the words of the other: what it runs, and
// above all how it gets its secrets. It reads services as the engine shows them, Compose files and Kubernetes
// manifests, and writes manifests, patches, docker commands and Compose files. What the other side has no form
// for gets the nearest one that works, and a note. It is pure: it knows neither API, opens no file, asks no
// network and no clock, and keeps no value of a secret. It imports mapping, secret, the standard library and
// a YAML parser that tells how something was written.
package translate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/secret"
)

// Form is what is written.
type Form string

// The forms: of a Swarm's workloads, and of a cluster's.
const (
	Manifests      Form = "manifests"       // whole workloads
	StrategicPatch Form = "patch-strategic" // the wiring alone, for kubectl patch
	JSONPatch      Form = "patch-json"      // the wiring alone, for kubectl patch --type json
	Kustomize      Form = "patch-kustomize" // the wiring alone, as a component for kustomize
	Create         Form = "create"          // docker service create
	Update         Form = "update"          // the wiring alone: docker service update
	Compose        Form = "compose"         // a Compose file
)

// Of gives the side that reads a form.
func (f Form) Of() secret.Kind {
	switch f {
	case Create, Update, Compose:
		return secret.Swarm
	}
	return secret.Kubernetes
}

// wiring tells whether a form has secrets alone.
func (f Form) wiring() bool { return f != Manifests && f != Create && f != Compose }

// Mount says how a file is mounted whose directory may have others in the image.
type Mount string

// The ways of mounting.
const (
	MountAuto Mount = "auto"      // several as a directory, single ones by themselves
	MountDir  Mount = "directory" // live, and hides what the image has there
	MountFile Mount = "file"      // hides nothing, and isn't live
)

// Env says how a process of a Swarm comes by a variable whose value is a secret.
type Env string

// The ways of getting a variable.
const (
	EnvAuto  Env = "auto"  // by a shell where the command is known, otherwise by a file
	EnvShell Env = "shell" // a shell sets it and then runs the command
	EnvFile  Env = "file"  // NAME_FILE has the path of a file, as many images take it
)

// Command is what an image runs unless it is told otherwise.
type Command struct{ Entrypoint, Cmd []string }

// Options say how to translate.
type Options struct {
	Form  Form // empty for the whole workload: Manifests or Create
	Rules mapping.Rules
	// Mirrors are the secrets of the other side, where they are known: the newest version of one is meant.
	Mirrors []secret.Secret
	// Far is the identity of the other side's endpoint, where it is known: what came from there needs no sync.
	Far   string
	Mount Mount // empty for MountAuto
	Env   Env   // empty for EnvAuto
	// Images are commands of images, where they are known.
	Images map[string]Command
	// Namespace is that of the manifests; empty for the one that they are applied to.
	Namespace string
	// Stack is what a Compose file that is written would be deployed as.
	Stack string
	// Workload and Container are what a patch is for, TYPE/NAME and the name of its container, where they aren't
	// those that a whole workload would have.
	Workload, Container string
}

// Result is what came out.
type Result struct {
	From, To  secret.Kind
	Form      Form
	Workloads []Translated
	// Notes are numbered from 1.
	Notes []Note
	// Secrets are all that the result needs, and what they come from.
	Secrets []Named
	// Local are those that have to be made first.
	Local []Local
}

// Named is a secret of one side and what it is at the other.
type Named struct {
	Origin, Mirror Ref
	// Selected is the name by which sync takes the origin; empty where there is nothing to sync.
	Selected string
}

// Translated is what became of a workload.
type Translated struct {
	Object string // the origin: "service web"
	// Documents are Kubernetes objects or patches.
	Documents []Fields
	// Operations are those of a JSON patch, and Target what it is for: "deployment/web".
	Operations []any
	Target     string
	// Command is a docker command, in groups of words that belong together.
	Command [][]string
	// Service is its part of a Compose file, and Name what it is called there, or in Command.
	Service Fields
	Name    string
	// Pieces match both sides, for people.
	Pieces []Piece
	// Notes are the numbers of its notes.
	Notes []int
}

// Piece is one thing as both sides say it, of one or several lines each.
type Piece struct{ Swarm, Kubernetes []string }

// Text is something to be read, and what messages call it; without a name, nothing.
type Text struct {
	Name string
	Text []byte
}

// wrong says what is wrong with a text.
func (t *Text) wrong(err error) error {
	if t == nil || t.Name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", t.Name, err)
}

// Read reads whatever a text is: Compose files, Kubernetes manifests or services.
func Read(text []byte, options ReadOptions) (*Source, error) {
	return ReadAll([]Text{{Text: text}}, options)
}

// ReadAll reads several texts of one side. Their manifests are one stream, so that the Service in one text is that
// of the Deployment in another; Compose files stand for themselves. An object that two texts have is an error: which
// of the two is meant is not for us to say. One that is empty says nothing, where others do.
func ReadAll(texts []Text, options ReadOptions) (*Source, error) {
	source := &Source{Secrets: options.Known}
	var manifests []*object
	var first *Text // which has said the side
	places := places{}
	for i := range texts {
		t := &texts[i]
		docs, sort, err := t.documents()
		if err != nil {
			return nil, t.wrong(err)
		}
		if len(docs) == 0 {
			continue
		}
		kind := secret.Swarm
		if sort == manifestSort {
			kind = secret.Kubernetes
		}
		if first == nil {
			first, source.Kind = t, kind
		}
		if kind != source.Kind {
			return nil, t.wrong(fmt.Errorf("it is of %s, and %s is of %s: one side at a time", kind, first.Name, source.Kind))
		}
		before := len(source.Workloads)
		switch sort {
		case manifestSort:
			manifests = append(manifests, docs...)
		case serviceSort:
			err = readServices(docs, source)
		default:
			for _, doc := range docs {
				if err = readCompose(doc, options, source); err != nil {
					break
				}
			}
		}
		for _, w := range source.Workloads[before:] {
			if err == nil {
				err = places.add(w.Object(), "", t)
			}
		}
		if err != nil {
			return nil, t.wrong(err)
		}
	}
	switch {
	case first == nil && len(texts) > 0:
		return nil, texts[0].wrong(errors.New("it is empty"))
	case source.Kind == secret.Kubernetes:
		return fromManifests(manifests, options)
	}
	return source, nil
}

// The sorts of documents.
const (
	composeSort  = "compose"
	manifestSort = "manifest"
	serviceSort  = "service"
)

// documents are those of a text, which are of one sort.
func (t *Text) documents() (docs []*object, sort string, err error) {
	if docs, err = parse(t.Text); err != nil {
		return nil, "", err
	}
	several := false
	for i, doc := range docs {
		doc.doc.of = t
		was := sort
		if sort = sortOf(doc); sort == "" {
			return nil, "", errors.New("it is neither a Compose file (services:), a Kubernetes object (kind:) nor what docker service inspect prints (Spec:)")
		}
		several = several || i > 0 && sort != was
	}
	if several {
		return nil, "", errors.New("it has documents of several sorts: one at a time")
	}
	return docs, sort, nil
}

func sortOf(o *object) string {
	_, kind := o.values["kind"]
	_, spec := o.values["Spec"]
	_, template := o.values["TaskTemplate"]
	switch {
	case isCompose(o):
		return composeSort
	case kind:
		return manifestSort
	case spec || template:
		return serviceSort
	}
	return ""
}

// places are the texts in which objects stand, by what they are called.
type places map[[2]string]*Text

// add refuses an object that another text has.
func (p places) add(object, namespace string, t *Text) error {
	name := [2]string{namespace, object}
	if other, there := p[name]; there && other != t {
		return fmt.Errorf("%s is in %s, too: nothing is merged (docker compose config and kubectl kustomize print one of all)", object, other.Name)
	}
	p[name] = t
	return nil
}

var errNothing = errors.New("there is nothing to translate in it: no service, and no Pod, Deployment, ReplicaSet, StatefulSet, DaemonSet, Job or CronJob")

// Translate says what the workloads of a source are at the other side. It fails only where names would meet,
// or a form is not one of the other side.
func Translate(source *Source, options Options) (*Result, error) {
	to := other(source.Kind)
	if options.Form == "" {
		options.Form = Manifests
		if to == secret.Swarm {
			options.Form = Create
		}
	}
	if len(source.Workloads) == 0 {
		return nil, errNothing
	}
	if options.Form.Of() != to {
		return nil, fmt.Errorf("%s is no form of %s, and what was read is of %s", options.Form, to, source.Kind)
	}
	if options.Form == Compose && len(options.Stack) > longestStack {
		return nil, fmt.Errorf("the name of the stack is longer than %d characters: STACK_SERVICE may have %d", longestStack, longestName)
	}
	workloads := slices.Clone(source.Workloads)
	for i := range workloads {
		w := &workloads[i]
		w.notes = slices.Clone(w.notes)
		w.Containers = slices.Clone(w.Containers)
		for j := range w.Containers {
			if !options.Form.wiring() {
				w.image(&w.Containers[j], source.Kind)
			}
		}
		if source.Kind == secret.Kubernetes {
			spread(source, w)
			continue
		}
		for j := range w.Containers {
			unwrap(&w.Containers[j])
		}
	}
	refs := references(workloads)
	names, err := newNaming(source, refs, options)
	if err != nil {
		return nil, err
	}
	r := &Result{From: source.Kind, To: to, Form: options.Form}
	for _, n := range source.Notes {
		r.add(n, "")
	}
	for i := range workloads {
		names.usable(&workloads[i])
	}
	for _, ref := range references(workloads) {
		r.Secrets = append(r.Secrets, Named{Origin: ref, Mirror: names.targets[ref], Selected: names.selected[ref]})
	}
	at := map[string]int{} // of a Swarm, whose secrets are one value each
	for i, n := range r.Secrets {
		at[n.Origin.Secret] = i
	}
	for _, local := range source.Local {
		if i, needed := at[local.Name]; needed {
			r.Secrets[i].Selected = ""
			r.Local = append(r.Local, local)
		}
	}
	if to == secret.Kubernetes {
		r.toKubernetes(workloads, names, options)
	} else {
		r.toSwarm(workloads, names, options)
	}
	return r, nil
}

// add numbers a note, unless it is about what the form doesn't have.
func (r *Result) add(n Note, workload string) int {
	if r.Form.wiring() && (n.whole || n.Reason == reasonLeft) {
		return 0
	}
	n.Number, n.Workload = len(r.Notes)+1, workload
	r.Notes = append(r.Notes, n)
	return n.Number
}

// finish numbers the notes of a workload.
func (r *Result) finish(w *Workload, t *Translated) {
	for _, n := range w.notes {
		if number := r.add(n, t.Object); number > 0 {
			t.Notes = append(t.Notes, number)
		}
	}
	r.Workloads = append(r.Workloads, *t)
}

// Unknown are the images whose commands have to be known so that their containers get a variable from a
// secret, each once.
func (s *Source) Unknown() []string {
	var images []string
	if s.Kind == secret.Swarm {
		return nil
	}
	seen := map[string]bool{}
	for _, w := range s.Workloads {
		for _, c := range w.Containers {
			needs := len(c.EnvFrom) > 0 || slices.ContainsFunc(c.Env, func(v Var) bool { return v.From != nil })
			if needs && len(c.Command) == 0 && c.Image != "" && !seen[c.Image] {
				seen[c.Image] = true
				images = append(images, c.Image)
			}
		}
	}
	return images
}

// Whole are the Secrets all of whose keys are meant and not known, each once.
func (s *Source) Whole() []string {
	var names []string
	seen := map[string]bool{}
	for _, known := range s.Secrets {
		seen[known.Name] = true
	}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, w := range s.Workloads {
		for _, c := range w.Containers {
			for _, whole := range c.Whole {
				add(whole.Secret)
			}
			for _, from := range c.EnvFrom {
				add(from.Secret)
			}
		}
	}
	return names
}

// References are the secrets that the workloads refer to, by name.
func (s *Source) References() []string {
	var names []string
	seen := map[string]bool{}
	for _, ref := range references(s.Workloads) {
		if !seen[ref.Secret] {
			seen[ref.Secret] = true
			names = append(names, ref.Secret)
		}
	}
	return append(names, s.Whole()...)
}
