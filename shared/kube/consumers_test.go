package kube

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func samplePod() *corev1.Pod {
	always, yes := corev1.ContainerRestartPolicyAlways, true
	container := corev1.Container{
		Name: "web", Image: "x", Command: []string{"a", "b"},
		EnvFrom:      []corev1.EnvFromSource{{Prefix: "P_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "from"}, Optional: &yes}}},
		Env:          []corev1.EnvVar{{Name: "E", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "env"}, Key: "k"}}}},
		VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}},
	}
	side := container
	side.Name, side.RestartPolicy = "side", &always
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-1", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"x": string(bytes.Repeat([]byte("long "), 100))},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web", UID: "u", Controller: &yes}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: metav1.NewFieldsV1(`{"f:x":{}}`)}},
		},
		Spec: corev1.PodSpec{
			NodeName: "n", RestartPolicy: corev1.RestartPolicyAlways,
			InitContainers: []corev1.Container{side}, Containers: []corev1.Container{container},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Env: container.Env}, TargetContainerName: "web"}},
			Volumes:             []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}},
			ImagePullSecrets:    []corev1.LocalObjectReference{{Name: "pull"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Message: "long"},
	}
}

// What is left out before a pod is decoded makes no difference to what is found in it.
func TestReducedPodIsTheSameConsumer(t *testing.T) {
	for _, phase := range []corev1.PodPhase{"", corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded} {
		whole := samplePod()
		whole.Status.Phase = phase
		encoded, err := whole.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		less, ok := onlyReferences.reduce(nil, encoded)
		var reduced corev1.Pod
		if err := reduced.Unmarshal(less); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if got, want := podFound(&reduced), podFound(whole); !reflect.DeepEqual(got, want) || len(want.Uses) != 8 {
			t.Errorf("%d\n%+v\n%+v", len(want.Uses), got, want)
		}
		if len(reduced.ManagedFields) > 0 || len(reduced.Annotations) > 0 || reduced.Spec.Containers[0].Image != "" || len(less) > len(encoded)/2 {
			t.Errorf("%d of %d bytes are left", len(less), len(encoded))
		}
	}
}

func FuzzReduce(f *testing.F) {
	encoded, err := samplePod().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Fuzz(func(t *testing.T, message []byte) {
		less, ok := onlyReferences.reduce(nil, message)
		if len(less) > len(message) {
			t.Error("longer than before")
		}
		var whole, reduced corev1.Pod
		if whole.Unmarshal(message) != nil || !ok {
			return
		}
		if err := reduced.Unmarshal(less); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(podFound(&whole), podFound(&reduced)) {
			t.Error("another consumer")
		}
	})
}

func sampleList(t testing.TB, n int) []byte {
	list := corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}
	for i := range n {
		pod := samplePod()
		pod.Name = fmt.Sprint("web-", i)
		list.Items = append(list.Items, *pod)
	}
	raw, err := list.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	envelope := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Raw: raw}
	encoded, err := envelope.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(magic), encoded...)
}

func TestItemsOfAStream(t *testing.T) {
	for _, n := range []int{0, 1, 100} {
		encoded := sampleList(t, n)
		var names []string
		read := func(from []byte) error {
			names = nil
			return items(bytes.NewReader(from), func(b []byte) error {
				var pod corev1.Pod
				if err := pod.Unmarshal(b); err != nil {
					return err
				}
				names = append(names, pod.Name)
				return nil
			})
		}
		if err := read(encoded); err != nil || len(names) != n || n > 0 && names[n-1] != fmt.Sprint("web-", n-1) {
			t.Errorf("%d: %v %v", n, names, err)
		}
		if n > 1 {
			continue
		}
		for cut := range encoded {
			// A list can't be told from one that is cut behind it, before what may follow in the envelope.
			if err := read(encoded[:cut]); err == nil && len(names) < n {
				t.Errorf("cut at %d of %d: %v", cut, len(encoded), names)
			}
		}
	}
	if err := items(bytes.NewReader([]byte(`{"kind":"PodList"}`)), nil); !errors.Is(err, errAnswer) {
		t.Error(err)
	}
	if err := items(bytes.NewReader(nil), nil); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func FuzzItems(f *testing.F) {
	f.Add(sampleList(f, 2))
	f.Add(binary.AppendUvarint([]byte(magic+"\x12"), 1<<62))
	f.Fuzz(func(t *testing.T, answer []byte) {
		total := 0
		_ = items(bytes.NewReader(answer), func(b []byte) error { total += len(b); return nil })
		if total > len(answer) {
			t.Error("more than there is")
		}
	})
}
