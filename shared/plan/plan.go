// Package plan compares what is with what ought to be, and says what to do. It is pure: no I/O, no
// clock, no prompt, so that the same plan comes out for diff, for sync and for a plan that was
// saved. It imports mapping, secret, endpoint and the standard library.
package plan

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/secret"
)

// State is what is known of a mirror, or of one of its keys.
type State string

// The states of DESIGN 7, from the best to the worst.
const (
	InSync     State = "in-sync"
	Missing    State = "missing"
	Changed    State = "changed"
	Drifted    State = "drifted"
	Orphan     State = "orphan"
	Unknown    State = "unknown"
	Conflict   State = "conflict"
	Unmappable State = "unmappable"
)

var order = []State{InSync, Missing, Changed, Drifted, Orphan, Unknown, Conflict, Unmappable}

// Worse gives the one of two states that is further from in-sync; the empty one is none.
func Worse(a, b State) State {
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// Action is what sync would do to one mirror.
type Action string

// Each action is one object written, except AddVersion over a stranger's secret and Replace, which
// are two.
const (
	Nothing    Action = ""
	Create     Action = "create"
	AddVersion Action = "add-version" // Swarm: version n+1 beside version n
	Update     Action = "update"      // Kubernetes: in place
	Replace    Action = "replace"     // Kubernetes: what can't be updated is removed and made anew
	Adopt      Action = "adopt"       // a mark for what is proven equal
	Refresh    Action = "refresh"     // a new mark, where only a proof could tell that all is well
	Remove     Action = "remove"      // an orphan, with all its versions
)

// Side is one end of a comparison as it was observed.
type Side struct {
	Place   endpoint.Place
	Secrets []secret.Secret
}

// Options are what a user wants; names and selectors choose origins.
type Options struct {
	Names  []string
	All    bool
	Select func(labels map[string]string) bool // nil when there is no selector
	Rules  mapping.Rules
	Prune  bool
	Adopt  bool
	Force  bool
	Prove  bool
	// Key judges fingerprints; it may be not known.
	Key secret.FingerprintKey
	// Proofs answers earlier questions.
	Proofs Proofs
	// Only, where it isn't nil, leaves out what has nothing to do with these secrets of the near side: the
	// rest is as it was, and of its values nothing needs to be known.
	Only map[string]bool
}

// Question is a pair of values of which only their own side can tell whether they are equal.
type Question struct {
	Origin, Mirror secret.Ref
}

// Proofs tells of each question that was answered whether the values are equal.
type Proofs map[Question]bool

// Item is one mirror: what it is, and what to do about it.
type Item struct {
	Origins []string // names of the secrets that it is a copy of
	Name    string   // of the object at the far side, as it is or as it will be
	State   State
	Reason  string // why, in words; may be empty
	Keys    []KeyState
	Action  Action

	Existing *secret.Secret // what stands there now
	// Desired is what to write, nil where nothing is; values that are not known yet have an entry in Sources.
	Desired *secret.Secret
	// Sources says for each key of Desired what it is a copy of, in the same order. A key that the
	// mirror keeps as it is has none.
	Sources []mapping.OriginKey
	Retired []secret.Secret // Remove: the objects to remove
	// Questions are what a proof has to answer for this item to be certain.
	Questions []Question
	// Owned tells that the mirror is ours, so that an ordinary sync may ask its questions.
	Owned bool
}

// Mirror is the logical name of the object that an item is about, empty where it can have none.
func (item Item) Mirror() string {
	switch {
	case item.Existing != nil:
		return item.Existing.LogicalName()
	case item.Desired != nil:
		return item.Desired.LogicalName()
	}
	return item.Name
}

// KeyState is one key of an item. The name is the one at the origin.
type KeyState struct {
	Name  string
	State State
}

// Plan is what a comparison found, sorted by origin and mirror.
type Plan struct {
	From, To endpoint.Place
	Items    []Item
}

// NotFoundError names what was asked for and stands at neither side.
type NotFoundError struct {
	Names []string
	Place string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no secret %s at %s", strings.Join(quoted(e.Names), ", "), e.Place)
}

func quoted(names []string) []string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return q
}

// New makes the plan. It fails when two origins would meet in one mirror, when a name template
// can't be used, and with a *NotFoundError when a name stands at neither side.
func New(from, to Side, options Options) (Plan, error) { return Prepare(from, to).New(options) }

// Observed is two sides made ready to be compared, however many plans are made of them.
type Observed struct {
	from, to Side
	all      []mapping.Origin
	called   func() map[string][]int // what a user may call an origin, to where it stands in all
	found    contents
	origins  map[[2]string]bool
	// mentioned are the logical names, in lower case, of mirrors by what a user may call them or their
	// origins.
	mentioned func() map[string][]string
}

// Prepare makes two sides ready to be compared.
func Prepare(from, to Side) *Observed {
	w := &Observed{
		from: from, to: to, all: mapping.Origins(from.Place.Kind, from.Secrets), found: index(to),
	}
	w.origins = known(w.all)
	// Who wants all needs neither.
	w.called, w.mentioned = sync.OnceValue(w.call), sync.OnceValue(w.mention)
	return w
}

func (w *Observed) call() map[string][]int {
	all := make(map[string][]int, len(w.all))
	for i, o := range w.all {
		for name := range called(o) {
			if at := all[name]; len(at) == 0 || at[len(at)-1] != i {
				all[name] = append(at, i)
			}
		}
	}
	return all
}

func (w *Observed) mention() map[string][]string {
	all := map[string][]string{}
	for name, p := range w.found.byName {
		if s := p.newest; s.Mark != nil && s.Mark.Origin == w.from.Place.Identity {
			names := map[string]bool{s.LogicalName(): true, s.Name: true}
			for _, part := range s.Mark.Parts {
				names[part.Secret] = true
			}
			for n := range names {
				all[n] = append(all[n], name)
			}
		}
	}
	return all
}

// New is like the function New.
func (w *Observed) New(options Options) (Plan, error) {
	selected, missing := w.choose(options)
	options.Rules.Namespace = w.from.Place.Namespace
	targets, err := mapping.Targets(w.to.Place.Kind, selected, options.Rules)
	if err != nil {
		return Plan{}, err
	}
	c := comparison{from: w.from, to: w.to, options: options, found: w.found, origins: w.origins}
	p := Plan{From: w.from.Place, To: w.to.Place, Items: make([]Item, 0, len(targets))}
	wanted := make(map[string]bool, len(targets))
	for _, t := range targets {
		p.Items = append(p.Items, c.compare(t))
		wanted[t.Name] = true
	}
	orphans, asked := c.orphans(w.concerned(options), wanted, missing)
	p.Items = append(p.Items, orphans...)
	missing = slices.DeleteFunc(missing, func(name string) bool { return asked[name] })
	if len(missing) > 0 {
		return Plan{}, &NotFoundError{Names: missing, Place: w.from.Place.Name}
	}
	slices.SortStableFunc(p.Items, func(a, b Item) int {
		return cmp.Or(slices.Compare(a.Origins, b.Origins), cmp.Compare(a.Name, b.Name))
	})
	return p, nil
}

// concerned gives the mirrors that may be orphans by these options, by their logical names in lower case.
func (w *Observed) concerned(options Options) []string {
	var names []string
	switch {
	case options.Only != nil:
		for name := range options.Only {
			names = append(names, w.mentioned()[name]...)
		}
	case options.All:
		for name := range w.found.byName {
			names = append(names, name)
		}
	default:
		for _, name := range options.Names {
			names = append(names, w.mentioned()[name]...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Names are what the far side has to be asked about when options name the origins: the mirrors
// that they have, and those that they would have had by the default rules if they are gone. It is
// nil when everything there may matter.
func Names(from Side, to secret.Kind, options Options) ([]string, error) {
	if !ByName(options) {
		return nil, nil
	}
	selected, missing := Prepare(from, Side{}).choose(options)
	options.Rules.Namespace = from.Place.Namespace
	targets, err := mapping.Targets(to, selected, options.Rules)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range targets {
		names = append(names, t.Name)
	}
	for _, n := range missing {
		names = append(names, n, mapping.KubernetesName(n))
	}
	return names, nil
}

// ByName tells whether it is enough to look at the secrets that options name. It is not where the
// absence of another would have something removed.
func ByName(options Options) bool {
	return len(options.Names) > 0 && !options.All && options.Select == nil && !options.Prune && options.Rules.Into == ""
}

// choose picks the origins that the options mean, and the names that meant none.
func (w *Observed) choose(options Options) (selected []mapping.Origin, missing []string) {
	chosen := make([]bool, len(w.all))
	for _, name := range options.Names {
		if len(w.called()[name]) == 0 && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		for _, i := range w.called()[name] {
			chosen[i] = true
		}
	}
	if options.Select != nil || options.All {
		for i, o := range w.all {
			// What the other side already is the origin of, and what nobody means by "all", goes only by name.
			if o.Internal == "" && (o.MirrorOf == "" || o.MirrorOf != w.to.Place.Identity) &&
				(options.Select == nil || slices.ContainsFunc(o.Labels, options.Select)) {
				chosen[i] = true
			}
		}
	}
	for i, yes := range chosen {
		if yes && (options.Only == nil || touched(w.all[i], options.Only)) {
			selected = append(selected, w.all[i])
		}
	}
	if options.Only != nil {
		missing = slices.DeleteFunc(missing, func(name string) bool { return !options.Only[name] })
	}
	return selected, missing
}

func touched(o mapping.Origin, only map[string]bool) bool {
	for name := range called(o) {
		if only[name] {
			return true
		}
	}
	return false
}

// There leaves of names those that stand at either side.
func (w *Observed) There(names []string) (there []string) {
	for _, name := range names {
		if len(w.called()[name]) > 0 || len(w.mentioned()[name]) > 0 {
			there = append(there, name)
		}
	}
	return there
}

// Selected are the objects of the near side that the options mean.
func (w *Observed) Selected(options Options) (refs []secret.Ref) {
	origins, _ := w.choose(options)
	for _, o := range origins {
		for _, k := range o.Keys {
			refs = append(refs, k.Ref)
		}
	}
	return refs
}

// called gives all names by which a user may ask for an origin: its own and those of its parts.
func called(o mapping.Origin) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(o.Name) {
			return
		}
		for _, k := range o.Keys {
			if k.Secret != o.Name && !yield(k.Secret) {
				return
			}
			if k.Ref.Name != o.Name && k.Ref.Name != k.Secret && !yield(k.Ref.Name) {
				return
			}
		}
	}
}

// known is the set of origin names and keys that stand at the near side, selected or not.
func known(all []mapping.Origin) map[[2]string]bool {
	set := map[[2]string]bool{}
	for _, o := range all {
		for _, k := range o.Keys {
			set[[2]string{k.Secret, k.SecretKey}] = true
		}
	}
	return set
}

// place is what stands at the far side under one logical name.
type place struct {
	newest   *secret.Secret
	versions []*secret.Secret // in a Swarm all of them, newest last
}

// contents is what stands at the far side: by logical name, in lower case, since Swarm folds it.
type contents struct {
	byName map[string]place
	taken  map[string]bool // names of objects, in lower case
}

func index(to Side) contents {
	c := contents{byName: make(map[string]place, len(to.Secrets)), taken: make(map[string]bool, len(to.Secrets))}
	for i := range to.Secrets {
		s := &to.Secrets[i]
		c.taken[strings.ToLower(s.Name)] = true
		name := strings.ToLower(s.LogicalName())
		p := c.byName[name]
		p.versions = append(p.versions, s)
		c.byName[name] = p
	}
	for name, p := range c.byName {
		slices.SortStableFunc(p.versions, func(a, b *secret.Secret) int { return cmp.Compare(sequenceOf(a), sequenceOf(b)) })
		p.newest = p.versions[len(p.versions)-1]
		c.byName[name] = p
	}
	return c
}

func sequenceOf(s *secret.Secret) int {
	return s.Lineage.Sequence
}
