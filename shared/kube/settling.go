package kube

import (
	"cmp"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
)

// settling is what is waited for since a workload was moved.
type settling struct {
	step    rollout.Step
	written token
	nothing bool // was written
	// complete is since when all that was written has arrived; zero while it has not.
	complete time.Time
	first    map[string]time.Time // when what it says was seen first
}

// blocked is how long a broken pod may be in the way of its StatefulSet: it may just be on its way.
const blocked = 3 * time.Second

// lasts tells for how long something has been so.
func (s *settling) lasts(what string, now time.Time) time.Duration {
	if _, is := s.first[what]; !is {
		s.first[what] = now
	}
	return now.Sub(s.first[what])
}

// judge tells whether a workload has settled; by its error, that it won't. Somebody else may have changed
// it since: then it has to settle with that, as long as what was written is still there.
func (s *settling) judge(o *standing, now time.Time) (progress string, done bool, err error) {
	if err := s.takenBack(o); err != nil {
		return "", false, err
	}
	if o.observed < max(o.generation, s.written.generation) {
		return "waiting for its spec update to be observed", false, nil
	}
	why, hopeless := fault(o.pods)
	if o.progress != "" {
		s.complete = time.Time{}
	} else if s.complete.IsZero() {
		s.complete = now
	}
	switch {
	case o.progress != "":
	case s.nothing, !hopeless && now.Sub(s.complete) >= o.probation:
		return "", true, nil
	case !hopeless:
		return "all of its pods have it, and are watched for " + o.probation.String(), false, nil
	}
	switch {
	case hopeless:
		return "", false, s.stuck(why)
	case o.failed != "":
		return "", false, s.stuck(o.failed + because(cmp.Or(why, unready(o.pods))))
	case o.held != "":
		return "", false, s.stuck(o.held)
	}
	if broken, _ := fault(o.stuck); why == "" && broken != "" {
		why = "it waits for " + broken
	}
	return o.progress + because(why), false, nil
}

// inTheWay is a pod that a StatefulSet waits for until the end of time: one that is broken, of a template that
// it has no more. As it makes one pod at a time, it waits for that pod to get ready before it makes it anew of
// the template that would mend it. The manual of Kubernetes says to delete it by hand.
func (s *settling) inTheWay(o *standing, now time.Time) *corev1.Pod {
	if o.observed < max(o.generation, s.written.generation) || o.held != "" {
		return nil
	}
	for _, pod := range o.stuck {
		if _, broken := fault([]*corev1.Pod{pod}); broken && s.lasts(string(pod.UID), now) >= blocked {
			return pod
		}
	}
	return nil
}

// takenBack tells whether what was written is no longer there.
func (s *settling) takenBack(o *standing) error {
	failure := func(format string, args ...any) error {
		return &endpoint.Error{
			Reason: endpoint.ErrMoved, Cause: fmt.Errorf(format, args...),
			Hint: "Find out who did (kubectl get " + s.step.Workload.ID + " -o yaml --show-managed-fields), then try again.",
		}
	}
	if o.generation == s.written.generation {
		return nil
	}
	for _, ref := range specRefs(&o.template.Spec) {
		if to, was := s.step.Replace[ref.Name]; was && to.Name != ref.Name {
			return failure("somebody gave it the Secret %q again", ref.Name)
		}
	}
	if s.written.stamp == "" {
		return nil
	}
	last, err := time.Parse(time.RFC3339, o.template.Annotations[restartedAt])
	wanted, _ := time.Parse(time.RFC3339, s.written.stamp)
	if err != nil || last.Before(wanted) {
		return failure("somebody took its restart back")
	}
	return nil
}

func (s *settling) stuck(why string) error {
	return &rollout.Stuck{Workload: s.step.Workload.ID, Why: why}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
