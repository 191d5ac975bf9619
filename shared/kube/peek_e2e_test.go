//go:build e2e

package kube_test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/secret"
)

// kubectl runs it in the namespace, with a manifest on its standard input.
func (c *cluster) kubectl(input string, args ...string) string {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "kubectl", append([]string{"-n", c.namespace}, args...)...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	if err != nil {
		c.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (c *cluster) manifest(text string) {
	c.Helper()
	c.kubectl(text, "apply", "--server-side", "-f", "-")
}

// until waits for something to be so.
func (c *cluster) until(what string, so func() bool) {
	c.Helper()
	for deadline := time.Now().Add(120 * time.Second); !so(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("not within 120 s: %s", what)
		}
	}
}

// running waits for pods to be.
func (c *cluster) running(names ...string) {
	c.Helper()
	for _, name := range names {
		c.until("pod "+name+" runs", func() bool {
			_, pod := c.do(http.MethodGet, "/api/v1/namespaces/"+c.namespace+"/pods/"+name, "", nil)
			status, _ := pod["status"].(object)
			return status["phase"] == "Running"
		})
	}
}

var nonce = []byte("of this test")

// look finds the containers of a target and looks into them.
func look(t testing.TB, e *kube.Endpoint, target peek.Target, change ...func(*peek.LookOptions)) []peek.Container {
	t.Helper()
	all, err := e.Containers(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	options := peek.LookOptions{Nonce: nonce, Progress: func(string) {}, HelperImage: "secretx-test/busybox:1"}
	for _, f := range change {
		f(&options)
	}
	if err := e.Look(t.Context(), all, options); err != nil {
		t.Fatal(err)
	}
	return all
}

func pod(name string) peek.Target { return peek.Target{Name: name} }

func ephemeral(o *peek.LookOptions) { o.AllowEphemeral = true }

func is(content peek.Content, text string) bool {
	return content.Digest.Equal(secret.NewValue([]byte(text)).Digest(nonce))
}

// show is what was declared and seen, for comparison: one line each.
func show(containers []peek.Container, values ...string) string {
	var b strings.Builder
	value := func(c peek.Content) string {
		for _, v := range values {
			if is(c, v) {
				return v
			}
		}
		return "?"
	}
	for _, c := range containers {
		fmt.Fprintf(&b, "%s %s", c.Object, c.Container)
		if c.Kind != "" {
			fmt.Fprintf(&b, " (%s)", c.Kind)
		}
		if c.Over {
			b.WriteString(" over")
		}
		if c.Unseen != "" {
			b.WriteString(": " + c.Unseen)
		}
		b.WriteByte('\n')
		for _, w := range c.Wants {
			fmt.Fprintf(&b, "  %s %s/%s", w.How, w.Secret, w.Key)
			if w.Path != "" {
				fmt.Fprintf(&b, " at %s", w.Path)
			}
			if w.Variable != "" {
				fmt.Fprintf(&b, " in %s", w.Variable)
			}
			if w.HasMode {
				fmt.Fprintf(&b, " %04o", w.Mode)
			}
			if w.Owned {
				fmt.Fprintf(&b, " %d:%d", w.FileUID, w.FileGID)
			}
			if w.Optional {
				b.WriteString(" optional")
			}
			if w.SubPath {
				b.WriteString(" subPath")
			}
			b.WriteByte('\n')
		}
		for _, path := range slices.Sorted(keysOfMap(c.Seen.Files)) {
			f := c.Seen.Files[path]
			fmt.Fprintf(&b, "  seen %s", path)
			if f.Stat {
				fmt.Fprintf(&b, " %04o %d:%d", f.Mode, f.UID, f.GID)
			}
			if f.Unseen != "" {
				fmt.Fprintf(&b, " %s", f.Unseen)
			} else {
				fmt.Fprintf(&b, " %s", value(f.Content))
			}
			b.WriteByte('\n')
		}
		for _, name := range slices.Sorted(keysOfMap(c.Seen.Env)) {
			fmt.Fprintf(&b, "  seen %s %s\n", name, value(c.Seen.Env[name]))
		}
		if c.Seen.EnvUnseen != "" {
			fmt.Fprintf(&b, "  no environment: %s\n", c.Seen.EnvUnseen)
		}
	}
	return b.String()
}

func keysOfMap[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (c *cluster) shows(containers []peek.Container, want string, values ...string) {
	c.Helper()
	want = strings.ReplaceAll(strings.TrimPrefix(want, "\n"), "\t", "")
	if got := show(containers, values...); got != want {
		c.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// lab is the pod of the lab, and its Secret.
const lab = `
apiVersion: v1
kind: Secret
metadata: {name: user-pass}
stringData: {username: jdoe, password: my-pass}
---
apiVersion: v1
kind: Pod
metadata: {name: secretpod}
spec:
  containers:
  - name: democon
    image: secretx-test/secrets-demo:1.0
    env:
    - {name: USERNAME, valueFrom: {secretKeyRef: {name: user-pass, key: username}}}
    - {name: PASSWORD_FILE, value: /custom/path/pass}
    volumeMounts:
    - {name: passvol, mountPath: /custom/path, readOnly: true}
  volumes:
  - name: passvol
    secret: {secretName: user-pass, items: [{key: password, path: pass}]}
  restartPolicy: Never
`

func TestLab(t *testing.T) {
	c := newCluster(t)
	c.manifest(lab)
	c.running("secretpod")
	c.shows(look(t, c.open(), pod("secretpod")), `
pod/secretpod democon
  file user-pass/password at /custom/path/pass 0644
  env user-pass/username in USERNAME
  pointer user-pass/password at /custom/path/pass in PASSWORD_FILE
  seen /custom/path/pass 0644 0:0 my-pass
  seen PASSWORD_FILE /custom/path/pass
  seen USERNAME jdoe
`, "jdoe", "my-pass", "/custom/path/pass")
}

// target is TYPE/NAME.
func target(text string) peek.Target {
	kind, name, _ := strings.Cut(text, "/")
	return peek.Target{Type: kind, Name: name}
}

const shapes = `
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: A-value, b: B-value, .hidden: H-value}
---
apiVersion: v1
kind: Secret
metadata: {name: t}
stringData: {one: T-one, 9lives: T-nine}
---
apiVersion: v1
kind: Pod
metadata: {name: shapes, labels: {app: shapes}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {fsGroup: 2000}
  initContainers:
  - {name: setup, image: secretx-test/busybox:1, command: ["true"], volumeMounts: [{name: whole, mountPath: /s}]}
  - {name: side, image: secretx-test/busybox:1, restartPolicy: Always, command: [sleep, "3600"], volumeMounts: [{name: items, mountPath: /i}]}
  containers:
  - name: main
    image: secretx-test/busybox:1
    command: [sleep, "3600"]
    securityContext: {readOnlyRootFilesystem: true, runAsUser: 65534}
    envFrom:
    - {prefix: T_, secretRef: {name: t}}
    - {secretRef: {name: none, optional: true}}
    env:
    - {name: T_one, value: overridden}
    - {name: WHERE, value: i}
    - {name: A_FILE, value: /s/a}
    - {name: B, valueFrom: {secretKeyRef: {name: s, key: b}}}
    - {name: NONE, valueFrom: {secretKeyRef: {name: s, key: none, optional: true}}}
    volumeMounts:
    - {name: whole, mountPath: /s}
    - {name: items, mountPath: /etc/one, subPath: sub/b}
    - {name: items, mountPath: /etc/which, subPathExpr: $(WHERE)tem}
    - {name: projected, mountPath: /p}
    - {name: none, mountPath: /none}
  volumes:
  - {name: whole, secret: {secretName: s, defaultMode: 0400}}
  - {name: items, secret: {secretName: s, items: [{key: b, path: sub/b, mode: 0600}, {key: a, path: item}]}}
  - name: projected
    projected:
      defaultMode: 0444
      sources:
      - {secret: {name: t, items: [{key: one, path: x}]}}
      - {secret: {name: s, items: [{key: a, path: z}]}}
      - {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
  - {name: none, secret: {secretName: none, optional: true}}
`

func TestShapes(t *testing.T) {
	c := newCluster(t)
	c.manifest(shapes)
	c.running("shapes")
	c.shows(look(t, c.open(), peek.Target{Selector: "app=shapes"}), `
pod/shapes setup (init) over
  file s/.hidden at /s/.hidden 0440 0:2000
  file s/a at /s/a 0440 0:2000
  file s/b at /s/b 0440 0:2000
pod/shapes side (sidecar)
  file s/b at /i/sub/b 0640 0:2000
  file s/a at /i/item 0644 0:2000
  seen /i/item 0644 0:2000 A-value
  seen /i/sub/b 0640 0:2000 B-value
pod/shapes main
  file s/.hidden at /s/.hidden 0440 0:2000
  file s/a at /s/a 0440 0:2000
  file s/b at /s/b 0440 0:2000
  file s/b at /etc/one 0640 0:2000 subPath
  file s/a at /etc/which 0644 0:2000 subPath
  file t/one at /p/x 0444 0:2000
  file s/a at /p/z 0444 0:2000
  file none/ at /none optional
  env t/9lives in T_9lives
  env none/ optional
  env s/b in B
  env s/none in NONE optional
  pointer s/a at /s/a in A_FILE
  seen /etc/one 0640 0:2000 B-value
  seen /etc/which 0644 0:2000 A-value
  seen /p/x 0444 0:2000 T-one
  seen /p/z 0444 0:2000 A-value
  seen /s/.hidden 0440 0:2000 H-value
  seen /s/a 0440 0:2000 A-value
  seen /s/b 0440 0:2000 B-value
  seen A_FILE /s/a
  seen B B-value
  seen T_9lives T-nine
`, "A-value", "B-value", "H-value", "T-one", "T-nine", "/s/a")
}

// The processes of other containers are not taken for the container's own.
func TestSharedProcesses(t *testing.T) {
	c := newCluster(t)
	c.manifest(`
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: A-value, b: B-value}
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  terminationGracePeriodSeconds: 0
  shareProcessNamespace: true
  containers:
  - {name: one, image: secretx-test/busybox:1, command: [sh, -c, "sleep 3600 & wait"], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}
  - {name: two, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: b}}}]}
  - {name: bare, image: secretx-test/distroless:1, env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: b}}}], volumeMounts: [{name: v, mountPath: /v}]}
  volumes:
  - {name: v, secret: {secretName: s, items: [{key: a, path: x}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: node}
spec:
  terminationGracePeriodSeconds: 0
  hostPID: true
  containers:
  - {name: one, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]}
  - {name: bare, image: secretx-test/distroless:1, env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: b}}}]}
`)
	c.running("shared", "node")
	c.shows(look(t, c.open(), pod("shared"), ephemeral), `
pod/shared one
  env s/a in X
  seen X A-value
pod/shared two
  env s/b in X
  seen X B-value
pod/shared bare
  file s/a at /v/x 0644
  env s/b in X
  seen /v/x 0644 0:0 A-value
  seen X B-value
`, "A-value", "B-value")
	c.shows(look(t, c.open(), pod("node"), ephemeral), `
pod/node one
  env s/a in X
  seen X A-value
pod/node bare
  env s/b in X
  seen X B-value
`, "A-value", "B-value")
}

const distroless = `
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: A-value, b: B-value}
---
apiVersion: v1
kind: Pod
metadata: {name: root}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: secretx-test/distroless:1
    env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]
    volumeMounts:
    - {name: v, mountPath: /v}
    - {name: v, mountPath: /run/deep/a, subPath: a}
  volumes:
  - {name: v, secret: {secretName: s}}
---
apiVersion: v1
kind: Pod
metadata: {name: nobody}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: secretx-test/distroless:1
    securityContext: {runAsUser: 65534, runAsNonRoot: true, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
    env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: a}}}]
    volumeMounts: [{name: v, mountPath: /v}]
  volumes:
  - {name: v, secret: {secretName: s}}
`

func TestWithoutShell(t *testing.T) {
	c := newCluster(t)
	c.kubectl("", "label", "namespace", c.namespace, "pod-security.kubernetes.io/warn=privileged")
	c.manifest(distroless)
	c.running("root", "nobody")
	for _, found := range look(t, c.open(), pod("root")) {
		if found.Unseen != "the image has no shell" || !strings.Contains(found.Hint, "--allow-ephemeral") || found.Note != "" {
			t.Errorf("%q %q %q", found.Unseen, found.Hint, found.Note)
		}
	}
	root := look(t, c.open(), pod("root"), ephemeral)
	c.shows(root, `
pod/root main
  file s/a at /v/a 0644
  file s/b at /v/b 0644
  file s/a at /run/deep/a 0644 subPath
  env s/a in X
  seen /run/deep/a 0644 0:0 A-value
  seen /v/a 0644 0:0 A-value
  seen /v/b 0644 0:0 B-value
  seen X A-value
`, "A-value", "B-value")
	if again := look(t, c.open(), pod("root"), ephemeral); again[0].Note != root[0].Note || !strings.HasPrefix(again[0].Note, "ephemeral container secretx-peek-") {
		t.Errorf("%q, then %q", root[0].Note, again[0].Note)
	}

	// In a namespace that is restricted, what runs as the user of the container is all that is let in.
	c.kubectl("", "label", "namespace", c.namespace, "pod-security.kubernetes.io/enforce=restricted")
	c.shows(look(t, c.open(), pod("nobody"), ephemeral), `
pod/nobody main
  file s/a at /v/a 0644
  file s/b at /v/b 0644
  env s/a in X
  seen /v/a 0644 0:0 A-value
  seen /v/b 0644 0:0 B-value
  seen X A-value
`, "A-value", "B-value")
}

// What keeps an ephemeral container from looking is one clear line, and what it saw by exec stays.
func TestEphemeralContainersThatCant(t *testing.T) {
	c := newCluster(t)
	c.manifest(distroless)
	c.running("root", "nobody")
	for image, text := range map[string]string{
		"secretx-test/absent:1":     "the ephemeral container can't start: ErrImagePull",
		"secretx-test/distroless:1": "the ephemeral container can't start: RunContainerError", // has no sleep
		"Not An Image":              "the ephemeral container can't start: InvalidImageName",
	} {
		found := look(t, c.open(), pod("nobody"), ephemeral, func(o *peek.LookOptions) { o.HelperImage = image })[0]
		t.Logf("%s: %s. %s (%s)", image, found.Unseen, found.Hint, found.Note)
		if !strings.HasPrefix(found.Unseen, "the image has no shell, and ") || !strings.Contains(found.Unseen, text) || strings.Contains(found.Unseen, "\n") {
			t.Errorf("%s: %q", image, found.Unseen)
		}
	}
	c.kubectl("", "label", "namespace", c.namespace, "pod-security.kubernetes.io/enforce=baseline")
	if found := look(t, c.open(), pod("root"), ephemeral)[0]; found.Unseen != "" || !is(found.Seen.Env["X"], "A-value") || len(found.Seen.Files) != 3 {
		t.Error(show([]peek.Container{found}), found.Hint)
	}
	c.kubectl("", "label", "namespace", c.namespace, "--overwrite", "pod-security.kubernetes.io/enforce=restricted")
	found, err := c.open().Containers(t.Context(), pod("root"))
	if err != nil {
		t.Fatal(err)
	}
	err = c.open().Look(t.Context(), found, peek.LookOptions{Nonce: nonce, AllowEphemeral: true, Progress: func(string) {}})
	t.Log(err)
	if err == nil || !strings.Contains(found[0].Unseen, `violates PodSecurity "restricted:latest"`) || found[0].Note != "" {
		t.Errorf("%v: %q %q", err, found[0].Unseen, found[0].Note)
	}
}

// A Secret may have many keys, and all are asked for at once.
func TestManyKeys(t *testing.T) {
	c := newCluster(t)
	data := object{}
	for i := range 1500 {
		data[fmt.Sprintf("a-key-with-a-rather-long-name-%d", i)] = b64(fmt.Sprint("value ", i))
	}
	c.must(http.MethodPost, c.secrets(), object{"metadata": object{"name": "s"}, "data": data})
	c.manifest(`
apiVersion: v1
kind: Pod
metadata: {name: many}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: secretx-test/busybox:1, command: [sleep, "3600"], envFrom: [{secretRef: {name: s}}], volumeMounts: [{name: v, mountPath: /etc/some/where}]}]
  volumes: [{name: v, secret: {secretName: s}}]
`)
	c.running("many")
	began := time.Now()
	found := look(t, c.open(), pod("many"))[0]
	t.Log(time.Since(began), found.Unseen)
	if len(found.Seen.Files) != 1500 || len(found.Seen.Env) != 1500 || !is(found.Seen.Files["/etc/some/where/a-key-with-a-rather-long-name-77"].Content, "value 77") {
		t.Errorf("%d files, %d variables: %s", len(found.Seen.Files), len(found.Seen.Env), found.Unseen)
	}
}
