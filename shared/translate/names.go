package translate

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/secret"
)

// naming says what secrets are called at the other side: what sync would call them.
type naming struct {
	from    secret.Kind
	targets map[Ref]Ref
	// selected is the name by which sync is told of a secret.
	selected   map[Ref]string
	unmappable map[Ref]string
}

// newNaming maps the secrets that are referred to. What is known of them matters: that one is a version of
// another, or came from the other side.
func newNaming(source *Source, refs []Ref, options Options) (*naming, error) {
	n := &naming{from: source.Kind, targets: map[Ref]Ref{}, selected: map[Ref]string{}, unmappable: map[Ref]string{}}
	if len(refs) == 0 {
		return n, nil
	}
	objects := slices.Clone(source.Secrets)
	at := make(map[string]int, len(objects))
	for i, s := range objects {
		at[s.Name] = i
	}
	more := map[int][]secret.Key{} // that aren't known yet
	for _, ref := range refs {
		i, known := at[ref.Secret]
		if !known {
			i = len(objects)
			at[ref.Secret] = i
			s := secret.Secret{Name: ref.Secret}
			if source.Kind == secret.Swarm {
				s.Keys = []secret.Key{{Name: ref.Secret}}
			} else {
				s.Type = secret.Opaque
			}
			objects = append(objects, s)
		}
		if source.Kind == secret.Kubernetes {
			more[i] = append(more[i], secret.Key{Name: ref.Key})
		}
	}
	for i, keys := range more {
		all := slices.Clone(objects[i].Keys)
		have := map[string]bool{}
		for _, k := range all {
			have[k.Name] = true
		}
		for _, k := range keys {
			if !have[k.Name] {
				all = append(all, k)
			}
		}
		secret.SortKeys(all)
		objects[i].Keys = all
	}
	// A mirror's name is that of all its versions.
	logical := func(ref Ref) Ref {
		if source.Kind == secret.Swarm {
			return Ref{Secret: objects[at[ref.Secret]].LogicalName()}
		}
		return ref
	}
	wanted := map[string]bool{}
	for _, ref := range refs {
		wanted[logical(ref).Secret] = true
	}
	origins := slices.DeleteFunc(mapping.Origins(source.Kind, objects), func(o mapping.Origin) bool {
		return !slices.ContainsFunc(o.Keys, func(k mapping.OriginKey) bool { return wanted[k.Secret] })
	})
	home := map[Ref]bool{} // at home at the other side
	for _, o := range origins {
		for _, k := range o.Keys {
			ref := Ref{Secret: k.Secret}
			if source.Kind == secret.Kubernetes {
				ref.Key = k.SecretKey
			}
			home[ref] = options.Far != "" && o.MirrorOf == options.Far
		}
	}
	targets, err := mapping.Targets(other(source.Kind), origins, options.Rules)
	if err != nil {
		return nil, err
	}
	current := map[string]string{}
	for _, s := range mapping.Newest(options.Mirrors) {
		current[s.LogicalName()] = s.Name
	}
	found := map[Ref]Ref{}
	why := map[Ref]string{}
	for _, t := range targets {
		for _, k := range t.Keys {
			from := Ref{Secret: k.Origin.Secret}
			to := Ref{Secret: or(current[t.Name], t.Name)}
			if source.Kind == secret.Kubernetes {
				from.Key = k.Origin.SecretKey
			} else {
				to.Key = k.Name
			}
			found[from], why[from] = to, t.Unmappable
		}
	}
	for _, ref := range refs {
		l := logical(ref)
		to, ok := found[l]
		if !ok {
			return nil, fmt.Errorf("the secret %s has no name at the other side", ref)
		}
		n.targets[ref], n.unmappable[ref] = to, why[l]
		if !home[l] {
			n.selected[ref] = l.Secret
		}
	}
	return n, nil
}

func other(kind secret.Kind) secret.Kind {
	if kind == secret.Swarm {
		return secret.Kubernetes
	}
	return secret.Swarm
}

// usable takes what can't exist at the other side out of a workload, with a note.
func (n *naming) usable(w *Workload) {
	fits := func(ref Ref, what string) bool {
		if why := n.unmappable[ref]; why != "" {
			w.note(what+" was left out", fmt.Sprintf("the secret %s can't be at the other side: %s", ref, why))
			return false
		}
		return true
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		c.Files = slices.DeleteFunc(slices.Clone(c.Files), func(f File) bool { return !fits(f.Ref, f.Path) })
		c.Env = slices.DeleteFunc(slices.Clone(c.Env), func(v Var) bool { return v.From != nil && !fits(*v.From, "$"+v.Name) })
	}
}

// references are all secrets that workloads refer to, each once, in the order in which they come.
func references(workloads []Workload) []Ref {
	var refs []Ref
	seen := map[Ref]bool{}
	add := func(ref Ref) {
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	for _, w := range workloads {
		for _, c := range w.Containers {
			for _, f := range c.Files {
				add(f.Ref)
			}
			for _, v := range c.Env {
				if v.From != nil {
					add(*v.From)
				}
			}
		}
	}
	return refs
}

// noImage stands where nobody has said which image it is. No engine takes it, so that none runs something else that
// happens to be called so.
const noImage = "IMAGE"

// imageName is what engines take: a registry with a dot, a port or capitals, a path, a tag and a digest.
var imageName = regexp.MustCompile(`^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?` +
	`[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@[a-zA-Z][\w.+-]*:[0-9a-fA-F]{32,})?$`)

// image notes one that nobody can run.
func (w *Workload) image(c *Container, from secret.Kind) {
	switch {
	case c.Image != "" && !imageName.MatchString(c.Image):
		w.note("the image "+c.Image+" has to be filled in", "no engine takes that as the name of one")
	case c.Image == "" && from == secret.Kubernetes:
		c.Image = noImage
		w.note("the image has to be filled in", "the manifest names none: where it is a patch, --update has what it adds to a service, and kubectl kustomize prints the whole")
	case c.Image == "":
		c.Image = noImage
		w.note("the image has to be filled in", "nothing names one; where the file adds to another one, "+oneOfAll)
	}
}
