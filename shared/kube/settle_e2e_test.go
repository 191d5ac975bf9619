//go:build e2e

package kube_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// picky ends on any other value than the first.
const picky = `[sh, -c, "case $A in 1*) exec sleep 3600;; esac; sleep 1; exit 7"]`

// made gives a workload of a kind: web with another command and other fields of its spec.
func made(kind, command, spec string) string {
	text := strings.ReplaceAll(web, "NAME", "s")
	text = strings.ReplaceAll(text, "kind: Deployment", "kind: "+kind)
	text = strings.ReplaceAll(text, `[sleep, "3600"]`, command)
	switch kind {
	case "StatefulSet":
		spec = "  serviceName: web\n" + spec
	case "DaemonSet":
		text = strings.ReplaceAll(text, "  replicas: 1\n", "")
	}
	return strings.Replace(text, "  selector:", spec+"  selector:", 1)
}

// stuckSoon carries a step out that must get stuck, and not only when the time is over.
func stuckSoon(t *testing.T, e *kube.Endpoint, step rollout.Step, want string) {
	t.Helper()
	began := time.Now()
	_, err := moves(t, e, step)
	var stuck *rollout.Stuck
	if !errors.As(err, &stuck) || !strings.Contains(err.Error(), want) || time.Since(began) > 45*time.Second {
		t.Errorf("after %s: %v, and not %q", time.Since(began).Round(time.Second), err, want)
	}
	t.Logf("after %s: %v", time.Since(began).Round(time.Second), err)
}

func (c *cluster) settled(id string) {
	c.Helper()
	c.kubectl("", "rollout", "status", id, "--timeout=60s")
}

func (c *cluster) give(value string) {
	c.Helper()
	c.edit("s", object{"data": object{"value": b64(value)}})
}

// Each kind takes a new value, fails on one that its container doesn't bear, and goes back: in place, and to
// another name, where a StatefulSet would stand still for good.
func TestSettleEachKind(t *testing.T) {
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			e := c.open()
			id := strings.ToLower(kind) + "/web"
			c.secretOf("s", "1", false)
			c.secretOf("s.v2", "1b", false)
			c.secretOf("s.v3", "bad", false)
			spec := ""
			if kind == "StatefulSet" {
				spec = "  podManagementPolicy: OrderedReady\n"
			}
			c.manifest(made(kind, picky, spec))
			c.settled(id)
			c.give("1a")
			w := workload(t, e, id)
			if moved, err := moves(t, e, restart(w)); err != nil || moved.Nothing {
				t.Fatal(moved, err)
			}
			if got := c.values("app=web"); !slices.Equal(got, []string{"1a"}) {
				t.Errorf("restarted, the pods have %q", got)
			}
			if moved, err := moves(t, e, replace(w, "s", "s.v2")); err != nil || moved.Nothing {
				t.Fatal(moved, err)
			}
			if got := c.values("app=web"); !slices.Equal(got, []string{"1b"}) {
				t.Errorf("moved, the pods have %q", got)
			}
			bad := replace(workload(t, e, id), "s.v2", "s.v3")
			bad.Return = map[string]secret.Ref{"s.v3": {Name: "s.v2"}}
			stuckSoon(t, e, bad, "exit code 7")
			if moved, err := moves(t, e, bad.Back()); err != nil || moved.Nothing {
				t.Fatal("going back:", moved, err)
			}
			if got := c.values("app=web"); !slices.Equal(got, []string{"1b"}) {
				t.Errorf("back again, the pods have %q", got)
			}
		})
	}
}

// What won't mend itself is said at once, in the words of kubectl.
func TestStuckAtOnce(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.secretOf("s", "1", false)
	c.manifest(made("Deployment", `[sleep, "3600"]`, "  progressDeadlineSeconds: 8\n"))
	c.settled("deployment/web")
	w := workload(t, e, "deployment/web")
	stuckSoon(t, e, replace(w, "s", "nobody"), `CreateContainerConfigError: secret "nobody" not found`)
	if _, err := moves(t, e, replace(w, "nobody", "s")); err != nil {
		t.Fatal(err)
	}
	c.kubectl("", "create", "secret", "generic", "keyless", "--from-literal=other=1")
	stuckSoon(t, e, replace(w, "s", "keyless"), "couldn't find key value in Secret")
	if _, err := moves(t, e, replace(w, "keyless", "s")); err != nil {
		t.Fatal(err)
	}
	// Somebody's newer generation on top, of an image that there isn't.
	moved, err := e.Move(t.Context(), restart(w))
	if err != nil {
		t.Fatal(err)
	}
	c.kubectl("", "set", "image", "deploy/web", "web=secretx-test/nosuch:1")
	c.kubectl("", "patch", "deploy/web", "--type=json", "-p", `[{"op":"add","path":"/spec/template/spec/containers/0/imagePullPolicy","value":"Never"}]`)
	var stuck *rollout.Stuck
	if err := e.Settle(t.Context(), moved, nil); !errors.As(err, &stuck) || !strings.Contains(err.Error(), "ErrImageNeverPull") {
		t.Error(err)
	}
	c.kubectl("", "set", "image", "deploy/web", "web=secretx-test/busybox:1")
	if err := e.Settle(t.Context(), moved, nil); err != nil {
		t.Error(err)
	}
	c.kubectl("", "patch", "deploy/web", "--type=json", "-p",
		`[{"op":"add","path":"/spec/template/spec/containers/0/readinessProbe","value":{"exec":{"command":["sh","-c","test $A = 1"]},"periodSeconds":1}}]`)
	c.settled("deployment/web")
	c.give("2")
	stuckSoon(t, e, restart(w), `exceeded its progress deadline`)
	c.give("1")
	if _, err := moves(t, e, restart(w)); err != nil {
		t.Error(err)
	}
}

func TestSettleEndsWithItsContext(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.secretOf("s", "1", false)
	c.manifest(strings.Replace(made("Deployment", `[sleep, "3600"]`, ""), "      containers:", "      nodeSelector: {nobody: \"1\"}\n      containers:", 1))
	w := workload(t, e, "deployment/web")
	moved, err := e.Move(t.Context(), restart(w))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	err = e.Settle(ctx, moved, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 4*time.Second || !strings.Contains(err.Error(), "Unschedulable") {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	// With no pods there is nothing to wait for.
	c.kubectl("", "scale", "deploy/web", "--replicas=0")
	if _, err := moves(t, e, restart(w)); err != nil {
		t.Error(err)
	}
	c.kubectl("", "delete", "deploy/web")
	if _, err := e.Move(t.Context(), restart(w)); err == nil || !strings.Contains(err.Error(), "it was removed") {
		t.Error(err)
	}
	if err := e.Settle(t.Context(), moved, nil); err == nil || !strings.Contains(err.Error(), "it was removed") {
		t.Error(err)
	}
}

// What isn't updated by itself is said by Workloads, and by Settle to one who has found it out only then.
func TestHeld(t *testing.T) {
	for name, test := range map[string]struct{ kind, spec, patch, want string }{
		"partition": {"StatefulSet", "", `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}`, "partition"},
		"ondelete":  {"StatefulSet", "", `{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}`, "OnDelete"},
		"daemonset": {"DaemonSet", "", `{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}`, "OnDelete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			e := c.open()
			id := strings.ToLower(test.kind) + "/web"
			c.secretOf("s", "1", false)
			c.manifest(made(test.kind, `[sleep, "3600"]`, test.spec))
			c.settled(id)
			w := workload(t, e, id)
			c.kubectl("", "patch", id, "-p", test.patch)
			if held := workload(t, e, id); !strings.Contains(held.Fixed, test.want) {
				t.Errorf("%+v", held)
			}
			stuckSoon(t, e, restart(w), test.want)
		})
	}
}

// A StatefulSet stands still on a pod that is broken until that is deleted, and that takes a right.
func TestRightsToClear(t *testing.T) {
	c := newCluster(t)
	c.secretOf("s", "1", false)
	c.secretOf("s.v2", "bad", false)
	c.manifest(made("StatefulSet", picky, ""))
	c.settled("statefulset/web")
	bad := replace(workload(t, c.open(), "statefulset/web"), "s", "s.v2")
	bad.Return = map[string]secret.Ref{"s.v2": {Name: "s"}}
	rights := []string{"get statefulsets.apps", "patch statefulsets.apps", "list statefulsets.apps", "list pods", "delete pods"}
	e := c.allowed("mover", rights[:4]...)
	stuckSoon(t, e, bad, "exit code 7")
	_, err := moves(t, e, bad.Back())
	lacks(t, err, "delete pods")
	if _, err := moves(t, c.allowed("mover", rights...), bad.Back()); err != nil {
		t.Error(err)
	}
	if got := c.values("app=web"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("the pods have %q", got)
	}
}
