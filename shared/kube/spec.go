package kube

import (
	"iter"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/consumers"
)

// How a container runs in its pod, as peek.Container.Kind has it.
const (
	normal    = ""
	initial   = "init"
	sidecar   = "sidecar"
	ephemeral = "ephemeral"
)

// part is one container of a pod's spec.
type part struct {
	kind      string
	container *corev1.Container
}

// where says which container it is, for people.
func (p part) where() string {
	switch p.kind {
	case normal:
		return "container " + p.container.Name
	case initial, ephemeral:
		return p.kind + " container " + p.container.Name
	}
	return p.kind + " " + p.container.Name
}

// parts are the containers of a spec, those first that run first.
func parts(spec *corev1.PodSpec) iter.Seq[part] {
	return func(yield func(part) bool) {
		for i := range spec.InitContainers {
			kind := initial
			if policy := spec.InitContainers[i].RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
				kind = sidecar
			}
			if !yield(part{kind, &spec.InitContainers[i]}) {
				return
			}
		}
		for i := range spec.Containers {
			if !yield(part{normal, &spec.Containers[i]}) {
				return
			}
		}
		for i := range spec.EphemeralContainers {
			container := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
			if !yield(part{ephemeral, &container}) {
				return
			}
		}
	}
}

// podUses are all references to Secrets in the spec of a pod or of a pod template.
func podUses(spec *corev1.PodSpec) []consumers.Use {
	var uses []consumers.Use
	for part := range parts(spec) {
		uses = append(uses, environmentUses(part)...)
	}
	for i := range spec.Volumes {
		uses = append(uses, volumeUses(spec, &spec.Volumes[i])...)
	}
	for _, reference := range spec.ImagePullSecrets {
		uses = append(uses, consumers.Use{Secret: reference.Name, How: consumers.Pull})
	}
	return uses
}

func environmentUses(part part) []consumers.Use {
	var uses []consumers.Use
	for _, from := range part.container.EnvFrom {
		if ref := from.SecretRef; ref != nil {
			uses = append(uses, consumers.Use{Secret: ref.Name, How: consumers.EnvFrom, Where: part.where(), Target: from.Prefix, Optional: isTrue(ref.Optional)})
		}
	}
	for _, variable := range part.container.Env {
		if variable.ValueFrom == nil || variable.ValueFrom.SecretKeyRef == nil {
			continue
		}
		ref := variable.ValueFrom.SecretKeyRef
		uses = append(uses, consumers.Use{Secret: ref.Name, Key: ref.Key, How: consumers.Env, Where: part.where(), Target: variable.Name, Optional: isTrue(ref.Optional)})
	}
	return uses
}

// volumeUses are the references of one volume: for secrets, once for each container that mounts it, or
// once with no place where none does.
func volumeUses(spec *corev1.PodSpec, volume *corev1.Volume) []consumers.Use {
	var uses []consumers.Use
	add := func(how consumers.How, name string, items []corev1.KeyToPath, optional bool) {
		use := consumers.Use{Secret: name, How: how, Optional: optional}
		if len(items) == 1 {
			use.Key = items[0].Key
		}
		mounted := false
		for part := range parts(spec) {
			for _, mount := range part.container.VolumeMounts {
				if mount.Name == volume.Name {
					use.Where, use.Target, mounted = part.where(), mount.MountPath, true
					uses = append(uses, use)
				}
			}
		}
		if !mounted {
			uses = append(uses, use)
		}
	}
	if source := volume.Secret; source != nil {
		add(consumers.File, source.SecretName, source.Items, isTrue(source.Optional))
	}
	if volume.Projected != nil {
		for _, source := range volume.Projected.Sources {
			if source.Secret != nil {
				add(consumers.Projected, source.Secret.Name, source.Secret.Items, isTrue(source.Secret.Optional))
			}
		}
	}
	if driver, name := driverSecret(volume); name != "" {
		uses = append(uses, consumers.Use{Secret: name, How: consumers.Driver, Where: "volume " + volume.Name, Target: driver})
	}
	return uses
}

// driverSecret is the Secret that is handed to the driver of a volume, and which driver it is.
func driverSecret(volume *corev1.Volume) (driver, name string) {
	local := func(driver string, ref *corev1.LocalObjectReference) (string, string) {
		if ref == nil {
			return driver, ""
		}
		return driver, ref.Name
	}
	switch {
	case volume.CSI != nil:
		return local(volume.CSI.Driver, volume.CSI.NodePublishSecretRef)
	case volume.FlexVolume != nil:
		return local(volume.FlexVolume.Driver, volume.FlexVolume.SecretRef)
	case volume.CephFS != nil:
		return local("cephfs", volume.CephFS.SecretRef)
	case volume.RBD != nil:
		return local("rbd", volume.RBD.SecretRef)
	case volume.ISCSI != nil:
		return local("iscsi", volume.ISCSI.SecretRef)
	case volume.ScaleIO != nil:
		return local("scaleio", volume.ScaleIO.SecretRef)
	case volume.StorageOS != nil:
		return local("storageos", volume.StorageOS.SecretRef)
	case volume.AzureFile != nil:
		return "azurefile", volume.AzureFile.SecretName
	}
	return "", ""
}

func isTrue(b *bool) bool { return b != nil && *b }
