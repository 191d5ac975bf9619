package secret

import (
	"fmt"
	"strconv"
	"time"
)

// Lineage says which version of which secret an object is. What can't be updated, a Swarm secret or
// an immutable one of Kubernetes, gets a new value by a new version under another name; all versions
// share one logical name. The zero Lineage is that of an object that was never numbered: it is the only
// version of itself.
type Lineage struct {
	// Name is the logical name.
	Name string
	// Sequence counts versions, from 1.
	Sequence int
	// Rollout says where the rollout stands that made this version; empty when all is well.
	Rollout Rollout
	// Owner is the process that does the rollout, and Lifetime how long it may take at most; both only
	// while it is pending.
	Owner    string
	Lifetime time.Duration
}

// Rollout is how far a version has come.
type Rollout string

// The states of a rollout.
const (
	Pending Rollout = "pending" // it is on its way to its consumers, or whoever brought it there was killed
	Failed  Rollout = "failed"  // its consumers went back to the version before
)

// Known tells whether the object was numbered.
func (l Lineage) Known() bool { return l.Sequence > 0 }

// The fields of a lineage, behind LabelPrefix or AnnotationPrefix.
const (
	fieldName            = "name"
	fieldSequence        = "sequence"
	fieldRollout         = "rollout"
	fieldRolloutOwner    = "rollout.owner"
	fieldRolloutLifetime = "rollout.lifetime"
)

func (l Lineage) write(set func(field, value string)) {
	if !l.Known() {
		return
	}
	set(fieldName, l.Name)
	set(fieldSequence, strconv.Itoa(l.Sequence))
	set(fieldRollout, string(l.Rollout))
	if l.Rollout == Pending {
		set(fieldRolloutOwner, l.Owner)
		set(fieldRolloutLifetime, strconv.Itoa(int(l.Lifetime/time.Second)))
	}
}

// lineageOf reads the lineage of the object. One that somebody damaged is an error, like a mark.
func lineageOf(object string, get func(field string) string) (Lineage, error) {
	if get(fieldSequence) == "" && get(fieldName) == "" {
		return Lineage{}, nil
	}
	l := Lineage{Name: get(fieldName), Rollout: Rollout(get(fieldRollout)), Owner: get(fieldRolloutOwner)}
	sequence, err := strconv.Atoi(get(fieldSequence))
	if err != nil || sequence < 1 || l.Name == "" || l.Rollout != "" && l.Rollout != Pending && l.Rollout != Failed {
		return Lineage{}, fmt.Errorf("what secretx has noted of the versions of %q is damaged", object)
	}
	l.Sequence = sequence
	if seconds, err := strconv.Atoi(get(fieldRolloutLifetime)); err == nil && seconds > 0 {
		l.Lifetime = time.Duration(seconds) * time.Second
	}
	return l, nil
}

// LogicalName is the name that all versions share.
func (s Secret) LogicalName() string {
	if s.Lineage.Known() {
		return s.Lineage.Name
	}
	return s.Name
}

// OwnLabels is what secretx writes on a Swarm secret.
func (s Secret) OwnLabels() map[string]string {
	labels := map[string]string{}
	set := func(field, value string) {
		if value != "" {
			labels[LabelPrefix+field] = value
		}
	}
	if s.Mark != nil {
		s.Mark.labels(set)
	}
	s.Lineage.write(set)
	return labels
}

// ReadLabels takes over what stands on a Swarm secret.
func (s *Secret) ReadLabels(labels map[string]string) {
	get := func(field string) string { return labels[LabelPrefix+field] }
	s.Labels = UserLabels(labels)
	var err error
	if s.Lineage, err = lineageOf(s.Name, get); err == nil {
		s.Mark, err = markOfLabels(s.Name, s.Lineage, get)
	}
	s.damaged(err)
}

// OwnAnnotations is what secretx writes on a Kubernetes Secret.
func (s Secret) OwnAnnotations() map[string]string {
	annotations := map[string]string{}
	set := func(field, value string) {
		if value != "" {
			annotations[AnnotationPrefix+field] = value
		}
	}
	if s.Mark != nil {
		s.Mark.annotations(set)
	}
	s.Lineage.write(set)
	return annotations
}

// ReadAnnotations takes over what stands on a Kubernetes Secret.
func (s *Secret) ReadAnnotations(annotations map[string]string) {
	get := func(field string) string { return annotations[AnnotationPrefix+field] }
	var err error
	if s.Lineage, err = lineageOf(s.Name, get); err == nil {
		s.Mark, err = markOfAnnotations(s.Name, get)
	}
	s.damaged(err)
}

// damaged notes that something of ours can't be read: then nothing of it is believed.
func (s *Secret) damaged(err error) {
	if err != nil {
		s.Mark, s.Lineage, s.Damaged = nil, Lineage{}, err.Error()
	}
}
