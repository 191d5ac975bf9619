//go:build e2e

package swarm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/owner"
	"github.com/secretx/secretx/shared/secret"
)

// connect opens the Swarm of the environment: eval "$(scripts/testbed env)".
func connect(t *testing.T, options Options) *Endpoint {
	t.Helper()
	return connectTo(t, os.Getenv("DOCKER_HOST"), options)
}

func connectTo(t *testing.T, host string, options Options) *Endpoint {
	t.Helper()
	if host == "" {
		t.Fatal(`there is no DOCKER_HOST: eval "$(scripts/testbed env)" first`)
	}
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return New(func(context.Context) (client.APIClient, error) { return api, nil }, "swarm:test", options)
}

// stand makes secrets with the contents, in their order, and removes them after the test.
func stand(t *testing.T, e *Endpoint, contents ...[]byte) []secret.Ref {
	t.Helper()
	if _, err := e.Place(t.Context()); err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprintf("e2e-%08x", rand.Uint32())
	refs := make([]secret.Ref, len(contents))
	var group sync.WaitGroup
	each := func(do func(i int)) {
		for worker := range 8 {
			group.Go(func() {
				for i := worker; i < len(contents); i += 8 {
					do(i)
				}
			})
		}
		group.Wait()
	}
	t.Cleanup(func() {
		each(func(i int) {
			// A job that is just being removed may still hold it.
			for range 50 {
				err := e.Remove(context.Background(), secret.Secret{Name: refs[i].Name, UID: refs[i].UID})
				if !errors.Is(err, endpoint.ErrInUse) {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	})
	each(func(i int) {
		name := fmt.Sprintf("%s.%d", prefix, i)
		created, err := e.Create(t.Context(), secret.Secret{Name: name, Keys: []secret.Key{{Name: name, Value: secret.NewValue(contents[i])}}})
		if err != nil {
			t.Error(err)
			return
		}
		refs[i] = created.Ref(name)
	})
	if t.Failed() {
		t.FailNow()
	}
	return refs
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// check reads values and compares them.
func check(t *testing.T, e *Endpoint, refs []secret.Ref, contents [][]byte) {
	t.Helper()
	want := map[string][]byte{}
	for i, ref := range refs {
		want[ref.UID] = contents[i]
	}
	n := 0
	err := e.Values(t.Context(), refs, func(ref secret.Ref, v secret.Value) error {
		n++
		if !v.Equal(secret.NewValue(want[ref.UID])) {
			t.Errorf("%s: another value, %d bytes instead of %d", ref.Name, v.Len(), len(want[ref.UID]))
		}
		return nil
	})
	if err != nil || n != len(refs) {
		t.Errorf("%d of %d values: %v", n, len(refs), err)
	}
}

// left are the jobs of this process that are still there.
func left(t *testing.T, e *Endpoint) (names []string) {
	t.Helper()
	g, err := e.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	services, err := g.api.ServiceList(context.Background(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", ownerLabel+"="+owner.Self()))})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		names = append(names, s.Spec.Name)
	}
	return names
}

// clean checks that no job of this process is left, nor, shortly after, what the node had of it.
func clean(t *testing.T, e *Endpoint) {
	t.Helper()
	if names := left(t, e); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	ours := container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", ownerLabel+"="+owner.Self()))}
	for try := range 100 {
		found, err := e.engine.api.ContainerList(context.Background(), ours)
		if err != nil {
			t.Error(err)
			return
		}
		if len(found) == 0 {
			return
		}
		if try == 99 {
			t.Errorf("%d containers are left behind, the first one is %s", len(found), found[0].Names)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestReadsValues(t *testing.T) {
	e := connect(t, Options{})
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	contents := [][]byte{all, {0}, {'\n'}, []byte("line\r\n"), noise(511_999), []byte("äöü\xff\xfe")}
	refs := stand(t, e, contents...)
	check(t, e, refs, contents)
	nonce := noise(32)
	digests, err := e.Digests(t.Context(), refs, nonce)
	if err != nil {
		t.Fatal(err)
	}
	for i, ref := range refs {
		if d, there := digests[ref]; !there || !d.Equal(secret.NewValue(contents[i]).Digest(nonce)) {
			t.Errorf("%s: another digest", ref.Name)
		}
	}
	clean(t, e)
}

func TestThousand(t *testing.T) {
	e := connect(t, Options{})
	contents := make([][]byte, 1000)
	for i := range contents {
		contents[i] = noise(1000)
	}
	refs := stand(t, e, contents...)
	start := time.Now()
	check(t, e, refs, contents)
	t.Logf("1,000 secrets of 1,000 bytes in %s", time.Since(start))
	clean(t, e)
}

func TestHeavy(t *testing.T) {
	e := connect(t, Options{})
	contents := make([][]byte, 60)
	for i := range contents {
		contents[i] = noise(511_999)
	}
	refs := stand(t, e, contents...)
	start := time.Now()
	check(t, e, refs, contents)
	t.Logf("60 secrets of 511,999 bytes in %s", time.Since(start))
	clean(t, e)
}

func TestTwoRunsAtOnce(t *testing.T) {
	a, b := connect(t, Options{}), connect(t, Options{})
	contents := [][]byte{noise(100), noise(20000), noise(3)}
	refs := stand(t, a, contents...)
	var group sync.WaitGroup
	for _, e := range []*Endpoint{a, b, a, b} {
		group.Go(func() { check(t, e, refs, contents) })
	}
	group.Wait()
	clean(t, a)
}

// TestNothingInTheClear looks at all that the engine shows of a job while it is there.
func TestNothingInTheClear(t *testing.T) {
	e := connect(t, Options{})
	content := []byte("correct horse battery staple")
	refs := stand(t, e, content)
	err := e.Values(t.Context(), refs, func(secret.Ref, secret.Value) error {
		g, err := e.connect(t.Context())
		if err != nil {
			return err
		}
		names := left(t, e)
		if len(names) != 1 {
			return fmt.Errorf("there are %d jobs", len(names))
		}
		var seen bytes.Buffer
		service, _, err := g.api.ServiceInspectWithRaw(t.Context(), names[0], swarm.ServiceInspectOptions{})
		if err != nil {
			return err
		}
		tasks, err := g.api.TaskList(t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", names[0]))})
		if err != nil {
			return err
		}
		if err := json.NewEncoder(&seen).Encode([]any{service, tasks}); err != nil {
			return err
		}
		shown := seen.Len()
		for range 50 { // there is none before the manager knows that the task runs
			logs, err := g.api.ServiceLogs(t.Context(), names[0], container.LogsOptions{ShowStdout: true, ShowStderr: true})
			if err != nil {
				return err
			}
			_, err = io.Copy(&seen, logs)
			_ = logs.Close()
			if err != nil || seen.Len() > shown {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if seen.Len() < shown+10000 {
			return fmt.Errorf("the log has %d bytes", seen.Len()-shown)
		}
		for _, form := range []string{string(content), base64.StdEncoding.EncodeToString(content)[:20], fmt.Sprintf("%x", content)[:20]} {
			if bytes.Contains(seen.Bytes(), []byte(form)) {
				t.Errorf("the engine shows %q", form)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestGoneReplacedAndTemplates(t *testing.T) {
	e := connect(t, Options{})
	contents := [][]byte{[]byte("first"), []byte("second"), []byte("third")}
	refs := stand(t, e, contents...)
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(t.Context(), secret.Secret{Name: refs[1].Name, UID: refs[1].UID}); err != nil {
		t.Fatal(err)
	}
	name := refs[0].Name + ".template"
	made, err := g.api.SecretCreate(t.Context(), swarm.SecretSpec{
		Annotations: swarm.Annotations{Name: name}, Data: []byte("{{ .Service.Name }}"), Templating: &swarm.Driver{Name: "golang"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.api.SecretRemove(context.Background(), made.ID) }()
	listed, err := e.List(t.Context(), []string{name})
	if err != nil || len(listed) != 1 || listed[0].Unreadable == "" {
		t.Errorf("the template is listed as %+v, %v", listed, err)
	}
	n := 0
	err = e.Values(t.Context(), append(refs, secret.Ref{UID: made.ID, Name: name, Key: name}), func(secret.Ref, secret.Value) error { n++; return nil })
	if n != 2 || !errors.Is(err, endpoint.ErrMoved) || !errors.Is(err, endpoint.ErrProbe) {
		t.Errorf("%d values: %v", n, err)
	}
	clean(t, e)
}

func TestInUse(t *testing.T) {
	e := connect(t, Options{})
	refs := stand(t, e, []byte("value"))
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	service := refs[0].Name[:12] + "-user"
	none := uint64(0)
	_, err = g.api.ServiceCreate(t.Context(), swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: service},
		Mode:        swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &none}},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{
			Image: "secretx.invalid/none",
			Secrets: []*swarm.SecretReference{{
				SecretID: refs[0].UID, SecretName: refs[0].Name,
				File: &swarm.SecretReferenceFileTarget{Name: "s", UID: "0", GID: "0", Mode: 0o400},
			}},
		}},
	}, swarm.ServiceCreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Remove(t.Context(), secret.Secret{Name: refs[0].Name, UID: refs[0].UID})
	if !errors.Is(err, endpoint.ErrInUse) || !strings.Contains(err.Error(), service) {
		t.Error(err)
	}
	if err := g.api.ServiceRemove(t.Context(), service); err != nil {
		t.Error(err)
	}
}

func TestProbeImageThatIsNowhere(t *testing.T) {
	e := connect(t, Options{ProbeImage: "127.0.0.1:1/secretx/none:1"})
	refs := stand(t, e, []byte("value"))
	start := time.Now()
	err := e.Values(t.Context(), refs, func(secret.Ref, secret.Value) error { return nil })
	t.Log(err)
	if !errors.Is(err, endpoint.ErrProbe) || !strings.Contains(err.Error(), "rejected: ") || time.Since(start) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	clean(t, e)
}

// TestProbeImage uses the embedded helper by its tag, as if it came from a registry.
func TestProbeImage(t *testing.T) {
	embedded := connect(t, Options{})
	contents := [][]byte{[]byte("value")}
	refs := stand(t, embedded, contents...)
	check(t, embedded, refs, contents) // loads it
	g, err := embedded.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image, err := g.api.ImageInspect(t.Context(), embedded.image)
	if err != nil || len(image.RepoTags) == 0 {
		t.Fatal(image.RepoTags, err)
	}
	check(t, connect(t, Options{ProbeImage: image.RepoTags[0]}), refs, contents)
}

// TestCancelled: with the job at work, and before it is.
func TestCancelled(t *testing.T) {
	e := connect(t, Options{})
	contents := make([][]byte, 20)
	for i := range contents {
		contents[i] = noise(500_000)
	}
	refs := stand(t, e, contents...)
	for name, after := range map[string]time.Duration{"at once": 20 * time.Millisecond, "while it starts": 300 * time.Millisecond, "with the first value": 0} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var cancelled time.Time
			stop := func() { cancelled = time.Now(); cancel() }
			if after > 0 {
				defer time.AfterFunc(after, stop).Stop()
			}
			err := e.Values(ctx, refs, func(secret.Ref, secret.Value) error {
				if after == 0 && cancelled.IsZero() {
					stop()
				}
				return nil
			})
			if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > time.Second {
				t.Errorf("after %s: %v", took, err)
			}
			clean(t, e)
		})
	}
}

// TestSweepLeavesTheLiving: another run's sweep while a job is at work.
func TestSweepLeavesTheLiving(t *testing.T) {
	e, other := connect(t, Options{}), connect(t, Options{})
	contents := [][]byte{noise(100), noise(200_000)}
	refs := stand(t, e, contents...)
	n := 0
	err := e.Values(t.Context(), refs, func(secret.Ref, secret.Value) error {
		n++
		if err := other.Sweep(t.Context()); err != nil {
			return err
		}
		if len(left(t, e)) == 0 {
			return errors.New("the job at work was removed")
		}
		return nil
	})
	if err != nil || n != 2 {
		t.Errorf("%d values: %v", n, err)
	}
}

// TestKilled: a process that is killed in the middle of a run leaves its job, and the next one
// removes it.
func TestKilled(t *testing.T) {
	e := connect(t, Options{})
	refs := stand(t, e, []byte("value"))
	child := exec.Command(os.Args[0], "-test.run=^TestChildOfKilled$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"="+refs[0].UID+" "+refs[0].Name)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	job := ""
	for lines := bufio.NewScanner(out); job == "" && lines.Scan(); {
		_, job, _ = strings.Cut(lines.Text(), "JOB ")
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inspect := func() error {
		_, _, err := g.api.ServiceInspectWithRaw(t.Context(), job, swarm.ServiceInspectOptions{})
		return err
	}
	if err := inspect(); job == "" || err != nil {
		t.Fatalf("the job %q isn't there: %v", job, err)
	}
	if err := e.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if inspect() == nil {
		t.Errorf("the job %s is still there", job)
	}
}

const childEnv = "SECRETX_E2E_CHILD"

// TestChildOfKilled is the other process of TestKilled, and does nothing else.
func TestChildOfKilled(t *testing.T) {
	uid, name, is := strings.Cut(os.Getenv(childEnv), " ")
	if !is {
		return
	}
	e := connect(t, Options{})
	_ = e.Values(t.Context(), []secret.Ref{{UID: uid, Name: name, Key: name}}, func(secret.Ref, secret.Value) error {
		fmt.Println("JOB", left(t, e)[0])
		time.Sleep(time.Minute)
		return nil
	})
}

// TestEngines are those that a test can't do to the testbed: in no Swarm, drained, and with default
// log drivers that can't be read or that lose most of what is written.
func TestEngines(t *testing.T) {
	for name, args := range map[string][]string{
		"log none": {"--log-driver=none"},
		"log small json-file": {
			"--log-opt=max-size=10k", "--log-opt=max-file=2", "--log-opt=mode=non-blocking", "--log-opt=max-buffer-size=4k",
		},
		"log small local": {"--log-driver=local", "--log-opt=max-size=10k", "--log-opt=mode=non-blocking", "--log-opt=max-buffer-size=4k"},
	} {
		t.Run(name, func(t *testing.T) {
			host := startEngine(t, args...)
			_, err := connectTo(t, host, Options{}).Place(t.Context())
			if !errors.Is(err, endpoint.ErrNotManager) || !strings.Contains(err.Error(), "docker swarm init") {
				t.Errorf("in no Swarm: %v", err)
			}
			e := connectTo(t, host, Options{})
			api, err := e.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := api.SwarmInit(t.Context(), swarm.InitRequest{ListenAddr: "127.0.0.1", AdvertiseAddr: "127.0.0.1"}); err != nil {
				t.Fatal(err)
			}
			contents := [][]byte{noise(300_000), noise(10)}
			refs := stand(t, e, contents...)
			check(t, e, refs, contents)
			clean(t, e)
			if name == "log none" {
				drained(t, host, refs)
			}
		})
	}
}

// drained takes the only node out of service.
func drained(t *testing.T, host string, refs []secret.Ref) {
	e := connectTo(t, host, Options{})
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, availability := range []swarm.NodeAvailability{swarm.NodeAvailabilityDrain, swarm.NodeAvailabilityPause} {
		node, _, err := g.api.NodeInspectWithRaw(t.Context(), g.node)
		if err != nil {
			t.Fatal(err)
		}
		node.Spec.Availability = availability
		if err := g.api.NodeUpdate(t.Context(), g.node, node.Version, node.Spec); err != nil {
			t.Fatal(err)
		}
		read := func(e *Endpoint, within time.Duration, texts ...string) {
			t.Helper()
			start := time.Now()
			err := e.Values(t.Context(), refs, func(secret.Ref, secret.Value) error { return errors.New("a value") })
			t.Log(err)
			if !errors.Is(err, endpoint.ErrProbe) || time.Since(start) > within || slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(err.Error(), text) }) {
				t.Errorf("%s, after %s: %v", availability, time.Since(start), err)
			}
			clean(t, e)
		}
		read(e, time.Second, string(availability), "--probe-image", "--availability active")
		read(connectTo(t, host, Options{ProbeImage: "any/image"}), 10*time.Second, "no suitable node")
	}
}

// startEngine runs one with a network and mounts of its own, so that it is in nobody's way.
func startEngine(t *testing.T, args ...string) (host string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "sx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	namespace := filepath.Base(folder)
	if out, err := exec.Command("ip", "netns", "add", namespace).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", namespace).Run() })
	host = "unix://" + folder + "/s"
	command := append([]string{
		"--net=/run/netns/" + namespace, "unshare", "-m", "-u", "--propagation", "private", "sh", "-c",
		`ip link set lo up && mkdir -p /run/docker && mount -t tmpfs tmpfs /run/docker && exec dockerd "$@"`, "dockerd",
		"--data-root", folder + "/data", "--exec-root", folder + "/run", "--pidfile", folder + "/pid", "--host", host,
	}, args...)
	engine := exec.Command("nsenter", command...)
	log, err := os.Create(folder + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	engine.Stdout, engine.Stderr = log, log
	if err := engine.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = engine.Process.Signal(syscall.SIGTERM)
		_ = engine.Wait()
	})
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = api.Close() }()
	for range 300 {
		if _, err = api.Ping(t.Context()); err == nil {
			return host
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(folder + "/log")
	t.Fatalf("the engine doesn't start: %v\n%s", err, text)
	return ""
}
