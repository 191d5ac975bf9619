package swarm

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/rollout"
)

// TestNoSuccessor: of a task that failed and has no successor, it is said that none comes where the restart policy
// says so, and otherwise only after a while.
func TestNoSuccessor(t *testing.T) {
	two, window := uint64(2), time.Minute
	for name, test := range map[string]struct {
		policy *swarm.RestartPolicy
		failed int
		ends   bool
	}{
		"no policy":              {nil, 1, false},
		"never":                  {&swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone}, 1, true},
		"always":                 {&swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny}, 1, false},
		"on failure":             {&swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionOnFailure}, 1, false},
		"attempts are left":      {&swarm.RestartPolicy{MaxAttempts: &two}, 2, false},
		"the last attempt":       {&swarm.RestartPolicy{MaxAttempts: &two}, 3, true},
		"attempts of one minute": {&swarm.RestartPolicy{MaxAttempts: &two, Window: &window}, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			service := &swarm.Service{ID: "s", Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "web"}, TaskTemplate: swarm.TaskSpec{RestartPolicy: test.policy}}}
			now := time.Now()
			var tasks []*swarm.Task
			for i := range test.failed {
				tasks = append(tasks, &swarm.Task{
					ID: string(rune('a' + i)), Slot: 1, Meta: swarm.Meta{Version: swarm.Version{Index: 7}, CreatedAt: now.Add(time.Duration(i))}, DesiredState: swarm.TaskStateShutdown,
					Status: swarm.TaskStatus{State: swarm.TaskStateFailed, Err: "task: non-zero exit (1)"},
				})
			}
			v := &view{services: map[string]*swarm.Service{"s": service}, tasks: map[string][]*swarm.Task{"s": tasks}, nodes: map[string]*swarm.Node{}}
			s := &settling{moved: rollout.Moved{Step: rollout.Step{Workload: rollout.Workload{ID: "service/web", UID: "s"}}}, failed: map[string]map[string]bool{}, first: map[string]time.Time{}}
			said := map[time.Duration]string{0: "", successor + time.Second: "", overdue + time.Second: "nothing was started in its place"}
			if test.ends {
				said[successor+time.Second], said[overdue+time.Second] = "by its restart policy", "by its restart policy"
			}
			for _, after := range slices.Sorted(maps.Keys(said)) {
				_, done, err := s.judge(v, now.Add(after))
				if want := said[after]; done || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("after %s: %v, %v instead of %q", after, done, err, want)
				}
			}
		})
	}
}
