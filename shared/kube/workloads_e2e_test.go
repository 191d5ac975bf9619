//go:build e2e

package kube_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// wiring is what is known of workloads, one line each, with a ! after what doesn't follow by itself.
func wiring(all []rollout.Workload) string {
	var b strings.Builder
	for _, w := range all {
		b.WriteString(w.ID)
		for _, ref := range w.Refs {
			b.WriteString(" " + ref.Name)
			if !ref.Live {
				b.WriteString("!")
			}
		}
		if w.Scheduled {
			b.WriteString(" (scheduled)")
		}
		if w.Fixed != "" {
			b.WriteString(": " + w.Fixed)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// bare are those that nothing can be done for, and some that stay as they are for now.
const bare = `
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]}]
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: own}
spec:
  replicas: 1
  selector: {matchLabels: {app: own}}
  template:
    metadata: {labels: {app: own}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: a, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: by-hand}
spec:
  serviceName: x
  updateStrategy: {type: OnDelete}
  selector: {matchLabels: {app: by-hand}}
  template:
    metadata: {labels: {app: by-hand}}
    spec:
      nodeSelector: {nobody: "1"}
      containers: [{name: a, image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: in-part}
spec:
  serviceName: x
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}
  replicas: 2
  selector: {matchLabels: {app: in-part}}
  template:
    metadata: {labels: {app: in-part}}
    spec:
      nodeSelector: {nobody: "1"}
      containers: [{name: a, image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each-by-hand}
spec:
  updateStrategy: {type: OnDelete}
  selector: {matchLabels: {app: each-by-hand}}
  template:
    metadata: {labels: {app: each-by-hand}}
    spec:
      nodeSelector: {nobody: "1"}
      containers: [{name: a, image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]}]
`

func TestWorkloadsThatStayAsTheyAre(t *testing.T) {
	c := newCluster(t)
	c.secretOf("s", "1", false)
	c.manifest(bare)
	c.manifest(strings.ReplaceAll(web, "NAME", "s"))
	c.kubectl("", "rollout", "status", "deploy/web")
	c.kubectl("", "rollout", "restart", "deploy/web") // for a second ReplicaSet
	c.kubectl("", "rollout", "status", "deploy/web")
	c.customOwner()
	c.running("alone")
	all, err := c.open().Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `
daemonset/each-by-hand s!: its update strategy is OnDelete: its pods are made anew only when somebody deletes them
deployment/web s!
pod/alone s!: a bare pod can't be restarted: delete it and create it again, with the tool that made it
replicaset/own s!: it doesn't replace its pods when its template changes: delete them, and it makes them anew (change the name in its template first, if the Secret has a new one)
roller/custom s!: its pods are made by a Roller (GROUP/v1), and secretx can't have that make them anew: restart it with the tool that it came with
statefulset/by-hand s!: its update strategy is OnDelete: its pods are made anew only when somebody deletes them
statefulset/in-part s!: its update strategy has the partition 1: pods with a lower number than that are not updated until it is set to 0
`
	want = strings.ReplaceAll(strings.TrimPrefix(want, "\n"), "GROUP", c.namespace+".example.com")
	if got := wiring(all); got != want {
		t.Errorf("got\n%s", got)
	}
}

// customOwner makes a kind of its own, an object of it, and a ReplicaSet and a pod that it controls.
func (c *cluster) customOwner() {
	c.Helper()
	group := c.namespace + ".example.com"
	const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	c.must(http.MethodPost, definitions, object{
		"metadata": object{"name": "rollers." + group},
		"spec": object{
			"group": group, "scope": "Namespaced", "names": object{"plural": "rollers", "kind": "Roller"},
			"versions": []object{{"name": "v1", "served": true, "storage": true, "schema": object{"openAPIV3Schema": object{"type": "object"}}}},
		},
	})
	c.Cleanup(func() { c.do(http.MethodDelete, definitions+"/rollers."+group, "", nil) })
	c.kubectl("", "wait", "--for=condition=Established", "crd/rollers."+group)
	c.until("the kind is served", func() bool {
		return strings.Contains(c.kubectl("", "api-resources", "--api-group="+group, "-o", "name"), "rollers")
	})
	made := c.must(http.MethodPost, "/apis/"+group+"/v1/namespaces/"+c.namespace+"/rollers", object{
		"apiVersion": group + "/v1", "kind": "Roller", "metadata": object{"name": "custom"},
	})
	owner := fmt.Sprintf("ownerReferences: [{apiVersion: %s/v1, kind: Roller, name: custom, controller: true, uid: %s}]", group, made["metadata"].(object)["uid"])
	c.manifest(`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: custom, ` + owner + `}
spec:
  replicas: 1
  selector: {matchLabels: {app: custom}}
  template:
    metadata: {labels: {app: custom}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: a, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: custom-0, ` + owner + `}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]}]
`)
}

// Every kind of reference, in every kind of object that can be moved, is moved, and back.
func TestReplaceEveryKindOfReference(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.manifest(everything)
	before, err := e.Consumers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := e.Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `
cronjob/nightly s-cron (scheduled)
daemonset/each s-csi! s-flex! s-ceph! s-rbd! s-iscsi! s-scale! s-azure!
ingress/front s-tls (scheduled)
job/once s-job!: a Job runs to its end with what it was started with: wait for it, or delete it and create it again
replicationcontroller/old s-rc!: it doesn't replace its pods when its template changes: delete them, and it makes them anew (change the name in its template first, if the Secret has a new one)
serviceaccount/robot s-account s-pull (scheduled)
statefulset/db s-volume! s-projected s-projected-too s-unmounted s-pull
`
	if got := wiring(all); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%s", got)
	}
	newest := map[string]secret.Ref{}
	for _, w := range all {
		for _, ref := range w.Refs {
			newest[ref.Name] = secret.Ref{Name: ref.Name + ".v2"}
		}
	}
	steps, fixed := rollout.Steps(all, rollout.Change{Newest: newest})
	if len(steps) != 5 || len(fixed) != 2 {
		t.Fatalf("%d steps, %d fixed", len(steps), len(fixed))
	}
	for _, step := range steps {
		if moved, err := moves(t, e, step); err != nil || moved.Nothing {
			t.Errorf("%s: %v, %v", step.Workload.ID, moved, err)
		}
		if moved, err := moves(t, e, step); err != nil || !moved.Nothing {
			t.Errorf("%s again: %v, %v", step.Workload.ID, moved, err)
		}
	}
	after, err := e.Consumers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var expected strings.Builder
	for line := range strings.Lines(graph(before)) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "  "), "/")
		how, secret, _ := strings.Cut(name, " ")
		if strings.HasPrefix(line, "  ") && secret != "s-job" && secret != "s-rc" && secret != "s-template" {
			line = "  " + how + " " + secret + ".v2/" + rest
		}
		expected.WriteString(line)
	}
	if got := graph(after); got != expected.String() {
		t.Errorf("got\n%s\nwant\n%s", got, expected.String())
	}
	for _, step := range steps {
		if moved, err := moves(t, e, step.Back()); err != nil || moved.Nothing {
			t.Errorf("%s back: %v, %v", step.Workload.ID, moved, err)
		}
	}
	if back, err := e.Consumers(t.Context()); err != nil || graph(back) != graph(before) {
		t.Errorf("%v, it is\n%s\nand was\n%s", err, graph(back), graph(before))
	}
}
