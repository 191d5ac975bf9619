package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/secret"
)

// mirrorLabel is on every mirror, so that `kubectl get secrets -l` finds them.
const mirrorLabel = secret.AnnotationPrefix + secret.MirrorLabel

// fromAPI takes over a Secret as the API gave it, with its values.
func fromAPI(object *corev1.Secret) secret.Secret {
	s := secret.Secret{
		Name:      object.Name,
		UID:       string(object.UID),
		Version:   object.ResourceVersion,
		Type:      string(object.Type),
		Immutable: object.Immutable != nil && *object.Immutable,
		Labels:    secret.UserLabels(object.Labels),
		Keys:      make([]secret.Key, 0, len(object.Data)),
		Internal:  internal(object),
		Created:   object.CreationTimestamp.Time,
		Changed:   changed(object),
	}
	for name, value := range object.Data {
		s.Keys = append(s.Keys, secret.Key{Name: name, Value: secret.NewValue(value)})
	}
	secret.SortKeys(s.Keys)
	s.ReadAnnotations(object.Annotations)
	return s
}

// changed is when the data of a Secret last changed, as far as its managed fields tell: they keep
// no time of a key that was taken from somebody else's.
func changed(object *corev1.Secret) time.Time {
	last := object.CreationTimestamp.Time
	for _, entry := range object.ManagedFields {
		if entry.Time == nil || entry.FieldsV1 == nil || !entry.Time.After(last) {
			continue
		}
		// An API server sorts the fields, and none stands before these but for what isn't data.
		fields := entry.FieldsV1.GetRawBytes()
		if bytes.HasPrefix(fields, []byte(`{"f:data":`)) || bytes.Contains(fields, []byte(`"f:stringData":`)) {
			last = entry.Time.Time
		}
	}
	return last
}

// internal says why a Secret is mirrored only when it is asked for by name.
func internal(object *corev1.Secret) string {
	kind := string(object.Type)
	switch {
	case kind == secret.ServiceAccountToken:
		return "the token of a ServiceAccount"
	case kind == string(corev1.SecretTypeBootstrapToken):
		return "a bootstrap token"
	case strings.HasPrefix(kind, "helm.sh/release"), object.Labels["owner"] == "helm" && object.Labels["version"] != "", object.Labels["OWNER"] == "TILLER":
		return "a Helm release"
	case strings.HasPrefix(kind, secret.AnnotationPrefix), object.Name == keyName:
		return "secretx's own"
	}
	return ""
}

// configuration is what server-side apply is given: exactly the fields that we have an opinion on.
type configuration struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Type       string            `json:"type,omitempty"`
	Immutable  *bool             `json:"immutable,omitempty"`
	Data       map[string][]byte `json:"data,omitempty"`
}

type metadata struct {
	Name            string            `json:"name"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

// toAPI makes the configuration of a secret as JSON. It is given the object that it shall become,
// or the version that no object has.
func toAPI(s secret.Secret, uid, version string) ([]byte, error) {
	c := configuration{
		APIVersion: "v1",
		Kind:       "Secret",
		Metadata:   metadata{Name: s.Name, UID: uid, ResourceVersion: version, Labels: map[string]string{}},
		Type:       s.Type,
		Data:       make(map[string][]byte, len(s.Keys)),
	}
	if c.Type == "" {
		c.Type = secret.Opaque
	}
	if s.Immutable {
		c.Immutable = &s.Immutable
	}
	for name, value := range s.Labels {
		c.Metadata.Labels[name] = value
	}
	if s.Mark != nil {
		c.Metadata.Labels[mirrorLabel] = "true"
	}
	c.Metadata.Annotations = s.OwnAnnotations()
	for _, k := range s.Keys {
		if !k.Value.Known() {
			return nil, fmt.Errorf("the value of key %q is not known", k.Name)
		}
		c.Data[k.Name] = append([]byte{}, k.Value.Reveal()...) // never nil, which would be null
	}
	return json.Marshal(c)
}
