package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// standing is what a workload of any kind looks like to one who waits for it, in the words of
// `kubectl rollout status`.
type standing struct {
	generation, observed int64
	template             *corev1.PodTemplateSpec
	held                 string        // why its pods aren't all made anew
	progress             string        // what it still waits for; empty when all is done
	failed               string        // what its controller has given it up for
	probation            time.Duration // how long it is to be watched when all is done
	pods                 []*corev1.Pod // those that have the template as it is now
	stuck                []*corev1.Pod // those that the controller waits for in vain
}

// onProbation is how long pods are watched that count as ready as soon as they run: one that ends at once on
// its new value was ready, too. A Swarm watches its tasks as long.
const onProbation = 5 * time.Second

// probation is nothing for those that say themselves when they are ready, or say how long that takes.
func probation(template *corev1.PodTemplateSpec, minReadySeconds, pods int32) time.Duration {
	silent := slices.ContainsFunc(template.Spec.Containers, func(c corev1.Container) bool { return c.ReadinessProbe == nil })
	if pods == 0 || minReadySeconds > 0 || !silent {
		return 0
	}
	return onProbation
}

// object is a workload in the view; nil when it isn't there.
func (v *view) object(k kind, uid types.UID) *standing {
	switch {
	case k.in([]kind{deploymentKind}):
		if o := v.deployments[uid]; o != nil {
			return v.deployment(o)
		}
	case k.in([]kind{statefulSetKind}):
		if o := v.statefulSets[uid]; o != nil {
			return v.statefulSet(o)
		}
	case k.in([]kind{daemonSetKind}):
		if o := v.daemonSets[uid]; o != nil {
			return v.daemonSet(o)
		}
	}
	return nil
}

func (v *view) deployment(o *appsv1.Deployment) *standing {
	const revision = "deployment.kubernetes.io/revision"
	s := &standing{generation: o.Generation, observed: o.Status.ObservedGeneration, template: &o.Spec.Template, held: heldDeployment(o)}
	wanted, now := replicas(o.Spec.Replicas), o.Status
	switch {
	case now.UpdatedReplicas < wanted:
		s.progress = fmt.Sprintf("%d out of %d new replicas have been updated", now.UpdatedReplicas, wanted)
	case now.Replicas > now.UpdatedReplicas:
		s.progress = fmt.Sprintf("%d old replicas are pending termination", now.Replicas-now.UpdatedReplicas)
	case now.AvailableReplicas < now.UpdatedReplicas:
		s.progress = fmt.Sprintf("%d of %d updated replicas are available", now.AvailableReplicas, now.UpdatedReplicas)
	}
	s.probation = probation(s.template, o.Spec.MinReadySeconds, wanted)
	for _, condition := range now.Conditions {
		switch {
		case condition.Type == appsv1.DeploymentProgressing && condition.Reason == "ProgressDeadlineExceeded":
			s.failed = fmt.Sprintf("deployment %q exceeded its progress deadline", o.Name)
		case condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue && s.progress != "":
			s.progress += ": " + oneLine(condition.Message)
		}
	}
	for _, set := range v.replicaSets[o.UID] {
		if set.Annotations[revision] == o.Annotations[revision] {
			s.pods = append(s.pods, v.pods[set.UID]...)
		}
	}
	return s
}

func (v *view) statefulSet(o *appsv1.StatefulSet) *standing {
	s := &standing{generation: o.Generation, observed: o.Status.ObservedGeneration, template: &o.Spec.Template, held: heldStatefulSet(o)}
	wanted, now := replicas(o.Spec.Replicas), o.Status
	switch {
	case now.UpdatedReplicas < wanted:
		s.progress = fmt.Sprintf("%d out of %d new pods have been updated", now.UpdatedReplicas, wanted)
	case now.AvailableReplicas < wanted:
		s.progress = fmt.Sprintf("%d of %d pods are available", now.AvailableReplicas, wanted)
	}
	s.probation = probation(s.template, o.Spec.MinReadySeconds, wanted)
	ordered := o.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	for _, pod := range v.pods[o.UID] {
		switch {
		case pod.Labels[appsv1.ControllerRevisionHashLabelKey] == now.UpdateRevision:
			s.pods = append(s.pods, pod)
		case ordered:
			s.stuck = append(s.stuck, pod)
		}
	}
	return s
}

func (v *view) daemonSet(o *appsv1.DaemonSet) *standing {
	s := &standing{generation: o.Generation, observed: o.Status.ObservedGeneration, template: &o.Spec.Template, held: heldDaemonSet(o)}
	wanted, now := o.Status.DesiredNumberScheduled, o.Status
	switch {
	case now.UpdatedNumberScheduled < wanted:
		s.progress = fmt.Sprintf("%d out of %d new pods have been updated", now.UpdatedNumberScheduled, wanted)
	case now.NumberAvailable < wanted:
		s.progress = fmt.Sprintf("%d of %d updated pods are available", now.NumberAvailable, wanted)
	}
	s.probation = probation(s.template, o.Spec.MinReadySeconds, wanted)
	generation := o.Annotations[appsv1.DeprecatedTemplateGeneration]
	for _, pod := range v.pods[o.UID] {
		if generation != "" && pod.Labels["pod-template-generation"] == generation {
			s.pods = append(s.pods, pod)
		}
	}
	return s
}

// fault says what is wrong with the first of some pods that something is wrong with; hopeless tells
// whether waiting won't mend it.
func fault(pods []*corev1.Pod) (text string, hopeless bool) {
	pods = slices.Clone(pods)
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil {
			continue
		}
		why, never := podFault(pod)
		if why != "" && (text == "" || never) {
			text = fmt.Sprintf("pod %s: %s", pod.Name, why)
		}
		if never {
			return text, true
		}
	}
	return text, false
}

func podFault(pod *corev1.Pod) (text string, hopeless bool) {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		why, never := containerFault(pod, status)
		if why != "" && (text == "" || never) {
			text = fmt.Sprintf("container %s: %s", status.Name, why)
		}
		if never {
			return text, true
		}
	}
	if text == "" {
		text = condition(pod, corev1.PodScheduled)
	}
	return text, false
}

// crashes is how often a container may end until it's clear that it will the next time, too.
const crashes = 2

func containerFault(pod *corev1.Pod, status corev1.ContainerStatus) (text string, hopeless bool) {
	ended, last := status.State.Terminated, status.LastTerminationState.Terminated
	switch {
	case ended != nil && ended.ExitCode != 0 && status.RestartCount+1 >= crashes:
		return fmt.Sprintf("it ended %d times; the last time: %s", status.RestartCount+1, endOf(ended)), true
	case status.RestartCount >= crashes && !status.Ready && last != nil && last.ExitCode != 0 && status.State.Running != nil:
		return fmt.Sprintf("it was started again %d times; the last time it ended: %s", status.RestartCount, endOf(last)), true
	case status.State.Waiting == nil:
		return "", false
	}
	switch status.State.Waiting.Reason {
	case "", "ContainerCreating", "PodInitializing":
		return "", false
	case "CrashLoopBackOff", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError":
		hopeless = true
	case "CreateContainerError", "RunContainerError":
		// What the runtime says quotes the command, in which a variable may stand.
		hopeless = true
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: status.State.Waiting.Reason}
	}
	return strings.TrimPrefix(oneLine(waiting(pod, &status)), "it is not running: "), hopeless
}

// unready says what the first pod of some that isn't ready says of itself.
func unready(pods []*corev1.Pod) string {
	for _, pod := range pods {
		if why := condition(pod, corev1.PodReady); why != "" && pod.DeletionTimestamp == nil {
			return "pod " + pod.Name + ": " + why
		}
	}
	return ""
}

// condition says why a pod doesn't meet a condition; empty when it does.
func condition(pod *corev1.Pod, kind corev1.PodConditionType) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionFalse {
			return oneLine(strings.TrimPrefix(cmp.Or(c.Reason, string(kind))+": "+c.Message, ": "))
		}
	}
	return ""
}

// oneLine makes one line of what a server says, and not too long a one.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "…"
	}
	return text
}
