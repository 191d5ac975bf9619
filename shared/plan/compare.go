package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/secret"
)

// comparison holds what every target is compared against.
type comparison struct {
	from, to Side
	options  Options
	found    contents
	origins  map[[2]string]bool
}

// compare finds the state of one mirror and what to do about it.
func (c *comparison) compare(t mapping.Target) Item {
	item := c.judgeTarget(t)
	if item.Action == Replace {
		item.Desired.Labels = maps.Clone(item.Existing.Labels) // they would go with the old object
	}
	if item.Action != Nothing && c.to.Place.Kind == secret.Kubernetes && markTooLarge(item.Desired.Mark) {
		return Item{
			Origins: t.Origins, Name: t.Name, State: Unmappable, Existing: item.Existing, Keys: keyStates(t, Unmappable),
			Reason: "it has more keys than can be noted in the annotations of one Secret",
		}
	}
	return item
}

// What the API server takes of annotations, and what one fingerprint adds to them, in bytes.
const (
	annotationsLargest = 256 << 10
	fingerprintSize    = 64
)

// markTooLarge looks at marks of many keys before anything is written, since the API server would
// refuse what is too large only then.
func markTooLarge(m *secret.Mark) bool {
	const few = 100
	if len(m.Parts) < few {
		return false
	}
	size := len(m.Parts) * fingerprintSize
	for name, text := range (secret.Secret{Mark: m}).OwnAnnotations() {
		size += len(name) + len(text)
	}
	return size > annotationsLargest
}

func (c *comparison) judgeTarget(t mapping.Target) Item {
	item := Item{Origins: t.Origins, Name: t.Name}
	if t.Unmappable != "" {
		item.State, item.Reason = Unmappable, t.Unmappable
		item.Keys = keyStates(t, Unmappable)
		return item
	}
	existing := c.found.byName[strings.ToLower(t.Name)].newest
	if existing == nil {
		// A version of something else may bear the very name; then that is what stands there.
		if c.found.taken[strings.ToLower(t.Name)] {
			item.State, item.Reason = Conflict, "a version of another secret has this name"
			item.Keys = keyStates(t, Conflict)
			return item
		}
		item.State, item.Action = Missing, Create
		item.Keys = keyStates(t, Missing)
		c.desire(&item, t, 1)
		return item
	}
	item.Existing, item.Name = existing, existing.Name
	switch {
	case existing.Damaged != "":
		item.State, item.Reason = Conflict, existing.Damaged
		item.Keys = keyStates(t, Conflict)
	case c.ours(existing, t):
		c.compareOurs(&item, t)
	default:
		c.compareStranger(&item, t)
	}
	return item
}

func keyStates(t mapping.Target, s State) []KeyState {
	states := make([]KeyState, len(t.Keys))
	for i, k := range t.Keys {
		states[i] = KeyState{k.Origin.Key, s}
	}
	return states
}

// ours tells whether the mark says that existing is a mirror of (some of) what t comes from.
func (c *comparison) ours(existing *secret.Secret, t mapping.Target) bool {
	if existing.Mark == nil || existing.Mark.Origin != c.from.Place.Identity {
		return false
	}
	if len(existing.Mark.Parts) == 0 {
		return true // a copy of a Secret without keys
	}
	if c.to.Place.Kind == secret.Kubernetes {
		return c.options.Rules.Into != "" || // what gathers several secrets may gather others today
			slices.ContainsFunc(existing.Mark.Parts, func(p secret.Part) bool { return c.sameSecret(t, p) })
	}
	p, k := existing.Mark.Parts[0], t.Keys[0]
	return p.Secret == k.Origin.Secret && p.OriginKey == k.Origin.SecretKey
}

// sameSecret tells whether a part was copied from one of the secrets that t is made of.
func (c *comparison) sameSecret(t mapping.Target, p secret.Part) bool {
	return c.from.Place.Kind == secret.Kubernetes && slices.Contains(t.Origins, p.Secret) ||
		slices.ContainsFunc(t.Keys, func(k mapping.TargetKey) bool { return k.Origin.Secret == p.Secret })
}

// verdict is what was found about one pair of values.
type verdict struct {
	state    State
	question *Question // what a proof would have to answer for the state to be certain
	probed   bool      // it took a proof to know
}

// compareOurs compares a mirror with its mark.
func (c *comparison) compareOurs(item *Item, t mapping.Target) {
	existing := item.Existing
	item.Owned, item.State = true, InSync
	probed := false
	for _, k := range t.Keys {
		v := c.judge(existing, k)
		if v.question != nil {
			item.Questions = append(item.Questions, *v.question)
		}
		probed = probed || v.probed && v.state == InSync && c.claim(existing, k) == Unknown
		item.Keys = append(item.Keys, KeyState{k.Origin.Key, v.state})
		item.State = Worse(item.State, v.state)
	}
	kept := c.extras(item, t)
	if item.State == Unknown {
		item.Reason = c.unknownReason()
		return
	}
	// What stays as it is desires nothing: of ten thousand in sync that would be most of the memory.
	if c.to.Place.Kind == secret.Swarm {
		switch {
		case item.State != InSync:
			c.desire(item, t, c.nextSequence(t.Name))
			item.Action = AddVersion
		case probed:
			c.desire(item, t, existing.Lineage.Sequence)
			item.Action = Refresh
		}
		return
	}
	different := existing.Type != t.Type || existing.Immutable != t.Immutable
	if different {
		item.State = Worse(item.State, Drifted)
		item.Reason = "its type or its immutable flag is not the origin's"
	}
	switch {
	case item.State == InSync || item.State == Orphan:
		// Without a key a new mark would tell no more than the old one.
		if !probed || !c.options.Key.Known() {
			return
		}
		item.Action = Refresh
	case existing.Type != t.Type || existing.Immutable:
		item.Action = Replace
	default:
		item.Action = Update
	}
	c.desire(item, t, 0)
	c.keep(item, kept)
}

// judge compares one key of a mirror with its origin, by the values where both are known, by a
// proof where there is one, and by the claims in the mark otherwise.
func (c *comparison) judge(existing *secret.Secret, k mapping.TargetKey) verdict {
	mirrorKey := c.mirrorKey(existing, k)
	have, there := existing.Key(mirrorKey)
	if !there {
		if _, marked := existing.Mark.Part(mirrorKey); marked {
			return verdict{state: Drifted} // it was there once
		}
		return verdict{state: Missing}
	}
	claimed := c.claim(existing, k)
	if have.Value.Known() && k.Origin.Value.Known() {
		if have.Value.Equal(k.Origin.Value) {
			return verdict{state: InSync}
		}
		return verdict{state: c.whichSide(existing, k, claimed)}
	}
	question := Question{Origin: k.Origin.Ref, Mirror: existing.Ref(mirrorKey)}
	if equal, answered := c.options.Proofs[question]; answered {
		if equal {
			return verdict{state: InSync, probed: true}
		}
		return verdict{state: c.whichSide(existing, k, claimed), probed: true}
	}
	v := verdict{state: claimed}
	if c.options.Prove || claimed == Unknown {
		v.question = &question
	}
	return v
}

// mirrorKey is the name that a target's key has in an object: in a Swarm the object's own.
func (c *comparison) mirrorKey(existing *secret.Secret, k mapping.TargetKey) string {
	if c.to.Place.Kind == secret.Swarm {
		return existing.Name
	}
	return k.Name
}

// claim judges a key by the mark alone: has the origin moved, has the mirror?
func (c *comparison) claim(existing *secret.Secret, k mapping.TargetKey) State {
	part, ok := existing.Mark.Part(c.mirrorKey(existing, k))
	if !ok {
		return Changed // there is a key of that name, but it was never a copy of this one
	}
	if part.Secret != k.Origin.Secret || part.OriginKey != k.Origin.SecretKey {
		return Changed
	}
	return combine(c.originClaim(existing, part, k), c.mirrorClaim(existing, part))
}

func combine(origin, mirror State) State {
	switch {
	case origin == Changed:
		return Changed
	case mirror == Drifted:
		return Drifted
	case origin == Unknown || mirror == Unknown:
		return Unknown
	}
	return InSync
}

// originClaim tells whether the origin still has the value that was copied.
func (c *comparison) originClaim(existing *secret.Secret, part secret.Part, k mapping.TargetKey) State {
	if part.UID == "" {
		return Unknown // taken over without knowing what it holds
	}
	same := part.UID == k.Origin.Ref.UID
	switch {
	case c.from.Place.Kind == secret.Swarm:
		// A Swarm secret's content can't change while its ID stands.
		if !same {
			return Changed
		}
	case c.options.Key.Judges(part.Fingerprint):
		if !c.options.Key.Matches(part.Fingerprint, c.to.Place.Identity, existing.Name, part.Key, k.Origin.Value) {
			return Changed
		}
	case !same || part.Version != k.Origin.Version:
		// It was written to. Whether the value is another one, only a look can tell.
		return Unknown
	}
	return InSync
}

// mirrorClaim tells whether the mirror still has the value that was written.
func (c *comparison) mirrorClaim(existing *secret.Secret, part secret.Part) State {
	if c.to.Place.Kind == secret.Swarm {
		return InSync // the mark stands on the very object whose content can't change
	}
	if !c.options.Key.Judges(part.Fingerprint) {
		return Unknown
	}
	have, _ := existing.Key(part.Key)
	if c.options.Key.Matches(part.Fingerprint, c.to.Place.Identity, existing.Name, part.Key, have.Value) {
		return InSync
	}
	return Drifted
}

// whichSide says of two values that are known to differ which of them moved.
func (c *comparison) whichSide(existing *secret.Secret, k mapping.TargetKey, claimed State) State {
	switch claimed {
	case InSync, Drifted:
		return Drifted // the mark swears that they are equal: somebody changed the mirror
	}
	if part, ok := existing.Mark.Part(c.mirrorKey(existing, k)); ok && c.mirrorClaim(existing, part) == Drifted {
		return Drifted
	}
	return Changed
}

func (c *comparison) unknownReason() string {
	if !c.options.Key.Known() {
		return "without a fingerprint key only the values can tell: --prove"
	}
	return "its mark doesn't tell: --prove"
}

// extras looks at the keys of a Kubernetes mirror that the target doesn't have: those whose origin
// is merely not selected stay, the others are a difference.
func (c *comparison) extras(item *Item, t mapping.Target) (kept []secret.Part) {
	if c.to.Place.Kind == secret.Swarm {
		return nil
	}
	for _, have := range item.Existing.Keys {
		if slices.ContainsFunc(t.Keys, func(k mapping.TargetKey) bool { return k.Name == have.Name }) {
			continue
		}
		part, marked := item.Existing.Mark.Part(have.Name)
		origin := [2]string{part.Secret, part.OriginKey}
		switch {
		case !marked: // nobody of ours wrote it
			item.Keys = append(item.Keys, KeyState{have.Name, Drifted})
			item.State = Worse(item.State, Drifted)
		case c.origins[origin]: // it is just not selected
			kept = append(kept, part)
		case c.options.Prune || c.from.Place.Kind == secret.Kubernetes && c.sameSecret(t, part):
			item.Keys = append(item.Keys, KeyState{have.Name, Orphan})
			item.State = Worse(item.State, Changed)
		default:
			item.Keys = append(item.Keys, KeyState{have.Name, Orphan})
			item.State, item.Reason = Worse(item.State, Orphan), "the origin of a key is gone: --prune would remove it"
			kept = append(kept, part)
		}
	}
	return kept
}

// keep carries over what a mirror of several origins has from those that are not selected now.
func (c *comparison) keep(item *Item, kept []secret.Part) {
	for _, part := range kept {
		k, _ := item.Existing.Key(part.Key)
		at, _ := slices.BinarySearchFunc(item.Desired.Keys, part.Key, func(k secret.Key, n string) int { return cmp.Compare(k.Name, n) })
		item.Desired.Keys = slices.Insert(item.Desired.Keys, at, k)
		item.Sources = slices.Insert(item.Sources, at, mapping.OriginKey{})
		item.Desired.Mark.Parts = slices.Insert(item.Desired.Mark.Parts, at, part)
	}
}

// compareStranger compares with something that is not our mirror of this origin.
func (c *comparison) compareStranger(item *Item, t mapping.Target) {
	existing := item.Existing
	whose := "something that secretx did not make"
	if existing.Mark != nil {
		whose = fmt.Sprintf("a mirror of %s at %s", originNames(existing.Mark), existing.Mark.Place)
	}
	equal, sure := c.sameShape(existing, t), true
	for _, k := range t.Keys {
		have, there := existing.Key(c.mirrorKey(existing, k))
		question := Question{Origin: k.Origin.Ref, Mirror: existing.Ref(have.Name)}
		same, known := c.options.Proofs[question]
		if have.Value.Known() && k.Origin.Value.Known() {
			same, known = have.Value.Equal(k.Origin.Value), true
		}
		state := Conflict
		switch {
		case !there:
			equal = false
		case !known:
			sure, state = false, Unknown
			item.Questions = append(item.Questions, question)
		case same:
			state = InSync
		default:
			equal = false
		}
		item.Keys = append(item.Keys, KeyState{k.Origin.Key, state})
	}
	switch {
	case equal && sure:
		item.State, item.Reason = InSync, "equal, but "+whose+": --adopt would take it over"
		if c.options.Adopt {
			item.Action, item.Reason = Adopt, whose+", proven equal"
		}
	case equal && existing.Mark == nil:
		item.State, item.Reason = Unknown, "under this name stands "+whose+": --prove would tell whether it is equal"
	default:
		item.State, item.Reason = Conflict, "under this name stands "+whose
		if !equal {
			item.Reason += ", and it differs"
		}
		item.Reason += ": --force would overwrite it"
		for i, k := range item.Keys {
			if k.State == Unknown {
				item.Keys[i].State = Conflict
			}
		}
	}
	if c.to.Place.Kind == secret.Swarm {
		c.desire(item, t, max(1, sequenceOf(existing)))
	} else {
		c.desire(item, t, 0)
	}
	if item.Action == Adopt || equal && sure || !c.options.Force {
		return
	}
	item.Reason = "overwrites " + whose
	switch {
	case c.to.Place.Kind == secret.Swarm:
		item.Action = AddVersion
		c.desire(item, t, c.nextSequence(t.Name))
	case existing.Immutable || existing.Type != t.Type:
		item.Action = Replace
	default:
		item.Action = Update
	}
}

func originNames(m *secret.Mark) string {
	var names []string
	for _, p := range m.Parts {
		if !slices.Contains(names, p.Secret) {
			names = append(names, p.Secret)
		}
	}
	return strings.Join(quoted(names), ", ")
}

// sameShape tells whether a stranger could pass for the mirror but for its values.
func (c *comparison) sameShape(existing *secret.Secret, t mapping.Target) bool {
	if c.to.Place.Kind == secret.Swarm {
		return existing.Unreadable == ""
	}
	return existing.Type == t.Type && existing.Immutable == t.Immutable && len(existing.Keys) == len(t.Keys)
}

// nextSequence is the first number above all versions whose name is free.
func (c *comparison) nextSequence(name string) int {
	n := 1
	for _, v := range c.found.byName[strings.ToLower(name)].versions {
		n = max(n, sequenceOf(v))
	}
	for n++; c.found.taken[strings.ToLower(mapping.VersionName(name, n))]; n++ {
		// Somebody else's secret happens to have the name.
	}
	return n
}

// desire fills in what to write. Sequence is the version in a Swarm, 0 in Kubernetes. Fingerprints
// are left to whoever has the values.
func (c *comparison) desire(item *Item, t mapping.Target, sequence int) {
	mark := &secret.Mark{Origin: c.from.Place.Identity, Place: c.from.Place.Name}
	desired := &secret.Secret{Name: t.Name, Type: t.Type, Immutable: t.Immutable, Mark: mark}
	if c.to.Place.Kind == secret.Swarm {
		desired.Lineage = secret.Lineage{Name: t.Name, Sequence: sequence}
		desired.Name = mapping.VersionName(t.Name, sequence)
		if e := item.Existing; e != nil && sequence == max(1, sequenceOf(e)) {
			desired.Name = e.Name // it may have been adopted under a name of another case
		}
		item.Name = desired.Name
	}
	if item.Existing != nil && c.to.Place.Kind == secret.Swarm {
		desired.Labels = maps.Clone(item.Existing.Labels) // an update there writes all labels
	}
	item.Sources = make([]mapping.OriginKey, 0, len(t.Keys))
	for _, k := range t.Keys {
		name := k.Name
		if c.to.Place.Kind == secret.Swarm {
			name = desired.Name
		}
		desired.Keys = append(desired.Keys, secret.Key{Name: name, Value: k.Origin.Value})
		mark.Parts = append(mark.Parts, secret.Part{
			Key: name, Secret: k.Origin.Secret, OriginKey: k.Origin.SecretKey,
			UID: k.Origin.Ref.UID, Version: k.Origin.Version, Form: k.Form, SwarmName: k.SwarmName,
		})
		item.Sources = append(item.Sources, k.Origin)
	}
	item.Desired = desired
}

// orphans finds the mirrors of origins that are gone among those that may be. With names, only those of
// the named; it tells which names were found this way.
func (c *comparison) orphans(among []string, wanted map[string]bool, missing []string) (items []Item, asked map[string]bool) {
	asked = map[string]bool{}
	for _, name := range among {
		s := c.found.byName[name].newest
		if s.Mark == nil || s.Mark.Origin != c.from.Place.Identity || wanted[s.LogicalName()] {
			continue
		}
		if slices.ContainsFunc(s.Mark.Parts, func(part secret.Part) bool { return c.origins[[2]string{part.Secret, part.OriginKey}] }) {
			continue // the origin is there, it's just not selected, or mirrored under another name
		}
		named := ""
		for _, part := range s.Mark.Parts {
			for _, candidate := range []string{part.Secret, s.LogicalName(), s.Name} {
				if slices.Contains(missing, candidate) {
					named = candidate
				}
			}
			// A key that its living, selected origin lost belongs to that origin.
			if slices.Contains(c.options.Names, part.Secret) {
				named = part.Secret
			}
		}
		// What labels an origin had that is gone nobody knows: a selector finds no orphans.
		if named == "" && !c.options.All {
			continue
		}
		if named != "" {
			asked[named] = true
		}
		item := Item{Name: s.Name, State: Orphan, Reason: "its origin is gone", Existing: s, Owned: true}
		for _, part := range s.Mark.Parts {
			if !slices.Contains(item.Origins, part.Secret) {
				item.Origins = append(item.Origins, part.Secret)
			}
			item.Keys = append(item.Keys, KeyState{part.OriginKey, Orphan})
		}
		if c.options.Prune {
			item.Action = Remove
			for _, v := range c.found.byName[name].versions {
				if v.Mark != nil && v.Mark.Origin == c.from.Place.Identity {
					item.Retired = append(item.Retired, *v)
				}
			}
		} else {
			item.Reason += ": --prune would remove it"
		}
		items = append(items, item)
	}
	return items, asked
}
