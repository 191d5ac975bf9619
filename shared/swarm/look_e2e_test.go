//go:build e2e

package swarm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/secret"
)

const (
	distroless = "secretx-test/distroless:1"
	busybox    = "secretx-test/busybox:1"
)

// serve makes a service and waits until that many of its tasks run; it goes after the test.
func serve(t *testing.T, e *Endpoint, tasks int, change func(*swarm.ServiceSpec), refs ...*swarm.SecretReference) (name string) {
	t.Helper()
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf("e2e-look-%08x", rand.Uint32())
	replicas := uint64(tasks)
	spec := swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name},
		Mode:        swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{Image: distroless, Secrets: refs, StopGracePeriod: &grace},
			Placement:     &swarm.Placement{},
		},
	}
	if change != nil {
		change(&spec)
	}
	if _, err := g.api.ServiceCreate(t.Context(), spec, swarm.ServiceCreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.api.ServiceRemove(context.Background(), name) })
	running(t, e, name, tasks)
	return name
}

// here keeps a service on the node that the tests talk to.
func here(s *swarm.ServiceSpec) {
	s.TaskTemplate.Placement.Constraints = []string{"node.hostname==node1"}
}

// count is the number of nodes.
func count(t *testing.T, e *Endpoint) int {
	t.Helper()
	if _, err := e.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes, err := listNodes(t.Context(), e.engine)
	if err != nil {
		t.Fatal(err)
	}
	return len(nodes)
}

func running(t *testing.T, e *Endpoint, service string, tasks int) {
	t.Helper()
	last := ""
	for range 600 {
		found, err := e.engine.api.TaskList(t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", service))})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, task := range found {
			if task.Status.State == swarm.TaskStateRunning && task.DesiredState == swarm.TaskStateRunning {
				n++
			}
			last = task.Status.Err
		}
		if n == tasks {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the tasks of %s don't run: %s", service, last)
}

func reference(ref secret.Ref, target, uid, gid string, mode uint32) *swarm.SecretReference {
	return &swarm.SecretReference{SecretID: ref.UID, SecretName: ref.Name, File: &swarm.SecretReferenceFileTarget{Name: target, UID: uid, GID: gid, Mode: os.FileMode(mode)}}
}

// find gives the containers of a target.
func find(t *testing.T, e *Endpoint, target string) []peek.Container {
	t.Helper()
	containers, err := e.Containers(t.Context(), peek.Target{Name: target})
	if err != nil {
		t.Fatal(err)
	}
	return containers
}

func inspectInside(t *testing.T, e *Endpoint, target string, options peek.LookOptions) []peek.Container {
	t.Helper()
	containers := find(t, e, target)
	if options.Nonce == nil {
		options.Nonce = []byte("a nonce")
	}
	start := time.Now()
	if err := e.Look(t.Context(), containers, options); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d containers of %s in %s", len(containers), target, time.Since(start))
	return containers
}

func TestLooksInside(t *testing.T) {
	e := connect(t, Options{})
	contents := [][]byte{[]byte("first value"), noise(300_000)}
	refs := stand(t, e, contents...)
	for name, change := range map[string]func(*swarm.ContainerSpec){
		"root": func(c *swarm.ContainerSpec) { c.Image = distroless },
		"nobody": func(c *swarm.ContainerSpec) {
			c.Image, c.User, c.CapabilityDrop, c.ReadOnly = distroless, "65534", []string{"ALL"}, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			service := serve(t, e, 1, func(s *swarm.ServiceSpec) {
				here(s) // TestNodes looks at the others
				change(s.TaskTemplate.ContainerSpec)
				s.TaskTemplate.ContainerSpec.Env = []string{"A_FILE=/etc/app/deep", "OTHER_FILE=/run/secrets/none", "PLAIN=x"}
			}, reference(refs[0], "plain", "0", "0", 0o444), reference(refs[1], "/etc/app/deep", "1000", "1001", 0o400))
			for _, reveal := range []bool{false, true} {
				nonce := noise(32)
				found := inspectInside(t, e, service, peek.LookOptions{Nonce: nonce, Reveal: reveal})
				if len(found) != 1 || found[0].Unseen != "" || found[0].Node != "node1" || found[0].Name != service+".1" {
					t.Fatalf("found %+v", found)
				}
				c := found[0]
				if len(c.Wants) != 4 || len(c.Seen.Files) != 2 || len(c.Seen.Env) != 2 {
					t.Errorf("%+v", c)
				}
				for i, want := range []peek.FileSeen{{Mode: 0o444}, {Mode: 0o400, UID: 1000, GID: 1001}} {
					got := c.Seen.Files[c.Wants[i].Path]
					value := secret.NewValue(contents[i])
					if got.Mode != want.Mode || got.UID != want.UID || got.GID != want.GID || !got.Stat || !got.Content.Digest.Equal(value.Digest(nonce)) {
						t.Errorf("%s: %+v", c.Wants[i].Path, got)
					}
					if got.Content.Value.Known() != reveal || reveal && !got.Content.Value.Equal(value) {
						t.Errorf("%s: reveal %v", c.Wants[i].Path, reveal)
					}
				}
			}
		})
	}
	clean(t, e)
}

// nodes are clients of the testbed's other engines; the test is skipped where there are none.
func nodes(t *testing.T) (others []client.APIClient) {
	t.Helper()
	for i := 2; os.Getenv(fmt.Sprintf("SECRETX_TESTBED_NODE%d", i)) != ""; i++ {
		api, err := client.NewClientWithOpts(client.WithHost(os.Getenv(fmt.Sprintf("SECRETX_TESTBED_NODE%d", i))), client.WithAPIVersionNegotiation())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = api.Close() })
		others = append(others, api)
	}
	if len(others) == 0 {
		t.Skip("it takes a testbed of several nodes: scripts/testbed up --nodes 3")
	}
	return others
}

func TestNodes(t *testing.T) {
	others := nodes(t)
	e := connect(t, Options{})
	refs := stand(t, e, []byte("value"))
	service := serve(t, e, count(t, e), func(s *swarm.ServiceSpec) {
		s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}}
		s.TaskTemplate.ContainerSpec.User = "65534"
	}, reference(refs[0], "password", "65534", "0", 0o400))
	want := secret.NewValue([]byte("value")).Digest([]byte("a nonce"))
	check := func(t *testing.T, containers []peek.Container, others string) {
		t.Helper()
		for _, c := range containers {
			seen := c.Seen.Files["/run/secrets/password"]
			t.Log(c.Node, c.Name, c.Unseen, c.Hint)
			if c.Node == "node1" || others == "" {
				if c.Unseen != "" || !seen.Content.Digest.Equal(want) || seen.UID != 65534 || seen.Mode != 0o400 {
					t.Errorf("%+v", c)
				}
			} else if !strings.Contains(c.Unseen+c.Hint, others) || c.Seen.Files != nil {
				t.Errorf("%+v", c)
			}
		}
	}
	t.Run("without the image", func(t *testing.T) {
		for _, api := range others {
			removeHelper(t, api)
		}
		check(t, inspectInside(t, e, service, peek.LookOptions{}), "probe-image")
	})
	t.Run("image that is nowhere", func(t *testing.T) {
		check(t, inspectInside(t, e, service, peek.LookOptions{HelperImage: "127.0.0.1:1/none:1"}), "127.0.0.1:1/none:1")
	})
	t.Run("local only", func(t *testing.T) {
		check(t, inspectInside(t, e, service, peek.LookOptions{LocalOnly: true}), "--local-only forbids")
	})
	for _, api := range others {
		loadHelper(t, api)
	}
	t.Run("all", func(t *testing.T) {
		check(t, inspectInside(t, e, service, peek.LookOptions{}), "")
	})
	t.Run("image by name", func(t *testing.T) {
		found, err := e.engine.api.ImageInspect(t.Context(), e.image)
		if err != nil || len(found.RepoTags) == 0 {
			t.Fatal(found.RepoTags, err)
		}
		check(t, inspectInside(t, e, service, peek.LookOptions{HelperImage: found.RepoTags[0]}), "")
	})
	t.Run("killed meanwhile", func(t *testing.T) {
		found := find(t, e, service)
		var once sync.Once
		kill := func() {
			for _, api := range others {
				all, err := api.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.name="+service))})
				if err != nil || len(all) != 1 {
					t.Error(all, err)
					return
				}
				if err := api.ContainerRemove(t.Context(), all[0].ID, container.RemoveOptions{Force: true}); err != nil {
					t.Error(err)
				}
			}
		}
		if err := meddle(t, func() { once.Do(kill) }, nil).Look(t.Context(), found, peek.LookOptions{Nonce: []byte("a nonce")}); err != nil {
			t.Fatal(err)
		}
		check(t, found, "it ended meanwhile")
		time.Sleep(time.Second)
		running(t, e, service, count(t, e))
	})
	t.Run("by the container's ID", func(t *testing.T) {
		tasks, err := listTasks(t.Context(), e.engine, filters.NewArgs(filters.Arg("service", service), filters.Arg("desired-state", "running")))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			found := inspectInside(t, e, task.Status.ContainerStatus.ContainerID[:12], peek.LookOptions{})
			if len(found) != 1 || found[0].ID != task.ID {
				t.Errorf("%+v", found)
			}
			check(t, found, "")
		}
	})
	t.Run("again", func(t *testing.T) {
		check(t, inspectInside(t, e, service, peek.LookOptions{}), "")
	})
	clean(t, e)
}

// TestNodesAway: nodes that take no tasks, that are gone, or that the manager believes to be there
// while they are not.
func TestNodesAway(t *testing.T) {
	for _, api := range nodes(t) {
		loadHelper(t, api)
	}
	e := connect(t, Options{})
	service := serve(t, e, count(t, e), func(s *swarm.ServiceSpec) { s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}} })
	look := func(t *testing.T, node string, within time.Duration, text string) {
		t.Helper()
		start := time.Now()
		there := false
		for _, c := range inspectInside(t, e, service, peek.LookOptions{}) {
			if c.Node == node {
				there = true
				t.Logf("%s: %s. %s", c.Node, c.Unseen, c.Hint)
				if !strings.Contains(c.Unseen, text) {
					t.Errorf("%+v", c)
				}
			} else if c.Unseen != "" {
				t.Errorf("%s: %s", c.Node, c.Unseen)
			}
		}
		if took := time.Since(start); took > within || there != (text != "") {
			t.Errorf("there %v, after %s", there, took)
		}
	}
	available := func(node string, availability swarm.NodeAvailability) {
		t.Helper()
		found, _, err := e.engine.api.NodeInspectWithRaw(t.Context(), node)
		if err != nil {
			t.Fatal(err)
		}
		found.Spec.Availability = availability
		if err := e.engine.api.NodeUpdate(context.Background(), found.ID, found.Version, found.Spec); err != nil {
			t.Fatal(err)
		}
	}
	testbed := func(args ...string) {
		t.Helper()
		command := exec.Command("../../scripts/testbed", args...)
		command.Env = append(os.Environ(), "SECRETX_TESTBED_DIR="+os.Getenv("SECRETX_TESTBED"))
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	available("node2", swarm.NodeAvailabilityPause)
	look(t, "node2", 3*time.Second, "takes no tasks: its availability is pause")
	available("node1", swarm.NodeAvailabilityPause) // looked at without a job
	look(t, "node2", 3*time.Second, "takes no tasks: its availability is pause")
	available("node1", swarm.NodeAvailabilityActive)
	available("node2", swarm.NodeAvailabilityDrain)
	time.Sleep(3 * time.Second)
	look(t, "node2", 3*time.Second, "")
	available("node2", swarm.NodeAvailabilityActive)
	running(t, e, service, count(t, e))

	testbed("docker", "stop", "node3")
	t.Cleanup(func() { testbed("docker", "start", "node3") })
	look(t, "node3", 30*time.Second, "node")
	time.Sleep(20 * time.Second)
	look(t, "node3", 3*time.Second, "its node node3 is down")
	clean(t, e)
}

func loadHelper(t *testing.T, api client.APIClient) {
	t.Helper()
	var archive bytes.Buffer
	if err := ProbeImage(&archive, runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	response, err := api.ImageLoad(t.Context(), &archive)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := loaded(response.Body); err != nil {
		t.Fatal(err)
	}
}

func removeHelper(t *testing.T, api client.APIClient) {
	t.Helper()
	id, err := imageID(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.ImageRemove(t.Context(), id, image.RemoveOptions{Force: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		t.Fatal(err)
	}
}

// meddling does something right before a helper is made, and right after it was.
type meddling struct {
	client.APIClient
	before func()
	after  func(name string)
}

func (m *meddling) ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, n *network.NetworkingConfig, p *ocispec.Platform, name string) (container.CreateResponse, error) {
	m.before()
	made, err := m.APIClient.ContainerCreate(ctx, c, h, n, p, name)
	m.after(name)
	return made, err
}

func (m *meddling) ServiceCreate(ctx context.Context, spec swarm.ServiceSpec, o swarm.ServiceCreateOptions) (swarm.ServiceCreateResponse, error) {
	m.before()
	made, err := m.APIClient.ServiceCreate(ctx, spec, o)
	m.after(spec.Name)
	return made, err
}

func meddle(t *testing.T, before func(), after func(string)) *Endpoint {
	t.Helper()
	api, err := client.NewClientWithOpts(client.WithHost(os.Getenv("DOCKER_HOST")), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	if before == nil {
		before = func() {}
	}
	if after == nil {
		after = func(string) {}
	}
	return New(func(context.Context) (client.APIClient, error) { return &meddling{api, before, after}, nil }, "swarm:test", Options{})
}

// TestEndsMeanwhile: a container is killed, or its service is removed, after it was found and before
// it is looked at.
func TestEndsMeanwhile(t *testing.T) {
	e := connect(t, Options{})
	refs := stand(t, e, []byte("value"))
	for _, tasks := range []int{1, 3} {
		for _, how := range []string{"killed", "removed"} {
			t.Run(fmt.Sprint(how, " ", tasks), func(t *testing.T) {
				service := serve(t, e, tasks, here, reference(refs[0], "p", "0", "0", 0o400))
				found := find(t, e, service)
				task, _, err := e.engine.api.TaskInspectWithRaw(t.Context(), found[0].ID)
				if err != nil {
					t.Fatal(err)
				}
				other := meddle(t, func() {
					if how == "removed" {
						_ = e.engine.api.ServiceRemove(t.Context(), service)
					}
					_ = e.engine.api.ContainerRemove(t.Context(), task.Status.ContainerStatus.ContainerID, container.RemoveOptions{Force: true})
				}, nil)
				start := time.Now()
				if err := other.Look(t.Context(), found, peek.LookOptions{Nonce: []byte("n")}); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %s. %s", time.Since(start), found[0].Unseen, found[0].Hint)
				if !strings.HasPrefix(found[0].Unseen, "it ended meanwhile") || found[0].Seen.Files != nil || time.Since(start) > 5*time.Second {
					t.Errorf("%+v", found[0])
				}
				for _, c := range found[1:] {
					if how == "killed" && (c.Unseen != "" || len(c.Seen.Files) != 1) {
						t.Errorf("%+v", c)
					}
				}
			})
		}
	}
	clean(t, e)
}

// TestLookKilled: a process that is killed in the middle leaves its helpers, and the next one
// removes them.
func TestLookKilled(t *testing.T) {
	e := connect(t, Options{})
	service := serve(t, e, count(t, e), func(s *swarm.ServiceSpec) { s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}} })
	helpers := len(find(t, e, service))
	child := exec.Command(os.Args[0], "-test.run=^TestChildOfLookKilled$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"="+service)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for lines, n := bufio.NewScanner(out), 0; n < helpers && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "MADE") {
			n++
		}
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	there := func() (n int) {
		services, err := e.engine.api.ServiceList(t.Context(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", ProbeLabel))})
		if err != nil {
			t.Fatal(err)
		}
		containers, err := e.engine.api.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", ProbeLabel))})
		if err != nil {
			t.Fatal(err)
		}
		return len(services) + len(containers)
	}
	if n := there(); n != helpers {
		t.Errorf("%d helpers instead of %d", n, helpers)
	}
	inspectInside(t, e, service, peek.LookOptions{})
	if n := there(); n != 0 {
		t.Errorf("%d helpers are left", n)
	}
}

// TestChildOfLookKilled is the other process of TestLookKilled.
func TestChildOfLookKilled(t *testing.T) {
	service := os.Getenv(childEnv)
	if service == "" || strings.Contains(service, " ") {
		return
	}
	e := meddle(t, nil, func(string) {
		fmt.Println("\nMADE")
		time.Sleep(time.Minute)
	})
	inspectInside(t, e, service, peek.LookOptions{})
}

// TestLookInTheClear looks at all that the engine shows of a helper, here and as a job.
func TestLookInTheClear(t *testing.T) {
	content := []byte("correct horse battery staple")
	var e *Endpoint
	var seen bytes.Buffer
	show := func(what any, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		_ = json.NewEncoder(&seen).Encode(what)
	}
	logs := 0
	e = meddle(t, nil, func(name string) {
		api, ctx := e.engine.api, t.Context()
		if config, err := api.ContainerInspect(ctx, name); err == nil {
			show(config, nil)
			return
		}
		service, _, err := api.ServiceInspectWithRaw(ctx, name, swarm.ServiceInspectOptions{})
		show(service, err)
		for range 100 {
			stream, err := api.ServiceLogs(ctx, name, container.LogsOptions{ShowStdout: true, ShowStderr: true})
			if err != nil {
				continue
			}
			n, _ := io.Copy(&seen, stream)
			_ = stream.Close()
			if logs += int(n); n > 10000 {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	refs := stand(t, e, content)
	service := serve(t, e, count(t, e), func(s *swarm.ServiceSpec) { s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}} }, reference(refs[0], "p", "0", "0", 0o400))
	for _, reveal := range []bool{false, true} {
		for _, c := range inspectInside(t, e, service, peek.LookOptions{Reveal: reveal}) {
			if c.Unseen != "" {
				t.Log(c.Node, c.Unseen)
			} else if v := c.Seen.Files["/run/secrets/p"].Content.Value; reveal && !v.Equal(secret.NewValue(content)) {
				t.Error("it was not seen")
			}
		}
	}
	t.Logf("%d bytes, %d of them log", seen.Len(), logs)
	digest := secret.NewValue(content).Digest([]byte("a nonce"))
	for _, form := range []string{string(content), base64.StdEncoding.EncodeToString(content)[:20], fmt.Sprintf("%x", content)[:20], string(digest[:]), base64.StdEncoding.EncodeToString(digest[:])} {
		if bytes.Contains(seen.Bytes(), []byte(form)) {
			t.Errorf("the engine shows %q", form)
		}
	}
}

// TestAlone: containers that are no task's, with processes of their own and with the node's.
func TestAlone(t *testing.T) {
	e := connect(t, Options{})
	g, err := e.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []container.PidMode{"", "host"} {
		name := fmt.Sprintf("e2e-look-%08x", rand.Uint32())
		made, err := g.api.ContainerCreate(t.Context(), &container.Config{
			Image: busybox, Cmd: []string{"sh", "-c", "mkdir -p /run/secrets && echo value >/run/secrets/x && exec sleep 1000"},
			Env: []string{"X_FILE=/run/secrets/x", "PLAIN=/etc/passwd"}, StopSignal: "SIGKILL",
		}, &container.HostConfig{PidMode: mode, NetworkMode: "none"}, nil, nil, name)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = g.api.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true}) }()
		if found := inspectInside(t, e, name, peek.LookOptions{}); len(found) != 1 || found[0].Unseen != "it doesn't run, it is created" {
			t.Errorf("%+v", found)
		}
		if err := g.api.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		for _, target := range []string{name, made.ID, made.ID[:12]} {
			found := inspectInside(t, e, target, peek.LookOptions{Reveal: true})
			if len(found) != 1 || found[0].Unseen != "" || found[0].Object != "container "+name || len(found[0].Wants) != 1 ||
				string(found[0].Seen.Files["/run/secrets/x"].Content.Value.Reveal()) != "value\n" || !found[0].Seen.Env["X_FILE"].Value.Known() {
				t.Errorf("%+v", found)
			}
		}
		found := find(t, e, name)
		if err := g.api.ContainerRemove(t.Context(), made.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if err := e.Look(t.Context(), found, peek.LookOptions{Nonce: []byte("n")}); err != nil || found[0].Unseen != "it was removed" {
			t.Errorf("%+v, %v", found, err)
		}
	}
	clean(t, e)
}

// TestConsumersOfService: before and after an update, with what a rollback would need.
func TestConsumersOfService(t *testing.T) {
	e := connect(t, Options{})
	refs := stand(t, e, []byte("old"), []byte("new"))
	name := serve(t, e, 2, func(s *swarm.ServiceSpec) { s.Labels = map[string]string{stackLabel: "shop"} }, reference(refs[0], "p", "0", "0", 0o400))
	before := usersOf(t, e, refs)
	service, err := inspectService(t.Context(), e.engine, name)
	if err != nil {
		t.Fatal(err)
	}
	service.Spec.TaskTemplate.ContainerSpec.Secrets = []*swarm.SecretReference{reference(refs[1], "p", "0", "0", 0o400)}
	if _, err := e.engine.api.ServiceUpdate(t.Context(), service.ID, service.Version, service.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	var after []string
	for range 100 {
		if after = usersOf(t, e, refs); len(after) == 4 && !strings.Contains(strings.Join(after[1:], " "), "0") {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if got := strings.Join(before, ", "); got != "service shop 0, task 0, task 0" {
		t.Error(got)
	}
	if got := strings.Join(after, ", "); got != "service shop 0 previous, service shop 1, task 1, task 1" {
		t.Error(got)
	}
}

// usersOf are those of the secrets, each as kind, stack and the index of the secret.
func usersOf(t *testing.T, e *Endpoint, refs []secret.Ref) (all []string) {
	t.Helper()
	graph, err := e.Consumers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range graph.Consumers {
		for _, use := range c.Uses {
			for i, ref := range refs {
				if use.UID != ref.UID {
					continue
				}
				text := c.Kind + " "
				if c.Kind == "service" {
					text += c.Stack + " "
				}
				text += strconv.Itoa(i)
				if use.Previous {
					text += " previous"
				}
				all = append(all, text)
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestHundred: one wave, far faster than one after another.
func TestHundred(t *testing.T) {
	const n = 100
	e := connect(t, Options{})
	refs := stand(t, e, []byte("value"))
	one := serve(t, e, 1, here, reference(refs[0], "p", "0", "0", 0o400))
	many := serve(t, e, n, here, reference(refs[0], "p", "0", "0", 0o400))
	timed := func(service string) ([]peek.Container, time.Duration) {
		began := time.Now()
		found := inspectInside(t, e, service, peek.LookOptions{})
		return found, time.Since(began)
	}
	_, single := timed(one)
	found, took := timed(many)
	if _, again := timed(one); again > single {
		single = again // the machine is as busy as it was for the many
	}
	want := secret.NewValue([]byte("value")).Digest([]byte("a nonce"))
	for _, c := range found {
		if !c.Seen.Files["/run/secrets/p"].Content.Digest.Equal(want) {
			t.Errorf("%s: %s", c.Name, c.Unseen)
		}
	}
	if len(found) != n || took > n/2*single {
		t.Errorf("%d containers in %s, and one in %s", len(found), took, single)
	}
}

// TestRevealsMuch: large values from many containers, here and elsewhere.
func TestRevealsMuch(t *testing.T) {
	e := connect(t, Options{})
	contents := [][]byte{noise(500_000), noise(400_000)}
	refs := stand(t, e, contents...)
	service := serve(t, e, 20, nil, reference(refs[0], "a", "0", "0", 0o400), reference(refs[1], "b", "0", "0", 0o400))
	for _, c := range inspectInside(t, e, service, peek.LookOptions{Reveal: true}) {
		if strings.Contains(c.Unseen, "doesn't have the helper") {
			continue
		}
		for i, name := range []string{"a", "b"} {
			if !c.Seen.Files["/run/secrets/"+name].Content.Value.Equal(secret.NewValue(contents[i])) {
				t.Errorf("%s on %s: %s", c.Name, c.Node, c.Unseen)
			}
		}
	}
	clean(t, e)
}

// TestStrangeFiles: what stands in /run/secrets without having been asked for, and what looks like a
// way out of the container.
func TestStrangeFiles(t *testing.T) {
	e := connect(t, Options{})
	refs := stand(t, e, []byte("value"))
	service := serve(t, e, 1, func(s *swarm.ServiceSpec) {
		c := s.TaskTemplate.ContainerSpec
		c.Image, c.Command = busybox, []string{"sh", "-c", `
			cd /run/secrets && echo extra >extra && mkdir -p deep/er && echo x >deep/er/file && chmod 640 extra && chown 5:6 extra
			ln -s /etc/passwd inside; ln -s ../../../../../../etc/hostname up; ln -s /nowhere nowhere; ln -s loop loop; ln -s / root
			mkfifo pipe; head -c 1048577 /dev/zero >big; : >empty; touch /ready; exec sleep 1000`}
		c.Env = []string{"IT_FILE=/run/secrets/p"}
	}, reference(refs[0], "p", "0", "0", 0o400))
	time.Sleep(time.Second)
	c := inspectInside(t, e, service, peek.LookOptions{Reveal: true})[0]
	want := map[string]string{
		"p": "", "extra": "", "deep/er/file": "", "inside": "", "up": "", "pipe": "it is a named pipe", "big": "it has more than 1 MiB",
		"empty": "", "loop": "",
	}
	for path, file := range c.Seen.Files {
		t.Log(path, file.Unseen, file.Stat, strconv.FormatUint(uint64(file.Mode), 8), file.UID, file.GID, file.Content.Value.Len(), file.Content.Value.Known())
	}
	delete(want, "loop")
	for path, unseen := range want {
		file, there := c.Seen.Files["/run/secrets/"+path]
		if !there || file.Unseen != unseen || (unseen == "") != file.Content.Value.Known() {
			t.Errorf("%s: %+v", path, file)
		}
	}
	if len(c.Seen.Files) != len(want) || c.Seen.Files["/run/secrets/extra"].UID != 5 || c.Seen.Files["/run/secrets/extra"].Mode != 0o640 {
		t.Errorf("%d files", len(c.Seen.Files))
	}
	if got := string(c.Seen.Env["IT_FILE"].Value.Reveal()); got != "/run/secrets/p" {
		t.Errorf("the variable is %q", got)
	}
}
