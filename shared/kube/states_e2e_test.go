//go:build e2e

package kube_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/peek"
)

// unseen waits until a pod's container can't be looked into for a reason with that text.
func (c *cluster) unseen(name, container string, texts ...string) {
	c.Helper()
	found := ""
	deadline := time.Now().Add(45 * time.Second)
	for time.Now().Before(deadline) {
		all, err := c.open().Containers(c.Context(), pod(name))
		if err != nil {
			c.Fatal(err)
		}
		for _, one := range all {
			if one.Container == container {
				found = one.Unseen
			}
		}
		missing := false
		for _, text := range texts {
			missing = missing || !strings.Contains(found, text)
		}
		if !missing {
			c.Logf("%s: %s", name, found)
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
	c.Errorf("%s: %q instead of %q", name, found, texts)
}

// Why a container doesn't run is what kubectl shows, and for volumes more.
func TestNotRunning(t *testing.T) {
	c := newCluster(t)
	c.manifest(`
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: A-value}
---
apiVersion: v1
kind: Pod
metadata: {name: no-secret}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: X, valueFrom: {secretKeyRef: {name: absent, key: a}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: no-key}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: absent}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: no-volume}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: secretx-test/busybox:1, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, secret: {secretName: absent}}]
---
apiVersion: v1
kind: Pod
metadata: {name: no-node}
spec:
  nodeSelector: {nobody: "1"}
  containers: [{name: main, image: secretx-test/busybox:1, env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: no-image}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: secretx-test/absent:1, imagePullPolicy: Never, env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: secretx-test/busybox:1, command: [sh, -c, exit 3], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: failed}
spec:
  restartPolicy: Never
  containers: [{name: main, image: secretx-test/busybox:1, command: [sh, -c, exit 4], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: Never
  containers: [{name: main, image: secretx-test/busybox:1, command: ["true"], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: starting}
spec:
  terminationGracePeriodSeconds: 0
  initContainers: [{name: setup, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
  containers: [{name: main, image: secretx-test/busybox:1, env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
`)
	c.unseen("no-secret", "main", `CreateContainerConfigError: secret "absent" not found`)
	c.unseen("no-key", "main", `CreateContainerConfigError: couldn't find key absent in Secret`)
	c.unseen("no-volume", "main", "ContainerCreating", `there is no Secret "absent"`)
	c.unseen("no-node", "main", "it has not started: 0/1 nodes are available")
	c.unseen("no-image", "main", "ErrImageNeverPull")
	c.unseen("crashing", "main", "CrashLoopBackOff", "exit code 3")
	c.unseen("failed", "main", "it has ended: Error, exit code 4")
	c.unseen("starting", "main", "PodInitializing")
	if all := look(t, c.open(), pod("starting")); len(all[0].Seen.Env) != 1 {
		t.Errorf("the init container that runs: %s", show(all))
	}
	if all := look(t, c.open(), pod("done")); !all[0].Over || all[0].Unseen != "" {
		t.Errorf("%+v", all)
	}
	for _, absent := range []peek.Target{pod("absent"), pod("Not A Name"), target("deploy/absent"), target("nothing/absent"), {Type: "cronjobs.batch", Name: "absent"}} {
		if _, err := c.open().Containers(t.Context(), absent); !errors.Is(err, endpoint.ErrNotFound) {
			t.Errorf("%v: %v", absent, err)
		}
	}
	if all, err := c.open().Containers(t.Context(), peek.Target{Selector: "app=absent"}); err != nil || len(all) > 0 {
		t.Errorf("%v %v", all, err)
	}
	if _, err := c.open().Containers(t.Context(), peek.Target{Selector: "app in ("}); !errors.Is(err, endpoint.ErrInvalid) {
		t.Error(err)
	}
}

// What changes behind a container's back: its volume follows, its environment and subPath don't.
func TestChanged(t *testing.T) {
	c := newCluster(t)
	c.manifest(`
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: first, gone: first}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: secretx-test/busybox:1
    command: [sleep, "3600"]
    env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]
    volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /a, subPath: a}]
  volumes: [{name: v, secret: {secretName: s}}]
`)
	c.running("user")
	before := get(t, c.open(), "s")
	if before.Created.IsZero() || before.Changed.Before(before.Created) || time.Since(before.Changed) > time.Minute {
		t.Errorf("created %s, changed %s", before.Created, before.Changed)
	}
	time.Sleep(time.Second) // the API's clock counts in seconds
	c.edit("s", object{"data": object{"a": b64("second"), "gone": nil}})
	if after := get(t, c.open(), "s"); !after.Changed.After(before.Changed) || !after.Created.Equal(before.Created) {
		t.Errorf("changed %s, then %s", before.Changed, after.Changed)
	}
	changed := get(t, c.open(), "s").Changed
	time.Sleep(time.Second)
	c.kubectl("", "annotate", "secret", "s", "data=x")
	if again := get(t, c.open(), "s"); !again.Changed.Equal(changed) {
		t.Errorf("an annotation changed the data: %s, then %s", changed, again.Changed)
	}
	at := look(t, c.open(), pod("user"))
	if _, still := at[0].Seen.Files["/v/gone"]; still {
		t.Log("before the kubelet's sync the removed key is seen as a file that nobody wants")
	}
	var all []peek.Container
	c.until("the volume follows", func() bool {
		all = look(t, c.open(), pod("user"))
		return is(all[0].Seen.Files["/v/a"].Content, "second")
	})
	c.shows(all, `
pod/user main
  file s/a at /v/a 0644
  file s/a at /a 0644 subPath
  env s/a in X
  seen /a 0644 0:0 first
  seen /v/a 0644 0:0 second
  seen X first
`, "first", "second")
}

func TestExtraAndChangedFiles(t *testing.T) {
	c := newCluster(t)
	c.manifest(`
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: first, b: first}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: secretx-test/busybox:1
    command: [sleep, "3600"]
    volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /v/nested}]
  - name: late
    image: secretx-test/busybox:1
    command: [sleep, "3600"]
    securityContext: {runAsUser: 65534}
    volumeMounts: [{name: private, mountPath: /v}]
  volumes:
  - {name: v, secret: {secretName: s, items: [{key: a, path: a}]}}
  - {name: w, emptyDir: {}}
  - {name: private, secret: {secretName: s, defaultMode: 0400}}
`)
	c.running("user")
	c.kubectl("", "exec", "user", "-c", "main", "--", "sh", "-c", "echo x > /v/nested/other")
	found := look(t, c.open(), pod("user"))
	c.shows(found, `
pod/user main
  file s/a at /v/a 0644
  seen /v/a 0644 0:0 first
pod/user late
  file s/a at /v/a 0400
  file s/b at /v/b 0400
  seen /v/a 0400 0:0 the user of the container may not read it
  seen /v/b 0400 0:0 the user of the container may not read it
`, "first")
	if !strings.Contains(found[1].Hint, "--allow-ephemeral") {
		t.Error(found[1].Hint)
	}
	c.shows(look(t, c.open(), pod("user"), ephemeral)[1:], `
pod/user late
  file s/a at /v/a 0400
  file s/b at /v/b 0400
  seen /v/a 0400 0:0 first
  seen /v/b 0400 0:0 first
`, "first")
}

// An immutable Secret that was made anew isn't noticed by kubelets, and a look shows it.
func TestImmutableMadeAnew(t *testing.T) {
	c := newCluster(t)
	manifest := `
apiVersion: v1
kind: Secret
metadata: {name: s}
immutable: true
stringData: {a: VALUE}
`
	c.manifest(strings.ReplaceAll(manifest, "VALUE", "first") + `---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: secretx-test/busybox:1, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, secret: {secretName: s}}]
`)
	c.running("user")
	started := look(t, c.open(), pod("user"))[0].Started
	time.Sleep(time.Second)
	c.kubectl("", "delete", "secret", "s")
	c.manifest(strings.ReplaceAll(manifest, "VALUE", "second"))
	if s := get(t, c.open(), "s"); !s.Immutable || !s.Created.After(started) {
		t.Errorf("immutable %v, created %s, the container %s", s.Immutable, s.Created, started)
	}
	if all := look(t, c.open(), pod("user")); !is(all[0].Seen.Files["/v/a"].Content, "first") {
		t.Error(show(all))
	}
}

// A pod that goes away in the middle of a look is a clear row, and a look that is given up is over at once.
func TestGoneInTheMiddle(t *testing.T) {
	c := newCluster(t)
	c.manifest(`
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: first}
---
apiVersion: v1
kind: Pod
metadata: {name: goes}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: secretx-test/busybox:1
    command: [sh, -c, "rm /bin/sh; echo 'exec sleep 3600' > /etc/hangs; echo '#!/bin/ash /etc/hangs' > /bin/sh; chmod +x /bin/sh; sleep 3600"]
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, secret: {secretName: s}}]
`)
	c.running("goes")
	time.Sleep(time.Second)
	e := c.open()
	options := peek.LookOptions{Nonce: nonce, Progress: func(string) {}}
	all, err := e.Containers(t.Context(), pod("goes"))
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	if err := e.Look(ctx, all, options); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
		t.Errorf("given up after %s: %v", time.Since(began), err)
	}
	all[0].Unseen = ""
	time.AfterFunc(time.Second, func() {
		c.do(http.MethodDelete, "/api/v1/namespaces/"+c.namespace+"/pods/goes?gracePeriodSeconds=0", "", nil)
	})
	began = time.Now()
	if err := e.Look(t.Context(), all, options); err != nil || !strings.Contains(all[0].Unseen, "it ended while") || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %v, %q", time.Since(began), err, all[0].Unseen)
	}
	all[0].Unseen = ""
	if err := e.Look(t.Context(), all, options); err != nil || !strings.Contains(all[0].Unseen, "it ended while") {
		t.Errorf("%v, %q", err, all[0].Unseen)
	}
}

// What a container answers is its own business, and is neither believed nor waited for without end.
func TestHostile(t *testing.T) {
	c := newCluster(t)
	manifest := `
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: first}
`
	answers := map[string]string{
		"silent":  "exit 0",
		"fails":   "echo no >&2; exit 7",
		"floods":  "exec yes",
		"partial": `echo "${4}file"; echo "644 0 0 regular file"`,
		"foreign": `echo "${4}nonsense"; echo "${4}end"`,
		"more":    `echo "${4}file"; echo "${4}file"; echo "${4}end"`,
	}
	for name, answer := range answers {
		manifest += `---
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `, labels: {app: hostile}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: secretx-test/busybox:1
    command: [ash, -c, 'printf "%s\n" "$ANSWER" > /etc/answer; rm /bin/sh; echo "#!/bin/ash /etc/answer" > /bin/sh; chmod +x /bin/sh; sleep 3600']
    env: [{name: ANSWER, value: '` + strings.ReplaceAll(answer, "'", "''") + `'}]
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, secret: {secretName: s, items: [{key: a, path: a}]}}]
`
	}
	c.manifest(manifest)
	for name := range answers {
		c.running(name)
	}
	time.Sleep(time.Second)
	for _, found := range look(t, c.open(), peek.Target{Selector: "app=hostile"}) {
		t.Logf("%s: %s", found.Name, found.Unseen)
		if found.Unseen == "" {
			t.Error(show([]peek.Container{found}))
		}
	}
}

// A custom kind owns a ReplicaSet, and nothing says what its pods are but their owners.
func TestCustomOwner(t *testing.T) {
	c := newCluster(t)
	group := strings.ReplaceAll(c.namespace, "-", "") + ".example.com"
	crd := `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget, shortNames: [gdg]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
	c.manifest(crd)
	t.Cleanup(func() { c.kubectl(crd, "delete", "-f", "-") })
	c.kubectl("", "wait", "--for=condition=Established", "crd/gadgets."+group)
	c.manifest("apiVersion: " + group + "/v1\nkind: Gadget\nmetadata: {name: mine}\n---\napiVersion: " + group + "/v1\nkind: Gadget\nmetadata: {name: idle}\n")
	uid := c.kubectl("", "get", "gadget", "mine", "-o", "jsonpath={.metadata.uid}")
	c.manifest(`
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: first}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: mine-1
  ownerReferences: [{apiVersion: ` + group + `/v1, kind: Gadget, name: mine, uid: ` + uid + `, controller: true}]
spec:
  replicas: 1
  selector: {matchLabels: {app: mine}}
  template:
    metadata: {labels: {app: mine}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
`)
	c.kubectl("", "wait", "--for=jsonpath={.status.readyReplicas}=1", "rs/mine-1")
	for _, name := range []string{"gadget", "Gadget", "gadgets", "gdg", "gadgets." + group, "gadgets.v1." + group} {
		all := look(t, c.open(), peek.Target{Type: name, Name: "mine"})
		c.shows(all, `
gadget/mine main
  env s/a in X
  seen X first
`, "first")
	}
	if all := look(t, c.open(), target("gdg/idle")); len(all) != 0 {
		t.Error(show(all))
	}
	if all := look(t, c.open(), target("rs/mine-1")); len(all) != 1 {
		t.Error(show(all))
	}
	found, err := c.open().Consumers(t.Context())
	if err != nil || len(found.Consumers) != 2 || found.Consumers[0].Owner != "gadget/mine" || found.Consumers[1].Owner != "gadget/mine" || found.Consumers[1].Kind != "replicaset" {
		t.Errorf("%v\n%s", err, graph(found))
	}
}
