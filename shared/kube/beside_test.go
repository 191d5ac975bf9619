package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A look that was killed leaves its helper in the pod, in whatever state: the next one takes over what will do,
// so that one runs and not two.
func TestHelperIsTakenOver(t *testing.T) {
	running := func(since time.Duration) *corev1.ContainerState {
		return &corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(-since))}}
	}
	waiting := func(reason string) *corev1.ContainerState {
		return &corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	for name, c := range map[string]struct {
		state *corev1.ContainerState
		as    *corev1.SecurityContext
		image string
		want  bool
	}{
		"no kubelet has seen it":     {nil, asRoot(), "i", true},
		"it is being made":           {waiting("ContainerCreating"), asRoot(), "i", true},
		"it runs":                    {running(time.Second), asRoot(), "i", true},
		"it runs out":                {running(helperLife - helperSpare + time.Second), asRoot(), "i", false},
		"it can't start":             {waiting("ImagePullBackOff"), asRoot(), "i", false},
		"it has ended":               {&corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}, asRoot(), "i", false},
		"it may do something else":   {running(time.Second), asUsualRoot(), "i", false},
		"it is of another image":     {running(time.Second), asRoot(), "j", false},
		"its state is not known yet": {&corev1.ContainerState{}, asRoot(), "i", false},
	} {
		helper := newHelper("app", c.image, c.as)
		pod := &corev1.Pod{Spec: corev1.PodSpec{EphemeralContainers: []corev1.EphemeralContainer{helper}}}
		if c.state != nil {
			pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: helper.Name, State: *c.state}}
		}
		want := ""
		if c.want {
			want = helper.Name
		}
		if got := usable(pod, "app", "i", asRoot()); got != want {
			t.Errorf("%s: %q instead of %q", name, got, want)
		}
		ended := c.state != nil && c.state.Terminated != nil
		if got := living(pod); len(got) != map[bool]int{false: 1, true: 0}[ended] {
			t.Errorf("%s: named are %q", name, got)
		}
		if got := usable(pod, "other", "i", asRoot()); got != "" {
			t.Errorf("%s: it looks at another container: %q", name, got)
		}
	}
}
