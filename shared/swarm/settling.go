package swarm

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
)

const (
	// failures is how many tasks may fail in one place, one after another, until it's clear that the
	// next one will, too.
	failures = 3
	// nodeless is how long a task may be without a node that would do: one may be restarting.
	nodeless = 20 * time.Second
	// successor is how long a task that failed is looked at before its restart policy is believed that nothing
	// comes in its place; overdue, before it is believed that nothing comes although the policy says otherwise.
	successor = 5 * time.Second
	overdue   = 20 * time.Second
	// defaultMonitor is how long a Swarm watches a task for failure after it was updated.
	defaultMonitor = 5 * time.Second
)

// settling is what has been seen of a service since it was moved.
type settling struct {
	moved  rollout.Moved
	since  uint64                     // what has changed since then has a later version
	old    map[string]bool            // the secrets that its spec mustn't refer to any more
	failed map[string]map[string]bool // by slot, the tasks that failed on the new spec
	first  map[string]time.Time       // when what it says was seen first
}

// lasts tells for how long something has been so.
func (s *settling) lasts(what string, now time.Time) time.Duration {
	if _, is := s.first[what]; !is {
		s.first[what] = now
	}
	return now.Sub(s.first[what])
}

// judge tells whether the service has settled; by its error, that it won't.
func (s *settling) judge(v *view, now time.Time) (progress string, done bool, err error) {
	w := s.moved.Step.Workload
	service := v.services[w.UID]
	if service == nil {
		return "", false, gone()
	}
	tasks := v.tasks[w.UID]
	state := swarm.UpdateState("")
	if service.UpdateStatus != nil {
		state = service.UpdateStatus.State
	}
	if s.takenBack(service) {
		return "", false, s.reverted(v, service, tasks, state)
	}
	slots := bySlot(tasks)
	good, all := 0, 0
	for _, name := range slices.Sorted(maps.Keys(slots)) {
		ok, counts, why := s.look(v, service, slots[name], now)
		if why != "" {
			return "", false, s.stuck(why)
		}
		if counts {
			all++
		}
		if ok {
			good++
		}
	}
	if r := service.Spec.Mode.Replicated; r != nil {
		all = max(all, 1)
		if r.Replicas != nil {
			all = int(*r.Replicas)
		}
	}
	paused := state == swarm.UpdateStatePaused || state == swarm.UpdateStateRollbackPaused
	over := state != swarm.UpdateStateUpdating && state != swarm.UpdateStateRollbackStarted
	complete := good >= all && !slices.ContainsFunc(tasks, func(t *swarm.Task) bool { return shouldRun(t) && !v.lost(t) && !fits(t, service) })
	switch {
	case paused && !(complete && s.moved.Nothing):
		return "", false, s.stuck("its update is paused" + because(cmp.Or(s.culprit(v, service, tasks, s.since), s.culprit(v, service, tasks, 0))) + // it may have been paused before
			"; docker service update " + service.Spec.Name + " would go on with it")
	case complete && over:
		return "", true, nil
	case !over && s.hangs(service, v, tasks, now):
		return "", false, s.stuck("its update waits for a task on a node that is down" + because(v.down(tasks)))
	case complete:
		return "all tasks have it, and are watched by its update policy", false, nil
	}
	return fmt.Sprintf("%d of %d tasks have it", min(good, all), all), false, nil
}

// hangs tells whether an update goes no further: it waits for each task that it makes until that one has
// started, and that is for good when its node goes down before.
func (s *settling) hangs(service *swarm.Service, v *view, tasks []*swarm.Task, now time.Time) bool {
	patience, began := nodeless, time.Time{}
	if c := service.Spec.UpdateConfig; c != nil {
		patience += c.Delay
	}
	if service.UpdateStatus.StartedAt != nil {
		began = *service.UpdateStatus.StartedAt
	}
	waits, change := false, uint64(0)
	for _, t := range tasks {
		change = max(change, t.Version.Index)
		waits = waits || v.lost(t) && live(t) && t.Status.State != swarm.TaskStateRunning && fits(t, service) && t.CreatedAt.After(began)
	}
	return waits && s.lasts(fmt.Sprint("no change since ", change), now) > patience
}

// down names the nodes of tasks that are down.
func (v *view) down(tasks []*swarm.Task) string {
	names := map[string]bool{}
	for _, t := range tasks {
		if node := v.nodes[t.NodeID]; v.lost(t) && node != nil {
			names[node.Description.Hostname] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// takenBack tells whether the spec refers to what was replaced.
func (s *settling) takenBack(service *swarm.Service) bool {
	return slices.ContainsFunc(references(&service.Spec.TaskTemplate), func(r *swarm.SecretReference) bool { return s.old[r.SecretID] })
}

// reverted says who took it back: the update policy, when a task failed, or else somebody.
func (s *settling) reverted(v *view, service *swarm.Service, tasks []*swarm.Task, state swarm.UpdateState) error {
	why := s.culprit(v, service, tasks, s.since)
	by := "somebody gave it the old version again"
	if strings.HasPrefix(string(state), "rollback") {
		by = "somebody rolled it back"
		if why != "" && !strings.HasPrefix(service.UpdateStatus.Message, "manually") {
			return &rollout.Stuck{Workload: s.moved.Step.Workload.ID, Why: why, Reverted: true}
		}
	}
	return &endpoint.Error{Reason: endpoint.ErrMoved, Cause: errors.New(by), Hint: "See docker service inspect " + service.Spec.Name + "."}
}

func (s *settling) stuck(why string) error {
	return &rollout.Stuck{Workload: s.moved.Step.Workload.ID, Why: why}
}

// slotTasks are those in one place of a service, where one at a time is to run.
type slotTasks struct {
	tasks  []*swarm.Task // the latest first
	wanted []*swarm.Task // those of them that should run
}

func bySlot(tasks []*swarm.Task) map[string]*slotTasks {
	slots := map[string]*slotTasks{}
	for _, t := range tasks {
		at := slots[slot(t)]
		if at == nil {
			at = &slotTasks{}
			slots[slot(t)] = at
		}
		at.tasks = append(at.tasks, t)
		if shouldRun(t) {
			at.wanted = append(at.wanted, t)
		}
	}
	for _, at := range slots {
		slices.SortStableFunc(at.tasks, func(a, b *swarm.Task) int { return b.CreatedAt.Compare(a.CreatedAt) })
	}
	return slots
}

// look tells whether a slot has what the spec says, and whether it counts at all; why says that it will
// never have it.
func (s *settling) look(v *view, service *swarm.Service, at *slotTasks, now time.Time) (ok, counts bool, why string) {
	latest := at.tasks[0]
	for _, t := range at.tasks {
		if fits(t, service) && broke(t) && t.Version.Index > s.since {
			if s.failed[slot(t)] == nil {
				s.failed[slot(t)] = map[string]bool{}
			}
			s.failed[slot(t)][t.ID] = true
		}
	}
	times := len(s.failed[slot(latest)])
	if len(at.wanted) == 0 {
		switch {
		case !fits(latest, service) || v.lost(latest):
			return false, false, ""
		case latest.Status.State == swarm.TaskStateComplete:
			return true, true, ""
		case !broke(latest):
			return false, true, ""
		}
		switch waits := s.lasts(latest.ID+" failed", now); {
		case waits > successor && ends(service, times):
			return false, true, v.fault(service, latest) + "; by its restart policy it isn't started again"
		case waits > overdue:
			return false, true, v.fault(service, latest) + "; nothing was started in its place for " + overdue.String()
		}
		return false, true, ""
	}
	if slices.ContainsFunc(at.wanted, v.lost) {
		return false, false, "" // its node is down: a replicated task goes elsewhere, a global one waits for it
	}
	ok = len(at.wanted) == 1 && at.wanted[0].Status.State == swarm.TaskStateRunning && fits(at.wanted[0], service)
	if ok {
		// One that fails again and again runs now and then, too.
		return times == 0 || s.lasts(at.wanted[0].ID+" runs", now) >= max(monitor(service), defaultMonitor), true, ""
	}
	if times >= failures {
		for _, t := range at.tasks {
			if broke(t) && fits(t, service) {
				return false, true, fmt.Sprintf("%s; %d tasks in its place have failed", v.fault(service, t), times)
			}
		}
	}
	alone := !slices.ContainsFunc(at.tasks, func(t *swarm.Task) bool { return t != latest && live(t) })
	if alone && fits(latest, service) && latest.Status.State == swarm.TaskStatePending && latest.Status.Err != "" &&
		s.lasts(latest.ID+" has no node", now) > nodeless {
		return false, true, v.fault(service, latest)
	}
	return false, true, ""
}

// ends tells whether the restart policy starts nothing in place of a task that failed, as the given number of
// tasks did in that place. Attempts within a window are the engine's to count.
func ends(service *swarm.Service, failed int) bool {
	p := service.Spec.TaskTemplate.RestartPolicy
	switch {
	case p == nil:
		return false
	case p.Condition == swarm.RestartPolicyConditionNone:
		return true
	case p.MaxAttempts == nil || *p.MaxAttempts == 0 || p.Window != nil && *p.Window > 0:
		return false
	}
	return uint64(failed) > *p.MaxAttempts
}

// fits tells whether a task has the secrets that the spec says now, each at its place.
func fits(t *swarm.Task, service *swarm.Service) bool {
	return slices.Equal(wiring(&t.Spec), wiring(&service.Spec.TaskTemplate))
}

func wiring(spec *swarm.TaskSpec) (all []string) {
	for _, ref := range references(spec) {
		all = append(all, ref.SecretID+" "+ref.File.Name)
	}
	slices.Sort(all)
	return all
}

func broke(t *swarm.Task) bool {
	return t.Status.State == swarm.TaskStateFailed || t.Status.State == swarm.TaskStateRejected
}

// lost tells whether the node of a task is down: nothing more is heard of it.
func (v *view) lost(t *swarm.Task) bool {
	node := v.nodes[t.NodeID]
	return t.NodeID != "" && (node == nil || node.Status.State == swarm.NodeStateDown)
}

// monitor is how long the service's own policy watches a task for failure.
func monitor(service *swarm.Service) time.Duration {
	if c := service.Spec.UpdateConfig; c != nil && c.Monitor > 0 {
		return c.Monitor
	}
	return defaultMonitor
}

// culprit says which task failed after an index on what the service was moved to, the last one where there are several.
func (s *settling) culprit(v *view, service *swarm.Service, tasks []*swarm.Task, since uint64) string {
	var last *swarm.Task
	for _, t := range tasks {
		if broke(t) && t.Version.Index > since && s.has(t) && (last == nil || t.CreatedAt.After(last.CreatedAt)) {
			last = t
		}
	}
	if last != nil {
		return v.fault(service, last)
	}
	return ""
}

// has tells whether a task was given what the service was moved to.
func (s *settling) has(t *swarm.Task) bool {
	refs := references(&t.Spec)
	for _, now := range s.moved.Step.Replace {
		if slices.ContainsFunc(refs, func(r *swarm.SecretReference) bool { return r.SecretID == now.UID }) {
			return true
		}
	}
	return false
}

// fault says what is wrong with a task.
func (v *view) fault(service *swarm.Service, t *swarm.Task) string {
	text := "a task of " + service.Spec.Name
	if t.Slot > 0 {
		text = "task " + service.Spec.Name + "." + slot(t)
	}
	if node := v.nodes[t.NodeID]; node != nil {
		text += " on node " + node.Description.Hostname
	}
	switch t.Status.State {
	case swarm.TaskStatePending:
		text += " finds no place"
	case swarm.TaskStateFailed:
		text += " failed"
	default:
		text += " was " + string(t.Status.State)
	}
	return text + because(strings.TrimPrefix(cmp.Or(oneLine(t.Status.Err), oneLine(t.Status.Message)), "task: "))
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
