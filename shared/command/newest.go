package command

import (
	"context"
	"fmt"
	"slices"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
)

// current finds what the secrets of wants hold now: in Kubernetes what they hold; in a Swarm what
// their newest versions do, or their origins where they are mirrors.
func (b *both) current(ctx context.Context, e endpoint.Reader, place endpoint.Place, wants []peek.Want, nonce []byte) (func(peek.Want) peek.Current, error) {
	if len(wants) == 0 {
		return func(peek.Want) peek.Current { return peek.Current{} }, nil
	}
	if place.Kind == secret.Kubernetes {
		return currentInKubernetes(ctx, e, wants, nonce)
	}
	return b.currentInSwarm(ctx, e, place, wants, nonce)
}

func currentInKubernetes(ctx context.Context, e endpoint.Reader, wants []peek.Want, nonce []byte) (func(peek.Want) peek.Current, error) {
	var names []string
	for _, w := range wants {
		names = append(names, w.Secret)
	}
	slices.Sort(names)
	secrets, err := e.List(ctx, slices.Compact(names))
	if err != nil {
		return nil, err
	}
	byName := make(map[string]secret.Secret, len(secrets))
	for _, s := range secrets {
		byName[s.Name] = s
	}
	return func(w peek.Want) peek.Current {
		s, there := byName[w.Secret]
		if !there {
			return peek.Current{}
		}
		c := peek.Current{UID: s.UID, Name: s.Name, Immutable: s.Immutable, Created: s.Created, Changed: s.Changed}
		if w.How == peek.Pull {
			c.Exists = true
			return c
		}
		if k, there := s.Key(w.Key); there {
			c.Exists, c.Digest = true, k.Value.Digest(nonce)
		}
		return c
	}, nil
}

// currentInSwarm asks for all digests that it needs at once.
func (b *both) currentInSwarm(ctx context.Context, e endpoint.Reader, place endpoint.Place, wants []peek.Want, nonce []byte) (func(peek.Want) peek.Current, error) {
	secrets, err := e.List(ctx, nil)
	if err != nil {
		return nil, err
	}
	byUID := make(map[string]secret.Secret, len(secrets))
	for _, s := range secrets {
		byUID[s.UID] = s
	}
	newest := make(map[string]secret.Secret, len(secrets))
	for _, s := range mapping.Newest(secrets) {
		newest[s.LogicalName()] = s
	}
	origins := b.origins(ctx, place, nonce, wants, byUID)
	var refs []secret.Ref
	for _, w := range wants {
		if s, there := byUID[w.UID]; there {
			n := newest[s.LogicalName()]
			if _, known := origins[w.UID]; !known && n.Unreadable == "" {
				refs = append(refs, n.Ref(n.Name))
			}
		}
	}
	made, failed := mirror.Digests(ctx, e, plan.Side{Place: place}, refs, nonce)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return func(w peek.Want) peek.Current {
		s, there := byUID[w.UID]
		if !there {
			return peek.Current{}
		}
		n := newest[s.LogicalName()]
		c := peek.Current{Exists: true, UID: n.UID, Name: n.Name}
		if origin, known := origins[w.UID]; known {
			c.Digest, c.Origin = origin.Digest, origin.Origin
			return c
		}
		digest, there := made[n.Ref(n.Name)]
		switch {
		case there:
			c.Digest = digest
		case n.Unreadable != "":
			c.Unknown = n.Unreadable
		case failed != nil:
			c.Unknown = failed.Error()
		default:
			c.Unknown = fmt.Sprintf("the value of %q could not be read", n.Name)
		}
		return c
	}, nil
}

// origins finds the values that mirrors in a Swarm are copies of, by the IDs of the mirrors. Those
// that stand neither here nor at the other side, and all when the other side can't be asked, are left
// to what the mirrors hold themselves, which is said.
func (b *both) origins(ctx context.Context, place endpoint.Place, nonce []byte, wants []peek.Want, byUID map[string]secret.Secret) map[string]peek.Current {
	mirrors := map[string]secret.Secret{}
	for _, w := range wants {
		if s, there := byUID[w.UID]; there && s.Mark != nil && s.Mark.Origin != place.Identity && len(s.Mark.Parts) == 1 {
			mirrors[w.UID] = s
		}
	}
	if len(mirrors) == 0 {
		return nil
	}
	other, otherPlace, err := b.other(ctx, place)
	if err != nil {
		b.say("the origins of mirrors are not looked at, newest versions are: " + err.Error())
		return nil
	}
	var names []string
	elsewhere := map[string]bool{}
	for uid, s := range mirrors {
		if s.Mark.Origin != otherPlace.Identity || otherPlace.Kind != secret.Kubernetes {
			elsewhere[s.Mark.Place] = true
			delete(mirrors, uid)
			continue
		}
		names = append(names, s.Mark.Parts[0].Secret)
	}
	for at := range elsewhere {
		b.say(fmt.Sprintf("mirrors of secrets at %s are compared with their newest versions: the other side is %s", at, otherPlace.Name))
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	secrets, err := other.List(ctx, slices.Compact(names))
	if err != nil {
		b.say("the origins of mirrors are not looked at, newest versions are: " + err.Error())
		return nil
	}
	found := map[string]peek.Current{}
	for uid, s := range mirrors {
		part := s.Mark.Parts[0]
		for _, origin := range secrets {
			if k, there := origin.Key(part.OriginKey); there && origin.Name == part.Secret && k.Value.Known() {
				found[uid] = peek.Current{Digest: k.Value.Digest(nonce), Origin: fmt.Sprintf("%s at %s", origin.Name, otherPlace.Name)}
			}
		}
	}
	return found
}
