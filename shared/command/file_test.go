package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/storetest"
)

// file writes a file of mirrors, each given as its name and what stands below spec in braces.
func (w *world) file(mirrors ...string) string {
	w.t.Helper()
	text := ""
	for i := 0; i < len(mirrors); i += 2 {
		text += fmt.Sprintf("---\napiVersion: secretx.github.io/v1alpha1\nkind: SecretMirror\nmetadata: {name: %s}\nspec: {%s}\n", mirrors[i], mirrors[i+1])
	}
	path := filepath.Join(w.t.TempDir(), "mirrors.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// list runs and reads the one document of many mirrors.
func (w *world) list(code int, args ...string) report.Comparisons {
	w.t.Helper()
	w.must(code, args...)
	var d report.Comparisons
	if err := json.Unmarshal(w.out.Bytes(), &d); err != nil {
		w.t.Fatalf("%v: %s", err, &w.out)
	}
	return d
}

func TestFileOfMirrors(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("db", "password", "one", "user", "me"))
	w.kubernetes.Put(kubernetesSecret("api", "token", "two"))
	w.swarm.Put(swarmSecret("from-swarm", "three"))
	file := w.file(
		"db", "from: kubernetes, to: swarm, names: [db]",
		"api", "from: kubernetes, to: swarm, names: [api], nameTemplate: 'x.{{.Name}}.{{.Key}}'",
		"back", "from: swarm, to: 'kubernetes:/other', names: [from-swarm]",
	)
	d := w.list(1, "diff", "-f", file)
	if d.Kind != report.KindDiffs || len(d.Items) != 3 || d.Summary.Total != 4 || d.Summary.States["missing"] != 4 {
		t.Errorf("%+v", d)
	}
	// Two of the mirrors have both endpoints in common: these are looked at once for both.
	if n := w.kubernetes.Calls(storetest.List); n != 1 {
		t.Errorf("%d lists of the namespace", n)
	}
	if d := w.list(0, "sync", "-f", file, "--dry-run"); d.Summary.Done != 0 || !d.Items[0].DryRun {
		t.Errorf("%+v", d)
	}
	if d := w.list(0, "sync", "-f", file); d.Kind != report.KindSyncs || d.Summary.Done != 4 || d.Items[1].SecretMirror != "api" {
		t.Errorf("%+v", d)
	}
	w.holds(w.swarm, "db.password", "db.password", "one")
	w.holds(w.swarm, "x.api.token", "x.api.token", "two")
	other := w.endpoints["kubernetes:/other"].(*storetest.KeyedMemory)
	w.holds(other.Memory, "from-swarm", "from-swarm", "three")
	if n := w.swarm.Calls(storetest.Values); n != 1 {
		t.Errorf("%d probes", n)
	}
	if d := w.list(0, "diff", "-f", file, "--prove"); d.Summary.States["in-sync"] != 4 || !d.Items[2].Proven {
		t.Errorf("%+v", d)
	}
	w.in = "" // the same from standard input
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.in = string(text)
	w.list(0, "diff", "-f", "-")
}

func TestOneSecretForTwoMirrors(t *testing.T) {
	w := newWorld(t)
	w.swarm.Put(swarmSecret("one", "value"))
	w.list(0, "sync", "-f", w.file(
		"a", "from: swarm, to: kubernetes, names: [one]",
		"b", "from: swarm, to: kubernetes, names: [one], nameTemplate: 'copy-{{.Name}}'",
	))
	w.holds(w.kubernetes.Memory, "one", "one", "value")
	w.holds(w.kubernetes.Memory, "copy-one", "one", "value")
	if n := w.swarm.Calls(storetest.Values); n != 1 {
		t.Errorf("%d probes", n)
	}
}

// TestCollisionOfMirrors: what two would write, none does, and nothing else is written either.
func TestCollisionOfMirrors(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("db", "password", "one"))
	w.kubernetes.Put(kubernetesSecret("fine", "key", "two"))
	w.endpoints["kubernetes:/other"].(*storetest.KeyedMemory).Put(kubernetesSecret("db", "password", "three"))
	file := w.file(
		"a", "from: kubernetes, to: swarm, names: [db]",
		"b", "from: 'kubernetes:/other', to: swarm, names: [db]",
		"c", "from: kubernetes, to: swarm, names: [fine]",
	)
	for _, verb := range []string{"diff", "sync"} {
		w.must(2, verb, "-f", file)
		if text := w.err.String(); !strings.Contains(text, `b and a, at`) || !strings.Contains(text, `would both write "db.password"`) || !strings.Contains(text, "mirrors.yaml:9:") {
			t.Errorf("%s: %s", verb, text)
		}
	}
	if names := w.swarm.Names(); len(names) > 0 {
		t.Errorf("%q were written", names)
	}
}

// TestFailuresOfMirrors: one that can't be worked on doesn't stop the others.
func TestFailuresOfMirrors(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("db", "password", "one"))
	away := errors.New("no route")
	w.endpoints["swarm:other"].(*storetest.Memory).Before(func(context.Context, storetest.Call) error { return away })
	file := w.file(
		"away", "from: 'swarm:other', to: kubernetes, all: true",
		"absent", "from: kubernetes, to: swarm, names: [nothing]",
		"db", "from: kubernetes, to: swarm, names: [db]",
	)
	w.list(2, "diff", "-f", file)
	d := w.list(1, "sync", "-f", file)
	if d.Summary.Errors != 2 || d.Summary.Done != 1 || !strings.Contains(d.Items[0].Error, "no route") || !strings.Contains(d.Items[1].Error, `"nothing"`) {
		t.Errorf("%+v", d)
	}
	w.holds(w.swarm, "db.password", "db.password", "one")
	w.list(2, "sync", "-f", w.file("away", "from: 'swarm:other', to: kubernetes, all: true"))
}

func TestFileFlags(t *testing.T) {
	w := newWorld(t)
	file := w.file("all", "from: kubernetes, to: swarm, all: true")
	for _, args := range [][]string{
		{"sync", "-f", file, "name"}, {"sync", "-f", file, "--all"}, {"diff", "-f", file, "--to", "swarm"}, {"sync", "-f", file, "--plan", "x"},
		{"diff", "-f", file, "--save-plan", "x"}, {"verify", "-f", file, "name"}, {"diff", "-f", file, "-f", file}, {"diff", "-f", file + "x"},
		{"sync", "-f", w.file("a", "from: nowhere, to: swarm, all: true")}, {"sync", "-f", w.file("a", "from: 'swarm:unknown', to: swarm, all: true")},
	} {
		w.must(2, args...)
	}
}

func TestVerifyOfMirrors(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("db", "password", "one"))
	w.kubernetes.Put(kubernetesSecret("other", "key", "two"))
	file := w.file("db", "from: kubernetes, to: swarm, names: [db]")
	w.must(1, "verify", "-f", file)
	if text := w.out.String(); !strings.Contains(text, "Make it: secretx sync -f") {
		t.Error(text)
	}
	w.must(0, "sync", "-f", file)
	w.must(0, "verify", "-f", file)
	if text := w.out.String(); strings.Contains(text, `"other"`) || !strings.Contains(text, "VerifyList") {
		t.Error(text)
	}
	// A mirror whose mark lies.
	s, _ := w.swarm.Get("db.password")
	s.Keys[0].Value = value("another")
	w.swarm.Put(s)
	w.must(1, "verify", "-f", file)
}
