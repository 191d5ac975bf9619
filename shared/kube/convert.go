package kube

import (
	"encoding/json"
	"fmt"
	"strings"

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
	}
	for name, value := range object.Data {
		s.Keys = append(s.Keys, secret.Key{Name: name, Value: secret.NewValue(value)})
	}
	secret.SortKeys(s.Keys)
	var err error
	if s.Mark, err = secret.MarkOfAnnotations(object.Name, object.Annotations); err != nil {
		s.Damaged = err.Error()
	}
	return s
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
		c.Metadata.Annotations = s.Mark.Annotations()
	}
	for _, k := range s.Keys {
		if !k.Value.Known() {
			return nil, fmt.Errorf("the value of key %q is not known", k.Name)
		}
		c.Data[k.Name] = append([]byte{}, k.Value.Reveal()...) // never nil, which would be null
	}
	return json.Marshal(c)
}
