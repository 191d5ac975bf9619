package kube

import (
	"cmp"
	"fmt"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
)

// settling is what is waited for since a workload was moved.
type settling struct {
	step    rollout.Step
	written token
}

// judge tells whether a workload has settled; by its error, that it won't. Somebody else may have changed
// it since: then it has to settle with that, as long as what was written is still there.
func (s *settling) judge(o *standing) (progress string, done bool, err error) {
	if err := s.takenBack(o); err != nil {
		return "", false, err
	}
	if o.observed < max(o.generation, s.written.generation) {
		return "waiting for its spec update to be observed", false, nil
	}
	if o.progress == "" {
		return "", true, nil
	}
	why, hopeless := fault(o.pods)
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
