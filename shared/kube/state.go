package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/peek"
)

// judgeState says of a container whether there is anything to look into, and if not, why.
func judgeState(container *peek.Container, pod *corev1.Pod, part part, known secretKeys) {
	status := statusOf(pod, part)
	switch {
	case status == nil:
		container.Unseen = notStarted(pod)
	case status.State.Running != nil:
		container.Started = status.State.Running.StartedAt.Time
	case status.State.Terminated != nil:
		ended := status.State.Terminated
		container.Started = ended.StartedAt.Time
		if ended.ExitCode == 0 && !restarts(pod, part) {
			container.Over = true
			return
		}
		container.Unseen = "it has ended: " + endOf(ended)
	default:
		container.Unseen = waiting(pod, status)
	}
	silent := status != nil && status.State.Waiting != nil && status.State.Waiting.Message == ""
	if silent && status.LastTerminationState.Terminated == nil {
		container.Unseen += lacking(container.Wants, known)
	}
}

// statusOf is what the kubelet says of a container; nil when it has said nothing yet.
func statusOf(pod *corev1.Pod, part part) *corev1.ContainerStatus {
	of := pod.Status.ContainerStatuses
	switch part.kind {
	case initial, sidecar:
		of = pod.Status.InitContainerStatuses
	case ephemeral:
		of = pod.Status.EphemeralContainerStatuses
	}
	i := slices.IndexFunc(of, func(s corev1.ContainerStatus) bool { return s.Name == part.container.Name })
	if i < 0 {
		return nil
	}
	return &of[i]
}

// restarts tells whether a container that ended well is started again.
func restarts(pod *corev1.Pod, part part) bool {
	switch part.kind {
	case initial, ephemeral:
		return false
	case sidecar:
		return pod.Status.Phase == corev1.PodRunning
	}
	return pod.Spec.RestartPolicy == corev1.RestartPolicyAlways && pod.Status.Phase == corev1.PodRunning
}

func notStarted(pod *corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return "it has not started: " + cmp.Or(condition.Message, condition.Reason)
		}
	}
	if pod.Status.Reason != "" {
		return "it has not started: " + strings.TrimSuffix(pod.Status.Reason+": "+pod.Status.Message, ": ")
	}
	return "it has not started"
}

// waiting is what kubectl shows of a container that waits, and why it ended the last time.
func waiting(pod *corev1.Pod, status *corev1.ContainerStatus) string {
	text := "it is not running"
	if state := status.State.Waiting; state != nil && state.Reason != "" {
		text += ": " + state.Reason
		if state.Message != "" {
			text += ": " + strings.TrimSuffix(state.Message, fmt.Sprintf(" pod=%s_%s(%s)", pod.Name, pod.Namespace, pod.UID))
		}
	}
	if last := status.LastTerminationState.Terminated; last != nil {
		text += "; the last time it ended: " + endOf(last)
	}
	return text
}

func endOf(ended *corev1.ContainerStateTerminated) string {
	text := cmp.Or(ended.Reason, "ended")
	if ended.Signal != 0 {
		return fmt.Sprintf("%s, signal %d", text, ended.Signal)
	}
	return fmt.Sprintf("%s, exit code %d", text, ended.ExitCode)
}

// lacking names what a container can't start without: of a volume, its status says only that it is
// being created.
func lacking(wants []peek.Want, known secretKeys) string {
	var texts []string
	for _, w := range wants {
		if w.Optional {
			continue
		}
		text := ""
		if known[w.Secret] == nil {
			text = fmt.Sprintf("there is no Secret %q", w.Secret)
		} else if w.Key != "" && !known.has(w.Secret, w.Key) {
			text = fmt.Sprintf("the Secret %q has no key %q", w.Secret, w.Key)
		}
		if text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return "; " + strings.Join(texts, ", ")
}
