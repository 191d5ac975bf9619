//go:build e2e || soak || corpus

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// testbed is both orchestrators as the tests see them, by clients that share nothing with secretx.
type testbed struct {
	swarm, other *client.Client // the Swarm of DOCKER_HOST, and that of the Docker context "other"
	kube         corev1client.CoreV1Interface
	config       *rest.Config
}

const (
	otherContext = "other"
	busybox      = "secretx-test/busybox:1"
	// The label prefix and the labels of secretx, written out: a test that took them from the code
	// would not notice that they have changed.
	labelPrefix = "io.github.secretx."
	originLabel = labelPrefix + "origin"
	probeLabel  = labelPrefix + "probe"
	keySecret   = "secretx-fingerprint-key"
)

var connect = sync.OnceValues(func() (*testbed, error) {
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONFIG", "KUBECONFIG", "SECRETX_TESTBED"} {
		if os.Getenv(name) == "" {
			return nil, fmt.Errorf(`%s is not set: scripts/testbed up --swarms 2 && eval "$(scripts/testbed env)"`, name)
		}
	}
	for _, plugin := range []string{"kubectl-secretx", "docker", "kubectl"} {
		if _, err := exec.LookPath(plugin); err != nil {
			return nil, fmt.Errorf("%w: make build, and then the environment of the testbed", err)
		}
	}
	b := &testbed{}
	var err error
	if b.swarm, err = client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation()); err != nil {
		return nil, err
	}
	host, err := exec.Command("docker", "context", "inspect", otherContext, "--format", "{{.Endpoints.docker.Host}}").Output()
	if err != nil {
		return nil, fmt.Errorf("there is no Docker context %q of a second Swarm (scripts/testbed up --swarms 2): %w", otherContext, err)
	}
	if b.other, err = client.NewClientWithOpts(client.WithHost(strings.TrimSpace(string(host))), client.WithAPIVersionNegotiation()); err != nil {
		return nil, err
	}
	if b.config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")); err != nil {
		return nil, err
	}
	b.config.QPS, b.config.WarningHandler = -1, rest.NoWarnings{}
	if b.kube, err = corev1client.NewForConfig(b.config); err != nil {
		return nil, err
	}
	for _, cli := range []*client.Client{b.swarm, b.other} {
		info, err := cli.Info(context.Background())
		if err != nil {
			return nil, fmt.Errorf("the testbed's engine: %w", err)
		}
		if !info.Swarm.ControlAvailable {
			return nil, fmt.Errorf("the engine at %s is not a Swarm manager", cli.DaemonHost())
		}
	}
	return b, nil
})

// newTestbed connects, and fails the test with what to do where there is none.
func newTestbed(t testing.TB) *testbed {
	t.Helper()
	b, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bringHelper loads secretx's helper into the testbed's other engines, as its manual says: there is no registry
// that they could pull it from.
func bringHelper(t testing.TB) {
	t.Helper()
	for i := 2; os.Getenv(fmt.Sprintf("SECRETX_TESTBED_NODE%d", i)) != ""; i++ {
		load := fmt.Sprintf(`docker secretx probe-image | docker -H "$SECRETX_TESTBED_NODE%d" load`, i)
		if out, err := exec.Command("sh", "-c", load).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", load, err, out)
		}
	}
}

// world is what one test has to itself: namespaces, and a prefix for all names in the Swarms. It
// is gone when the test ends.
type world struct {
	*testbed
	prefix     string
	mu         sync.Mutex
	namespaces []string
	uids       map[string]bool // as origins in labels
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{testbed: newTestbed(t), prefix: "e2e-" + random(6) + "-", uids: map[string]bool{}}
	t.Cleanup(func() {
		if err := w.remove(); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return w
}

// random gives lower-case letters and digits that a name may have.
func random(n int) string { return strings.ToLower(rand.Text()[:n]) }

// namespace makes another one.
func (w *world) namespace() (string, error) {
	name := w.prefix + random(6)
	made, err := w.kube.Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.namespaces = append(w.namespaces, name)
	w.uids["kubernetes:"+string(made.UID)] = true
	return name, nil
}

func (w *world) remove() error {
	var all []error
	background := metav1.DeletePropagationBackground
	for _, n := range w.namespaces {
		if err := w.kube.Namespaces().Delete(context.Background(), n, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil && !apierrors.IsNotFound(err) {
			all = append(all, err)
		}
	}
	for _, cli := range []*client.Client{w.swarm, w.other} {
		services, err := cli.ServiceList(context.Background(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("name", w.prefix))})
		all = append(all, err)
		for _, s := range services {
			all = append(all, cli.ServiceRemove(context.Background(), s.ID))
		}
		// A probe that a failed test left behind would hold on to the secrets.
		left, err := leftProbes(cli)
		all = append(all, err)
		for _, s := range left {
			name, _, _ := strings.Cut(s, " ")
			_ = cli.ServiceRemove(context.Background(), name)
		}
		all = append(all, w.clear(cli))
	}
	return errors.Join(all...)
}

// ours lists the secrets of a Swarm that the test made or had made.
func (w *world) ours(cli *client.Client) ([]swarm.Secret, error) {
	all, err := cli.SecretList(context.Background(), swarm.SecretListOptions{})
	var found []swarm.Secret
	for _, s := range all {
		if strings.HasPrefix(strings.ToLower(s.Spec.Name), w.prefix) || w.uids[s.Spec.Labels[originLabel]] {
			found = append(found, s)
		}
	}
	return found, err
}

// clear removes what the test has in a Swarm.
func (w *world) clear(cli *client.Client) error {
	found, err := w.ours(cli)
	if err != nil {
		return err
	}
	group := errgroup.Group{}
	group.SetLimit(16)
	for _, s := range found {
		group.Go(func() error {
			err := cli.SecretRemove(context.Background(), s.ID)
			for range 50 { // a job that has just gone may still hold it
				if err == nil || cerrdefs.IsNotFound(err) {
					return nil
				}
				time.Sleep(100 * time.Millisecond)
				err = cli.SecretRemove(context.Background(), s.ID)
			}
			return err
		})
	}
	return group.Wait()
}

// each runs work for every element, 16 at a time.
func each[T any](all []T, work func(T) error) error {
	group := errgroup.Group{}
	group.SetLimit(16)
	for _, one := range all {
		group.Go(func() error { return work(one) })
	}
	return group.Wait()
}

// putSwarm makes a secret.
func putSwarm(cli *client.Client, name string, value []byte, labels map[string]string) error {
	_, err := cli.SecretCreate(context.Background(), swarm.SecretSpec{Annotations: swarm.Annotations{Name: name, Labels: labels}, Data: value})
	if err != nil {
		return fmt.Errorf("docker secret %s: %w", name, err)
	}
	return nil
}

// putKube makes a Secret, or brings it to what it should be.
func (b *testbed) putKube(namespace string, s corev1.Secret) error {
	secrets := b.kube.Secrets(namespace)
	_, err := secrets.Create(context.Background(), &s, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(context.Background(), &s, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("secret %s/%s: %w", namespace, s.Name, err)
	}
	return nil
}

// putPod makes a pod; its containers never pull, and end at once.
func (b *testbed) putPod(namespace, name string, annotations map[string]string, spec corev1.PodSpec) error {
	atOnce := int64(1)
	spec.TerminationGracePeriodSeconds = &atOnce
	for i := range spec.Containers {
		spec.Containers[i].ImagePullPolicy = corev1.PullNever
	}
	_, err := b.kube.Pods(namespace).Create(context.Background(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}, Spec: spec,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// running waits until containers of pods do.
func (b *testbed) running(t testing.TB, namespace string, names ...string) {
	t.Helper()
	for _, name := range names {
		for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			pod := get[*corev1.Pod](t)(b.kube.Pods(namespace).Get(t.Context(), name, metav1.GetOptions{}))
			if pod.Status.Phase == corev1.PodRunning {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("pod %s: %s %v", name, pod.Status.Phase, pod.Status.ContainerStatuses)
			}
		}
	}
}

// kubeSecrets gives the Secrets of a namespace by name, without the one that keeps secretx's key.
func (b *testbed) kubeSecrets(namespace string) (map[string]corev1.Secret, error) {
	list, err := b.kube.Secrets(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := make(map[string]corev1.Secret, len(list.Items))
	for _, s := range list.Items {
		if s.Name != keySecret {
			found[s.Name] = s
		}
	}
	return found, nil
}

// sum is what can be told of a value without showing it.
type sum string

func sumOf(value []byte) sum {
	digest := sha256.Sum256(value)
	return sum(hex.EncodeToString(digest[:]) + " " + strconv.Itoa(len(value)))
}

// swarmSums reads secrets out of a Swarm as a service would see them: a job with busybox prints the
// digest and the length of each file.
func swarmSums(cli *client.Client, secrets []swarm.Secret) (map[string]sum, error) {
	const most = 250 // for one job
	sums := make(map[string]sum, len(secrets))
	for len(secrets) > 0 {
		n := min(most, len(secrets))
		if err := sumSome(cli, secrets[:n], sums); err != nil {
			return nil, err
		}
		secrets = secrets[n:]
	}
	return sums, nil
}

func sumSome(cli *client.Client, secrets []swarm.Secret, sums map[string]sum) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	info, err := cli.Info(ctx)
	if err != nil {
		return err
	}
	// By its ID, so that no engine tries to pull it.
	image, err := cli.ImageInspect(ctx, busybox)
	if err != nil {
		return fmt.Errorf("the testbed's image %s: %w", busybox, err)
	}
	refs := make([]*swarm.SecretReference, len(secrets))
	for i, s := range secrets {
		refs[i] = &swarm.SecretReference{SecretID: s.ID, SecretName: s.Spec.Name, File: &swarm.SecretReferenceFileTarget{
			Name: strconv.Itoa(i), UID: "0", GID: "0", Mode: 0o400,
		}}
	}
	one := uint64(1)
	script := `cd /run/secrets && for f in *; do echo "$f $(sha256sum <$f | cut -d' ' -f1) $(wc -c <$f)"; done`
	made, err := cli.ServiceCreate(ctx, swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: "e2e-reader-" + random(10)},
		Mode:        swarm.ServiceMode{ReplicatedJob: &swarm.ReplicatedJob{MaxConcurrent: &one, TotalCompletions: &one}},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{Image: image.ID, Command: []string{"sh", "-c", script}, Secrets: refs},
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone},
			Placement:     &swarm.Placement{Constraints: []string{"node.id==" + info.Swarm.NodeID}},
		},
	}, swarm.ServiceCreateOptions{})
	if err != nil {
		return fmt.Errorf("a job that reads secrets: %w", err)
	}
	defer func() { _ = cli.ServiceRemove(context.WithoutCancel(ctx), made.ID) }()
	for {
		time.Sleep(100 * time.Millisecond)
		tasks, err := cli.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", made.ID))})
		if err != nil {
			return err
		}
		if len(tasks) > 0 && (tasks[0].Status.State == swarm.TaskStateFailed || tasks[0].Status.State == swarm.TaskStateRejected) {
			return fmt.Errorf("the job that reads secrets: %s", tasks[0].Status.Err)
		}
		if len(tasks) == 0 || tasks[0].Status.State != swarm.TaskStateComplete {
			continue
		}
		body, err := cli.ServiceLogs(ctx, made.ID, container.LogsOptions{ShowStdout: true})
		if err != nil {
			return err
		}
		var out bytes.Buffer
		_, err = stdcopy.StdCopy(&out, &out, body)
		_ = body.Close()
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != len(secrets) {
			continue // the log may lag behind
		}
		for _, line := range lines {
			index, rest, _ := strings.Cut(line, " ")
			i, err := strconv.Atoi(index)
			if err != nil || i >= len(secrets) {
				return fmt.Errorf("the job that reads secrets said %q", line)
			}
			sums[secrets[i].Spec.Name] = sum(rest)
		}
		return nil
	}
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
	took     time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d after %s\n--- stdout\n%s\n--- stderr\n%s", r.code, r.took.Round(time.Millisecond), r.out, r.err)
}

// run runs a command with more environment; code is -1 when it could not be started or was killed.
func run(env []string, name string, args ...string) result {
	return runFor(5*time.Minute, env, name, args...)
}

func runFor(limit time.Duration, env []string, name string, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	began := time.Now()
	err := cmd.Run()
	r := result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String(), took: time.Since(began)}
	if err != nil && cmd.ProcessState == nil {
		r.code, r.err = -1, r.err+err.Error()
	}
	return r
}

// document is the JSON that both binaries print, as far as the tests look at it.
type document struct {
	Kind  string
	Items []struct {
		Origins                      []string
		Mirror, State, Reason, Error string
		Keys                         []struct{ Name, State string }
		Action, Result               string
	}
	Summary struct {
		Total, Done, Failed int
		States              map[string]int
	}
}

// hosts are the two host CLIs, and how each is asked for JSON.
var hosts = map[string][]string{"docker": {"--format", "json"}, "kubectl": {"-o", "json"}}

// secretx runs a verb through a host CLI and reads its document.
func secretx(host string, args ...string) (document, result) {
	r := run(nil, host, append(append([]string{"secretx"}, args...), hosts[host]...)...)
	var d document
	if err := json.Unmarshal([]byte(r.out), &d); err != nil && r.code < 2 && r.code >= 0 {
		r.code, r.err = -1, r.err+"\nnot a document: "+err.Error()
	}
	return d, r
}

// leftProbes are the jobs of runs whose process is no more. The label says whose they are:
// MACHINE.PID.START.
func leftProbes(cli *client.Client) ([]string, error) {
	services, err := cli.ServiceList(context.Background(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", probeLabel))})
	var left []string
	for _, s := range services {
		parts := strings.Split(s.Spec.Labels[probeLabel+".owner"], ".")
		pid := 0
		if len(parts) == 3 {
			pid, _ = strconv.Atoi(parts[1])
		}
		if !alive(pid) {
			left = append(left, s.Spec.Name+" of process "+strconv.Itoa(pid))
		}
	}
	return left, err
}

// differences compares Secrets by type, immutable flag, keys and bytes.
func differences(want, got map[string]corev1.Secret) []string {
	var all []string
	for name, w := range want {
		g, there := got[name]
		switch {
		case !there:
			all = append(all, name+": missing")
			continue
		case w.Type != g.Type:
			all = append(all, fmt.Sprintf("%s: type %s instead of %s", name, g.Type, w.Type))
		case (w.Immutable != nil && *w.Immutable) != (g.Immutable != nil && *g.Immutable):
			all = append(all, name+": the immutable flag")
		}
		for k, v := range w.Data {
			if have, there := g.Data[k]; !there {
				all = append(all, fmt.Sprintf("%s: no key %q", name, k))
			} else if !bytes.Equal(have, v) {
				all = append(all, fmt.Sprintf("%s: key %q has other bytes", name, k))
			}
		}
		for k := range g.Data {
			if _, there := w.Data[k]; !there {
				all = append(all, fmt.Sprintf("%s: an extra key %q", name, k))
			}
		}
	}
	for name := range got {
		if _, there := want[name]; !there {
			all = append(all, name+": is too many")
		}
	}
	slices.Sort(all)
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func get2[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T { t.Helper(); must(t, err); return v }
}

// kubeconfigIn writes the testbed's kubeconfig with another namespace.
func kubeconfigIn(t *testing.T, folder, namespace string) string {
	t.Helper()
	config := get[*clientcmdapi.Config](t)(clientcmd.LoadFromFile(os.Getenv("KUBECONFIG")))
	config.Contexts[config.CurrentContext].Namespace = namespace
	path := filepath.Join(folder, "kubeconfig")
	must(t, clientcmd.WriteToFile(*config, path))
	return path
}

// lines is what a process has said so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
