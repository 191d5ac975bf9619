package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secretx/secretx/shared/consumers"
)

// Consumers finds everything in the namespace that refers to a Secret. What may not be listed is in
// Graph.Blind and no error.
//
// A Deployment's ReplicaSets aren't consumers of their own: its pods are, and what only an older one
// refers to is a Previous use of the Deployment, which a rollback would go back to.
func (e *Endpoint) Consumers(ctx context.Context) (consumers.Graph, error) {
	c, err := e.connect()
	if err != nil {
		return consumers.Graph{}, err
	}
	s := survey{rungs: map[rung]*metav1.OwnerReference{}}
	steps := s.steps(c)
	blind := make([]string, len(steps))
	err = parallel(ctx, len(steps), func(ctx context.Context, i int) error {
		err := steps[i].list(ctx)
		switch {
		case apierrors.IsForbidden(err):
			blind[i] = steps[i].kind.plural + " in namespace " + c.namespace + ": not allowed (list)"
		case apierrors.IsNotFound(err): // an API without that kind
			if version, is := c.older(ctx, steps[i].kind.since()); is {
				blind[i] = fmt.Sprintf("%s in namespace %s: Kubernetes %s doesn't have them in %s yet, as %s does",
					steps[i].kind.plural, c.namespace, version, steps[i].kind.group+"/"+steps[i].kind.version, steps[i].kind.since())
			}
		case err != nil:
			return c.fail(ctx, "list "+steps[i].kind.plural, "", err)
		}
		return nil
	})
	if err != nil {
		return consumers.Graph{}, err
	}
	return consumers.Graph{
		Consumers: s.finish(),
		Blind:     slices.DeleteFunc(blind, func(text string) bool { return text == "" }),
	}, nil
}

// survey gathers consumers from lists that arrive at the same time.
type survey struct {
	mu    sync.Mutex
	found []found
	rungs map[rung]*metav1.OwnerReference
	// old are the references of the ReplicaSets of Deployments, named like those.
	old []found
}

// found is a consumer whose owner is not followed up yet.
type found struct {
	consumers.Consumer
	owners []metav1.OwnerReference
}

// step is one list.
type step struct {
	kind kind
	list func(context.Context) error
}

func (s *survey) steps(c *connection) []step {
	return []step{
		listing(c, podKind, s, podFound),
		listing(c, replicaSetKind, s, s.replicaSet),
		listing(c, jobKind, s, s.job),
		listing(c, deploymentKind, s, func(o *appsv1.Deployment) found { return templateFound(deploymentKind, o, &o.Spec.Template) }),
		listing(c, statefulSetKind, s, func(o *appsv1.StatefulSet) found { return templateFound(statefulSetKind, o, &o.Spec.Template) }),
		listing(c, daemonSetKind, s, func(o *appsv1.DaemonSet) found { return templateFound(daemonSetKind, o, &o.Spec.Template) }),
		listing(c, cronJobKind, s, func(o *batchv1.CronJob) found {
			return templateFound(cronJobKind, o, &o.Spec.JobTemplate.Spec.Template)
		}),
		listing(c, replicationControllerKind, s, func(o *corev1.ReplicationController) found {
			return templateFound(replicationControllerKind, o, o.Spec.Template)
		}),
		listing(c, podTemplateKind, s, func(o *corev1.PodTemplate) found { return templateFound(podTemplateKind, o, &o.Template) }),
		listing(c, serviceAccountKind, s, accountFound),
		listing(c, ingressKind, s, ingressFound),
	}
}

// listing makes a step of what is found in one object of a list.
func listing[T any, Item unmarshaler[T]](c *connection, k kind, s *survey, look func(Item) found) step {
	var wanted only
	if k.plural == podKind.plural { // of which there are more than of all others
		wanted = onlyReferences
	}
	return step{k, func(ctx context.Context) error {
		var all []found
		err := stream(ctx, c, k, wanted, func() { all = nil }, func(object Item) {
			if f := look(object); len(f.Uses) > 0 {
				all = append(all, f)
			}
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		s.found = append(s.found, all...)
		return err
	}}
}

func foundIn(k kind, object metav1.Object, uses []consumers.Use) found {
	return found{
		Consumer: consumers.Consumer{Kind: strings.ToLower(k.kind), Name: object.GetName(), Uses: uses},
		owners:   object.GetOwnerReferences(),
	}
}

func podFound(pod *corev1.Pod) found {
	f := foundIn(podKind, pod, podUses(&pod.Spec))
	switch pod.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
	case corev1.PodPending:
		f.Running = pod.Spec.NodeName != "" // its kubelet mounts the volumes
	default:
		f.Running = true
	}
	return f
}

func templateFound(k kind, object metav1.Object, template *corev1.PodTemplateSpec) found {
	if template == nil {
		return found{}
	}
	return foundIn(k, object, podUses(&template.Spec))
}

// replicaSet is a consumer of its own unless it is a Deployment's.
func (s *survey) replicaSet(o *appsv1.ReplicaSet) found {
	f := templateFound(replicaSetKind, o, &o.Spec.Template)
	owner := controller(o.OwnerReferences)
	s.addRung(replicaSetKind, o.Name, owner)
	if owner == nil || owner.Kind != deploymentKind.kind {
		return f
	}
	if len(f.Uses) > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		f.Name = owner.Name
		s.old = append(s.old, f)
	}
	return found{}
}

// job is a consumer unless a CronJob has made it, and it is done.
func (s *survey) job(o *batchv1.Job) found {
	owner := controller(o.OwnerReferences)
	s.addRung(jobKind, o.Name, owner)
	done := slices.ContainsFunc(o.Status.Conditions, func(condition batchv1.JobCondition) bool {
		return condition.Status == corev1.ConditionTrue && (condition.Type == batchv1.JobComplete || condition.Type == batchv1.JobFailed)
	})
	if owner != nil && done {
		return found{}
	}
	return templateFound(jobKind, o, &o.Spec.Template)
}

func (s *survey) addRung(k kind, name string, owner *metav1.OwnerReference) {
	if owner == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rungs[rung{k.kind, name}] = owner
}

func accountFound(account *corev1.ServiceAccount) found {
	var uses []consumers.Use
	for _, reference := range account.Secrets {
		uses = append(uses, consumers.Use{Secret: reference.Name, How: consumers.Account})
	}
	for _, reference := range account.ImagePullSecrets {
		uses = append(uses, consumers.Use{Secret: reference.Name, How: consumers.Pull})
	}
	return foundIn(serviceAccountKind, account, uses)
}

func ingressFound(ingress *networkingv1.Ingress) found {
	var uses []consumers.Use
	for _, tls := range ingress.Spec.TLS {
		if tls.SecretName != "" {
			uses = append(uses, consumers.Use{Secret: tls.SecretName, How: consumers.TLS, Target: strings.Join(tls.Hosts, ",")})
		}
	}
	return foundIn(ingressKind, ingress, uses)
}

// finish follows the owners up, once all of them are known, and sorts.
func (s *survey) finish() []consumers.Consumer {
	s.addPrevious()
	all := make([]consumers.Consumer, len(s.found))
	for i, f := range s.found {
		all[i] = f.Consumer
		all[i].Owner = topOwner(f.owners, s.rungs)
	}
	slices.SortFunc(all, func(a, b consumers.Consumer) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return all
}

// addPrevious gives Deployments the references that only their older ReplicaSets have.
func (s *survey) addPrevious() {
	at := map[string]int{}
	for i, f := range s.found {
		if f.Kind == strings.ToLower(deploymentKind.kind) {
			at[f.Name] = i
		}
	}
	for _, older := range s.old {
		i, known := at[older.Name]
		if !known { // none of the references of its template are left, or it may not be listed
			i = len(s.found)
			at[older.Name] = i
			s.found = append(s.found, found{Consumer: consumers.Consumer{Kind: strings.ToLower(deploymentKind.kind), Name: older.Name}})
		}
		for _, use := range older.Uses {
			current := slices.ContainsFunc(s.found[i].Uses, func(u consumers.Use) bool {
				u.Previous, use.Previous = false, false
				return u == use
			})
			if !current {
				use.Previous = true
				s.found[i].Uses = append(s.found[i].Uses, use)
			}
		}
	}
}
