package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// secretName draws from few names, so that the same is used in many places.
func secretName(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c", "a.v2"}).Draw(t, "name")
}

func local(t *rapid.T) *corev1.LocalObjectReference {
	return &corev1.LocalObjectReference{Name: secretName(t)}
}

// drawVolume is one of each source that there is, also of those that have a like name and no Secret.
func drawVolume(t *rapid.T, name string) corev1.Volume {
	v := corev1.Volume{Name: name}
	s := &v.VolumeSource
	switch rapid.IntRange(0, 12).Draw(t, "source") {
	case 0, 1:
		s.Secret = &corev1.SecretVolumeSource{SecretName: secretName(t), Items: []corev1.KeyToPath{{Key: "a", Path: "a"}}}
	case 2, 3:
		s.Projected = &corev1.ProjectedVolumeSource{}
		for range rapid.IntRange(0, 4).Draw(t, "sources") {
			source := corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: *local(t)}}
			if rapid.Bool().Draw(t, "secret") {
				source = corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: *local(t), Items: []corev1.KeyToPath{{Key: "k", Path: "a"}}}}
			}
			s.Projected.Sources = append(s.Projected.Sources, source)
		}
	case 4:
		s.CSI = &corev1.CSIVolumeSource{Driver: "a", NodePublishSecretRef: local(t), VolumeAttributes: map[string]string{"secretName": "a"}}
	case 5:
		s.FlexVolume = &corev1.FlexVolumeSource{Driver: "a/b", SecretRef: local(t)}
	case 6:
		s.CephFS = &corev1.CephFSVolumeSource{Monitors: []string{"a"}, SecretRef: local(t)}
	case 7:
		s.RBD = &corev1.RBDVolumeSource{CephMonitors: []string{"a"}, SecretRef: local(t)}
	case 8:
		s.ISCSI = &corev1.ISCSIVolumeSource{TargetPortal: "a", SecretRef: local(t)}
	case 9:
		s.ScaleIO = &corev1.ScaleIOVolumeSource{Gateway: "a", SecretRef: local(t)}
	case 10:
		s.StorageOS = &corev1.StorageOSVolumeSource{VolumeName: "a", SecretRef: local(t)}
	case 11:
		s.AzureFile = &corev1.AzureFileVolumeSource{SecretName: secretName(t), ShareName: "a"}
	default:
		s.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: *local(t)}
	}
	return v
}

func drawContainer(t *rapid.T, name string) corev1.Container {
	c := corev1.Container{Name: name, Image: "a", Args: []string{"a", "b"}}
	for i := range rapid.IntRange(0, 4).Draw(t, "env") {
		variable := corev1.EnvVar{Name: fmt.Sprintf("V%d", i), Value: "a"}
		switch rapid.IntRange(0, 2).Draw(t, "from") {
		case 0:
			variable.Value, variable.ValueFrom = "", &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: *local(t), Key: "a"}}
		case 1:
			variable.Value, variable.ValueFrom = "", &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: *local(t), Key: "a"}}
		}
		c.Env = append(c.Env, variable)
	}
	for range rapid.IntRange(0, 4).Draw(t, "envFrom") {
		from := corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: *local(t)}}
		if rapid.Bool().Draw(t, "secret") {
			from = corev1.EnvFromSource{Prefix: "a", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: *local(t)}}
		}
		c.EnvFrom = append(c.EnvFrom, from)
	}
	return c
}

func drawSpec(t *rapid.T) corev1.PodSpec {
	spec := corev1.PodSpec{ServiceAccountName: "a"}
	for i := range rapid.IntRange(1, 3).Draw(t, "containers") {
		spec.Containers = append(spec.Containers, drawContainer(t, fmt.Sprintf("c%d", i)))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "initContainers") {
		spec.InitContainers = append(spec.InitContainers, drawContainer(t, fmt.Sprintf("i%d", i)))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "volumes") {
		spec.Volumes = append(spec.Volumes, drawVolume(t, fmt.Sprintf("v%d", i)))
	}
	for range rapid.IntRange(0, 2).Draw(t, "pull") {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, *local(t))
	}
	return spec
}

// objectOf is a workload as an API server shows it, with fields that nobody here has heard of.
func objectOf(t *rapid.T, spec corev1.PodSpec, scheduled bool) map[string]any {
	template := tree(t, corev1.PodTemplateSpec{Spec: spec}).(map[string]any)
	template["spec"].(map[string]any)["ofTheFuture"] = []any{map[string]any{"secretRef": map[string]any{"name": "a"}}}
	template["metadata"] = map[string]any{"labels": map[string]any{"a": "a"}}
	if rapid.Bool().Draw(t, "annotated") {
		template["metadata"].(map[string]any)["annotations"] = map[string]any{"a": "a", "kubectl.kubernetes.io/other": "b"}
	}
	inner := map[string]any{"template": template, "selector": map[string]any{"matchLabels": map[string]any{"a": "a"}}}
	if scheduled {
		inner = map[string]any{"schedule": "a", "jobTemplate": map[string]any{"spec": inner}}
	}
	return map[string]any{
		"kind": "a", "metadata": map[string]any{"name": "a", "uid": "u", "generation": 7.0, "annotations": map[string]any{"a": "a"}},
		"spec": inner, "status": map[string]any{"secretName": "a"},
	}
}

func tree(t rapid.TB, of any) (out any) {
	text, err := json.Marshal(of)
	if err != nil || json.Unmarshal(text, &out) != nil {
		t.Fatal(err)
	}
	return out
}

func read(t rapid.TB, object any) *referrer {
	text, err := json.Marshal(object)
	var r referrer
	if err != nil || json.Unmarshal(text, &r) != nil {
		t.Fatal(err)
	}
	return &r
}

// applied does what an API server does with a patch, in a bare way of its own (RFC 6902).
func applied(t rapid.TB, object any, patch []operation) any {
	out := tree(t, object)
	for _, o := range tree(t, patch).([]any) {
		op := o.(map[string]any)
		steps := strings.Split(strings.TrimPrefix(op["path"].(string), "/"), "/")
		at := out
		for _, step := range steps[:len(steps)-1] {
			if list, is := at.([]any); is {
				i, _ := strconv.Atoi(step)
				at = list[i]
				continue
			}
			at = at.(map[string]any)[step]
		}
		in := at.(map[string]any)
		last := strings.ReplaceAll(strings.ReplaceAll(steps[len(steps)-1], "~1", "/"), "~0", "~")
		now, there := in[last]
		switch op["op"] {
		case "test":
			if !reflect.DeepEqual(now, op["value"]) {
				t.Fatalf("test of %s: it is %v", op["path"], now)
			}
			continue
		case "replace":
			if !there {
				t.Fatalf("nothing to replace at %s", op["path"])
			}
		}
		in[last] = op["value"]
	}
	return out
}

// differences are the paths at which two trees aren't the same, and the value in the second.
func differences(path string, a, b any, into map[string]any) {
	switch x := a.(type) {
	case map[string]any:
		y, _ := b.(map[string]any)
		all := maps.Clone(x)
		maps.Copy(all, y)
		for k := range all {
			differences(path+"/"+k, x[k], y[k], into)
		}
		return
	case []any:
		if y, is := b.([]any); is && len(x) == len(y) {
			for i := range x {
				differences(path+"/"+strconv.Itoa(i), x[i], y[i], into)
			}
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		into[path] = b
	}
}

// What is replaced are all the references, and nothing but them.
func TestPatchChangesReferencesAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		scheduled := rapid.Bool().Draw(t, "scheduled")
		object := objectOf(t, spec, scheduled)
		step := rollout.Step{Replace: map[string]secret.Ref{}}
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c", "absent"}), rapid.ID[string]).Draw(t, "replaced") {
			step.Replace[name] = secret.Ref{Name: "new-" + name}
		}
		stamp := ""
		if !scheduled && rapid.Bool().Draw(t, "restart") {
			stamp = "2026-01-01T00:00:00Z"
		}
		r := read(t, object)
		patch := r.patch(step, stamp)
		after := applied(t, object, append(r.guard(), patch...))

		// The references are as many as Consumers finds, by its own way through the spec.
		before, now := read(t, object), read(t, after)
		wanted := names(podUses(template(before)))
		for i, name := range wanted {
			if to, is := step.Replace[name]; is {
				wanted[i] = to.Name
			}
		}
		slices.Sort(wanted)
		if got := names(podUses(template(now))); !slices.Equal(got, wanted) {
			t.Fatalf("the references are %q, not %q", got, wanted)
		}
		// And all else is the same: of the changes, each is a reference or the annotation.
		changes := map[string]any{}
		differences("", tree(t, object), after, changes)
		pointers := maps.Collect(now.names())
		for path, value := range changes {
			note := stamp != "" && strings.Contains(path, "/template/metadata/annotations")
			if name, is := pointers[path]; !note && (!is || name != value) {
				t.Fatalf("%s became %v", path, value)
			}
		}
		if stamp != "" && now.stamp() != stamp {
			t.Fatalf("restarted at %q", now.stamp())
		}
		if again := now.patch(step, stamp); len(again) > 0 {
			t.Fatalf("done twice: %v", again)
		}
	})
}

func template(r *referrer) *corev1.PodSpec {
	if r.Spec.Template != nil {
		return &r.Spec.Template.Spec
	}
	return &r.Spec.JobTemplate.Spec.Template.Spec
}

func TestStampOfARestartIsNew(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 999, time.UTC)
	for last, want := range map[string]string{
		"":                               "2026-01-02T03:04:05Z",
		"not a time":                     "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:04Z":           "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05Z":           "2026-01-02T03:04:06Z",
		"2026-01-02T04:04:05+01:00":      "2026-01-02T03:04:06Z",
		"2026-01-02T03:04:05.999999999Z": "2026-01-02T03:04:06Z",
		"2026-01-02T03:05:00Z":           "2026-01-02T03:05:01Z", // somebody's clock is fast
	} {
		r := &referrer{}
		r.Spec.Template = &corev1.PodTemplateSpec{}
		r.Spec.Template.Annotations = map[string]string{restartedAt: last}
		if got := r.nextStamp(now); got != want {
			t.Errorf("after %q: %s", last, got)
		}
	}
}

func TestTokens(t *testing.T) {
	for _, want := range []token{{1, ""}, {42, "2026-01-02T03:04:05+01:00"}} {
		if got, err := parseToken(want.String()); err != nil || got != want {
			t.Error(got, err)
		}
	}
	for _, text := range []string{"", "x", "@2026-01-02T03:04:05Z"} {
		if _, err := parseToken(text); err == nil {
			t.Errorf("%q is a token", text)
		}
	}
}
