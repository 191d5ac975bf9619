package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/rollout"
)

// specRefs are the Secrets that the spec of a pod refers to, each once.
func specRefs(spec *corev1.PodSpec) []rollout.Ref {
	once := readOnce(spec)
	var refs []rollout.Ref
	for _, use := range podUses(spec) {
		live := false
		switch use.How {
		case consumers.File, consumers.Projected:
			live = !once[mounted{use.Where, use.Target}]
		case consumers.Pull: // asked for anew with each pull
			live = true
		}
		refs = addRef(refs, rollout.Ref{Name: use.Secret, Live: live})
	}
	return refs
}

// addRef adds a reference. A Secret is live only when each use of it is.
func addRef(refs []rollout.Ref, ref rollout.Ref) []rollout.Ref {
	if ref.Name == "" {
		return refs
	}
	if i := slices.IndexFunc(refs, func(r rollout.Ref) bool { return r.Name == ref.Name }); i >= 0 {
		refs[i].Live = refs[i].Live && ref.Live
		return refs
	}
	return append(refs, ref)
}

// liveRefs are the Secrets that something looks up by name whenever it needs them.
func liveRefs(uses []consumers.Use) (refs []rollout.Ref) {
	for _, use := range uses {
		refs = addRef(refs, rollout.Ref{Name: use.Secret, Live: true})
	}
	return refs
}

// mounted is a volume at its place in a container.
type mounted struct{ where, path string }

// readOnce are the mounts that don't follow a new value: a subPath, which is a copy for as long as the
// pod lives, and all mounts of an init container, which is through with what it has read.
func readOnce(spec *corev1.PodSpec) map[mounted]bool {
	once := map[mounted]bool{}
	for part := range parts(spec) {
		for _, mount := range part.container.VolumeMounts {
			if mount.SubPath != "" || mount.SubPathExpr != "" || part.kind == initial {
				once[mounted{part.where(), mount.MountPath}] = true
			}
		}
	}
	return once
}
