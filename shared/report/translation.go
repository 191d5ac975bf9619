package report

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/secretx/secretx/shared/translate"
)

// KindTranslation is the kind of a Translation.
const KindTranslation = "Translation"

// Translation is the result of translate.
type Translation struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	From       string `json:"from"` // swarm or kubernetes
	To         string `json:"to"`
	Form       string `json:"form"`
	// Workloads are what became of each.
	Workloads []TranslatedWorkload `json:"workloads"`
	// Compose is the whole Compose file, where that is the form.
	Compose json.RawMessage    `json:"compose,omitempty"`
	Secrets []TranslatedSecret `json:"secrets"`
	Notes   []TranslationNote  `json:"notes"`
	// Sync are the commands that make the secrets, with --with-sync.
	Sync []string `json:"sync,omitempty"`
	// Mirror is the SecretMirror that makes them, with --with-sync=mirror.
	Mirror json.RawMessage `json:"mirror,omitempty"`
}

// TranslatedWorkload is one workload at the other side.
type TranslatedWorkload struct {
	Origin string `json:"origin"` // "service web", "deployment/web"
	Name   string `json:"name,omitempty"`
	// Target is what a patch is for: "deployment/web".
	Target string `json:"target,omitempty"`
	// Objects are Kubernetes objects, or a patch; Operations those of a JSON patch.
	Objects    []json.RawMessage `json:"objects,omitempty"`
	Operations json.RawMessage   `json:"operations,omitempty"`
	// Command is a docker command, word by word.
	Command []string `json:"command,omitempty"`
	Notes   []int    `json:"notes,omitempty"` // their numbers
	Pieces  []Piece  `json:"pieces,omitempty"`
}

// Piece is one thing as both sides say it.
type Piece struct {
	Swarm      string `json:"swarm,omitempty"`
	Kubernetes string `json:"kubernetes,omitempty"`
}

// TranslatedSecret is a secret and what it is called at the other side.
type TranslatedSecret struct {
	Secret    string `json:"secret"`
	Key       string `json:"key,omitempty"`
	Mirror    string `json:"mirror"`
	MirrorKey string `json:"mirrorKey,omitempty"`
}

// TranslationNote is one thing that the other side has no form for.
type TranslationNote struct {
	Number   int    `json:"number"`
	Workload string `json:"workload,omitempty"`
	Text     string `json:"text"`
	Reason   string `json:"reason,omitempty"`
}

// OfTranslation is the document of a translation.
func OfTranslation(r *translate.Result, sync []string, mirror translate.Fields) (Translation, error) {
	d := Translation{
		APIVersion: APIVersion, Kind: KindTranslation, From: string(r.From), To: string(r.To), Form: string(r.Form),
		Workloads: []TranslatedWorkload{}, Secrets: []TranslatedSecret{}, Notes: []TranslationNote{}, Sync: sync,
	}
	for _, t := range r.Workloads {
		w := TranslatedWorkload{Origin: t.Object, Name: t.Name, Target: t.Target, Notes: t.Notes, Command: slices.Concat(t.Command...)}
		for _, doc := range t.Documents {
			text, err := json.Marshal(doc)
			if err != nil {
				return d, err
			}
			w.Objects = append(w.Objects, text)
		}
		if len(t.Operations) > 0 {
			text, err := json.Marshal(t.Operations)
			if err != nil {
				return d, err
			}
			w.Operations = text
		}
		for _, p := range t.Pieces {
			w.Pieces = append(w.Pieces, Piece{strings.Join(p.Swarm, "\n"), strings.Join(p.Kubernetes, "\n")})
		}
		d.Workloads = append(d.Workloads, w)
	}
	if r.Form == translate.Compose {
		text, err := json.Marshal(r.ComposeFile())
		if err != nil {
			return d, err
		}
		d.Compose = text
	}
	if len(mirror) > 0 {
		text, err := json.Marshal(mirror)
		if err != nil {
			return d, err
		}
		d.Mirror = text
	}
	for _, s := range r.Secrets {
		d.Secrets = append(d.Secrets, TranslatedSecret{s.Origin.Secret, s.Origin.Key, s.Mirror.Secret, s.Mirror.Key})
	}
	for _, n := range r.Notes {
		d.Notes = append(d.Notes, TranslationNote{n.Number, n.Workload, n.Text, n.Reason})
	}
	return d, nil
}

// TranslationColumns are those of translate: a secret and its name at the other side.
var TranslationColumns = []Column{
	{Name: "Secret", Always: true}, {Name: "Key"}, {Name: "Mirror", Always: true}, {Name: "MirrorKey"},
}

// Rows gives one for each secret.
func (d Translation) Rows() []Row {
	var rows []Row
	for _, s := range d.Secrets {
		rows = append(rows, Row{s.Secret, s.Key, s.Mirror, s.MirrorKey})
	}
	return rows
}

// Names are those of the secrets that the result needs.
func (d Translation) Names() []string {
	var names []string
	for _, s := range d.Secrets {
		if n := name(d.To, s.Mirror); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Text sums it up: "2 workloads, 3 secrets, 1 note".
func (d Translation) Text() string {
	return sum(len(d.Workloads), "workload", nil) + ", " + sum(len(d.Secrets), "secret", nil) + ", " + sum(len(d.Notes), "note", nil)
}
