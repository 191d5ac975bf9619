//go:build corpus

package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

// noNode keeps a service of whatever mode from being started, and its image from being pulled.
const noNode = "node.hostname==nowhere"

var (
	// unfilled are images that are no references: their authors left them to be filled in.
	unfilled = regexp.MustCompile(`(?m)^([ \t-]*image:).*[<>{}].*$`)
	// unnamed are those that a manifest doesn't name, in what comes out.
	unnamed = regexp.MustCompile(`(?m)^( +(?:image: )?)IMAGE\b`)
	// created begins each command that makes a service.
	created = regexp.MustCompile(`(?m)^docker service create`)
)

// public are the files of docs/translated.md, and what was seen of them.
type public struct {
	*world
	namespace string
	origin    string     // it, as a label says it
	label     string     // of services that commands make
	oneByOne  sync.Mutex // at the Swarm: several files have the same names and ports
	mu        sync.Mutex
	totals    map[string]int
}

// TestPublic gives what comes out of public files to the side that it is for: manifests and components to the API
// server, commands and stacks to the engine. They are those of docs/translated.md, in the folder that
// SECRETX_CORPUS names (the test of that name in shared/translate fetches them). Nothing is started.
func TestPublic(t *testing.T) {
	folder := os.Getenv("SECRETX_CORPUS")
	if folder == "" {
		t.Fatal("SECRETX_CORPUS names no folder")
	}
	page := get[[]byte](t)(os.ReadFile("../../docs/translated.md"))
	w := newWorld(t)
	p := &public{world: w, namespace: get[string](t)(w.namespace()), label: "public=" + w.prefix, totals: map[string]int{}}
	for origin := range w.uids {
		p.origin = origin
	}
	t.Cleanup(func() {
		for _, name := range slices.Sorted(maps.Keys(p.totals)) {
			t.Logf("%5d %s", p.totals[name], name)
		}
	})
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 6 || !strings.HasPrefix(line, "| [") {
			continue
		}
		repository, _, _ := strings.Cut(strings.TrimPrefix(cells[0], "| ["), "]")
		path, commit := strings.Trim(cells[1], "`"), strings.Trim(cells[2], "`")
		refused := strings.HasPrefix(cells[5], "refused")
		t.Run(strings.ReplaceAll(repository+"/"+path, "/", "|"), func(t *testing.T) {
			t.Parallel()
			p.count("files", 1)
			text := get[[]byte](t)(os.ReadFile(filepath.Join(folder, repository, commit, path)))
			from := filepath.Join(t.TempDir(), "from.yaml")
			switch {
			case refused:
				p.refused(t, from, text)
			case cells[3] == "Compose":
				p.toKubernetes(t, from, text)
			default:
				p.toSwarm(t, from, text)
			}
		})
	}
}

func (p *public) count(what string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals[what] += n
}

// translate gives what translate makes of a file.
func (p *public) translate(t *testing.T, from string, flags ...string) string {
	t.Helper()
	return ranWell(t, "kubectl", append([]string{"secretx", "translate", "--offline", "-f", from}, flags...)...).out
}

// ranWell runs what has to go well.
func ranWell(t *testing.T, name string, args ...string) result {
	t.Helper()
	r := run(nil, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: %s", name, strings.Join(args, " "), r)
	}
	return r
}

func (p *public) refused(t *testing.T, from string, text []byte) {
	must(t, os.WriteFile(from, text, 0o600))
	if r := run(nil, "kubectl", "secretx", "translate", "--offline", "-f", from); r.code != 2 {
		t.Errorf("it is not refused, as the table says: %s", r)
	}
	p.count("files refused", 1)
}

// toKubernetes has the API server look at manifests, and at what a component makes of them.
func (p *public) toKubernetes(t *testing.T, from string, text []byte) {
	must(t, os.WriteFile(from, text, 0o600))
	folder := t.TempDir()
	for name, text := range map[string]string{
		"manifests.yaml":             p.translate(t, from),
		"kustomization.yaml":         "resources: [manifests.yaml]\ncomponents: [secrets]\n",
		"secrets/kustomization.yaml": p.translate(t, from, "--patch", "kustomize"),
	} {
		at := filepath.Join(folder, name)
		must(t, os.MkdirAll(filepath.Dir(at), 0o700))
		must(t, os.WriteFile(at, []byte(text), 0o600))
	}
	for what, flags := range map[string][]string{"objects": {"-f", filepath.Join(folder, "manifests.yaml")}, "objects by kustomizations": {"-k", folder}} {
		r := ranWell(t, "kubectl", append([]string{"apply", "--dry-run=server", "--validate=strict", "-o", "name", "-n", p.namespace}, flags...)...)
		if r.err != "" {
			t.Errorf("a warning: %s", r)
		}
		p.count(what, strings.Count(r.out, "\n"))
	}
	p.count("kustomizations", 1)
	p.count("files translated", 1)
}

// toSwarm runs the commands and deploys the stack, with the secrets that they need, and removes it all.
func (p *public) toSwarm(t *testing.T, from string, text []byte) {
	if n := len(unfilled.FindAll(text, -1)); n > 0 {
		t.Logf("%d images are filled in", n)
		p.count("images filled in", n)
		text = unfilled.ReplaceAll(text, []byte("$1 "+busybox))
	}
	must(t, os.WriteFile(from, text, 0o600))
	var document struct {
		Workloads []struct{ Name string }
		Secrets   []struct{ Mirror string }
	}
	must(t, json.Unmarshal([]byte(p.translate(t, from, "-o", "json")), &document))
	translated := p.translate(t, from)
	p.count("images that nobody named filled in", len(unnamed.FindAllString(translated, -1)))
	named := func(text string) string { return unnamed.ReplaceAllString(text, "${1}"+busybox) }
	script := created.ReplaceAllString(named(translated), "$0 --detach --quiet --no-resolve-image --constraint "+noNode+" --label "+p.label)

	services := map[string]any{}
	for _, w := range document.Workloads {
		services[w.Name] = map[string]any{"deploy": map[string]any{"placement": map[string]any{"constraints": []string{noNode}}}}
	}
	// A stack may be of several files.
	file, more := filepath.Join(t.TempDir(), "stack.yaml"), filepath.Join(t.TempDir(), "more.yaml")
	must(t, os.WriteFile(file, []byte(named(p.translate(t, from, "--compose"))), 0o600))
	must(t, os.WriteFile(more, get[[]byte](t)(json.Marshal(map[string]any{"version": "3.8", "services": services})), 0o600))

	p.oneByOne.Lock()
	defer p.oneByOne.Unlock()
	defer func() {
		if err := p.clear(p.swarm); err != nil {
			t.Error(err)
		}
	}()
	// Each once, with the label of what was brought here from the namespace, by which it is found again.
	made := map[string]bool{}
	for _, s := range document.Secrets {
		if !made[s.Mirror] {
			must(t, putSwarm(p.swarm, s.Mirror, []byte(t.Name()+s.Mirror), map[string]string{originLabel: p.origin}))
		}
		made[s.Mirror] = true
	}

	r := run(nil, "sh", "-ec", script)
	n := p.remove(t, p.label)
	if r.code != 0 || n != len(document.Workloads) {
		t.Errorf("of %d services there are %d: %s", len(document.Workloads), n, r.err)
	}
	p.count("commands", n)

	stack := random(5) // a longer one leaves too little of the 63 characters for the longest service
	r = run(nil, "docker", "stack", "deploy", "--resolve-image", "never", "-c", file, "-c", more, stack)
	n = p.remove(t, "com.docker.stack.namespace="+stack)
	ranWell(t, "docker", "stack", "rm", stack)
	if r.code != 0 || n != len(document.Workloads) {
		t.Errorf("of %d services there are %d in the stack: %s", len(document.Workloads), n, r.err)
	}
	p.count("stacks", 1)
	p.count("services of stacks", n)
	p.count("files translated", 1)
}

// remove removes the services with a label, and tells how many there were.
func (p *public) remove(t *testing.T, label string) int {
	t.Helper()
	all := get[[]swarm.Service](t)(p.swarm.ServiceList(t.Context(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", label))}))
	for _, s := range all {
		must(t, p.swarm.ServiceRemove(t.Context(), s.ID))
	}
	return len(all)
}
