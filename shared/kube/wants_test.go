package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// spelled is a want in one line.
func spelled(pod *corev1.Pod, known secretKeys) (lines, directories []string) {
	for _, container := range containersOf(pod, "pod/p", known) {
		for _, w := range container.Wants {
			line := fmt.Sprintf("%s %s/%s %s%s", w.How, w.Secret, w.Key, w.Path, w.Variable)
			if w.HasMode {
				line += fmt.Sprintf(" %04o", w.Mode)
			}
			if w.Owned {
				line += fmt.Sprintf(" %d:%d", w.FileUID, w.FileGID)
			}
			for flag, set := range map[string]bool{" optional": w.Optional, " subPath": w.SubPath} {
				if set {
					line += flag
				}
			}
			lines = append(lines, line)
		}
		directories = append(directories, container.Directories...)
	}
	return lines, directories
}

func TestWants(t *testing.T) {
	known := secretKeys{"s": {"a", "b"}, "num": {"1st", "x.y"}, "empty": {}, "absent": nil}
	for name, test := range map[string]struct {
		spec        string
		want        []string
		directories []string
	}{
		"whole": {`
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v/}]}]
volumes: [{name: v, secret: {secretName: s}}]`,
			[]string{"file s/a /v/a 0644", "file s/b /v/b 0644"}, []string{"/v"}},
		"modes": {`
securityContext: {fsGroup: 5}
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]
volumes: [{name: v, secret: {secretName: s, defaultMode: 256, items: [{key: a, path: x/y}, {key: z, path: z, mode: 511}]}}]`,
			[]string{"file s/a /v/x/y 0440 0:5", "file s/z /v/z 0777 0:5"}, []string{"/v"}},
		"user of the volume": {`
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]
volumes: [{name: v, secret: {secretName: s, defaultUser: 7, items: [{key: a, path: a}, {key: b, path: b, user: 8}]}}]`,
			[]string{"file s/a /v/a 0644 7:0", "file s/b /v/b 0644 8:0"}, []string{"/v"}},
		"windows": {`
os: {name: windows}
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]
volumes: [{name: v, secret: {secretName: s, items: [{key: a, path: a}]}}]`,
			[]string{"file s/a /v/a"}, []string{"/v"}},
		"absent": {`
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}], envFrom: [{secretRef: {name: absent}}]}]
volumes: [{name: v, secret: {secretName: absent, optional: true}}]`,
			[]string{"file absent/ /v optional", "env absent/ "}, []string{"/v"}},
		"empty": {`
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}], envFrom: [{secretRef: {name: empty}}]}]
volumes: [{name: v, secret: {secretName: empty}}]`,
			nil, []string{"/v"}},
		"subPath of a file and of a folder": {`
containers: [{name: c, volumeMounts: [{name: v, mountPath: /etc/x, subPath: d/a}, {name: v, mountPath: /etc/d, subPath: ./d/}, {name: v, mountPath: /etc/none, subPath: a}]}]
volumes: [{name: v, secret: {secretName: s, items: [{key: a, path: d/a}, {key: b, path: d/b}]}}]`,
			[]string{"file s/a /etc/x 0644 subPath", "file s/a /etc/d/a 0644 subPath", "file s/b /etc/d/b 0644 subPath"}, nil},
		"subPathExpr": {`
containers:
- name: c
  env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: L, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}, {name: S, valueFrom: {secretKeyRef: {name: s, key: a}}}]
  volumeMounts: [{name: v, mountPath: /x, subPathExpr: $(POD)-$(L)}, {name: v, mountPath: /y, subPathExpr: $(S)}]
volumes: [{name: v, secret: {secretName: s, items: [{key: a, path: p-web}]}}]`,
			[]string{"file s/a /x 0644 subPath", "env s/a S"}, nil},
		"projected": {`
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /w}]}]
volumes:
- {name: v, projected: {sources: [{secret: {name: s}}, {secret: {name: num, items: [{key: x.y, path: a}]}}]}}
- {name: w, projected: {sources: [{secret: {name: s, items: [{key: a, path: a}]}}, {serviceAccountToken: {path: token}}]}}`,
			[]string{"file s/b /v/b 0644", "file num/x.y /v/a 0644", "file s/a /w/a 0644"}, []string{"/v"}},
		"a mount within": {`
containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /v/w}, {name: v, mountPath: /vw}]}]
volumes: [{name: v, secret: {secretName: s, items: [{key: a, path: a}]}}, {name: w, emptyDir: {}}]`,
			[]string{"file s/a /v/a 0644", "file s/a /vw/a 0644"}, []string{"/vw"}},
		"environment": {`
containers:
- name: c
  envFrom: [{secretRef: {name: num}}, {prefix: P_, secretRef: {name: s, optional: true}}]
  env:
  - {name: x.y, value: literal}
  - {name: P_a, valueFrom: {secretKeyRef: {name: num, key: 1st}}}
  - {name: P_a, valueFrom: {secretKeyRef: {name: num, key: x.y, optional: true}}}`,
			[]string{"env num/1st 1st optional", "env s/b P_b optional", "env num/x.y P_a optional"}, nil},
		"pointers": {`
containers:
- name: c
  env: [{name: ROOT, value: /v}, {name: A_FILE, value: $(ROOT)/a}, {name: B_FILE, value: /elsewhere}, {name: C, value: $$(ROOT)/a}, {name: D, value: /v/b}, {name: D, value: other}]
  volumeMounts: [{name: v, mountPath: /v}]
volumes: [{name: v, secret: {secretName: s, optional: true, items: [{key: a, path: a}, {key: b, path: b}]}}]`,
			[]string{"file s/a /v/a 0644 optional", "file s/b /v/b 0644 optional", "pointer s/a /v/aA_FILE optional"}, []string{"/v"}},
		"pull": {`
initContainers: [{name: i}]
containers: [{name: c}]
imagePullSecrets: [{name: registry}]`,
			[]string{"pull registry/ "}, nil},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"app": "web"}}}
		if err := yaml.UnmarshalStrict([]byte(test.spec), &pod.Spec); err != nil {
			t.Fatal(name, err)
		}
		got, directories := spelled(pod, known)
		if !slices.Equal(got, test.want) || !slices.Equal(directories, test.directories) {
			t.Errorf("%s: got\n%s\n%q", name, strings.Join(got, "\n"), directories)
		}
	}
}

func TestExpand(t *testing.T) {
	variables := map[string]literal{"A": {"a", true}, "SECRET": {}}
	for text, want := range map[string]string{
		"": "", "$": "$", "$$": "$", "$(A)": "a", "x$(A)$(A)y": "xaay", "$$(A)": "$(A)", "$(B)": "$(B)", "$(A": "$(A", "$A": "$A", "$(": "$(", "$()": "$()",
	} {
		if got := expand(text, variables); got.text != want || !got.known {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if got := expand("x$(SECRET)", variables); got.known {
		t.Error(got)
	}
}
