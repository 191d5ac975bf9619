package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// DocumentVersion and DocumentKind say what a saved plan is.
const (
	DocumentVersion = "secretx.github.io/v1"
	DocumentKind    = "Plan"
)

// Document is a plan as it is saved: what was asked, what would be written, and what was observed
// to decide that. It holds no value.
type Document struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	From       PlaceOf    `json:"from"`
	To         PlaceOf    `json:"to"`
	Request    Request    `json:"request"`
	Steps      []StepOf   `json:"steps"`
	Unsettled  []ItemName `json:"unsettled,omitempty"` // what sync could not do anything about
}

// PlaceOf is an endpoint: how it was asked for, and what was found there.
type PlaceOf struct {
	Address  string `json:"address"`
	Identity string `json:"identity"`
}

// Request is what a user asked for, as on the command line.
type Request struct {
	Names        []string `json:"names,omitempty"`
	All          bool     `json:"all,omitempty"`
	Selector     string   `json:"selector,omitempty"`
	Into         string   `json:"into,omitempty"`
	NameTemplate string   `json:"nameTemplate,omitempty"`
	Prune        bool     `json:"prune,omitempty"`
	Adopt        bool     `json:"adopt,omitempty"`
	Force        bool     `json:"force,omitempty"`
	Prove        bool     `json:"prove,omitempty"`
	NoProbe      bool     `json:"noProbe,omitempty"`
}

// StepOf is one object to be written.
type StepOf struct {
	Action   Action   `json:"action"`
	Mirror   string   `json:"mirror"`
	State    State    `json:"state"`
	Origins  []Seen   `json:"origins,omitempty"`
	Existing []Seen   `json:"existing,omitempty"`
	Keys     []string `json:"keys,omitempty"`
}

// Seen is one object as it was observed: the Swarm ID and Version.Index, or the Kubernetes UID and
// resourceVersion.
type Seen struct {
	Name    string `json:"name"`
	Key     string `json:"key,omitempty"`
	UID     string `json:"uid"`
	Version string `json:"version"`
}

// ItemName is a mirror that nothing would be done about, and its state.
type ItemName struct {
	Mirror string `json:"mirror"`
	State  State  `json:"state"`
}

// Document gives the plan in the form that is saved.
func (p Plan) Document(from, to endpoint.Address, request Request) Document {
	d := Document{
		APIVersion: DocumentVersion, Kind: DocumentKind, Request: request,
		From: PlaceOf{from.String(), p.From.Identity}, To: PlaceOf{to.String(), p.To.Identity},
		Steps: []StepOf{},
	}
	for _, item := range p.Items {
		switch {
		case item.Action != Nothing:
			d.Steps = append(d.Steps, item.step())
		case item.State != InSync:
			d.Unsettled = append(d.Unsettled, ItemName{item.Name, item.State})
		}
	}
	return d
}

func (item Item) step() StepOf {
	s := StepOf{Action: item.Action, Mirror: item.Name, State: item.State}
	for _, source := range item.Sources {
		if source.Ref != (secret.Ref{}) {
			s.Origins = append(s.Origins, Seen{Name: source.Ref.Name, Key: source.SecretKey, UID: source.Ref.UID, Version: source.Version})
		}
	}
	if item.Desired != nil {
		for _, k := range item.Desired.Keys {
			s.Keys = append(s.Keys, k.Name)
		}
	}
	if item.Existing != nil {
		s.Existing = append(s.Existing, Seen{Name: item.Existing.Name, UID: item.Existing.UID, Version: item.Existing.Version})
	}
	for _, r := range item.Retired {
		s.Existing = append(s.Existing, Seen{Name: r.Name, UID: r.UID, Version: r.Version})
	}
	return s
}

// Errors of a saved plan.
var (
	ErrDamaged = errors.New("the plan is damaged")
	ErrStale   = errors.New("the plan is stale")
)

// Write saves the document.
func (d Document) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

// ReadDocument reads what Write wrote; anything else is ErrDamaged.
func ReadDocument(r io.Reader) (Document, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return Document{}, err
	}
	var d Document
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Document{}, fmt.Errorf("%w: something follows it", ErrDamaged)
	}
	if d.APIVersion != DocumentVersion || d.Kind != DocumentKind {
		return Document{}, fmt.Errorf("%w: it is a %q of %q, not a %q of %q", ErrDamaged, d.Kind, d.APIVersion, DocumentKind, DocumentVersion)
	}
	if d.From.Identity == "" || d.To.Identity == "" {
		return Document{}, fmt.Errorf("%w: it names no endpoints", ErrDamaged)
	}
	return d, nil
}

// Restrict leaves of a plan made now only the steps that were saved. It is ErrStale as soon as one
// of them would not be taken any more, or be another one: then the world has moved on since.
func (p Plan) Restrict(d Document) (Plan, error) {
	if p.From.Identity != d.From.Identity || p.To.Identity != d.To.Identity {
		return Plan{}, fmt.Errorf("%w: it was made for other endpoints than %s and %s", ErrStale, p.From.Name, p.To.Name)
	}
	now := make(map[string]Item, len(p.Items))
	for _, item := range p.Items {
		now[item.Name] = item
	}
	restricted := Plan{From: p.From, To: p.To}
	for _, saved := range d.Steps {
		item, there := now[saved.Mirror]
		if !there || !reflect.DeepEqual(item.step(), saved) {
			return Plan{}, fmt.Errorf("%w: %q has changed since it was made; make a new one with diff --save-plan", ErrStale, saved.Mirror)
		}
		restricted.Items = append(restricted.Items, item)
	}
	return restricted, nil
}
