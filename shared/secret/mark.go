package secret

import (
	"encoding/json"
	"fmt"
	"strings"
	"unique"
)

// Prefixes of the metadata that secretx writes: labels in Swarm, annotations and one label in
// Kubernetes.
const (
	LabelPrefix      = "io.github.secretx."
	AnnotationPrefix = "secretx.github.io/"
)

// Mark is what secretx writes on a mirror and believes of it later: a claim, cheap to read and
// possibly wrong. It never holds a value, nor an unkeyed digest of one.
type Mark struct {
	// Origin is the identity of the endpoint that the origin stands at.
	Origin string
	// Place is how that endpoint was called when the mirror was made; for people only.
	Place string
	// Parts has one entry for each key of the mirror, sorted by Key; exactly one in Swarm.
	Parts []Part
}

// Part is the claim about one key of a mirror.
type Part struct {
	Key string `json:"key"` // in the mirror
	// Secret and OriginKey name the origin; UID and Version are those of the origin when its value
	// was copied. UID is empty for content that secretx took over without knowing it.
	Secret      string `json:"secret"`
	OriginKey   string `json:"originKey"`
	UID         string `json:"uid,omitempty"`
	Version     string `json:"version,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	// Form is what the value is, or was, in Kubernetes; kept in a Swarm for the way back.
	Form *Form `json:"form,omitempty"`
	// SwarmName is the name that the value has, or had, in a Swarm; kept in Kubernetes for the way back.
	SwarmName string `json:"swarmName,omitempty"`
}

// Form is what a Swarm secret has to remember of the Kubernetes Secret that it is a key of.
type Form struct {
	Secret    string `json:"secret"`
	Key       string `json:"key"`
	Type      string `json:"type"`
	Immutable bool   `json:"immutable,omitempty"`
}

// Part finds the claim about a key of the mirror.
func (m *Mark) Part(key string) (Part, bool) {
	if m != nil {
		for _, p := range m.Parts {
			if p.Key == key {
				return p, true
			}
		}
	}
	return Part{}, false
}

// The fields of a mark, behind LabelPrefix or AnnotationPrefix.
const (
	fieldMirror      = "mirror"
	fieldOrigin      = "origin"
	fieldPlace       = "place"
	fieldParts       = "parts"
	fieldSecret      = "secret"
	fieldKey         = "key"
	fieldUID         = "uid"
	fieldVersion     = "version"
	fieldFingerprint = "fingerprint"
	fieldForm        = "form"
)

// MirrorLabel is the label that every mirror has, with the value "true": the prefix of the
// orchestrator and then this.
const MirrorLabel = fieldMirror

// labels writes the mark as Swarm labels. They are flat, so that `docker secret ls --filter
// label=io.github.secretx.secret=NAME` finds all that came from one origin.
func (m *Mark) labels(set func(field, value string)) {
	set(fieldMirror, "true")
	set(fieldOrigin, m.Origin)
	set(fieldPlace, m.Place)
	for _, p := range m.Parts {
		set(fieldSecret, p.Secret)
		set(fieldKey, p.OriginKey)
		set(fieldUID, p.UID)
		set(fieldVersion, p.Version)
		set(fieldFingerprint, p.Fingerprint)
		if p.Form != nil {
			form, _ := json.Marshal(p.Form) // strings and a bool: can't fail
			set(fieldForm, string(form))
		}
	}
}

// markOfLabels reads the mark of the Swarm secret called object, nil when it has none. A mark that
// somebody damaged is an error, so that its bearer is never taken for a stranger's nor for ours.
func markOfLabels(object string, lineage Lineage, get func(field string) string) (*Mark, error) {
	if get(fieldMirror) == "" {
		return nil, nil
	}
	if !lineage.Known() || get(fieldMirror) != "true" || get(fieldOrigin) == "" || get(fieldSecret) == "" {
		return nil, fmt.Errorf("the %s* labels of secret %q are damaged", LabelPrefix, object)
	}
	part := Part{
		Key: object, Secret: get(fieldSecret), OriginKey: get(fieldKey),
		UID: get(fieldUID), Version: get(fieldVersion), Fingerprint: get(fieldFingerprint),
	}
	if form := get(fieldForm); form != "" {
		part.Form = new(Form)
		if err := json.Unmarshal([]byte(form), part.Form); err != nil {
			return nil, fmt.Errorf("the label %s%s of secret %q is damaged", LabelPrefix, fieldForm, object)
		}
		// Of ten thousand mirrors most say the same here, and each has its own copy of it.
		if part.Form.Secret == part.Secret {
			part.Form.Secret = part.Secret
		}
		part.Form.Key, part.Form.Type = shared(part.Form.Key), shared(part.Form.Type)
	}
	part.OriginKey = shared(part.OriginKey)
	return &Mark{Origin: shared(get(fieldOrigin)), Place: shared(get(fieldPlace)), Parts: []Part{part}}, nil
}

// shared gives the one copy in memory of a text that many mirrors have in common.
func shared(text string) string { return unique.Make(text).Value() }

// annotations writes the mark as Kubernetes annotations.
func (m *Mark) annotations(set func(field, value string)) {
	parts, _ := json.Marshal(m.Parts) // strings and bools: can't fail
	set(fieldOrigin, m.Origin)
	set(fieldPlace, m.Place)
	set(fieldParts, string(parts))
}

// markOfAnnotations reads the mark of the Kubernetes Secret called object, nil when it has none.
func markOfAnnotations(object string, get func(field string) string) (*Mark, error) {
	origin, parts := get(fieldOrigin), get(fieldParts)
	if origin == "" && parts == "" {
		return nil, nil
	}
	m := &Mark{Origin: origin, Place: get(fieldPlace)}
	if err := json.Unmarshal([]byte(parts), &m.Parts); err != nil || origin == "" {
		return nil, fmt.Errorf("the %s* annotations of Secret %q are damaged", AnnotationPrefix, object)
	}
	return m, nil
}

// UserLabels leaves out what secretx wrote; nil when nothing is left, as for most secrets.
func UserLabels(labels map[string]string) map[string]string {
	var user map[string]string
	for k, v := range labels {
		if strings.HasPrefix(k, LabelPrefix) || strings.HasPrefix(k, AnnotationPrefix) {
			continue
		}
		if user == nil {
			user = make(map[string]string, len(labels))
		}
		user[k] = v
	}
	return user
}
