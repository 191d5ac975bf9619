//go:build e2e

package swarm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// isStuck checks that an error is a *rollout.Stuck that says all of the texts.
func isStuck(t *testing.T, err error, reverted bool, texts ...string) {
	t.Helper()
	stuck := (*rollout.Stuck)(nil)
	if !errors.As(err, &stuck) || stuck.Reverted != reverted {
		t.Fatalf("reverted %v: %v", reverted, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("it doesn't say %q: %v", text, err)
		}
	}
}

func update(action string) *swarm.UpdateConfig {
	return &swarm.UpdateConfig{Parallelism: 1, Monitor: time.Second, FailureAction: action}
}

// TestRefusesNewValue: a service that isn't healthy with the new value, under each policy.
func TestRefusesNewValue(t *testing.T) {
	e := connect(t, Options{})
	sick := func(action string) func(*swarm.ServiceSpec) {
		return func(s *swarm.ServiceSpec) {
			s.Mode = replicas(2)
			s.UpdateConfig = update(action)
			delay := 500 * time.Millisecond
			s.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny, Delay: &delay}
			s.TaskTemplate.ContainerSpec.Healthcheck = health(`test "$(cat /run/secrets/s)" = old`)
		}
	}
	for _, action := range []string{swarm.UpdateFailureActionPause, swarm.UpdateFailureActionContinue, swarm.UpdateFailureActionRollback} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			tr := perform(t, e, sick(action))
			moved := tr.move(t, tr.forth(t))
			err := tr.settle(t, moved)
			isStuck(t, err, action == swarm.UpdateFailureActionRollback, "unhealthy")
			if action == swarm.UpdateFailureActionPause { // whoever comes later sees the same
				isStuck(t, tr.settle(t, tr.move(t, tr.forth(t))), false, "paused", "unhealthy")
			}
			tr.returns(t)
			tr.all(t, 2, tr.old)
		})
	}
}

// TestCrashes: a service that ends on its own with the new value, when nobody starts it again, and when
// somebody does.
func TestCrashes(t *testing.T) {
	e := connect(t, Options{})
	for _, condition := range []swarm.RestartPolicyCondition{swarm.RestartPolicyConditionNone, swarm.RestartPolicyConditionAny} {
		t.Run(string(condition), func(t *testing.T) {
			t.Parallel()
			tr := perform(t, e, func(s *swarm.ServiceSpec) {
				s.UpdateConfig = update(swarm.UpdateFailureActionContinue)
				s.UpdateConfig.Monitor = 5 * time.Second // it ends within that also where the machine is busy
				delay := 500 * time.Millisecond
				s.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: condition, Delay: &delay}
				s.TaskTemplate.ContainerSpec.Command = []string{"sh", "-c", `test "$(cat /run/secrets/s)" = old || { sleep 1; exit 3; }; exec sleep 1000`}
			})
			isStuck(t, tr.settle(t, tr.move(t, tr.forth(t))), false, "non-zero exit (3)")
			tr.returns(t)
			tr.all(t, 1, tr.old)
		})
	}
}

// TestEndsWell: a service whose task does its work and ends.
func TestEndsWell(t *testing.T) {
	tr := perform(t, connect(t, Options{}), func(s *swarm.ServiceSpec) {
		s.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionOnFailure}
		s.TaskTemplate.ContainerSpec.Command = []string{"true"}
		s.UpdateConfig = update(swarm.UpdateFailureActionContinue)
	})
	if err := tr.settle(t, tr.move(t, tr.forth(t))); err != nil {
		t.Error(err)
	}
}

// TestNoPlace: no node will do for the new tasks.
func TestNoPlace(t *testing.T) {
	tr := perform(t, connect(t, Options{}), nil)
	s := tr.service(t)
	s.Spec.TaskTemplate.Placement = &swarm.Placement{Constraints: []string{"node.labels.none == such"}}
	if _, err := tr.g.api.ServiceUpdate(t.Context(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	isStuck(t, tr.settle(t, tr.move(t, tr.forth(t))), false, "no suitable node")
}

// TestSeveralTargets: one secret under several targets, of which nothing else changes.
func TestSeveralTargets(t *testing.T) {
	tr := perform(t, connect(t, Options{}), func(s *swarm.ServiceSpec) {
		c := s.TaskTemplate.ContainerSpec
		ref := secret.Ref{UID: c.Secrets[0].SecretID, Name: c.Secrets[0].SecretName}
		c.Secrets = append(c.Secrets, reference(ref, "/etc/another", "0", "0", 0o400), reference(ref, "third", "1", "2", 0o444))
		c.Env, c.Labels = []string{"A=b"}, map[string]string{"x": "y"}
		s.Labels = map[string]string{"x": "y"}
	})
	before := tr.service(t).Spec
	if err := tr.settle(t, tr.move(t, tr.forth(t))); err != nil {
		t.Error(err)
	}
	tr.all(t, 1, tr.new)
	after := tr.service(t).Spec
	replace(&before, map[string]secret.Ref{tr.old.UID: tr.new})
	same(t, before, after)
}

// TestAmidOthers: somebody else updates the service all the time.
func TestAmidOthers(t *testing.T) {
	tr := perform(t, connect(t, Options{}), func(s *swarm.ServiceSpec) { s.Mode = replicas(2) })
	forth := tr.forth(t)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { stopped <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			s, err := inspectService(context.Background(), tr.g, tr.id)
			if err != nil {
				return
			}
			s.Spec.Labels = map[string]string{"n": strings.Repeat("x", n+1)}
			if _, err := tr.g.api.ServiceUpdate(context.Background(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err == nil {
				n++
			}
			time.Sleep(time.Millisecond)
		}
	}()
	time.Sleep(50 * time.Millisecond)
	moved := tr.move(t, forth)
	close(stop)
	n := <-stopped
	t.Logf("%d updates of somebody else", n)
	if err := tr.settle(t, moved); err != nil {
		t.Error(err)
	}
	tr.all(t, 2, tr.new)
	if kept := len(tr.service(t).Spec.Labels["n"]); kept != n {
		t.Errorf("of %d updates of somebody else the last is missing", n)
	}
}

// TestUpdatedOnTop: somebody else updates the service while it settles.
func TestUpdatedOnTop(t *testing.T) {
	tr := perform(t, connect(t, Options{}), func(s *swarm.ServiceSpec) { s.Mode = replicas(3) })
	moved := tr.move(t, tr.forth(t))
	s := tr.service(t)
	s.Spec.TaskTemplate.ContainerSpec.Env = []string{"NEW=1"}
	if _, err := tr.g.api.ServiceUpdate(t.Context(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		t.Skip("it changed in between", err)
	}
	if err := tr.settle(t, moved); err != nil {
		t.Error(err)
	}
	tr.all(t, 3, tr.new)
}

// TestRolledBack: docker service rollback while it settles, and afterwards.
func TestRolledBack(t *testing.T) {
	e := connect(t, Options{})
	for name, during := range map[string]bool{"meanwhile": true, "afterwards": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := perform(t, e, func(s *swarm.ServiceSpec) { s.Mode = replicas(2) })
			moved := tr.move(t, tr.forth(t))
			if !during {
				if err := tr.settle(t, moved); err != nil {
					t.Fatal(err)
				}
			}
			for range 20 {
				s := tr.service(t)
				_, err := tr.g.api.ServiceUpdate(t.Context(), s.ID, s.Version, s.Spec, swarm.ServiceUpdateOptions{Rollback: "previous"})
				if err == nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			err := tr.settle(t, moved)
			if !errors.Is(err, endpoint.ErrMoved) || !strings.Contains(err.Error(), "rolled it back") {
				t.Error(err)
			}
			tr.returns(t)
			tr.all(t, 2, tr.old)
		})
	}
}

// TestGoesAway: a service that is removed, and made anew under its name.
func TestGoesAway(t *testing.T) {
	tr := perform(t, connect(t, Options{}), nil)
	forth, spec := tr.forth(t), tr.service(t).Spec
	moved := tr.move(t, forth)
	if err := tr.g.api.ServiceRemove(t.Context(), tr.id); err != nil {
		t.Fatal(err)
	}
	made, err := tr.g.api.ServiceCreate(t.Context(), spec, swarm.ServiceCreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tr.id = made.ID
	t.Cleanup(func() { _ = tr.g.api.ServiceRemove(context.Background(), made.ID) })
	if err := tr.settle(t, moved); !errors.Is(err, endpoint.ErrNotFound) {
		t.Error(err)
	}
	if _, err := tr.e.Move(t.Context(), forth); !errors.Is(err, endpoint.ErrNotFound) {
		t.Error(err)
	}
}

// TestSettleEndsWithItsContext: at once, and while others wait for the same service.
func TestSettleEndsWithItsContext(t *testing.T) {
	tr := perform(t, connect(t, Options{}), func(s *swarm.ServiceSpec) {
		s.Mode = replicas(2)
		s.UpdateConfig.Delay = 2 * time.Second
	})
	moved := tr.move(t, tr.forth(t))
	other := make(chan error, 1)
	go func() { other <- tr.e.Settle(context.Background(), moved, nil) }()
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled time.Time
	time.AfterFunc(700*time.Millisecond, func() { cancelled = time.Now(); cancel() })
	err := tr.e.Settle(ctx, moved, nil)
	if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	if err := <-other; err != nil {
		t.Error("the other one:", err)
	}
}

// TestManySettleTogether: the calls are those of one.
func TestManySettleTogether(t *testing.T) {
	e := connect(t, Options{})
	const n = 10
	var all [n]*troupe
	for i := range all {
		all[i] = perform(t, e, nil)
	}
	done := make(chan error, n)
	start := time.Now()
	for _, tr := range all {
		moved := tr.move(t, tr.forth(t))
		go func() { done <- e.Settle(context.Background(), moved, nil) }()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d services in %s", n, time.Since(start))
}

// TestNoImage: the image has gone from the node, and from the registry.
func TestNoImage(t *testing.T) {
	e := connect(t, Options{})
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image := fmt.Sprintf("127.0.0.1:1/secretx-test:%d", time.Now().UnixNano())
	if err := g.api.ImageTag(t.Context(), busybox, image); err != nil {
		t.Fatal(err)
	}
	untag := func() { _, _ = g.api.ImageRemove(context.Background(), image, dockerimage.RemoveOptions{}) }
	t.Cleanup(untag)
	tr := perform(t, e, func(s *swarm.ServiceSpec) { s.TaskTemplate.ContainerSpec.Image = image })
	untag()
	isStuck(t, tr.settle(t, tr.move(t, tr.forth(t))), false, "paused", "rejected")
}
