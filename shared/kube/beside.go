package kube

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

// An ephemeral container of ours does nothing: the script is run in it by exec. It ends by itself, and
// until then the next look takes it over.
const (
	helperPrefix = "secretx-peek-" // of its name
	helperImage  = "busybox:stable"
	helperLife   = 60 * time.Second
	helperSpare  = 20 * time.Second // of its life that a look should still have
	helperStart  = 60 * time.Second // within which it must run
)

// lookBeside looks from an ephemeral container that shares the processes of the one to look into,
// and so gets to its files: as the user of that container where it is known, which is what the
// restricted Pod Security Standard allows; then as root with the two capabilities that it takes; and
// where the baseline standard forbids those, as root with the usual ones, which suffice beside another
// root that has no more.
func (c *connection) lookBeside(ctx context.Context, container *peek.Container, question question, options peek.LookOptions, denied bool) (peek.Seen, error) {
	var pod corev1.Pod
	if err := c.get(ctx, podKind, container.Name, &pod); err != nil {
		return peek.Seen{}, c.fail(ctx, "look at pod", container.Name, err)
	}
	target := partCalled(&pod, container.Container)
	if target.container == nil {
		return peek.Seen{}, errGone
	}
	contexts := []*corev1.SecurityContext{asRoot(), asUsualRoot()}
	if user := asUser(&pod, target); user != nil && !denied {
		contexts = slices.Insert(contexts, 0, user)
	}
	// All that stay behind are named: those of now, and those of looks that were killed.
	helpers := living(&pod)
	note := func(name string) {
		helpers = append(helpers, name)
		slices.Sort(helpers)
		helpers = slices.Compact(helpers)
		container.Note = fmt.Sprintf("ephemeral container %s stays in the spec of pod %s", name, pod.Name)
		if len(helpers) > 1 {
			container.Note = fmt.Sprintf("ephemeral containers %s stay in the spec of pod %s", strings.Join(helpers, ", "), pod.Name)
		}
	}
	var best *peek.Seen
	var failure error
	for _, as := range contexts {
		seen, err := c.lookAs(ctx, &pod, target, as, note, question, options)
		switch {
		case err == nil && !partly(seen):
			return seen, nil
		case err == nil:
			best = &seen
			continue
		}
		if failure == nil || !barred(err) {
			failure = err
		}
		if !barred(err) && !errors.Is(err, errClosed) {
			break
		}
	}
	if best != nil {
		return *best, nil
	}
	return peek.Seen{}, failure
}

// barred tells whether the namespace lets in no container like that, whoever adds it.
func barred(err error) bool {
	return errors.Is(err, endpoint.ErrForbidden) && strings.Contains(err.Error(), "violates PodSecurity")
}

// lookAs looks from an ephemeral container with that security context.
func (c *connection) lookAs(ctx context.Context, pod *corev1.Pod, target part, as *corev1.SecurityContext, note func(string), question question, options peek.LookOptions) (peek.Seen, error) {
	image := cmp.Or(options.HelperImage, helperImage)
	name := usable(pod, target.container.Name, image, as)
	if name == "" {
		options.Progress(fmt.Sprintf("starting an ephemeral container in pod %q", pod.Name))
		helper := newHelper(target.container.Name, image, as)
		if err := c.addHelper(ctx, pod.Name, helper); err != nil {
			return peek.Seen{}, err
		}
		name = helper.Name
	}
	note(name)
	if err := c.awaitHelper(ctx, pod.Name, name, image); err != nil {
		return peek.Seen{}, err
	}
	place := "beside"
	if isTrue(pod.Spec.ShareProcessNamespace) || pod.Spec.HostPID {
		place = "among"
	}
	id := ""
	if status := statusOf(pod, target); status != nil {
		_, id, _ = strings.Cut(status.ContainerID, "://")
	}
	return c.ask(ctx, pod.Name, name, question, options, place, id)
}

// living are the helpers in a pod that haven't ended.
func living(pod *corev1.Pod) (names []string) {
	for i := range pod.Spec.EphemeralContainers {
		helper := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		status := statusOf(pod, part{ephemeral, &helper})
		if strings.HasPrefix(helper.Name, helperPrefix) && (status == nil || status.State.Terminated == nil) {
			names = append(names, helper.Name)
		}
	}
	return names
}

func partCalled(pod *corev1.Pod, name string) part {
	for part := range parts(&pod.Spec) {
		if part.container.Name == name {
			return part
		}
	}
	return part{}
}

// asUser is for a helper that may do what the target's user may, and nothing else; nil when that is
// root, or only the image tells.
func asUser(pod *corev1.Pod, target part) *corev1.SecurityContext {
	var user, group *int64
	if of := pod.Spec.SecurityContext; of != nil {
		user, group = of.RunAsUser, of.RunAsGroup
	}
	if of := target.container.SecurityContext; of != nil {
		user, group = cmp.Or(of.RunAsUser, user), cmp.Or(of.RunAsGroup, group)
	}
	if status := statusOf(pod, target); status != nil && status.User != nil && status.User.Linux != nil {
		user, group = &status.User.Linux.UID, &status.User.Linux.GID
	}
	if user == nil || *user == 0 {
		return nil
	}
	nonRoot := true
	as := confined()
	as.RunAsUser, as.RunAsGroup, as.RunAsNonRoot = user, group, &nonRoot
	return as
}

// asRoot is for a helper that may look into processes of others and read what only others may.
func asRoot() *corev1.SecurityContext {
	root, nonRoot := int64(0), false
	as := confined()
	as.RunAsUser, as.RunAsGroup, as.RunAsNonRoot = &root, &root, &nonRoot
	as.Capabilities.Add = []corev1.Capability{"SYS_PTRACE", "DAC_READ_SEARCH"}
	return as
}

func asUsualRoot() *corev1.SecurityContext {
	as := asRoot()
	as.Capabilities = nil
	return as
}

func confined() *corev1.SecurityContext {
	no, yes := false, true
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		ReadOnlyRootFilesystem:   &yes,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func newHelper(target, image string, as *corev1.SecurityContext) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{
		TargetContainerName: target,
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name:            helperPrefix + strings.ToLower(rand.Text()[:5]),
			Image:           image,
			ImagePullPolicy: corev1.PullIfNotPresent,
			Command:         []string{"sleep", fmt.Sprint(int(helperLife.Seconds()))},
			SecurityContext: as,
		},
	}
}

// usable finds a helper that an earlier look has left behind and that runs on for a while, or is about to start.
func usable(pod *corev1.Pod, target, image string, as *corev1.SecurityContext) string {
	for i := range pod.Spec.EphemeralContainers {
		helper := &pod.Spec.EphemeralContainers[i]
		common := corev1.Container(helper.EphemeralContainerCommon)
		status := statusOf(pod, part{ephemeral, &common})
		if strings.HasPrefix(helper.Name, helperPrefix) && helper.TargetContainerName == target && helper.Image == image &&
			alike(helper.SecurityContext, as) && lives(status) {
			return helper.Name
		}
	}
	return ""
}

// lives tells whether a helper with that status runs for long enough, or will. Without one, no kubelet has seen
// it yet.
func lives(status *corev1.ContainerStatus) bool {
	switch {
	case status == nil:
		return true
	case status.State.Running != nil:
		return time.Since(status.State.Running.StartedAt.Time) < helperLife-helperSpare
	}
	return status.State.Waiting != nil && !hopeless(status.State.Waiting.Reason)
}

// alike tells whether two helpers may do the same.
func alike(a, b *corev1.SecurityContext) bool {
	return a != nil && a.RunAsUser != nil && *a.RunAsUser == *b.RunAsUser && (a.Capabilities == nil) == (b.Capabilities == nil)
}

func (c *connection) addHelper(ctx context.Context, pod string, helper corev1.EphemeralContainer) error {
	const op = "add an ephemeral container to pod"
	if version, is := c.older(ctx, ephemeralSince); is {
		return c.noEphemeral(op, pod, version)
	}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{helper}}})
	if err != nil {
		return err
	}
	var patched corev1.Pod
	_, err = c.send(ctx, func() *rest.Request {
		return c.client.Patch(types.StrategicMergePatchType).AbsPath(podKind.path()).Namespace(c.namespace).Resource(podKind.plural).
			Name(pod).SubResource("ephemeralcontainers").Param("fieldManager", FieldManager).Body(body)
	}, &patched)
	switch {
	case absent(err):
		return c.noEphemeral(op, pod, "")
	case err != nil:
		return c.fail(ctx, op, pod, err)
	}
	return nil
}

// awaitHelper waits until a helper runs, or can't. It asks again and again, since who may get pods
// need not be allowed to watch them.
func (c *connection) awaitHelper(ctx context.Context, podName, name, image string) error {
	tooLate := time.After(helperStart)
	for {
		var pod corev1.Pod
		if err := c.get(ctx, podKind, podName, &pod); err != nil {
			return c.fail(ctx, "look at pod", podName, err)
		}
		status := statusOf(&pod, part{ephemeral, &corev1.Container{Name: name}})
		switch {
		case status == nil:
		case status.State.Running != nil:
			return nil
		case status.State.Terminated != nil:
			return fmt.Errorf("the ephemeral container has ended at once (%s): image %q needs a shell, cat, stat and sleep", endOf(status.State.Terminated), image)
		case status.State.Waiting != nil && hopeless(status.State.Waiting.Reason):
			return fmt.Errorf("the ephemeral container can't start: %s: %s", status.State.Waiting.Reason, status.State.Waiting.Message)
		}
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			return errGone
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tooLate:
			return fmt.Errorf("the ephemeral container has not started within %s", helperStart)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// hopeless tells whether a container that waits for this won't start without somebody's doing.
func hopeless(reason string) bool {
	return reason != "" && reason != "ContainerCreating" && reason != "PodInitializing"
}
