//go:build e2e

package swarm

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"

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
	service := serve(t, e, len(others)+1, func(s *swarm.ServiceSpec) {
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
	t.Run("again", func(t *testing.T) {
		check(t, inspectInside(t, e, service, peek.LookOptions{}), "")
	})
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
