package kube

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/rollout"
)

// names are the Secrets of some uses that are references of their own: a volume is one, however often it is
// mounted. The drawn containers mount none.
func names(uses []consumers.Use) (all []string) {
	for _, use := range uses {
		all = append(all, use.Secret)
	}
	slices.Sort(all)
	return all
}

func TestWhichReferencesAreLive(t *testing.T) {
	const spec = `
initContainers:
- {name: setup, volumeMounts: [{name: at-start, mountPath: /s}]}
- {name: side, restartPolicy: Always, volumeMounts: [{name: beside, mountPath: /s}]}
containers:
- name: a
  env: [{name: A, valueFrom: {secretKeyRef: {name: env, key: k}}}]
  envFrom: [{secretRef: {name: env-from}}]
  volumeMounts:
  - {name: file, mountPath: /file}
  - {name: both, mountPath: /both}
  - {name: both, mountPath: /both-sub, subPath: x}
  - {name: expr, mountPath: /expr, subPathExpr: $(A)}
  - {name: projected, mountPath: /projected}
  - {name: also, mountPath: /also}
volumes:
- {name: file, secret: {secretName: file}}
- {name: both, secret: {secretName: both}}
- {name: expr, projected: {sources: [{secret: {name: expr}}]}}
- {name: projected, projected: {sources: [{secret: {name: projected}}, {secret: {name: projected-too}}]}}
- {name: also, secret: {secretName: env}}
- {name: at-start, secret: {secretName: at-start}}
- {name: beside, secret: {secretName: beside}}
- {name: unmounted, secret: {secretName: unmounted}}
- {name: csi, csi: {driver: d, nodePublishSecretRef: {name: csi}}}
imagePullSecrets: [{name: pull}]
`
	var pod corev1.PodSpec
	if err := yaml.UnmarshalStrict([]byte(spec), &pod); err != nil {
		t.Fatal(err)
	}
	want := []rollout.Ref{
		{Name: "env"}, {Name: "env-from"}, {Name: "file", Live: true}, {Name: "both"}, {Name: "expr"},
		{Name: "projected", Live: true}, {Name: "projected-too", Live: true}, {Name: "at-start"}, {Name: "beside", Live: true},
		{Name: "unmounted", Live: true}, {Name: "csi"}, {Name: "pull", Live: true},
	}
	got := specRefs(&pod)
	order := func(refs []rollout.Ref) []rollout.Ref {
		slices.SortFunc(refs, func(a, b rollout.Ref) int { return strings.Compare(a.Name, b.Name) })
		return refs
	}
	if !slices.Equal(order(got), order(want)) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
