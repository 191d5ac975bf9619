package swarm

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

func TestConnectsLateAndOnce(t *testing.T) {
	f := newFake(t, nil)
	dials, fails := 0, true
	e := New(func(context.Context) (client.APIClient, error) {
		dials++
		if fails {
			return nil, errors.New("no such context")
		}
		return f, nil
	}, "swarm:test", Options{})
	if dials != 0 {
		t.Error("New connects")
	}
	if _, err := e.Place(t.Context()); err == nil || !strings.Contains(err.Error(), "no such context") {
		t.Error(err)
	}
	fails = false
	for range 3 {
		place, err := e.Place(t.Context())
		if err != nil || place.Identity != "swarm:cluster" || place.Name != "swarm:test" || place.Kind != secret.Swarm {
			t.Errorf("%+v, %v", place, err)
		}
	}
	if dials != 2 {
		t.Errorf("%d connections", dials)
	}
}

func TestNotAManager(t *testing.T) {
	for state, hint := range map[swarm.LocalNodeState]string{
		swarm.LocalNodeStateActive:   "worker",
		swarm.LocalNodeStateInactive: "docker swarm init",
		swarm.LocalNodeStateLocked:   "unlock",
		swarm.LocalNodeStateError:    "docker info",
	} {
		f := newFake(t, nil)
		f.info = func(context.Context) (system.Info, error) {
			return system.Info{Swarm: swarm.Info{LocalNodeState: state, Error: "its\nerror"}}, nil
		}
		_, err := f.endpoint(Options{}).Place(t.Context())
		if !errors.Is(err, endpoint.ErrNotManager) || !strings.Contains(err.Error(), hint) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", state, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "no.sock")
	for _, host := range []string{"unix://" + socket, "tcp://127.0.0.1:1"} {
		e := New(func(context.Context) (client.APIClient, error) {
			return client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
		}, "swarm:away", Options{})
		_, err := e.List(t.Context(), nil)
		if !errors.Is(err, endpoint.ErrUnreachable) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), host) {
			t.Errorf("%s: %v", host, err)
		}
		t.Log(err)
	}
}

func TestReasons(t *testing.T) {
	e := newFake(t, nil).endpoint(Options{})
	for _, c := range []struct {
		err  error
		want error
		text string
	}{
		{alreadyExists, endpoint.ErrTaken, ""},
		{plainExists, endpoint.ErrTaken, ""},
		{outOfSequence, endpoint.ErrMoved, ""},
		{inUse, endpoint.ErrInUse, "web, worker"},
		{notFound, endpoint.ErrNotFound, ""},
		{notManager, endpoint.ErrNotManager, "Talk to a manager"},
		{badName, endpoint.ErrInvalid, "only 64"},
		{denied, endpoint.ErrForbidden, ""},
		{io.ErrUnexpectedEOF, endpoint.ErrUnreachable, ""},
		{context.DeadlineExceeded, endpoint.ErrUnreachable, "no answer within"},
	} {
		err := error(e.fail(t.Context(), "try", "x", c.err))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "rpc error") || strings.Contains(err.Error(), "daemon") {
			t.Errorf("%v became %v", c.err, err)
		}
	}
	if err := e.fail(t.Context(), "try", "x", errors.New("odd")); err.Reason != nil || err.Cause == nil {
		t.Errorf("an unknown error became %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.fail(ctx, "try", "x", io.EOF); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRetries: what changes nothing is tried again while a leader is elected, and no longer than
// that.
func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		failures int
		err      error
		calls    int
		want     error
	}{
		"election":     {3, noLeader, 4, nil},
		"reset":        {1, io.ErrUnexpectedEOF, 2, nil},
		"no end to it": {100, noLeader, 5, errors.ErrUnsupported},
		"restart":      {2, notManager, 3, nil},
		"demoted":      {100, notManager, 5, endpoint.ErrNotManager},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, calls := newFake(t, nil), 0
				f.secretList = func(context.Context, swarm.SecretListOptions) ([]swarm.Secret, error) {
					if calls++; calls <= c.failures {
						return nil, c.err
					}
					return nil, nil
				}
				start := time.Now()
				_, err := f.endpoint(Options{}).List(t.Context(), nil)
				if calls != c.calls || (err == nil) != (c.want == nil) || time.Since(start) > 10*time.Second {
					t.Errorf("%d calls in %s: %v", calls, time.Since(start), err)
				}
			})
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nil)
		f.secretList = func(context.Context, swarm.SecretListOptions) ([]swarm.Secret, error) { return nil, noLeader }
		ctx, cancel := context.WithCancel(t.Context())
		e := f.endpoint(Options{})
		if _, err := e.Place(ctx); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Millisecond, cancel)
		start := time.Now()
		if _, err := e.List(ctx, nil); !errors.Is(err, context.Canceled) || time.Since(start) != 10*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestConvert(t *testing.T) {
	spec := func(labels map[string]string) *swarm.Secret {
		return &swarm.Secret{ID: "id", Meta: swarm.Meta{Version: swarm.Version{Index: 12}}, Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: "n", Labels: labels}}}
	}
	if s := convert(spec(map[string]string{"team": "a"})); s.Name != "n" || s.UID != "id" || s.Version != "12" || s.Labels["team"] != "a" || s.Mark != nil || s.Damaged+s.Internal+s.Unreadable != "" {
		t.Errorf("%+v", s)
	}
	mark := secret.Secret{Lineage: secret.Lineage{Name: "n", Sequence: 2}, Mark: &secret.Mark{Origin: "o", Parts: []secret.Part{{Key: "n", Secret: "s", OriginKey: "k"}}}}
	if s := convert(spec(mark.OwnLabels())); s.Mark == nil || s.Lineage.Sequence != 2 || len(s.Labels) != 0 {
		t.Errorf("%+v", s)
	}
	damaged := mark.OwnLabels()
	damaged[secret.LabelPrefix+"sequence"] = "two"
	if s := convert(spec(damaged)); s.Mark != nil || s.Damaged == "" {
		t.Errorf("%+v", s)
	}
	if s := convert(spec(map[string]string{InternalLabel: "state"})); s.Internal == "" {
		t.Errorf("%+v", s)
	}
	template, driver := spec(nil), spec(nil)
	template.Spec.Templating = &swarm.Driver{Name: "golang"}
	driver.Spec.Driver = &swarm.Driver{Name: "vault"}
	if s := convert(template); !strings.Contains(s.Unreadable, "template") {
		t.Errorf("%+v", s)
	}
	if s := convert(driver); !strings.Contains(s.Unreadable, "vault") {
		t.Errorf("%+v", s)
	}
}

func TestListFilters(t *testing.T) {
	f := newFake(t, nil)
	var got []string
	f.secretList = func(_ context.Context, o swarm.SecretListOptions) ([]swarm.Secret, error) {
		got = o.Filters.Get("name")
		return nil, nil
	}
	e := f.endpoint(Options{})
	if _, err := e.List(t.Context(), []string{"a"}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := e.List(t.Context(), make([]string, fewNames+1)); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}
