//go:build e2e

package kube_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// every has a Secret in all the ways in which a container can have one; plain only in those that follow.
const every = `
apiVersion: apps/v1
kind: KIND
metadata: {name: every}
spec:
  selector: {matchLabels: {app: every}}
  template:
    metadata: {labels: {app: every}}
    spec:
      terminationGracePeriodSeconds: 0
      initContainers:
      - name: copy
        image: secretx-test/busybox:1
        command: [cp, /s/value, /c/value]
        volumeMounts: [{name: v, mountPath: /s}, {name: c, mountPath: /c}]
      containers:
      - name: a
        image: secretx-test/busybox:1
        command: [sleep, "3600"]
        env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]
        envFrom: [{prefix: B_, secretRef: {name: s}}]
        volumeMounts:
        - {name: v, mountPath: /v}
        - {name: v, mountPath: /sub, subPath: value}
        - {name: p, mountPath: /p}
        - {name: c, mountPath: /c}
      volumes:
      - {name: c, emptyDir: {}}
      - {name: v, secret: {secretName: s}}
      - {name: p, projected: {sources: [{secret: {name: other}}, {secret: {name: s, items: [{key: value, path: renamed}]}}]}}
`

const plain = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain}
spec:
  selector: {matchLabels: {app: plain}}
  template:
    metadata: {labels: {app: plain}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: a, image: secretx-test/busybox:1, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /v}]}
      volumes:
      - {name: v, secret: {secretName: s}}
`

// seen are the values that the containers of a workload have, each once.
func (c *cluster) seen(object string) []string {
	c.Helper()
	text := c.kubectl("", "exec", object, "-c", "a", "--", "sh", "-c", `echo $A $B_value; for f in /v/value /sub /p/renamed /c/value; do cat $f; echo; done`)
	found := strings.Fields(text)
	if len(found) != 6 {
		c.Errorf("%s has %q", object, text)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// A new value arrives in whatever way a container has it, be it under the old name or under a new one; and
// who follows by himself isn't disturbed.
func TestNewValueArrivesInEveryWay(t *testing.T) {
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			e := c.open()
			id := strings.ToLower(kind) + "/every"
			c.secretOf("s", "first", false)
			c.kubectl("", "create", "secret", "generic", "other")
			c.manifest(strings.ReplaceAll(every, "KIND", kind))
			c.manifest(plain)
			c.kubectl("", "rollout", "status", id)
			if got := c.seen(id); !slices.Equal(got, []string{"first"}) {
				t.Fatalf("%q", got)
			}
			old := get(t, e, "s")
			if _, err := e.Update(t.Context(), old, with(old, "value", "second")); err != nil {
				t.Fatal(err)
			}
			run := func(change rollout.Change, id string) {
				t.Helper()
				all, err := e.Workloads(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				steps, fixed := rollout.Steps(all, change)
				i := slices.IndexFunc(steps, func(s rollout.Step) bool { return s.Workload.ID == id })
				if len(fixed) > 0 || i < 0 || len(change.Newest) == 0 && len(steps) != 1 {
					t.Fatalf("%v, %v", steps, fixed)
				}
				for _, step := range steps {
					if _, err := moves(t, e, step); err != nil {
						t.Fatal(err)
					}
				}
			}
			run(rollout.Change{Written: map[string]bool{"s": true}}, id)
			if got := c.seen(id); !slices.Equal(got, []string{"second"}) {
				t.Errorf("after a restart: %q", got)
			}
			c.secretOf("s.v2", "third", true)
			run(rollout.Change{Newest: map[string]secret.Ref{"s": {Name: "s.v2"}}}, id)
			if got := c.seen(id); !slices.Equal(got, []string{"third"}) {
				t.Errorf("after a move: %q", got)
			}
			c.kubectl("", "delete", "secret", "s") // nothing needs it any more
			c.kubectl("", "delete", "pods", "--all")
			c.kubectl("", "rollout", "status", id)
			c.kubectl("", "rollout", "status", "deploy/plain")
		})
	}
}
