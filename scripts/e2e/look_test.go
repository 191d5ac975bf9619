//go:build e2e

package e2e

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const distroless = "secretx-test/distroless:1"

// putService makes a service of the testbed's images that has a secret as a file, on the node that we
// speak to or on another one, which gets the helper, and waits until it runs. It tells whether there is
// such a node.
func (w *world) putService(t testing.TB, name, image, secretName string, elsewhere bool) bool {
	t.Helper()
	info, err := w.swarm.Info(t.Context())
	must(t, err)
	constraint := "node.id==" + info.Swarm.NodeID
	if elsewhere {
		at := slices.IndexFunc(get[[]swarm.Node](t)(w.swarm.NodeList(t.Context(), swarm.NodeListOptions{})), func(n swarm.Node) bool {
			return n.ID != info.Swarm.NodeID && n.Status.State == swarm.NodeStateReady && n.Spec.Availability == swarm.NodeAvailabilityActive
		})
		if at < 0 {
			return false
		}
		constraint = "node.id!=" + info.Swarm.NodeID
		bringHelper(t)
	}
	found, err := w.swarm.ImageInspect(t.Context(), image)
	must(t, err)
	all := get[[]swarm.Secret](t)(w.swarm.SecretList(t.Context(), swarm.SecretListOptions{Filters: filters.NewArgs(filters.Arg("name", secretName))}))
	at := slices.IndexFunc(all, func(s swarm.Secret) bool { return s.Spec.Name == secretName })
	if at < 0 {
		t.Fatalf("there is no secret %s", secretName)
	}
	made, err := w.swarm.ServiceCreate(t.Context(), swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Image: found.ID, Env: []string{"VALUE_FILE=/run/secrets/value"},
				Secrets: []*swarm.SecretReference{{
					SecretID: all[at].ID, SecretName: secretName,
					File: &swarm.SecretReferenceFileTarget{Name: "value", UID: "0", GID: "0", Mode: 0o400},
				}},
			},
			Placement: &swarm.Placement{Constraints: []string{constraint}},
		},
	}, swarm.ServiceCreateOptions{})
	must(t, err)
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		tasks := get[[]swarm.Task](t)(w.swarm.TaskList(t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", made.ID))}))
		if slices.ContainsFunc(tasks, func(t swarm.Task) bool { return t.Status.State == swarm.TaskStateRunning }) {
			return true
		}
		if time.Since(began) > time.Minute {
			text, _ := json.Marshal(tasks)
			t.Fatalf("service %s doesn't run: %s", name, text)
		}
	}
}

// volume gives a container all keys of a Secret as files.
func volume(secretName string, c corev1.Container) corev1.PodSpec {
	c.Name, c.VolumeMounts = "c", []corev1.VolumeMount{{Name: "s", MountPath: "/s"}}
	return corev1.PodSpec{
		Containers: []corev1.Container{c},
		Volumes:    []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secretName}}}},
	}
}

// lookRuns runs the verbs that look into containers, by each of the ways to do so: a helper beside a
// container of the engine, a job on another node where there is one, exec, and an ephemeral container.
func lookRuns(t *testing.T, w *world, s, variable *search, all *runs) {
	t.Helper()
	space := get[string](t)(w.namespace())
	in := []string{"-n", space}
	name, ofVariable := w.prefix+"look", w.prefix+"variable"
	must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": []byte(s.value)}}))
	must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: ofVariable}, Data: map[string][]byte{"v": []byte(variable.value)}}))
	must(t, putSwarm(w.swarm, name, []byte(s.value), nil))
	all.both([]int{0}, append([]string{"sync", "--from", "kubernetes", "--to", "swarm", name}, in...)...)

	services := []string{"swarm/" + name, "swarm/" + name + "-mirror"}
	w.putService(t, name, distroless, name, false)
	w.putService(t, name+"-mirror", distroless, name+".v", false)
	if w.putService(t, name+"-elsewhere", distroless, name, true) {
		services = append(services, "swarm/"+name+"-elsewhere")
	} else {
		t.Log("this Swarm has one node: no look by a job (scripts/testbed up --nodes 3)")
	}
	nobody, yes, no := int64(65534), true, false
	must(t, w.putPod(space, "shell", nil, volume(name, corev1.Container{Image: busybox, Command: []string{"sleep", "1000"}})))
	must(t, w.putPod(space, "bare", nil, volume(name, corev1.Container{Image: distroless})))
	must(t, w.putPod(space, "nobody", nil, volume(name, corev1.Container{Image: distroless, SecurityContext: &corev1.SecurityContext{
		RunAsUser: &nobody, RunAsNonRoot: &yes, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}})))
	for pod, c := range map[string]corev1.Container{"variable": {Image: busybox, Command: []string{"sleep", "1000"}}, "variable-bare": {Image: distroless}} {
		c.Name, c.Env = "c", []corev1.EnvVar{
			{Name: bears, Value: "yes"},
			{Name: "V", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: ofVariable}, Key: "v"}}},
		}
		must(t, w.putPod(space, pod, nil, corev1.PodSpec{Containers: []corev1.Container{c}}))
	}
	w.running(t, space, "shell", "bare", "nobody", "variable", "variable-bare")

	pods := []string{"k8s/shell", "k8s/bare", "k8s/nobody", "k8s/variable", "k8s/variable-bare"}
	ephemeral := []string{"--allow-ephemeral", "--helper-image", busybox}
	peek := func(targets []string, more ...string) []string {
		return append(append(append([]string{"peek-in-container"}, in...), targets...), more...)
	}
	all.both([]int{0}, peek(services)...)
	all.both([]int{0}, peek(services, "--no-probe", "--secret", name+".v")...)
	all.both([]int{0, 1}, peek(services, "--local-only")...)
	all.both([]int{0}, peek(services[:1], "--explain")...)
	all.both([]int{2}, peek(services, "--reveal")...)
	all.both([]int{1}, peek(pods)...) // the bare ones can't be looked into by exec
	all.both([]int{0}, peek(pods, ephemeral...)...)
	all.both([]int{2}, peek(pods, "--reveal")...)
	refused := run(all.env, "kubectl", append([]string{"secretx"}, peek(pods, "--as", "nobody")...)...)
	all.look("peek --as nobody", refused.out+refused.err)
	for host, format := range hosts {
		for _, c := range []struct {
			args   []string
			values []string
		}{
			{peek(services, "--reveal", "--yes"), []string{s.value}},
			{peek(pods, append(ephemeral, "--reveal", "--yes")...), []string{s.value, variable.value}},
		} {
			for _, args := range [][]string{c.args, append(c.args, format...)} {
				r := run(all.env, host, append([]string{"secretx"}, args...)...)
				all.look(host+" "+strings.Join(args, " ")+", error output", r.err)
				for _, value := range c.values {
					if r.code != 0 || !strings.Contains(r.out, value) {
						t.Errorf("--reveal doesn't show the value: %s secretx %s: exit code %d\n%s", host, strings.Join(args, " "), r.code, r.err)
					}
				}
			}
		}
		for _, verb := range [][]string{
			{"verify", name}, {"verify", "--all"}, {"consumers"}, {"consumers", name}, {"consumers", "--unused"}, {"ls"}, {"ls", "-A"}, {"inspect", name}, {"inspect", name + ".v"},
		} {
			args := append(append([]string{"secretx"}, verb...), in...)
			for _, args := range [][]string{args, append(args, format...)} {
				r := run(all.env, host, append(args, lookFlags(verb[0], ephemeral)...)...)
				all.look(host+" "+strings.Join(args, " "), r.out+r.err)
				if r.code > 1 || r.code < 0 {
					t.Errorf("%s %s: %s", host, strings.Join(args, " "), r)
				}
			}
		}
	}

	// Stopped while a helper stands there with what it saw.
	folder, err := os.MkdirTemp("", "e2e")
	must(t, err)
	defer func() { _ = os.RemoveAll(folder) }()
	p := get[*proxies](t)(newProxies(t, w.testbed, folder, space))
	for _, stage := range []struct {
		stall  func(string) bool
		target string
	}{
		{request("docker DELETE", "/containers/"), services[0]}, {request("docker GET", "/logs"), services[0]}, {request("kubernetes PATCH", "/ephemeralcontainers"), "k8s/bare"},
	} {
		p.stallOn(stage.stall)
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
			args := append([]string{"secretx"}, peek([]string{stage.target}, "--reveal", "--yes", "--allow-ephemeral", "--helper-image", distroless+"-another")...)
			running := get[*process](t)(start(append(p.env(), all.env...), "kubectl", args...))
			pids := waitForStall(t, p, running)
			must(t, syscall.Kill(pids[0], signal))
			<-running.done
			all.look("peek stopped by "+signal.String()+", error output", running.err.String())
		}
	}
	p.stallOn(nil)
	all.both([]int{0}, peek(services)...)
}

func lookFlags(verb string, flags []string) []string {
	if verb == "verify" {
		return flags
	}
	return nil
}

// leftHelpers are the helpers and the jobs that some processes left on the engine that we speak to.
// An engine takes its time to remove the container of a job that is gone.
func leftHelpers(t *testing.T, w *world, of map[int]bool) (left []string) {
	t.Helper()
	ours := func(labels map[string]string) bool {
		owner := strings.Split(labels[probeLabel+".owner"], ".")
		pid, err := strconv.Atoi(owner[min(1, len(owner)-1)])
		return err == nil && of[pid]
	}
	labelled := filters.NewArgs(filters.Arg("label", probeLabel))
	for _, s := range get[[]swarm.Service](t)(w.swarm.ServiceList(t.Context(), swarm.ServiceListOptions{Filters: labelled})) {
		if ours(s.Spec.Labels) {
			left = append(left, s.Spec.Name)
		}
	}
	for _, c := range get[[]container.Summary](t)(w.swarm.ContainerList(t.Context(), container.ListOptions{All: true, Filters: labelled})) {
		if ours(c.Labels) {
			left = append(left, c.Names[0]+", "+c.State)
		}
	}
	return left
}

// TestKilledPeeks kills looks into containers with SIGKILL, at each stage and at random moments. The
// next run takes away what is left, but for an ephemeral container, which it names.
func TestKilledPeeks(t *testing.T) {
	w := newWorld(t)
	space := get[string](t)(w.namespace())
	name := w.prefix + "s"
	must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": []byte("value")}}))
	must(t, putSwarm(w.swarm, name, []byte("value"), nil))
	w.putService(t, name, distroless, name, false)
	must(t, w.putPod(space, "shell", nil, volume(name, corev1.Container{Image: busybox, Command: []string{"sleep", "1000"}})))
	must(t, w.putPod(space, "bare", nil, volume(name, corev1.Container{Image: distroless})))
	w.running(t, space, "shell", "bare")
	nodes := w.putService(t, name+"-elsewhere", distroless, name, true)
	if !nodes {
		t.Log("this Swarm has one node: no look by a job (scripts/testbed up --nodes 3)")
	}
	folder, err := os.MkdirTemp("", "e2e")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	p := get[*proxies](t)(newProxies(t, w.testbed, folder, space))

	const swarmSide, elsewhere, shell, bare = "swarm", "elsewhere", "shell", "bare"
	args := map[string][]string{
		swarmSide: {"peek-in-container", "-n", space, "swarm/" + name},
		elsewhere: {"peek-in-container", "-n", space, "swarm/" + name + "-elsewhere"},
		shell:     {"peek-in-container", "-n", space, "k8s/shell"},
		bare:      {"peek-in-container", "-n", space, "k8s/bare", "--allow-ephemeral", "--helper-image", busybox},
	}
	killed := map[int]bool{}
	kill := func(run *process) {
		for _, pid := range append(descendants(run.pid()), run.pid()) {
			killed[pid] = true
		}
		run.killAll()
	}
	// next is what the next run has to put right.
	next := func(t *testing.T, host, what string) (before int) {
		t.Helper()
		before = len(leftHelpers(t, w, killed))
		for _, args := range [][]string{args[swarmSide], args[what]} {
			r := run(nil, host, append([]string{"secretx"}, args...)...)
			if r.code != 0 {
				t.Errorf("the next run: %s", r)
			}
			if what != bare || args[len(args)-1] != busybox {
				continue
			}
			pod := get[*corev1.Pod](t)(w.kube.Pods(space).Get(t.Context(), "bare", metav1.GetOptions{}))
			running := 0
			for _, status := range pod.Status.EphemeralContainerStatuses {
				if status.State.Terminated == nil {
					running++
					if !strings.Contains(r.err, status.Name) {
						t.Errorf("%s runs and isn't named: %s", status.Name, r.err)
					}
				}
			}
			if running == 0 {
				t.Error("no ephemeral container runs")
			}
		}
		left := leftHelpers(t, w, killed)
		for began := time.Now(); len(left) > 0 && time.Since(began) < 10*time.Second; left = leftHelpers(t, w, killed) {
			time.Sleep(100 * time.Millisecond)
		}
		if len(left) > 0 {
			t.Errorf("after the next run there is still %v", left)
		}
		pods := get[*corev1.PodList](t)(w.kube.Pods(space).List(t.Context(), metav1.ListOptions{}))
		if len(pods.Items) != 2 {
			t.Errorf("%d pods instead of 2", len(pods.Items))
		}
		return before
	}

	left := 0
	for _, stage := range []struct {
		name, what string
		stall      func(string) bool
		more       []string
	}{
		{"finding the target", swarmSide, request("docker GET", "/services/"), nil},
		{"making the probe", swarmSide, request("docker POST", "/services/create"), nil},
		{"reading from the probe", swarmSide, request("docker GET", "/logs"), nil},
		{"making the helper", swarmSide, request("docker POST", "/containers/create"), nil},
		{"listening to the helper", swarmSide, request("docker POST", "/attach"), nil},
		{"starting the helper", swarmSide, request("docker POST", "/start"), nil},
		{"removing the helper", swarmSide, request("docker DELETE", "/containers/"), nil},
		{"making the job", elsewhere, request("docker POST", "/services/create"), nil},
		{"reading from the job", elsewhere, request("docker GET", "/logs"), nil},
		{"removing the job", elsewhere, request("docker DELETE", "/services/"), nil},
		{"finding the pod", shell, request("kubernetes GET", "/pods/shell"), nil},
		{"exec", shell, func(r string) bool { return strings.Contains(r, "/exec?") }, nil},
		{"adding the ephemeral container", bare, request("kubernetes PATCH", "/ephemeralcontainers"), []string{"--helper-image", "secretx-test/another:1"}},
		{"exec in the ephemeral container", bare, func(r string) bool { return strings.Contains(r, "container=secretx-peek-") }, nil},
	} {
		for host := range hosts {
			if stage.what == elsewhere && !nodes {
				continue
			}
			t.Run(strings.ReplaceAll(stage.name+" "+host, " ", "-"), func(t *testing.T) {
				p.stallOn(stage.stall)
				defer p.stallOn(nil)
				run := get[*process](t)(start(p.env(), host, slices.Concat([]string{"secretx"}, args[stage.what], stage.more)...))
				waitForStall(t, p, run)
				kill(run)
				left += next(t, host, stage.what)
			})
		}
	}
	for _, what := range []string{swarmSide, elsewhere, bare} {
		if what == elsewhere && !nodes {
			continue
		}
		usual := run(nil, "kubectl", append([]string{"secretx"}, args[what]...)...).took
		for round := range 10 {
			host := []string{"kubectl", "docker"}[round%2]
			running := get[*process](t)(start(nil, host, append([]string{"secretx"}, args[what]...)...))
			time.Sleep(rand.N(usual))
			kill(running)
		}
		left += next(t, "kubectl", what)
	}
	if left == 0 {
		t.Error("no kill left anything behind: this proves nothing")
	}
	t.Logf("%d helpers and jobs were left behind, and removed by the next run", left)
}
