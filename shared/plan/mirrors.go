package plan

import (
	"cmp"
	"slices"

	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/secret"
)

// Mirrors judges what stands at the far side by its marks, whatever rules it was named by, and has
// nothing done about it: its items are the newest versions of all mirrors of the near side. Of the
// options, Key, Prove and Proofs matter.
func Mirrors(from, to Side, options Options) Plan {
	origins := mapping.Origins(from.Place.Kind, from.Secrets)
	c := comparison{from: from, to: to, options: options, found: index(to), origins: known(origins)}
	keys := map[[2]string]mapping.OriginKey{}
	bySecret := map[string][]mapping.OriginKey{}
	byName := map[string]mapping.Origin{}
	for _, o := range origins {
		byName[o.Name] = o
		for _, k := range o.Keys {
			keys[[2]string{k.Secret, k.SecretKey}] = k
			bySecret[k.Secret] = append(bySecret[k.Secret], k)
		}
	}
	p := Plan{From: from.Place, To: to.Place}
	for _, at := range c.found.byName {
		s := at.newest
		if s.Mark == nil || s.Mark.Origin != from.Place.Identity {
			continue
		}
		item := c.mirror(s, keys)
		if to.Place.Kind == secret.Kubernetes {
			lacking(&item, bySecret)
			// What gathers several secrets, or one under another name, has a type of its own.
			o, same := byName[s.Name]
			if same && from.Place.Kind == secret.Kubernetes && slices.Equal(item.Origins, []string{s.Name}) && (o.Type != s.Type || o.Immutable != s.Immutable) {
				item.State, item.Reason = Worse(item.State, Drifted), "its type or its immutable flag is not the origin's"
			}
		}
		p.Items = append(p.Items, item)
	}
	slices.SortFunc(p.Items, func(a, b Item) int {
		return cmp.Or(slices.Compare(a.Origins, b.Origins), cmp.Compare(a.Name, b.Name))
	})
	return p
}

// mirror judges each part of a mark.
func (c *comparison) mirror(s *secret.Secret, keys map[[2]string]mapping.OriginKey) Item {
	item := Item{Name: s.Name, Existing: s, Owned: true, State: InSync}
	gone := 0
	for _, part := range s.Mark.Parts {
		if !slices.Contains(item.Origins, part.Secret) {
			item.Origins = append(item.Origins, part.Secret)
		}
		k, there := keys[[2]string{part.Secret, part.OriginKey}]
		if !there {
			gone++
			item.Keys = append(item.Keys, KeyState{part.OriginKey, Orphan})
			continue
		}
		v := c.judge(s, mapping.TargetKey{Name: part.Key, Origin: k})
		if v.question != nil {
			item.Questions = append(item.Questions, *v.question)
		}
		item.Keys = append(item.Keys, KeyState{k.Key, v.state})
		item.State = Worse(item.State, v.state)
	}
	switch {
	case gone > 0 && gone == len(s.Mark.Parts):
		item.State, item.Reason = Orphan, "its origin is gone"
	case gone > 0:
		item.State, item.Reason = Worse(item.State, Changed), "the origin of a key is gone"
	case item.State == Unknown:
		item.Reason = c.unknownReason()
	}
	for _, have := range s.Keys {
		if _, marked := s.Mark.Part(have.Name); !marked && c.to.Place.Kind == secret.Kubernetes {
			item.Keys = append(item.Keys, KeyState{have.Name, Drifted})
			item.State = Worse(item.State, Drifted)
		}
	}
	return item
}

// lacking finds the keys that an origin has got since it was mirrored.
func lacking(item *Item, origins map[string][]mapping.OriginKey) {
	for _, name := range item.Origins {
		for _, k := range origins[name] {
			marked := slices.ContainsFunc(item.Existing.Mark.Parts, func(p secret.Part) bool { return p.Secret == name && p.OriginKey == k.SecretKey })
			if !marked {
				item.Keys = append(item.Keys, KeyState{k.Key, Missing})
				item.State = Worse(item.State, Changed)
			}
		}
	}
}
