package translate

import (
	"strings"
)

// patchKinds are what a patch may be for, by what a user may call them.
var patchKinds = map[string]string{
	"pod": "Pod", "pods": "Pod", "po": "Pod",
	"deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
	"statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
	"daemonset": "DaemonSet", "daemonsets": "DaemonSet", "ds": "DaemonSet",
	"replicaset": "ReplicaSet", "replicasets": "ReplicaSet", "rs": "ReplicaSet",
	"job": "Job", "jobs": "Job", "cronjob": "CronJob", "cronjobs": "CronJob", "cj": "CronJob",
}

// PatchTarget reads TYPE/NAME, and tells whether a patch can be for it.
func PatchTarget(text string) (kind, name string, ok bool) {
	word, name, found := strings.Cut(text, "/")
	word, _, _ = strings.Cut(lower(word), ".")
	kind = patchKinds[word]
	return kind, name, found && kind != "" && name != "" && !strings.Contains(name, "/")
}

// target is what a patch is for, as kubectl takes it.
func (k *cluster) target() string {
	if kind, name, ok := PatchTarget(k.options.Workload); ok {
		k.kind, k.name = kind, name
	}
	return lower(k.kind) + "/" + k.name
}

func (k *cluster) containerName() string { return or(k.options.Container, dnsLabel(k.name)) }

// podFields are what secrets take of a pod's spec, but for its containers.
func (k *cluster) podFields() Fields {
	var spec Fields
	if k.fsGroup != nil {
		spec = append(spec, Field{"securityContext", Fields{{"fsGroup", *k.fsGroup}}})
	}
	for _, m := range k.mounts {
		at, _ := m.(Fields).get("mountPath").(string)
		if _, single := m.(Fields).get("subPath").(string); !single && ownDirectory(at) {
			k.w.note("its pods get no token of the API (automountServiceAccountToken: false)", "the token would have to stand within "+at+", where nothing else can be")
			spec = append(spec, Field{"automountServiceAccountToken", false})
			break
		}
	}
	return spec
}

// strategicPatch has what secrets take, in the form of the workload.
func (k *cluster) strategicPatch() Fields {
	container := Fields{{"name", k.containerName()}}.with("env", k.secretEnv).with("volumeMounts", k.mounts)
	spec := append(k.podFields(), Field{"containers", []any{container}}).with("volumes", k.volumes)
	for _, above := range wrapping(k.kind) {
		spec = Fields{{above, spec}}
	}
	return Fields{
		{"apiVersion", k.apiVersion()}, {"kind", k.kind},
		{"metadata", Fields{{"name", k.name}}.with("namespace", k.options.Namespace)}, {"spec", spec},
	}
}

// wrapping is where a pod's spec stands in that of a workload, from within.
func wrapping(kind string) []string {
	switch kind {
	case "Pod":
		return nil
	case "CronJob":
		return []string{"spec", "template", "spec", "jobTemplate"}
	}
	return []string{"spec", "template"}
}

// jsonPatch adds to the first container, and refuses where it is another one, or where there are volumes
// that it would replace.
func (k *cluster) jsonPatch() []any {
	base := "/spec"
	above := wrapping(k.kind)
	for i := len(above) - 1; i >= 0; i-- {
		base += "/" + above[i]
	}
	op := func(name, path string, value any) Fields {
		return Fields{{"op", name}, {"path", path}, {"value", value}}
	}
	container := base + "/containers/0"
	operations := []any{op("test", container+"/name", k.containerName())}
	for _, f := range k.podFields() {
		if f.Name == "securityContext" {
			operations = append(operations, op("test", base+"/securityContext/fsGroup", nil))
			operations = append(operations, op("add", base+"/securityContext", f.Value))
			continue
		}
		operations = append(operations, op("add", base+"/"+f.Name, f.Value))
	}
	if len(k.secretEnv) > 0 {
		if len(k.env) == 0 {
			operations = append(operations, op("test", container+"/env", nil), op("add", container+"/env", k.secretEnv))
		} else {
			for _, e := range k.secretEnv {
				operations = append(operations, op("add", container+"/env/-", e))
			}
		}
	}
	if len(k.mounts) > 0 {
		operations = append(operations,
			op("test", container+"/volumeMounts", nil), op("add", container+"/volumeMounts", k.mounts),
			op("test", base+"/volumes", nil), op("add", base+"/volumes", k.volumes))
		k.w.note("the patch is refused where there are volumes already", "by its form it could only replace them; --patch strategic adds to them")
	}
	return operations
}

// component is a kustomization of patches, to be named under components.
func (r *Result) component() (Fields, error) {
	var patches []any
	for _, t := range r.Workloads {
		text, err := yamlOf(t.Documents[0])
		if err != nil {
			return nil, err
		}
		kind, name, _ := strings.Cut(t.Target, "/")
		patches = append(patches, Fields{{"target", Fields{{"kind", patchKinds[kind]}, {"name", name}}}, {"patch", text}})
	}
	return Fields{{"apiVersion", "kustomize.config.k8s.io/v1alpha1"}, {"kind", "Component"}, {"patches", patches}}, nil
}
