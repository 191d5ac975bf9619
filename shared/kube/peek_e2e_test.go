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
	for deadline := time.Now().Add(90 * time.Second); !so(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("not within 90 s: %s", what)
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
