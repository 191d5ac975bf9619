package mirror

import (
	"context"
	"crypto/rand"

	"golang.org/x/sync/errgroup"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
)

// Prove has each side make digests of the values in question, under a nonce that is used once.
func Prove(ctx context.Context, from, to endpoint.Reader, s Sides, questions []plan.Question) (plan.Proofs, error) {
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails
	var origins, mirrors []secret.Ref
	for _, q := range questions {
		origins, mirrors = append(origins, q.Origin), append(mirrors, q.Mirror)
	}
	var ofOrigins, ofMirrors map[secret.Ref]secret.Digest
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { ofOrigins, err = Digests(groupCtx, from, s.From, origins, nonce); return err })
	group.Go(func() (err error) { ofMirrors, err = Digests(groupCtx, to, s.To, mirrors, nonce); return err })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	proofs := make(plan.Proofs, len(questions))
	for _, q := range questions {
		a, okA := ofOrigins[q.Origin]
		b, okB := ofMirrors[q.Mirror]
		if okA && okB {
			proofs[q] = a.Equal(b)
		}
	}
	return proofs, nil
}

// Digests makes those of known values itself and asks the endpoint for the others.
func Digests(ctx context.Context, r endpoint.Reader, side plan.Side, refs []secret.Ref, nonce []byte) (map[secret.Ref]secret.Digest, error) {
	known := map[secret.Ref]secret.Value{}
	for _, s := range side.Secrets {
		for _, k := range s.Keys {
			if k.Value.Known() {
				known[s.Ref(k.Name)] = k.Value
			}
		}
	}
	made := make(map[secret.Ref]secret.Digest, len(refs))
	var ask []secret.Ref
	asked := map[secret.Ref]bool{}
	for _, ref := range refs {
		if v, ok := known[ref]; ok {
			made[ref] = v.Digest(nonce)
		} else if !asked[ref] {
			asked[ref] = true
			ask = append(ask, ref)
		}
	}
	if len(ask) == 0 {
		return made, nil
	}
	answers, err := r.Digests(ctx, ask, nonce)
	if err != nil {
		return nil, err
	}
	for ref, d := range answers {
		made[ref] = d
	}
	return made, nil
}
