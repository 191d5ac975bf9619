package consumers

import (
	"cmp"
	"slices"
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// ByName gathers the uses of each secret, by its name as it stands at the endpoint. A Swarm secret is
// found by its ID: what has another one by now is somebody else's.
func (g Graph) ByName(kind secret.Kind, secrets []secret.Secret) map[string][]Reference {
	names, taken := make(map[string]string, len(secrets)), make(map[string]bool, len(secrets))
	if kind == secret.Swarm {
		for _, s := range secrets {
			names[s.UID], taken[s.Name] = s.Name, true
		}
	}
	all := map[string][]Reference{}
	for _, c := range g.Consumers {
		for _, u := range c.Uses {
			name := u.Secret
			if kind == secret.Swarm {
				now, there := names[u.UID]
				switch {
				case there:
					name = now
				case taken[name]: // by another one: what is meant was removed
					name += "@" + u.UID
				}
			}
			all[name] = append(all[name], Reference{Consumer: c, Use: u})
		}
	}
	for _, references := range all {
		slices.SortStableFunc(references, func(a, b Reference) int {
			return cmp.Or(cmp.Compare(a.Consumer.Kind, b.Consumer.Kind), cmp.Compare(a.Consumer.Name, b.Consumer.Name))
		})
	}
	return all
}

// Reference is one use by one consumer.
type Reference struct {
	Consumer Consumer
	Use      Use
}

// ID names a consumer among those of its endpoint: deployment/web.
func (c Consumer) ID() string { return c.Kind + "/" + c.Name }

// Top leaves of references those whose consumer isn't just the doing of another one among them: a
// deployment and not its pods, a service and not its tasks; but a task or pod that holds what its
// owner has dropped meanwhile stays.
func Top(references []Reference) []Reference {
	owners := map[string]bool{}
	for _, r := range references {
		if !r.Use.Previous {
			owners[r.Consumer.ID()] = true
		}
	}
	var top []Reference
	for _, r := range references {
		if r.Consumer.Owner == "" || !owners[r.Consumer.Owner] {
			top = append(top, r)
		}
	}
	return top
}

// Count is how many consumers there are at the top.
func Count(references []Reference) int {
	ids := map[string]bool{}
	for _, r := range Top(references) {
		id := r.Consumer.ID()
		if r.Consumer.Owner != "" {
			id = r.Consumer.Owner
		}
		ids[id] = true
	}
	return len(ids)
}

// Unused gives the names of secrets that nothing refers to, sorted. In a Swarm an older version may be
// unused while a newer one isn't.
func Unused(secrets []secret.Secret, used map[string][]Reference) []string {
	var names []string
	for _, s := range secrets {
		if s.Internal == "" && len(used[s.Name]) == 0 {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Matches tells whether a secret is meant by a name: its own, or the one that all its versions share.
func Matches(s secret.Secret, name string) bool {
	return s.Name == name || s.LogicalName() == name
}

// Summary says in a few words how a consumer uses a secret: "file /run/secrets/x in container web".
func (u Use) Summary() string {
	parts := []string{string(u.How)}
	if u.Target != "" {
		parts = append(parts, u.Target)
	}
	if u.Where != "" {
		parts = append(parts, "in", u.Where)
	}
	text := strings.Join(parts, " ")
	if u.Previous {
		text += ", for a rollback"
	}
	if u.Optional {
		text += ", optional"
	}
	return text
}
