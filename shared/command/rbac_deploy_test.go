package command

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRbacDeploys(t *testing.T) {
	w := newSettledWorld(t)
	create(t, w.swarm, swarmSecret("b", "v"))
	both := w.file("one", "from: kubernetes, to: swarm, names: [a]", "two", "from: swarm, to: 'kubernetes:/other', names: [b], prune: true")
	var list struct {
		Items []map[string]any
	}
	w.must(0, "rbac", "-f", both, "--deployment", "home/watch", "--swarm-host", "tcp://manager:2376", "--image", "own:1")
	if err := json.Unmarshal(w.out.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	text := w.out.String()
	for _, o := range list.Items {
		metadata := o["metadata"].(map[string]any)
		kinds = append(kinds, metadata["namespace"].(string)+"/"+o["kind"].(string)+"/"+metadata["name"].(string))
	}
	want := "home/ServiceAccount/watch default/Role/secretx-home-watch default/RoleBinding/secretx-home-watch-watch other/Role/secretx-home-watch other/RoleBinding/secretx-home-watch-watch " +
		"home/Role/secretx-home-watch home/RoleBinding/secretx-home-watch-watch home/ConfigMap/watch home/Deployment/watch"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("%s\nand not\n%s", got, want)
	}
	for _, word := range []string{`"--namespace",`, `"default"`, `"--yes"`, `"home/watch"`, "tcp://manager:2376", "own:1", "watch-docker-tls", "prune: true"} {
		if !strings.Contains(text, word) {
			t.Errorf("no %s in %s", word, text)
		}
	}
	w.must(0, "rbac", "-f", both, "--stack", "watch")
	var stack map[string]any
	if err := json.Unmarshal(w.out.Bytes(), &stack); err != nil || stack["services"] == nil || !strings.Contains(w.out.String(), "/var/run/docker.sock") || !strings.Contains(w.out.String(), "watch-kubeconfig") {
		t.Errorf("%v: %s", err, w.out.String())
	}

	plain := w.file("one", "from: kubernetes, to: 'kubernetes:/other', names: [a]")
	w.must(0, "rbac", "-f", plain, "--deployment", "home/watch")
	if strings.Contains(w.out.String(), "DOCKER_HOST") {
		t.Errorf("a Swarm that nobody needs: %s", w.out.String())
	}
	elsewhere := w.file("one", "from: kubernetes:/other, to: swarm:other, names: [a]")
	foreign := w.file("one", "from: kubernetes, to: 'kubernetes:prod/x', names: [a]")
	w.endpoints["kubernetes:prod/x"], w.endpoints["swarm:other"] = w.endpoints["kubernetes"], w.endpoints["swarm"]
	for args, says := range map[string]string{
		"-f " + both + " --deployment home/watch":                                               "say how the pods reach the Swarm: tcp://MANAGER:2376",
		"-f " + both + " --deployment watch":                                                    "it must be NAMESPACE/NAME",
		"-f " + both + " --deployment home/w.x":                                                 "must be one label",
		"-f " + both + " --deployment home/watch --stack x":                                     "exclude each other",
		"-f " + both + " --deployment home/watch --swarm-host ssh://me@manager":                 "it must be tcp://HOST:PORT, with TLS",
		"-f " + both + " --deployment home/watch --swarm-host tcp://a:1 --service-account ci/x": "leave out --service-account",
		"-f " + elsewhere + " --deployment home/watch --swarm-host tcp://a:1":                   "swarm:other is a Docker context, and a pod has none",
		"-f " + elsewhere + " --stack watch":                                                    "swarm:other is a Docker context, and a service has none",
		"-f " + foreign + " --deployment home/watch":                                            "kubernetes:prod/x is a context of a kubeconfig, and a pod has none",
		"-f " + both + " --stack watch --swarm-host tcp://a:1":                                  "unix:///PATH",
		"-f " + both + " --stack a.b":                                                           "can't be the name of a stack",
		"-f " + both + " --swarm-host tcp://a:1":                                                "--swarm-host goes with --deployment",
		"--all --deployment home/watch":                                                         "go with -f",
		"a --events":                                                                            "--events goes with --watch",
		"a --watch --for diff":                                                                  "--watch goes with --for sync",
		"a --watch --leader-elect x":                                                            "it must be NAMESPACE/NAME",
	} {
		if _, code := w.run(append([]string{"rbac"}, strings.Fields(args)...)...); code != ExitUsage || !strings.Contains(w.err.String(), says) || w.out.Len() > 0 {
			t.Errorf("rbac %s: %d %s%s", args, code, w.out.String(), w.err.String())
		}
	}
}
