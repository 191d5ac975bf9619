package kube

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/secretx/secretx/shared/peek"
)

// wanting finds out what one container is meant to have, as the kubelet would.
type wanting struct {
	pod       *corev1.Pod
	container *corev1.Container
	keys      secretKeys
}

// all gives everything, and the directories that hold nothing but secrets.
func (w wanting) all() (wants []peek.Want, directories []string) {
	env, literals := w.environment()
	for _, mount := range w.container.VolumeMounts {
		files, whole := w.mounted(mount, literals)
		wants = append(wants, files...)
		if whole && !w.mountedBelow(mount.MountPath) {
			directories = append(directories, path.Clean(mount.MountPath))
		}
	}
	pointers := pointersTo(wants, w.container.Env, literals)
	return slices.Concat(wants, env, pointers), directories
}

// mountedBelow tells whether another volume has its files in a directory.
func (w wanting) mountedBelow(directory string) bool {
	directory = strings.TrimSuffix(path.Clean(directory), "/") + "/"
	return slices.ContainsFunc(w.container.VolumeMounts, func(m corev1.VolumeMount) bool {
		return strings.HasPrefix(path.Clean(m.MountPath), directory)
	})
}

// mounted are the files of one volume mount, and whether there is nothing else below it.
func (w wanting) mounted(mount corev1.VolumeMount, literals map[string]literal) (wants []peek.Want, whole bool) {
	i := slices.IndexFunc(w.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	if i < 0 {
		return nil, false
	}
	files, pure := w.volumeFiles(&w.pod.Spec.Volumes[i])
	below := mount.SubPath
	if mount.SubPathExpr != "" {
		expanded := expand(mount.SubPathExpr, literals)
		if !expanded.known {
			return nil, false // some of its files, but nobody can tell which
		}
		below = expanded.text
	}
	below = strings.Trim(path.Clean("/"+below), "/")
	for _, f := range files {
		rest, inside := f.path, true
		if below != "" && f.path != "" {
			rest, inside = strings.CutPrefix(f.path+"/", below+"/")
		}
		if !inside {
			continue
		}
		f.want.Path = path.Join(mount.MountPath, rest)
		f.want.SubPath = below != ""
		wants = append(wants, f.want)
	}
	return wants, pure && below == ""
}

// file is one file of a volume; its path is relative, and empty for a Secret whose keys are not
// known because it isn't there.
type file struct {
	path string
	want peek.Want
}

// volumeFiles are the files of Secrets in a volume, and whether it has no others.
func (w wanting) volumeFiles(volume *corev1.Volume) (files []file, pure bool) {
	if source := volume.Secret; source != nil {
		return w.secretFiles(source.SecretName, source.Items, source.DefaultMode, source.DefaultUser, isTrue(source.Optional)), true
	}
	if volume.Projected == nil {
		return nil, false
	}
	pure = true
	for _, source := range volume.Projected.Sources {
		if source.Secret == nil {
			pure = false
			continue
		}
		more := w.secretFiles(source.Secret.Name, source.Secret.Items, volume.Projected.DefaultMode, volume.Projected.DefaultUser, isTrue(source.Secret.Optional))
		for _, f := range more { // a later source wins
			files = slices.DeleteFunc(files, func(earlier file) bool { return earlier.path == f.path && f.path != "" })
		}
		files = append(files, more...)
	}
	return files, pure
}

func (w wanting) secretFiles(name string, items []corev1.KeyToPath, defaultMode *int32, defaultUser *int64, optional bool) []file {
	if len(items) == 0 {
		for _, key := range w.keys[name] {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	if len(items) == 0 && w.keys[name] == nil {
		return []file{{want: peek.Want{How: peek.File, Secret: name, Optional: optional}}}
	}
	var files []file
	for _, item := range items {
		want := peek.Want{How: peek.File, Secret: name, Key: item.Key, Optional: optional}
		mode, user := defaultMode, defaultUser
		if item.Mode != nil {
			mode = item.Mode
		}
		if item.User != nil {
			user = item.User
		}
		w.own(&want, mode, user)
		files = append(files, file{path: strings.Trim(path.Clean("/"+item.Path), "/"), want: want})
	}
	return files
}

// own sets the mode and the owner that the kubelet gives a file. The group of the pod may read what
// is given to it; without one, or a user in the volume, nothing is said of the owner.
func (w wanting) own(want *peek.Want, mode *int32, user *int64) {
	if os := w.pod.Spec.OS; os != nil && os.Name == corev1.Windows {
		return
	}
	want.Mode, want.HasMode = 0o644, true
	if mode != nil {
		want.Mode = uint32(*mode) & 0o777
	}
	var group *int64
	if w.pod.Spec.SecurityContext != nil {
		group = w.pod.Spec.SecurityContext.FSGroup
	}
	if group != nil {
		want.Mode |= 0o440
		want.FileGID = int(*group)
	}
	if user != nil {
		want.FileUID = int(*user)
	}
	want.Owned = group != nil || user != nil
}

// environment is what the container's variables hold of secrets, and the values of the others as far
// as its spec tells them. A later variable takes the place of an earlier one of its name.
func (w wanting) environment() ([]peek.Want, map[string]literal) {
	var wants []peek.Want
	literals := map[string]literal{}
	set := func(want peek.Want) {
		wants = slices.DeleteFunc(wants, func(earlier peek.Want) bool { return earlier.Variable == want.Variable && want.Variable != "" })
		if want.Secret != "" {
			wants = append(wants, want)
		}
	}
	for _, from := range w.container.EnvFrom {
		ref := from.SecretRef
		if ref == nil {
			continue
		}
		if w.keys[ref.Name] == nil {
			set(peek.Want{How: peek.Env, Secret: ref.Name, Optional: isTrue(ref.Optional)})
		}
		for _, key := range w.keys[ref.Name] {
			name := from.Prefix + key
			// Kubelets before 1.34 leave out what wasn't a proper name then.
			literals[name] = literal{}
			set(peek.Want{How: peek.Env, Secret: ref.Name, Key: key, Variable: name, Optional: isTrue(ref.Optional) || !properName(name)})
		}
	}
	for _, variable := range w.container.Env {
		want := peek.Want{How: peek.Env, Variable: variable.Name}
		switch from := variable.ValueFrom; {
		case from == nil:
			literals[variable.Name] = expand(variable.Value, literals)
		case from.SecretKeyRef != nil:
			want.Secret, want.Key, want.Optional = from.SecretKeyRef.Name, from.SecretKeyRef.Key, isTrue(from.SecretKeyRef.Optional)
			literals[variable.Name] = literal{}
		case from.FieldRef != nil:
			literals[variable.Name] = fieldValue(w.pod, from.FieldRef.FieldPath)
		default:
			literals[variable.Name] = literal{}
		}
		set(want)
	}
	return wants, literals
}

// properName tells whether every kubelet takes a name for that of a variable.
func properName(name string) bool {
	return name != "" && name != "." && !strings.HasPrefix(name, "..") && (name[0] < '0' || name[0] > '9')
}

// pointersTo are the variables that hold the path of a file.
func pointersTo(files []peek.Want, variables []corev1.EnvVar, literals map[string]literal) []peek.Want {
	var pointers []peek.Want
	for i, variable := range variables {
		value := literals[variable.Name]
		later := slices.ContainsFunc(variables[i+1:], func(v corev1.EnvVar) bool { return v.Name == variable.Name })
		if variable.ValueFrom != nil || !value.known || later {
			continue
		}
		for _, f := range files {
			if f.Key != "" && f.Path == value.text {
				pointers = append(pointers, peek.Want{How: peek.Pointer, Secret: f.Secret, Key: f.Key, Path: f.Path, Variable: variable.Name, Optional: f.Optional, SubPath: f.SubPath})
			}
		}
	}
	return pointers
}
