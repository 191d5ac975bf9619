package mapping

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/secretx/secretx/shared/secret"
)

// Origin is a secret in the form in which it travels, which is that of a Kubernetes Secret: a name,
// a type, and keys. In a Swarm it may be spread over several objects.
type Origin struct {
	Name      string
	Type      string // empty for what was never in Kubernetes
	Immutable bool
	Keys      []OriginKey // sorted by Key
	Labels    []map[string]string
	Internal  string // as in secret.Secret
	// MirrorOf is the identity of the endpoint that it is itself a mirror of, empty when it is not.
	MirrorOf string
}

// OriginKey is one value of an origin and where it is to be read.
type OriginKey struct {
	Key string // in the travelling form
	// Secret and SecretKey are the names that the origin's endpoint has for it, without a version.
	Secret, SecretKey string
	SwarmName         string // what it is called in a Swarm, where that is not derived from the names
	Ref               secret.Ref
	Version           string
	Value             secret.Value
	Unreadable        string
}

// Origins gathers the objects of an endpoint into what can travel: each Kubernetes Secret by itself;
// in a Swarm the newest version of each secret, those together that were one Kubernetes Secret.
// The result is sorted by name.
func Origins(kind secret.Kind, objects []secret.Secret) []Origin {
	var origins []Origin
	if kind == secret.Kubernetes {
		origins = make([]Origin, 0, len(objects))
		for _, s := range objects {
			origins = append(origins, fromKubernetes(s))
		}
	} else {
		origins = fromSwarm(Newest(objects))
	}
	slices.SortFunc(origins, func(a, b Origin) int { return cmp.Compare(a.Name, b.Name) })
	return origins
}

func fromKubernetes(s secret.Secret) Origin {
	o := Origin{
		Name: s.Name, Type: s.Type, Immutable: s.Immutable,
		Labels: []map[string]string{s.Labels}, Internal: s.Internal,
		Keys: make([]OriginKey, 0, len(s.Keys)), MirrorOf: mirrorOf(s),
	}
	for _, k := range s.Keys {
		part, _ := s.Mark.Part(k.Name)
		o.Keys = append(o.Keys, OriginKey{
			Key: k.Name, Secret: s.Name, SecretKey: k.Name, SwarmName: part.SwarmName,
			Ref: s.Ref(k.Name), Version: s.Version, Value: k.Value, Unreadable: s.Unreadable,
		})
	}
	return o
}

func fromSwarm(newest []secret.Secret) []Origin {
	type group struct{ origin, name string }
	var origins []Origin
	at := map[group]int{}
	for _, s := range newest {
		key := OriginKey{
			Key: s.LogicalName(), Secret: s.LogicalName(), SecretKey: s.LogicalName(), SwarmName: s.LogicalName(),
			Ref: s.Ref(s.Name), Version: s.Version, Unreadable: s.Unreadable,
		}
		if len(s.Keys) == 1 {
			key.Value = s.Keys[0].Value
		}
		form := formOf(s)
		if form == nil {
			origins = append(origins, Origin{Name: key.Key, Keys: []OriginKey{key}, Labels: []map[string]string{s.Labels}, Internal: s.Internal, MirrorOf: mirrorOf(s)})
			continue
		}
		// It was a key of a Kubernetes Secret: the Swarm name is the one it would get again.
		key.Key, key.SwarmName = form.Key, ""
		g := group{s.Mark.Origin, form.Secret}
		i, known := at[g]
		if !known {
			i = len(origins)
			at[g] = i
			origins = append(origins, Origin{Name: form.Secret, Type: form.Type, Immutable: form.Immutable, MirrorOf: mirrorOf(s)})
		}
		o := &origins[i]
		o.Keys = append(o.Keys, key)
		o.Labels = append(o.Labels, s.Labels)
	}
	for _, o := range origins {
		slices.SortFunc(o.Keys, func(a, b OriginKey) int { return cmp.Compare(a.Key, b.Key) })
	}
	return origins
}

func mirrorOf(s secret.Secret) string {
	if s.Mark == nil {
		return ""
	}
	return s.Mark.Origin
}

func formOf(s secret.Secret) *secret.Form {
	if s.Mark == nil || len(s.Mark.Parts) != 1 {
		return nil
	}
	return s.Mark.Parts[0].Form
}

// Newest leaves only the highest version of each Swarm secret; one that a rollout has not brought to its
// end counts only where there is no other.
func Newest(objects []secret.Secret) []secret.Secret {
	newest := make(map[string]int, len(objects))
	for i, s := range objects {
		name := s.LogicalName()
		if j, seen := newest[name]; !seen || older(objects[j].Lineage, s.Lineage) {
			newest[name] = i
		}
	}
	left := make([]secret.Secret, 0, len(newest))
	for i, s := range objects {
		if newest[s.LogicalName()] == i {
			left = append(left, s)
		}
	}
	return left
}

func older(a, b secret.Lineage) bool {
	if (a.Rollout == "") != (b.Rollout == "") {
		return a.Rollout != ""
	}
	return a.Sequence < b.Sequence
}

// Rules are what a user says about names.
type Rules struct {
	Into         string             // one mirror for all, empty for one each
	NameTemplate *template.Template // of NameFields; nil for the default names
	Namespace    string             // of the origins, for the template
}

// NameFields is what a name template can use. For a Kubernetes mirror Key is empty, since the
// template names the Secret and not its keys.
type NameFields struct {
	Name      string // the origin's
	Key       string // the key's, where the mirror is one key
	Namespace string // the origin's, empty for a Swarm
	Default   string // the name without a template
}

// ParseNameTemplate reads a Go template of NameFields, with the functions lower, upper, replace OLD
// NEW, trimPrefix P and trimSuffix S.
func ParseNameTemplate(text string) (*template.Template, error) {
	t, err := template.New("name").Funcs(template.FuncMap{
		"lower":      strings.ToLower,
		"upper":      strings.ToUpper,
		"replace":    func(from, to, s string) string { return strings.ReplaceAll(s, from, to) },
		"trimPrefix": func(p, s string) string { return strings.TrimPrefix(s, p) },
		"trimSuffix": func(p, s string) string { return strings.TrimSuffix(s, p) },
	}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("bad name template: %w", err)
	}
	// A field that doesn't exist shows only when the template runs.
	if err := t.Execute(&bytes.Buffer{}, NameFields{Name: "n", Key: "k", Namespace: "ns", Default: "d"}); err != nil {
		return nil, fmt.Errorf("bad name template: %w", err)
	}
	return t, nil
}

// Target is a mirror as it ought to be: in a Swarm one value, in Kubernetes a Secret.
type Target struct {
	Name      string // in a Swarm the logical one
	Type      string
	Immutable bool
	Keys      []TargetKey // sorted by Name
	// Origins are the names of the secrets that it comes from.
	Origins []string
	// Unmappable says why it can't exist at the other side; empty when it can.
	Unmappable string
}

// TargetKey is one key of a mirror, what it is a copy of, and what it keeps for the way back.
type TargetKey struct {
	Name      string
	Origin    OriginKey
	Form      *secret.Form
	SwarmName string
}

// ErrCollision is two origins that would meet in one mirror.
var ErrCollision = errors.New("two secrets would meet in one mirror")

// Targets maps origins to what they become at an endpoint of the given kind.
func Targets(kind secret.Kind, origins []Origin, rules Rules) ([]Target, error) {
	var targets []Target
	var err error
	if kind == secret.Swarm {
		targets, err = toSwarm(origins, rules)
	} else {
		targets, err = toKubernetes(origins, rules)
	}
	if err != nil {
		return nil, err
	}
	names := make(map[string]int, len(targets))
	for i := range targets {
		t := &targets[i]
		if t.Name == "" {
			continue
		}
		if !ValidName(kind, t.Name) && t.Unmappable == "" {
			t.Unmappable = fmt.Sprintf("%q is not a valid name for a secret in %s", t.Name, kind)
		}
		folded := strings.ToLower(t.Name)
		if j, taken := names[folded]; taken {
			return nil, fmt.Errorf("%w: %s and %s would both become %q; give them other names with --name-template",
				ErrCollision, describe(targets[j]), describe(*t), t.Name)
		}
		names[folded] = i
	}
	return targets, nil
}

func describe(t Target) string {
	name := strings.Join(t.Origins, ", ")
	if len(t.Keys) == 1 && t.Keys[0].Origin.Key != name {
		name += "/" + t.Keys[0].Origin.Key
	}
	text := fmt.Sprintf("%q", name)
	// Copies of two namespaces may have the same name in that form, but not as objects of a Swarm.
	if len(t.Keys) > 0 && len(t.Origins) == 1 && t.Keys[0].Origin.Ref.Name != t.Origins[0] {
		text += fmt.Sprintf(" (%s)", t.Keys[0].Origin.Ref.Name)
	}
	return text
}

func (r Rules) name(fields NameFields) (string, error) {
	if r.NameTemplate == nil {
		return fields.Default, nil
	}
	var b strings.Builder
	if err := r.NameTemplate.Execute(&b, fields); err != nil {
		return "", fmt.Errorf("bad name template: %w", err)
	}
	return b.String(), nil
}

func toSwarm(origins []Origin, rules Rules) ([]Target, error) {
	targets := make([]Target, 0, len(origins))
	for _, o := range origins {
		if len(o.Keys) == 0 {
			targets = append(targets, Target{Origins: []string{o.Name}, Unmappable: "it has no keys, and a Swarm secret is one value"})
			continue
		}
		keys := make([]string, len(o.Keys))
		for i, k := range o.Keys {
			keys[i] = k.Key
		}
		base := o.Name
		if rules.Into != "" {
			base = rules.Into
		}
		defaults := SwarmNames(base, keys)
		for _, k := range o.Keys {
			t := Target{Origins: []string{o.Name}, Unmappable: k.Unreadable}
			fields := NameFields{Name: o.Name, Key: k.Key, Namespace: rules.Namespace, Default: defaults[k.Key]}
			key := TargetKey{Origin: k}
			if k.SwarmName != "" {
				if rules.Into == "" {
					fields.Default = k.SwarmName
				}
			} else {
				key.Form = &secret.Form{Secret: o.Name, Key: k.Key, Type: o.Type, Immutable: o.Immutable}
			}
			var err error
			if t.Name, err = rules.name(fields); err != nil {
				return nil, err
			}
			if k.Value.Known() && t.Unmappable == "" {
				switch n := k.Value.Len(); {
				case n == 0:
					t.Unmappable = "its value is empty, and Swarm takes at least one byte"
				case n > swarmLargest:
					t.Unmappable = fmt.Sprintf("its value is larger than the %d bytes that Swarm takes", swarmLargest)
				}
			}
			key.Name = t.Name
			t.Keys = []TargetKey{key}
			targets = append(targets, t)
		}
	}
	return targets, nil
}

func toKubernetes(origins []Origin, rules Rules) ([]Target, error) {
	targets := make([]Target, 0, len(origins))
	for _, o := range origins {
		name := o.Name
		if o.Type == "" {
			name = KubernetesName(o.Name)
		}
		name, err := rules.name(NameFields{Name: o.Name, Namespace: rules.Namespace, Default: name})
		if err != nil {
			return nil, err
		}
		t := Target{Name: name, Type: o.Type, Immutable: o.Immutable, Origins: []string{o.Name}}
		for _, k := range o.Keys {
			t.Keys = append(t.Keys, TargetKey{Name: k.Key, Origin: k, SwarmName: k.SwarmName})
		}
		targets = append(targets, t)
	}
	if rules.Into != "" && len(targets) > 0 {
		merged, err := merge(rules.Into, targets)
		if err != nil {
			return nil, err
		}
		targets = []Target{merged}
	}
	for i := range targets {
		t := &targets[i]
		if t.Type == "" {
			t.Type = secret.Opaque
		}
		t.Unmappable = notForKubernetes(*t)
	}
	return targets, nil
}

func merge(name string, targets []Target) (Target, error) {
	merged := Target{Name: name, Type: targets[0].Type, Immutable: targets[0].Immutable}
	from := map[string]string{}
	for _, t := range targets {
		if t.Type != merged.Type {
			merged.Type = secret.Opaque // several in one are none of the special types any more
		}
		merged.Immutable = merged.Immutable && t.Immutable
		merged.Origins = append(merged.Origins, t.Origins...)
		for _, k := range t.Keys {
			if other, taken := from[k.Name]; taken {
				return Target{}, fmt.Errorf("%w: %q and %q both have a key %q for %q", ErrCollision, other, t.Origins[0], k.Name, name)
			}
			from[k.Name] = t.Origins[0]
			merged.Keys = append(merged.Keys, k)
		}
	}
	slices.SortFunc(merged.Keys, func(a, b TargetKey) int { return cmp.Compare(a.Name, b.Name) })
	return merged, nil
}

// required are the keys without which the API server refuses a Secret of a built-in type; one of
// each inner list must be there.
var required = map[string][][]string{
	"kubernetes.io/dockercfg":        {{".dockercfg"}},
	"kubernetes.io/dockerconfigjson": {{".dockerconfigjson"}},
	"kubernetes.io/basic-auth":       {{"username", "password"}},
	"kubernetes.io/ssh-auth":         {{"ssh-privatekey"}},
	"kubernetes.io/tls":              {{"tls.crt"}, {"tls.key"}},
}

func notForKubernetes(t Target) string {
	if t.Type == secret.ServiceAccountToken {
		return "a service account's token is made by its own cluster for one account"
	}
	size := 0
	for _, k := range t.Keys {
		if k.Origin.Unreadable != "" {
			return k.Origin.Unreadable
		}
		if !kubernetesKey.MatchString(k.Name) || len(k.Name) > kubernetesNameLength {
			return fmt.Sprintf("%q is not a valid key in Kubernetes", k.Name)
		}
		size += k.Origin.Value.Len()
	}
	if size > kubernetesLargest {
		return fmt.Sprintf("its values are together larger than the %d bytes that Kubernetes takes", kubernetesLargest)
	}
	for _, oneOf := range required[t.Type] {
		if !slices.ContainsFunc(oneOf, func(k string) bool {
			return slices.ContainsFunc(t.Keys, func(have TargetKey) bool { return have.Name == k })
		}) {
			return fmt.Sprintf("the type %s needs the key %s", t.Type, strings.Join(oneOf, " or "))
		}
	}
	return ""
}

// TooLarge checks what the plan could not know, once the values have been read: the reason why they
// don't fit, or nothing.
func TooLarge(kind secret.Kind, values []secret.Value) string {
	size := 0
	for _, v := range values {
		size += v.Len()
	}
	if kind == secret.Kubernetes && size > kubernetesLargest {
		return fmt.Sprintf("its values are together larger than the %d bytes that Kubernetes takes", kubernetesLargest)
	}
	return ""
}
