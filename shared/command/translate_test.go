package command

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mirrorfile"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/storetest"
)

// declaring is a Swarm in memory with one service.
type declaring struct {
	*storetest.Memory
	service string
	images  map[string][]string
}

func (d declaring) Declared(_ context.Context, target peek.Target) ([]json.RawMessage, error) {
	if target.Name != "web" {
		return nil, &endpoint.Error{Op: "look for", Object: target.Name, Reason: endpoint.ErrNotFound}
	}
	return []json.RawMessage{json.RawMessage(d.service)}, nil
}

func (d declaring) ImageCommand(_ context.Context, image string) (entrypoint, command []string, err error) {
	if c, ok := d.images[image]; ok {
		return nil, c, nil
	}
	return nil, nil, errors.New("no such image")
}

func (w *world) translation(args ...string) report.Translation {
	w.t.Helper()
	w.must(0, append([]string{"translate"}, args...)...)
	var d report.Translation
	if err := json.Unmarshal(w.out.Bytes(), &d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) textFile(text string) string {
	path := filepath.Join(w.t.TempDir(), "file.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func TestTranslateRunning(t *testing.T) {
	w := newWorld(t)
	w.swarm.Put(swarmSecret("pw", "x"))
	w.endpoints["swarm"] = declaring{Memory: w.swarm, service: `{"Spec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"x","Secrets":[{"SecretName":"pw","File":{"Name":"pw","UID":"0","GID":"0","Mode":292}}]}}}}`}
	d := w.translation("swarm/web", "--with-sync")
	if len(d.Workloads) != 1 || len(d.Secrets) != 1 || d.Secrets[0].Mirror != "pw" || len(d.Notes) != 0 {
		t.Errorf("%+v", d)
	}
	if len(d.Sync) != 1 || d.Sync[0] != "test secretx sync pw --from swarm --to kubernetes" {
		t.Errorf("%q", d.Sync)
	}
	// Nobody reads a value for it.
	if n := w.swarm.Calls(storetest.Values) + w.swarm.Calls(storetest.Digests); n != 0 {
		t.Errorf("%d reads of values", n)
	}
	w.must(2, "translate", "swarm/other")

	// What sync then makes is what the manifests refer to.
	w.must(0, "sync", "pw", "--from", "swarm", "--to", "kubernetes")
	w.holds(w.kubernetes.Memory, "pw", "pw", "x")

	d = w.translation("swarm/web", "--with-sync=mirror", "--into", "all")
	text, err := yaml.JSONToYAML(d.Mirror)
	if err != nil {
		t.Fatal(err)
	}
	mirrors, problems := mirrorfile.Parse("mirror.yaml", text)
	if len(problems) > 0 || len(mirrors) != 1 || mirrors[0].Request.Into != "all" || len(mirrors[0].Request.Names) != 1 {
		t.Errorf("%v %+v\n%s", problems, mirrors, text)
	}
}

const podOfTest = `{kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: known, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}]}}`

func TestTranslateFiles(t *testing.T) {
	w := newWorld(t)
	pod := w.textFile(podOfTest)
	// What the image runs is asked of the Swarm, where that can be.
	d := w.translation("-f", pod)
	if !strings.Contains(d.Notes[0].Text, "$A_FILE") {
		t.Errorf("%+v", d.Notes)
	}
	w.endpoints["swarm"] = declaring{Memory: w.swarm, images: map[string][]string{"known": {"serve"}}}
	command := w.translation("-f", pod).Workloads[0].Command
	if command[len(command)-1] != "serve" {
		t.Errorf("%q", command)
	}
	if d = w.translation("-f", pod, "--offline"); !strings.Contains(d.Notes[0].Text, "$A_FILE") {
		t.Errorf("--offline has asked: %+v", d.Notes)
	}
	// Notes are errors when that is said, and then there is no output.
	w.must(1, "translate", "-f", pod, "--strict")
	if w.out.Len() > 0 || !strings.Contains(w.err.String(), "Note 1: ") {
		t.Errorf("%s\n%s", &w.out, &w.err)
	}
	w.in = podOfTest
	w.translation("-f", "-")
	// The name of a stack stands before those of its services.
	stack := strings.Repeat("s", 50)
	d = w.translation("-f", w.textFile(strings.Replace(podOfTest, "name: p", "name: a-long-name-of-a-pod", 1)), "--compose", "--stack", stack)
	if name := d.Workloads[0].Name; name != "a-long-name" {
		t.Errorf("it is called %q", name)
	}
	w.must(2, "translate", "-f", pod, "--compose", "--stack", stack+"s")
	// A value that a file holds is in nothing that is printed.
	compose := w.textFile("kind: Secret\nmetadata: {name: s}\nstringData: {k: s3cret-value}\n---\n" + podOfTest)
	w.translation("-f", compose, "--with-sync")
	if strings.Contains(w.out.String()+w.err.String(), "s3cret") {
		t.Error("a value was printed")
	}
}

// A folder is what kubectl takes it for, and all files are one stream.
func TestTranslateFolder(t *testing.T) {
	w := newWorld(t)
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("README.md", "no manifest")
	write("below.yaml/pod.yaml", podOfTest)
	w.must(2, "translate", "-f", folder)
	if !strings.Contains(w.err.String(), folder+" has no files that end in") {
		t.Error(&w.err)
	}
	const service = "kind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer, selector: {a: b}, ports: [{port: 80}]}\n"
	write("a.yml", service)
	write("b.json", `{"kind":"Secret","metadata":{"name":"s"},"data":{"KEY":""}}`)
	write("c.yaml", "kind: Pod\nmetadata: {name: web, labels: {a: b}}\nspec: {containers: [{name: c, image: x, command: [x], envFrom: [{secretRef: {name: s}}]}]}\n")
	for _, args := range [][]string{{"-f", folder}, {"-f", filepath.Join(folder, "b.json"), "-f", filepath.Join(folder, "c.yaml"), "-f", "-"}} {
		w.in = service
		d := w.translation(args...)
		if text := strings.Join(d.Workloads[0].Command, " "); len(d.Workloads) != 1 || !strings.Contains(text, "--publish 80:80") || !strings.Contains(text, "target=env/KEY") {
			t.Errorf("%q: %s", args, text)
		}
	}
	write("d.yaml", "services: {x: {image: x}}")
	w.must(2, "translate", "-f", folder)
	if want := filepath.Join(folder, "d.yaml") + ": it is of swarm, and " + filepath.Join(folder, "a.yml") + " is of kubernetes"; !strings.Contains(w.err.String(), want) {
		t.Error(&w.err)
	}
	write("kustomization.yaml", "resources: [c.yaml]")
	w.must(2, "translate", "-f", folder)
	if !strings.Contains(w.err.String(), "kubectl kustomize "+folder) {
		t.Error(&w.err)
	}
}

// With labels, all that have them are one stream.
func TestTranslateSelected(t *testing.T) {
	w := newWorld(t)
	asked := &asking{Memory: w.kubernetes.Memory}
	w.endpoints["kubernetes"] = asked
	for words, want := range map[string]peek.Target{
		"-l app=web": {Selector: "app=web"}, "deployments -l app=web": {Type: "deployments", Selector: "app=web"}, "k8s/sts --selector app=web": {Type: "sts", Selector: "app=web"},
	} {
		d := w.translation(strings.Fields(words)...)
		if len(d.Workloads) != 1 || asked.target != want {
			t.Errorf("%s: %d workloads of %+v", words, len(d.Workloads), asked.target)
		}
	}
}

// asking is a cluster in memory that remembers what it was asked for.
type asking struct {
	*storetest.Memory
	target peek.Target
}

func (a *asking) Declared(_ context.Context, target peek.Target) ([]json.RawMessage, error) {
	a.target = target
	return []json.RawMessage{json.RawMessage(`{"kind":"PodList","items":[{"kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x"}]}}]}`)}, nil
}

func TestTranslateWrongUse(t *testing.T) {
	w := newWorld(t)
	pod := w.textFile(podOfTest)
	for _, args := range [][]string{
		{}, {"web", "-f", pod}, {"-f", pod, "--patch", "yaml"}, {"-f", pod, "--create", "--update"}, {"-f", pod, "--patch", "json"},
		{"-f", pod, "--mount", "x"}, {"-f", pod, "--env", "x"}, {"-f", pod, "--set", "x"}, {"-f", pod, "--keys", "x"}, {"-f", pod, "--image-command", "x"},
		{"-f", pod, "--into", "a", "--name-template", "b"}, {"-f", pod, "--name-template", "{{"}, {"-f", pod, "--workload", "x"}, {"-f", pod, "--with-sync=x"},
		{"a/b/c"}, {"pod/x", "swarm/y"}, {"-f", pod, "-f", pod}, {"-f", w.textFile("[[]]")}, {"-f", w.textFile("")}, {"-f", pod + "x"}, {"-f", pod, "--timeout", "0s"},
		{"-f", pod, "-l", "app=web"}, {"-l", "app in (", "k8s/"}, {"deployments", "pods", "-l", "app=web"}, {"deployment/web", "-l", "app=web"}, {"swarm/", "-l", "app=web"}, {"--stack", "x", "-l", "app=web"},
	} {
		w.must(2, append([]string{"translate"}, args...)...)
		if w.out.Len() > 0 || w.err.Len() == 0 || strings.Contains(strings.TrimSpace(w.err.String()), "\n") {
			t.Errorf("%q: %s\n%s", args, &w.out, &w.err)
		}
	}
}
