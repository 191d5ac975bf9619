package kube

import (
	"fmt"
	"iter"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// referrer is an object of any kind that refers to Secrets by their names, as far as those can be
// replaced.
type referrer struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Paused      bool                    `json:"paused"`   // a Deployment
		Template    *corev1.PodTemplateSpec `json:"template"` // all that own pods
		JobTemplate struct {
			Spec struct {
				Template *corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"` // a CronJob
		TLS []networkingv1.IngressTLS `json:"tls"` // an Ingress
	} `json:"spec"`
	// Those of a ServiceAccount.
	Secrets          []corev1.ObjectReference      `json:"secrets"`
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets"`
}

// names are all names of Secrets in it, each with the JSON pointer to it.
func (r *referrer) names() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		more := true
		show := func(name, pointer string, at ...any) {
			if more && name != "" {
				more = yield(fmt.Sprintf(pointer, at...), name)
			}
		}
		if t := r.Spec.Template; t != nil {
			specNames("/spec/template/spec", &t.Spec, show)
		}
		if t := r.Spec.JobTemplate.Spec.Template; t != nil {
			specNames("/spec/jobTemplate/spec/template/spec", &t.Spec, show)
		}
		for i, tls := range r.Spec.TLS {
			show(tls.SecretName, "/spec/tls/%d/secretName", i)
		}
		for i, reference := range r.Secrets {
			show(reference.Name, "/secrets/%d/name", i)
		}
		for i, reference := range r.ImagePullSecrets {
			show(reference.Name, "/imagePullSecrets/%d/name", i)
		}
	}
}

// specNames shows all names of Secrets in the spec of a pod template.
func specNames(base string, spec *corev1.PodSpec, show func(name, pointer string, at ...any)) {
	for list, containers := range map[string][]corev1.Container{"initContainers": spec.InitContainers, "containers": spec.Containers} {
		for i, container := range containers {
			for j, from := range container.EnvFrom {
				if ref := from.SecretRef; ref != nil {
					show(ref.Name, "%s/%s/%d/envFrom/%d/secretRef/name", base, list, i, j)
				}
			}
			for j, variable := range container.Env {
				if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
					show(variable.ValueFrom.SecretKeyRef.Name, "%s/%s/%d/env/%d/valueFrom/secretKeyRef/name", base, list, i, j)
				}
			}
		}
	}
	for i := range spec.Volumes {
		volumeNames(fmt.Sprintf("%s/volumes/%d", base, i), &spec.Volumes[i], show)
	}
	for i, reference := range spec.ImagePullSecrets {
		show(reference.Name, "%s/imagePullSecrets/%d/name", base, i)
	}
}

func volumeNames(base string, volume *corev1.Volume, show func(name, pointer string, at ...any)) {
	if source := volume.Secret; source != nil {
		show(source.SecretName, "%s/secret/secretName", base)
	}
	if volume.Projected != nil {
		for i, source := range volume.Projected.Sources {
			if source.Secret != nil {
				show(source.Secret.Name, "%s/projected/sources/%d/secret/name", base, i)
			}
		}
	}
	local := func(field string, ref *corev1.LocalObjectReference) {
		if ref != nil {
			show(ref.Name, "%s/%s/name", base, field)
		}
	}
	switch {
	case volume.CSI != nil:
		local("csi/nodePublishSecretRef", volume.CSI.NodePublishSecretRef)
	case volume.FlexVolume != nil:
		local("flexVolume/secretRef", volume.FlexVolume.SecretRef)
	case volume.CephFS != nil:
		local("cephfs/secretRef", volume.CephFS.SecretRef)
	case volume.RBD != nil:
		local("rbd/secretRef", volume.RBD.SecretRef)
	case volume.ISCSI != nil:
		local("iscsi/secretRef", volume.ISCSI.SecretRef)
	case volume.ScaleIO != nil:
		local("scaleIO/secretRef", volume.ScaleIO.SecretRef)
	case volume.StorageOS != nil:
		local("storageos/secretRef", volume.StorageOS.SecretRef)
	case volume.AzureFile != nil:
		show(volume.AzureFile.SecretName, "%s/azureFile/secretName", base)
	}
}
