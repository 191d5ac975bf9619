// Package rollout brings a new value to those who use it: it moves workloads from one version of a
// secret to another, each once however many of its secrets have moved on, waits until they have
// settled under their own update policy, has it proven, and takes all of them back when anything
// fails. It knows no API: swarm and kube move workloads. It imports secret,
// endpoint and the standard library.
package rollout

import (
	"context"
	"fmt"

	"github.com/secretx/secretx/shared/secret"
)

// Workload is something whose containers are given secrets, and made anew when it is updated: a Swarm
// service; a Deployment, StatefulSet or DaemonSet, or whatever else owns pods.
type Workload struct {
	// ID is unique at its endpoint: "service/web", "deployment/web".
	ID string
	// UID tells it from another one of the same name.
	UID string
	// Refs are the secrets that its spec refers to, each once.
	Refs []Ref
	// Stack is the stack that a Swarm service was deployed with; empty for none.
	Stack string
	// Fixed says why it can't be moved, and what to do instead: a bare pod, a job that runs. Empty when it
	// can be.
	Fixed string
	// Scheduled tells that its containers get what it is moved to when they are made next, and not before: a
	// CronJob.
	Scheduled bool
}

// Ref is one secret that a workload refers to.
type Ref struct {
	// Name is the secret's; UID is the ID of a Swarm secret, empty in Kubernetes.
	Name, UID string
	// Live tells that each use of it follows a new value by itself: a Secret's volume in Kubernetes.
	// References in a Swarm never do, nor do environment variables and subPath mounts.
	Live bool
}

// Step is what is to be done to one workload, in one write.
type Step struct {
	Workload Workload
	// Replace tells which secrets its references shall name instead: by the ID that they name now in a
	// Swarm, by the name in Kubernetes. All else about a reference stays: target, owner, mode, key,
	// items.
	Replace map[string]secret.Ref
	// Return is what undoes Replace: which secrets its references shall name again, found likewise.
	Return map[string]secret.Ref
	// Restart has its containers made anew though nothing in its spec changes (Kubernetes).
	Restart bool
	// Has tells that a run which was cut off has restarted it already: only the way back does so again.
	Has bool
}

// Back is the step that undoes another one.
func (s Step) Back() Step {
	return Step{Workload: s.Workload, Replace: s.Return, Restart: s.Restart || s.Has}
}

// key is what a reference is found by: the ID in a Swarm, the name in Kubernetes.
func (r Ref) key() string {
	if r.UID != "" {
		return r.UID
	}
	return r.Name
}

// Change is what Steps is told.
type Change struct {
	// Newest has the version that shall stand in the place of others, by their ID or name.
	Newest map[string]secret.Ref
	// Before has what to go back to from a newest version, by its ID or name, where a workload has come to
	// it already: a run that was cut off brought it there, and nobody knows how that ended.
	Before map[string]secret.Ref
	// Instead has what to go back to from versions that nobody shall go back to, by their ID or name: those of
	// rollouts that were cut off or taken back.
	Instead map[string]secret.Ref
	// Written has the names of Secrets that have a new value under their old name.
	Written map[string]bool
}

// Steps are what brings workloads to new versions or values, one for each that is concerned. Those that
// can't be moved are given apart. What named several versions goes back to the last of them.
func Steps(workloads []Workload, change Change) (steps []Step, fixed []Workload) {
	for _, w := range workloads {
		step := Step{Workload: w, Replace: map[string]secret.Ref{}, Return: map[string]secret.Ref{}}
		concerned := false
		for _, ref := range w.Refs {
			if before, there := change.Before[ref.key()]; there {
				concerned = true
				step.Return[ref.key()] = before
			}
			if to, moved := change.Newest[ref.key()]; moved {
				step.Replace[ref.key()] = to
				was := secret.Ref{Name: ref.Name, UID: ref.UID}
				if better, there := change.Instead[ref.key()]; there {
					was = better
				}
				step.Return[Ref{Name: to.Name, UID: to.UID}.key()] = was
			}
			step.Restart = step.Restart || change.Written[ref.Name] && !ref.Live
		}
		switch {
		case len(step.Replace) == 0 && !step.Restart && !concerned:
		case w.Fixed != "":
			fixed = append(fixed, w)
		default:
			steps = append(steps, step)
		}
	}
	return steps, fixed
}

// Moved is a workload after the write of a step.
type Moved struct {
	Step Step
	// Nothing tells that there was nothing to write: it was so already. Beside an error it tells that nothing
	// was written.
	Nothing bool
	// Token is what the endpoint knows the write by.
	Token string
}

// Mover is an endpoint whose workloads can be moved.
type Mover interface {
	// Workloads gives all that refer to secrets, in a few calls for all of them.
	Workloads(ctx context.Context) ([]Workload, error)
	// Move carries a step out. What somebody else changes at the same moment is kept: the workload is read
	// again and the step is done to what it is by then. Done twice it is as done once. A workload that was
	// removed is ErrNotFound.
	Move(ctx context.Context, step Step) (Moved, error)
	// Settle waits until what Move wrote has arrived in all its containers, by the workload's own update
	// policy. It fails with a *Stuck when that won't happen.
	Settle(ctx context.Context, moved Moved, say func(string)) error
}

// Stuck says that a workload doesn't take to what it was moved to.
type Stuck struct {
	Workload string
	Why      string
	// Reverted tells that the orchestrator has taken it back by itself.
	Reverted bool
}

func (s *Stuck) Error() string {
	text := fmt.Sprintf("%s doesn't take to it: %s", s.Workload, s.Why)
	if s.Reverted {
		text += "; it was rolled back by its own update policy"
	}
	return text
}
