package command

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

// crowded is an endpoint with something to look into, and with namespaces beside it.
type crowded struct{ *storetest.KeyedMemory }

func (crowded) Targets(_ context.Context, word string) ([]string, error) {
	if strings.HasPrefix(word, "deployment/") {
		return []string{"deployment/web"}, nil
	}
	return []string{"web-1", "worker", "deployment/"}, nil
}

func (crowded) ContainerNames(_ context.Context, target peek.Target) ([]string, error) {
	return []string{target.Name + "-app", "sidecar"}, nil
}

func (crowded) Namespaces(context.Context) ([]string, error) { return []string{"blue", "green"}, nil }

func someContexts(kind secret.Kind) []string {
	return map[secret.Kind][]string{secret.Swarm: {"default", "other"}, secret.Kubernetes: {"prod", "cloud/region/x", "$(reboot)"}}[kind]
}

func TestCompletion(t *testing.T) {
	w := newWorld(t)
	w.contexts = someContexts
	b := crowded{w.kubernetes}
	w.endpoints["kubernetes"], w.endpoints["kubernetes:/default"], w.endpoints["kubernetes:prod/default"] = b, b, b
	w.kubernetes.Put(kubernetesSecret("user-pass", "username", "u", "password", "p"))
	internal := kubernetesSecret("token", "token", "t")
	internal.Internal = "the token of a ServiceAccount"
	w.kubernetes.Put(internal)
	w.kubernetes.Put(kubernetesSecret("user-key", "key", "k"))
	w.swarm.Put(swarmSecret("user-db", "1"))
	second := swarmSecret("user-db.v2", "2")
	second.Lineage = secret.Lineage{Name: "user-db", Sequence: 2}
	w.swarm.Put(second)

	for line, want := range map[string]string{
		// the secrets of the side that is meant
		"sync user-":           "user-key user-pass",
		"sync user-pass user-": "user-key",
		"sync ":                "user-key user-pass",
		"sync to":              "token", // asked for by name
		"diff --from swarm --to kubernetes user-": "user-db",
		"diff --from swarm user-db.":              "user-db.v2",
		"rotate --in swarm u":                     "user-db",
		"rm u":                                    "user-key user-pass",
		"rm --in both user-":                      "user-db user-key user-pass",
		"inspect user-":                           "user-db user-key user-pass",
		"create user-":                            "",
		"ls ":                                     "",
		// what can be looked into
		"peek w":                     "web-1 worker",
		"peek deployment/":           "deployment/web",
		"peek ":                      "deployment/ swarm/ web-1 worker",
		"peek d":                     "deployment/ …",
		"peek k8s/w":                 "k8s/web-1 k8s/worker",
		"peek web -c ":               "sidecar web-app",
		"peek web --secret ":         "user-key user-pass",
		"peek swarm/web --secret us": "user-db",
		"peek swarm/":                "",
		"translate w":                "web-1 worker",
		"translate deployment/":      "deployment/web",
		"translate web --patch k":    "kustomize",
		"translate web --env ":       "auto file shell",
		// secrets, and what is looked into or moved, as rbac has it
		"rbac user-pass deployment/":   "deployment/web",
		"rbac ":                        "deployment/ pod/ user-key user-pass",
		"rbac d":                       "deployment/ …",
		"rbac x --for sync,ro":         "sync,rotate",
		"rbac --from swarm user-":      "user-db",
		"rbac --from swarm deployment": "deployment/ …",
		"doctor --for tr":              "translate",
		"doctor ":                      "",
		// endpoints
		"sync --from s":                   "swarm swarm:default swarm:other",
		"sync --from swarm:":              "swarm:default swarm:other",
		"sync --to k8s:p":                 "k8s:prod …",
		"sync --to kubernetes:prod/":      "kubernetes:prod/blue kubernetes:prod/green",
		"sync --to kubernetes:/g":         "kubernetes:/green",
		"sync --to kubernetes:cloud/regi": "kubernetes:cloud/region/x …",
		"create x --in b":                 "both",
		"rotate x --in b":                 "",
		"rm x --in ":                      "both kubernetes swarm",
		// words that stand
		"sync --dry-run=":        "client none",
		"create x --type kub":    "kubernetes.io/basic-auth kubernetes.io/dockerconfigjson kubernetes.io/service-account-token kubernetes.io/ssh-auth kubernetes.io/tls",
		"create x --generate 9:": "9:alnum 9:base64 9:digits 9:hex 9:print",
		"ls --filter m":          "mirror= …",
		"ls --filter unused=":    "unused=false unused=true",
		"completion p":           "powershell",
		"rota":                   "rotate",
	} {
		words := strings.Split(line, " ")
		w.must(0, append([]string{"__complete"}, words...)...)
		var got []string
		for text := range strings.Lines(w.out.String()) {
			text = strings.TrimSuffix(text, "\n")
			if !strings.HasPrefix(text, ":") {
				word, _, _ := strings.Cut(text, "\t")
				got = append(got, word)
			} else if text == ":6" {
				got = append(got, "…")
			}
		}
		if have := strings.Join(got, " "); have != want {
			t.Errorf("%q: %q, want %q", line, have, want)
		}
	}
	if n := w.swarm.Calls(storetest.Values) + w.swarm.Calls(storetest.Digests) + w.kubernetes.Calls(storetest.Values); n > 0 {
		t.Errorf("%d values were read", n)
	}
}

// Whatever fails, or answers too late, is passed over in silence.
func TestCompletionIsQuickAndSilent(t *testing.T) {
	w := newWorld(t)
	w.contexts = someContexts
	w.kubernetes.Put(kubernetesSecret("user-pass", "username", "u"))
	w.swarm.Before(func(context.Context, storetest.Call) error { time.Sleep(time.Minute); return nil })
	began := time.Now()
	for words, want := range map[string]string{"inspect u": "user-pass\n:4\n", "rm --in swarm u": ":4\n"} {
		w.must(0, append([]string{"__complete"}, strings.Fields(words)...)...)
		if w.out.String() != want {
			t.Errorf("%s: %q, want %q", words, &w.out, want)
		}
	}
	if took := time.Since(began); took > 3*patience {
		t.Errorf("it took %s", took)
	}
	w.kubernetes.Before(func(context.Context, storetest.Call) error { return errors.New("broken") })
	w.must(0, "__complete", "sync", "")
	if w.out.String() != ":4\n" || strings.Contains(w.err.String(), "broken") {
		t.Errorf("%q %q", &w.out, &w.err)
	}
	w.must(0, "__complete", "sync", "--from", "nonsense", "")
}

// The scripts are those of the host CLI, and kubectl's asks the plugin itself.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range shells {
		docker, err := completionScript("docker", shell)
		if err != nil || len(docker) == 0 || strings.Contains(string(docker), "secretx") {
			t.Errorf("%s: docker's has %d bytes, %v", shell, len(docker), err)
		}
		kubectl, err := completionScript("kubectl", shell)
		if err != nil || !strings.Contains(string(kubectl), "kubectl-secretx __complete") {
			t.Errorf("%s: kubectl's is without the plugin, %v", shell, err)
		}
		program, args := shell, []string{"-n"}
		if _, err := exec.LookPath(program); err != nil || shell == "powershell" {
			continue
		}
		for _, script := range [][]byte{docker, kubectl} {
			check := exec.Command(program, args...)
			check.Stdin = strings.NewReader(string(script))
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s can't read its script: %v\n%s", shell, err, out)
			}
		}
	}
}
