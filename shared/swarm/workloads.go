package swarm

import (
	"context"
	"slices"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/secretx/secretx/shared/rollout"
)

var _ rollout.Mover = (*Endpoint)(nil)

// Workloads gives all services that refer to secrets, but for secretx's own. It is one API call.
func (e *Endpoint) Workloads(ctx context.Context) ([]rollout.Workload, error) {
	g, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	services, err := listServices(ctx, g, filters.NewArgs())
	if err != nil {
		return nil, e.fail(ctx, "list services", "", err)
	}
	var all []rollout.Workload
	for i := range services {
		s := &services[i]
		if _, own := s.Spec.Labels[ProbeLabel]; own {
			continue
		}
		if refs := workloadRefs(&s.Spec); len(refs) > 0 {
			all = append(all, rollout.Workload{
				ID: "service/" + s.Spec.Name, UID: s.ID, Refs: refs, Stack: s.Spec.Labels[stackLabel], Fixed: fixed(&s.Spec),
			})
		}
	}
	return all, nil
}

// workloadRefs are the secrets of a spec, each once.
func workloadRefs(spec *swarm.ServiceSpec) (refs []rollout.Ref) {
	for _, ref := range references(&spec.TaskTemplate) {
		if r := (rollout.Ref{Name: ref.SecretName, UID: ref.SecretID}); !slices.Contains(refs, r) {
			refs = append(refs, r)
		}
	}
	return refs
}

// fixed says why a service can't be moved. An update of a job runs it once more, whatever became of it
// before, and that is for its owner to want.
func fixed(spec *swarm.ServiceSpec) string {
	if spec.Mode.ReplicatedJob == nil && spec.Mode.GlobalJob == nil {
		return ""
	}
	return "it is a job, and an update would run it again: to have it run with the new value, run docker service update --secret-rm OLD --secret-add source=NEW,target=TARGET " + spec.Name
}
