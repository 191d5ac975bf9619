//go:build e2e

package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secretx/secretx/shared/command"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

// stage is what examples find. That of the other orchestrator is there, too, for those that look at both.
const stage = `
mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc ~/.config/fish/completions ~/.config/powershell
docker context inspect node2 >/dev/null 2>&1 || docker context create node2 --docker "host=$DOCKER_HOST" >/dev/null
(
docker secretx create db-password --generate 24 --label app=web
docker secretx create api-token --generate 24
docker secretx create old-token --generate 24
docker service create -q --detach=false --no-resolve-image --name web --update-monitor 200ms --stop-grace-period 1s --secret db-password secretx-test/busybox:1 sleep 1000
) &
swarm=$!
printf jdoe >user; printf first >pass; printf 0123456789 >token.txt
kubectl create secret generic user-pass --from-file=username=user --from-file=password=pass
kubectl label secret user-pass app=web
kubectl create secret generic api-key --from-file=api-key=token.txt
kubectl create secret generic old-key --from-file=old-key=token.txt
kubectl apply -f - <<'END'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: secretx-test/busybox:1
        imagePullPolicy: Never
        command: [sleep, "1000"]
        env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: user-pass, key: password}}}]
END
cat >mirrors.yaml <<'END'
apiVersion: secretx.github.io/v1alpha1
kind: SecretMirror
metadata: {name: keys}
spec:
  from: kubernetes
  to: swarm
  names: [old-key]
END
cat >compose.yaml <<'END'
services:
  web:
    image: secretx-test/busybox:1
    secrets: [db-password]
secrets:
  db-password: {external: true}
END
cat >pod.yaml <<'END'
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    image: secretx-test/busybox:1
    env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: user-pass, key: password}}}]
END
kubectl rollout status deployment/web --timeout 60s
printf second >pass
wait "$swarm"
`

// before is what has to have happened before examples with a text in them make sense.
var before = map[string]string{
	"--plan plan.json": "CLI diff --all --save-plan plan.json || test $? = 1",
	"--undo":           "cut off",
}

// looks are verbs that change nothing, so that the stage serves the next one, too; differing is no failure of
// those that compare.
var looks, compares = []string{"ls", "inspect", "current", "completion", "version", "consumers", "diff", "verify", "peek-in-container", "rbac", "translate", "probe-image"}, []string{"diff", "verify", "peek-in-container"}

// TestExamples runs each example of each help text, taken from the commands themselves, on a terminal, in
// the second Swarm and a namespace of its own.
func TestExamples(t *testing.T) {
	needPrograms(t, "script")
	b := newTestbed(t)
	there, err := b.other.SecretList(t.Context(), swarm.SecretListOptions{})
	must(t, err)
	if len(there) > 0 {
		t.Fatalf("the second Swarm has secrets of somebody else, as %s: examples with --all would take them", there[0].Spec.Name)
	}
	for cli, native := range map[string]secret.Kind{"docker secretx": secret.Swarm, "kubectl secretx": secret.Kubernetes} {
		root := command.NewRoot(command.Host{
			CLI: cli, Native: native,
			Printer: func(*pflag.FlagSet, []report.Column) command.Printer { return nil },
		})
		var now *theatre
		for _, cmd := range root.Commands() {
			lines := exampleLines(cmd.Example)
			if len(lines) == 0 {
				t.Errorf("%s %s has no example", cli, cmd.Name())
			}
			for _, line := range lines {
				t.Run(strings.ReplaceAll(line, "/", "|"), func(t *testing.T) {
					if !strings.HasPrefix(line, cli+" ") && !strings.Contains(line, cli) {
						t.Fatalf("it is no example of %s", cli)
					}
					if now == nil || !slices.Contains(looks, cmd.Name()) {
						now.leave()
						now = newTheatre(t, b)
					}
					for text, script := range before {
						if strings.Contains(line, text) {
							now.before(t, strings.ReplaceAll(script, "CLI", cli), cli)
						}
					}
					interrupted := strings.Contains(line, "--watch")
					script := line
					if interrupted { // it goes on until somebody has enough of it
						script = "(sleep 10; kill -INT 0) & " + line // as a terminal does it: to all of the foreground
					}
					r := now.run(script)
					t.Logf("%s\n%s", line, r.out)
					if r.code != 0 && !(interrupted && r.code == 130) && !(r.code == 1 && slices.Contains(compares, cmd.Name())) {
						t.Errorf("%s: %s", line, r)
					}
					if !slices.Contains(looks, cmd.Name()) {
						now.leave()
						now = nil
					}
				})
			}
		}
		now.leave()
	}
}

// scenes are the guides whose blocks of commands are run from their beginning to their end, and what has to be
// there beside the stage, or what a reader is told to have.
var scenes = map[string]string{
	"moving.md": `docker service rm web >/dev/null
docker service create -q --detach=false --no-resolve-image --name shop --update-monitor 200ms --stop-grace-period 1s --secret db-password secretx-test/busybox:1 sleep 1000
kubectl delete deployment web --wait=true`,
	"ci.md": "kubectl delete namespace ci --ignore-not-found\nkubectl create namespace ci",
}

// TestGuides runs the guides: what is in their blocks is typed line by line, on a terminal.
func TestGuides(t *testing.T) {
	needPrograms(t, "script", "jq")
	b := newTestbed(t)
	for _, page := range slices.Sorted(maps.Keys(scenes)) {
		t.Run(page, func(t *testing.T) {
			h := newTheatre(t, b)
			h.w.namespaces = append(h.w.namespaces, "ci") // goes with the others
			t.Cleanup(h.leave)
			if r := h.run("set -e\n" + scenes[page]); r.code != 0 {
				t.Fatal(r)
			}
			lines := blockLines(string(get[[]byte](t)(os.ReadFile("../../docs/" + page))))
			if len(lines) < 5 {
				t.Fatalf("only %d lines", len(lines))
			}
			for _, line := range lines {
				// Where a reader has a vault, the tests have a file.
				r := h.run("set -o pipefail; vault() { cat token.txt; }; " + line)
				t.Logf("%s\n%s", line, r.out)
				_, comment, _ := strings.Cut(line, "#")
				differs := slices.ContainsFunc(compares, func(verb string) bool { return strings.Contains(line, "secretx "+verb+" ") })
				if r.code != 0 && (r.code != 1 || !differs || strings.Contains(comment, "0: ") || strings.Contains(comment, "exit code 0")) {
					t.Errorf("%s: %s", line, r)
				}
			}
		})
	}
}

// blockLines are the commands in the sh blocks of a page.
func blockLines(page string) (all []string) {
	for i, part := range strings.Split(page, "```") {
		if block, found := strings.CutPrefix(part, "sh\n"); found && i%2 == 1 {
			all = append(all, exampleLines(block)...)
		}
	}
	return all
}

// exampleLines are the commands of an example text.
func exampleLines(text string) (all []string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// theatre is a place with a stage.
type theatre struct {
	w      *world
	folder string
	env    []string
}

func newTheatre(t *testing.T, b *testbed) *theatre {
	t.Helper()
	h := &theatre{w: &world{testbed: b, prefix: "e2e-" + random(6) + "-", uids: map[string]bool{}}}
	var err error
	h.folder, err = os.MkdirTemp("", "e2e")
	must(t, err)
	namespace := get[string](t)(h.w.namespace())
	config := filepath.Join(h.folder, ".docker")
	h.env = []string{
		"HOME=" + h.folder, "DOCKER_CONFIG=" + config, "DOCKER_HOST=" + b.other.DaemonHost(), "KUBECONFIG=" + kubeconfigIn(t, h.folder, namespace),
	}
	if r := run(nil, "cp", "-a", os.Getenv("DOCKER_CONFIG"), config); r.code != 0 {
		t.Fatal(r)
	}
	h.clear(t)
	if r := h.run("set -e" + stage); r.code != 0 {
		h.leave()
		t.Fatalf("the stage: %s", r)
	}
	return h
}

// run runs a line of shell on a terminal.
func (h *theatre) run(line string) result {
	return runFor(2*time.Minute, h.env, "sh", "-c", `cd "$HOME" && exec script -qefc "$1" /dev/null </dev/null`, "sh", "exec bash -c '"+strings.ReplaceAll(line, "'", `'\''`)+"'")
}

// before prepares what an example goes on from.
func (h *theatre) before(t *testing.T, script, cli string) {
	t.Helper()
	if script != "cut off" {
		if r := h.run(script); r.code != 0 {
			t.Fatal(r)
		}
		return
	}
	// A rotation that is killed as soon as it has written something.
	words := append(strings.Fields(cli), "rotate", "db-password", "--generate", "32")
	if strings.HasPrefix(cli, "kubectl") {
		words = append(strings.Fields(cli), "rotate", "user-pass", "--key", "password", "--generate", "32")
	}
	count := func() int {
		found, err := h.w.kube.Secrets(h.w.namespaces[0]).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		return len(found.Items) + len(get[[]swarm.Secret](t)(h.w.other.SecretList(t.Context(), swarm.SecretListOptions{})))
	}
	was := count()
	p, err := start(h.env, words[0], words[1:]...)
	must(t, err)
	for began := time.Now(); count() == was; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("nothing was written: %s", &p.err)
		}
	}
	p.killAll()
}

// leave removes what is on the stage.
func (h *theatre) leave() {
	if h == nil {
		return
	}
	_ = os.RemoveAll(h.folder)
	h.clear(nil)
	_ = h.w.remove()
}

// clear takes everything out of the second Swarm.
func (h *theatre) clear(t *testing.T) {
	ctx := context.Background()
	services, err := h.w.other.ServiceList(ctx, swarm.ServiceListOptions{})
	for _, s := range services {
		_ = h.w.other.ServiceRemove(ctx, s.ID)
	}
	secrets, failed := h.w.other.SecretList(ctx, swarm.SecretListOptions{})
	for _, s := range secrets {
		for range 100 { // what has just gone may still hold it
			if h.w.other.SecretRemove(ctx, s.ID) == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	if t != nil {
		must(t, err)
		must(t, failed)
	}
}
