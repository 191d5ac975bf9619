package kube

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

func podWith(status corev1.ContainerStatus) *corev1.Pod {
	status.Name = "c"
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u"},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}},
	}
}

func waitsFor(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func ended(code int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", Message: "the password is " + printed}}
}

const printed = "hunter2"

// What a container has printed, or was to be started with, is never told: it may be the value.
func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		status   corev1.ContainerStatus
		want     string
		hopeless bool
	}{
		"starts":                {corev1.ContainerStatus{State: waitsFor("ContainerCreating", "")}, "", false},
		"runs":                  {corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, Ready: true}, "", false},
		"crashes again":         {corev1.ContainerStatus{State: waitsFor("CrashLoopBackOff", "back-off 10s"), LastTerminationState: ended(7), RestartCount: 1}, "exit code 7", true},
		"ended once":            {corev1.ContainerStatus{State: ended(7)}, "", false},
		"ended twice":           {corev1.ContainerStatus{State: ended(7), RestartCount: 1}, "it ended 2 times; the last time: Error, exit code 7", true},
		"runs for now":          {corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, LastTerminationState: ended(7), RestartCount: 2}, "exit code 7", true},
		"got ready at last":     {corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, LastTerminationState: ended(7), RestartCount: 2, Ready: true}, "", false},
		"first pull failed":     {corev1.ContainerStatus{State: waitsFor("ErrImagePull", "no such image")}, "ErrImagePull: no such image", false},
		"pulls no more":         {corev1.ContainerStatus{State: waitsFor("ImagePullBackOff", "back-off pulling")}, "ImagePullBackOff", true},
		"no Secret":             {corev1.ContainerStatus{State: waitsFor("CreateContainerConfigError", `secret "s" not found`)}, `secret "s" not found`, true},
		"a value for a program": {corev1.ContainerStatus{State: waitsFor("RunContainerError", `exec: "`+printed+`": not found`)}, "RunContainerError", true},
		"of a runtime":          {corev1.ContainerStatus{State: waitsFor("CreateContainerError", printed)}, "CreateContainerError", true},
	} {
		text, hopeless := fault([]*corev1.Pod{podWith(test.status)})
		if hopeless != test.hopeless || !strings.Contains(text, test.want) || (test.want == "") != (text == "") || strings.Contains(text, printed) {
			t.Errorf("%s: %q, hopeless: %v", name, text, hopeless)
		}
	}
	gone := podWith(corev1.ContainerStatus{State: waitsFor("CrashLoopBackOff", "")})
	gone.DeletionTimestamp = &metav1.Time{}
	if text, hopeless := fault([]*corev1.Pod{gone}); text != "" || hopeless {
		t.Error("one that is being deleted:", text)
	}
}

// standsFor gives a template that refers to one Secret.
func standsFor(name, stamp string) *corev1.PodTemplateSpec {
	return &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{restartedAt: stamp}},
		Spec:       corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}}}},
	}
}

const noon = "2026-01-01T12:00:00Z"

func judging() settling {
	step := rollout.Step{Workload: rollout.Workload{ID: "deployment/web"}, Replace: map[string]secret.Ref{"old": {Name: "new"}}, Restart: true}
	return settling{step: step, written: token{7, noon}, first: map[string]time.Time{}}
}

func TestJudge(t *testing.T) {
	crash := []*corev1.Pod{podWith(corev1.ContainerStatus{State: waitsFor("CrashLoopBackOff", "")})}
	now := time.Now()
	for name, test := range map[string]struct {
		o    standing
		done bool
		want string
	}{
		"not seen yet":         {standing{generation: 7, observed: 6, pods: crash}, false, "to be observed"},
		"an API server behind": {standing{generation: 6, observed: 6, template: standsFor("new", noon)}, false, "to be observed"},
		"all there":            {standing{generation: 7, observed: 7}, true, ""},
		"more on top":          {standing{generation: 9, observed: 9, template: standsFor("new", noon)}, true, ""},
		"restarted since":      {standing{generation: 9, observed: 9, template: standsFor("new", "2026-01-01T12:00:01Z")}, true, ""},
		"still at it":          {standing{generation: 7, observed: 7, progress: "1 of 2"}, false, "1 of 2"},
		"all there and ends":   {standing{generation: 7, observed: 7, pods: crash, probation: 1}, false, "CrashLoopBackOff"},
		"given up":             {standing{generation: 7, observed: 7, progress: "1 of 2", failed: "exceeded its progress deadline"}, false, "exceeded"},
		"held":                 {standing{generation: 7, observed: 7, progress: "1 of 2", held: "it is paused"}, false, "it is paused"},
		"the old name again":   {standing{generation: 8, observed: 8, template: standsFor("old", noon)}, false, `Secret "old" again`},
		"its restart undone":   {standing{generation: 8, observed: 8, template: standsFor("new", "2026-01-01T11:59:59Z")}, false, "took its restart back"},
	} {
		s := judging()
		text, done, err := s.judge(&test.o, now)
		if err != nil {
			var stuck *rollout.Stuck
			if !errors.As(err, &stuck) && !errors.Is(err, endpoint.ErrMoved) {
				t.Errorf("%s: %v is of no kind", name, err)
			}
			text = err.Error()
		}
		if done != test.done || !strings.Contains(text, test.want) {
			t.Errorf("%s: %q, %v", name, text, done)
		}
	}
}

// Pods that say nothing of themselves are watched for a while from when all of them are there.
func TestProbation(t *testing.T) {
	s, now := judging(), time.Now()
	after := func(d time.Duration, progress string) bool {
		_, done, err := s.judge(&standing{generation: 7, observed: 7, progress: progress, probation: onProbation}, now.Add(d))
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if after(0, "") || after(onProbation-1, "") {
		t.Error("they aren't watched")
	}
	if after(onProbation, "0 of 1 available") || after(onProbation+1, "") || !after(2*onProbation+1, "") {
		t.Error("the time that they were not all there counts")
	}
	s.nothing = true
	if !after(0, "") {
		t.Error("one that wasn't touched is watched")
	}
	probe := corev1.Container{ReadinessProbe: &corev1.Probe{}}
	for name, got := range map[string]time.Duration{
		"no pods": probation(&corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 1)}}, 0, 0),
		"probe":   probation(&corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{probe}}}, 0, 1),
		"minimum": probation(&corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 1)}}, 3, 1),
	} {
		if got != 0 {
			t.Errorf("%s: %s", name, got)
		}
	}
	if probation(&corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{probe, {}}}}, 0, 1) != onProbation {
		t.Error("a container without a probe isn't watched")
	}
}

func TestInTheWay(t *testing.T) {
	broken := podWith(corev1.ContainerStatus{State: waitsFor("CrashLoopBackOff", "")})
	s, now := judging(), time.Now()
	o := standing{generation: 7, observed: 7, stuck: []*corev1.Pod{broken}}
	if s.inTheWay(&o, now) != nil || s.inTheWay(&o, now.Add(blocked)) != broken {
		t.Error("not after", blocked)
	}
	for name, o := range map[string]standing{
		"of the template":  {generation: 7, observed: 7, pods: []*corev1.Pod{broken}},
		"not observed yet": {generation: 8, observed: 7, stuck: o.stuck},
		"nobody's to heal": {generation: 7, observed: 7, stuck: o.stuck, held: "OnDelete"},
		"well":             {generation: 7, observed: 7, stuck: []*corev1.Pod{podWith(corev1.ContainerStatus{Ready: true})}},
	} {
		if s.inTheWay(&o, now.Add(time.Hour)) != nil {
			t.Error(name)
		}
	}
}
