package swarm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

func toCreate(mark bool) secret.Secret {
	s := secret.Secret{Name: "n", Labels: map[string]string{"team": "a"}, Keys: []secret.Key{{Name: "n", Value: secret.NewValue([]byte("hunter2 hunter2"))}}}
	if mark {
		s.Lineage, s.Mark = secret.Lineage{Name: "n", Sequence: 1}, &secret.Mark{Origin: "o", Parts: []secret.Part{{Key: "n", Secret: "s", OriginKey: "k"}}}
	}
	return s
}

// TestCreate goes through what the engine may answer, one after another; "made" is an answer that
// got lost on its way.
func TestCreate(t *testing.T) {
	type answer struct {
		err  error
		made bool // although it looks like a failure
	}
	lostMade, lostNot := answer{io.ErrUnexpectedEOF, true}, answer{io.ErrUnexpectedEOF, false}
	fine := answer{nil, true}
	other := map[string]string{"whose": "another's"}
	for name, c := range map[string]struct {
		mark    bool
		there   map[string]string // labels of what stands under the name before; nil: nothing
		answers []answer
		calls   int
		want    error // nil: created
	}{
		"fine":                    {true, nil, []answer{fine}, 1, nil},
		"taken":                   {true, other, []answer{{err: alreadyExists}}, 1, endpoint.ErrTaken},
		"lost, but made":          {true, nil, []answer{lostMade}, 1, nil},
		"lost, not made":          {true, nil, []answer{lostNot, fine}, 2, nil},
		"lost twice":              {true, nil, []answer{lostNot, lostMade}, 2, nil},
		"no leader, then fine":    {true, nil, []answer{{err: noLeader}, fine}, 2, nil},
		"lost, another's is made": {true, other, []answer{lostNot, {err: alreadyExists}}, 2, endpoint.ErrTaken},
		"lost without a mark":     {false, nil, []answer{lostMade, {err: alreadyExists}}, 2, endpoint.ErrTaken},
		"always lost":             {true, nil, []answer{lostNot, lostNot, lostNot, lostNot, lostNot}, 5, endpoint.ErrUnreachable},
		"refused":                 {true, nil, []answer{{err: badName}}, 1, endpoint.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, calls := newFake(t, nil), 0
				there := c.there
				f.secretList = func(context.Context, swarm.SecretListOptions) ([]swarm.Secret, error) {
					if there == nil {
						return nil, nil
					}
					return []swarm.Secret{{ID: "id", Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: "N", Labels: there}}}}, nil
				}
				f.secretCreate = func(_ context.Context, s swarm.SecretSpec) (swarm.SecretCreateResponse, error) {
					calls++
					a := c.answers[calls-1]
					if a.made {
						there = s.Labels
					}
					return swarm.SecretCreateResponse{ID: map[bool]string{true: "id"}[a.err == nil]}, a.err
				}
				s, err := f.endpoint(Options{}).Create(t.Context(), toCreate(c.mark))
				if calls != c.calls || !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Fatalf("%d calls: %v", calls, err)
				}
				if err == nil && (s.UID != "id" || s.Mark == nil || s.Labels["team"] != "a" || len(s.Keys) != 1) {
					t.Errorf("created %+v", s)
				}
				if err != nil && name == "lost without a mark" && !strings.Contains(err.Error(), "this may be it") {
					t.Error(err)
				}
			})
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	f := newFake(t, nil)
	key := func(name string, v secret.Value) []secret.Key { return []secret.Key{{Name: name, Value: v}} }
	for what, s := range map[string]secret.Secret{
		"no key":     {Name: "n"},
		"two keys":   {Name: "n", Keys: make([]secret.Key, 2)},
		"other name": {Name: "n", Keys: key("m", secret.NewValue([]byte("x")))},
		"unknown":    {Name: "n", Keys: key("n", secret.Value{})},
		"empty":      {Name: "n", Keys: key("n", secret.NewValue(nil))},
		"too long":   {Name: "n", Keys: key("n", secret.NewValue(make([]byte, maxBytes+1)))},
	} {
		if _, err := f.endpoint(Options{}).Create(t.Context(), s); !errors.Is(err, endpoint.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestErrorsDontQuoteValues: an API may quote what it was sent.
func TestErrorsDontQuoteValues(t *testing.T) {
	f := newFake(t, nil)
	f.secretCreate = func(_ context.Context, s swarm.SecretSpec) (swarm.SecretCreateResponse, error) {
		return swarm.SecretCreateResponse{}, refused{"rejected: " + string(s.Data) + " aHVudGVyMiBodW50ZXIy", nil}
	}
	_, err := f.endpoint(Options{}).Create(t.Context(), toCreate(true))
	if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMiBodW50ZXIy") {
		t.Error(err)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("in the chain: %T", err)
		}
	}
}

func TestUpdate(t *testing.T) {
	const index = 7
	old := secret.Secret{Name: "n", UID: "id", Version: "7"}
	wanted := secret.Secret{Name: "n", Labels: map[string]string{"a": "b"}}
	for name, c := range map[string]struct {
		old     secret.Secret
		inspect error
		update  error
		done    bool
		want    error
	}{
		"fine":               {old, nil, nil, true, nil},
		"of any version":     {secret.Secret{Name: "n", UID: "id"}, nil, nil, true, nil},
		"stale":              {secret.Secret{Name: "n", UID: "id", Version: "6"}, nil, nil, false, endpoint.ErrMoved},
		"gone":               {old, notFound, nil, false, endpoint.ErrMoved},
		"gone in between":    {old, nil, notFound, false, endpoint.ErrMoved},
		"changed in between": {old, nil, outOfSequence, false, endpoint.ErrMoved},
		"lost, but done":     {old, nil, io.ErrUnexpectedEOF, true, nil},
		"lost, not done":     {old, nil, io.ErrUnexpectedEOF, false, endpoint.ErrUnreachable},
		"another name":       {secret.Secret{Name: "m", UID: "id"}, nil, nil, false, endpoint.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, nil)
			stands := swarm.Secret{ID: "id", Meta: swarm.Meta{Version: swarm.Version{Index: index}}, Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: "n"}}}
			f.secretInspect = func(context.Context, string) (swarm.Secret, error) { return stands, c.inspect }
			f.secretUpdate = func(_ context.Context, id string, v swarm.Version, s swarm.SecretSpec) error {
				if id != "id" || v.Index != index || s.Name != "n" || s.Data != nil {
					t.Errorf("update of %s %d to %+v", id, v.Index, s)
				}
				if c.done {
					stands.Spec, stands.Version.Index = s, index+1
				}
				return c.update
			}
			s, err := f.endpoint(Options{}).Update(t.Context(), c.old, wanted)
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Fatal(err)
			}
			if err == nil && (s.Version != "8" || s.UID != "id") {
				t.Errorf("updated: %+v", s)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	for name, c := range map[string]struct {
		uid    string
		remove error
		other  string // name of what the list shows
		want   error
	}{
		"fine":            {"id", nil, "", nil},
		"gone":            {"id", notFound, "", nil},
		"replaced":        {"id", notFound, "n", endpoint.ErrMoved},
		"another's case":  {"id", notFound, "N", nil},
		"in use":          {"id", inUse, "", endpoint.ErrInUse},
		"without an ID":   {"", nil, "", endpoint.ErrInvalid},
		"may not":         {"id", denied, "", endpoint.ErrForbidden},
		"lost, then gone": {"id", io.EOF, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, calls := newFake(t, nil), 0
				f.secretRemove = func(context.Context, string) error {
					if calls++; calls > 1 {
						return notFound
					}
					return c.remove
				}
				f.secretList = func(context.Context, swarm.SecretListOptions) ([]swarm.Secret, error) {
					if c.other == "" {
						return nil, nil
					}
					return []swarm.Secret{{ID: "new", Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: c.other}}}}, nil
				}
				err := f.endpoint(Options{}).Remove(t.Context(), secret.Secret{Name: "n", UID: c.uid})
				if !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Error(err)
				}
				if c.want == endpoint.ErrInUse && !strings.Contains(err.Error(), "web, worker") {
					t.Errorf("it doesn't say what uses it: %v", err)
				}
			})
		})
	}
}
