//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// shells are how each is started without anybody's settings, with a short prompt and the host CLIs' own completion.
// %s is where that of kubectl comes from.
var shells = map[string]struct {
	args  []string
	setup []string
}{
	"bash": {[]string{"bash", "--norc", "--noprofile", "-i"}, []string{
		"PS1='$ '", "bind 'set bell-style none'", "bind 'set completion-query-items 0'", "bind 'set page-completions off'", "source /usr/share/bash-completion/bash_completion",
		"source <(docker completion bash)", "source <(%s completion bash)",
	}},
	"zsh": {[]string{"zsh", "-f", "-i"}, []string{
		"PS1='%% '", "autoload -Uz compinit && compinit -u -D", "source <(docker completion zsh)", "source <(%s completion zsh)",
	}},
	"fish": {[]string{"fish", "--no-config", "-i"}, []string{
		"function fish_prompt; echo '> '; end", "set -g fish_autosuggestion_enabled 0", "docker completion fish | source", "%s completion fish | source",
	}},
}

// TestCompletion presses TAB in real shells, behind the real host CLIs: with kubectl's own script and its
// program on PATH, and with the script that the plugin prints and without that program.
func TestCompletion(t *testing.T) {
	w := newWorld(t)
	namespace := get[string](t)(w.namespace())
	other := get[string](t)(w.namespace())
	secretName := w.prefix + "login"
	must(t, w.putKube(namespace, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName}, StringData: map[string]string{"password": "hunter2"}}))
	must(t, putSwarm(w.swarm, w.prefix+"token", []byte("v"), nil))
	must(t, w.putPod(namespace, w.prefix+"pod", nil, corev1.PodSpec{Containers: []corev1.Container{
		{Name: "main-app", Image: busybox, Command: []string{"sleep", "inf"}}, {Name: "side-car", Image: busybox, Command: []string{"sleep", "inf"}},
	}}))
	w.putService(t, w.prefix+"web", distroless, w.prefix+"token", false)

	shim := t.TempDir()
	must(t, os.Symlink(get[string](t)(filepath.Abs("../../kubectl-plugin/kubectl_complete-secretx")), filepath.Join(shim, "kubectl_complete-secretx")))
	config := kubeconfigIn(t, t.TempDir(), namespace)
	for shell, how := range shells {
		for name, source := range map[string]string{"kubectl's": "kubectl", "the plugin's": "kubectl secretx"} {
			t.Run(shell+"/"+name, func(t *testing.T) {
				needPrograms(t, shell)
				home, path := t.TempDir(), os.Getenv("PATH")
				if source == "kubectl" {
					path = shim + ":" + path
				} else if found, err := exec.LookPath("kubectl_complete-secretx"); err == nil {
					t.Fatalf("%s is on PATH already", found)
				}
				x := newTerminal(t, 120, 40, []string{"HOME=" + home, "PATH=" + path, "KUBECONFIG=" + config, "HISTFILE="}, how.args...)
				x.prepare(how.setup, source)
				for _, c := range completions(w, namespace, other) {
					x.send(c.typed)
					x.key("Tab")
					x.send("X") // where the next letter goes shows whether the word was ended
					x.until(30*time.Second, `^[$%>] `+regexp.QuoteMeta(c.want+"X")+"$")
					x.clear()
				}
				// A choice is shown, and of all that is offered nothing is a value.
				x.send("kubectl secretx peek " + w.prefix + "pod -c ")
				x.key("Tab")
				if shell == "bash" {
					x.key("Tab")
				}
				if screen := x.until(30*time.Second, `main-app\s+side-car`); strings.Contains(screen, "hunter2") {
					t.Errorf("a value is on the screen:\n%s", screen)
				}
			})
		}
	}
	t.Run("silent", func(t *testing.T) {
		x := newTerminal(t, 120, 20, []string{"DOCKER_HOST=tcp://203.0.113.1:2375", "KUBECONFIG=" + config}, shells["bash"].args...)
		x.prepare(shells["bash"].setup, "kubectl")
		x.send("docker secretx inspect --to swarm nothing-")
		x.key("Tab")
		x.key("Tab")
		began := time.Now()
		x.send("X")
		x.until(30*time.Second, `\A\$ docker secretx inspect --to swarm nothing-X\z`)
		t.Logf("two TABs where nothing answers took %s", time.Since(began).Round(10*time.Millisecond))
	})
}

// prepare types the lines of a shell's setup.
func (x *terminal) prepare(lines []string, kubectl string) {
	x.t.Helper()
	for _, line := range append(lines, "echo ready | tr a-z A-Z") {
		x.send(strings.ReplaceAll(line, "%s ", kubectl+" "))
		x.key("Enter")
	}
	x.until(30*time.Second, `^READY$`)
	x.clear()
}

type typed struct{ typed, want string }

func completions(w *world, namespace, other string) []typed {
	p := w.prefix
	return []typed{
		{"docker secretx rota", "docker secretx rotate "},
		{"docker secretx sync --prov", "docker secretx sync --prove "},
		{"docker secretx sync " + p, "docker secretx sync " + p + "token "},
		{"docker secretx peek " + p, "docker secretx peek " + p + "web "},
		{"docker secretx peek k8s/" + p, "docker secretx peek k8s/" + p + "pod "},
		{"docker secretx diff --from kubernetes --to swarm -n " + namespace + " " + p, "docker secretx diff --from kubernetes --to swarm -n " + namespace + " " + p + "login "},
		{"docker secretx ls -n " + namespace[:len(namespace)-3], "docker secretx ls -n " + namespace + " "},
		{"docker secretx ls --from swarm:oth", "docker secretx ls --from swarm:other "},
		{"docker secretx ls --to kubernetes:/" + other[:len(other)-3], "docker secretx ls --to kubernetes:/" + other + " "},
		{"docker secretx ls --format js", "docker secretx ls --format json "},
		{"kubectl secretx rota", "kubectl secretx rotate "},
		{"kubectl secretx sync " + p, "kubectl secretx sync " + p + "login "},
		{"kubectl secretx peek " + p + "p", "kubectl secretx peek " + p + "pod "},
		{"kubectl secretx peek pod/" + p, "kubectl secretx peek pod/" + p + "pod "},
		{"kubectl secretx peek " + p + "pod -c ma", "kubectl secretx peek " + p + "pod -c main-app "},
		{"kubectl secretx peek swarm/" + p, "kubectl secretx peek swarm/" + p + "web "},
		{"kubectl secretx rm --in swarm " + p, "kubectl secretx rm --in swarm " + p + "token "},
		{"kubectl secretx ls --docker-context oth", "kubectl secretx ls --docker-context other "},
		{"kubectl secretx ls -o jsonpa", "kubectl secretx ls -o jsonpath"},
		{"kubectl secretx create x --type Op", "kubectl secretx create x --type Opaque "},
	}
}
