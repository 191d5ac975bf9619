package mirrorfile_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mirrorfile"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
)

// mirror makes a document of what stands below spec.
func mirror(name, spec string) string {
	return "apiVersion: secretx.github.io/v1alpha1\nkind: SecretMirror\nmetadata:\n  name: " + name + "\nspec:\n" + spec + "\n"
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mirrors.yaml")
	text := "# a comment\n---\n" + mirror("shop", "  from: kubernetes:prod/shop\n  to: swarm\n  names: [db, 2026-11-26]\n  nameTemplate: 'shop.{{.Key}}'\n  rollout: true") +
		"--- # another\r\n" + mirror("all", "  from: swarm:prod\n  to: k8s:/copy\n  all: true\n  prune: true\n  adopt: true\n  into: all.of-it") +
		"...\n---\n---\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := mirrorfile.Read([]string{file, "-"}, strings.NewReader(mirror("third", "  {from: swarm, to: kubernetes, selector: app=web}")))
	if err != nil {
		t.Fatal(err)
	}
	want := []mirrorfile.Mirror{{
		Name: "shop", At: mirrorfile.Position{File: file, Line: 6, Column: 3},
		From: endpoint.Address{Kind: secret.Kubernetes, Context: "prod", Namespace: "shop"}, To: endpoint.Address{Kind: secret.Swarm},
		Request: plan.Request{Names: []string{"db", "2026-11-26"}, NameTemplate: "shop.{{.Key}}"}, Rollout: true,
	}, {
		Name: "all", At: mirrorfile.Position{File: file, Line: 17, Column: 3},
		From: endpoint.Address{Kind: secret.Swarm, Context: "prod"}, To: endpoint.Address{Kind: secret.Kubernetes, Namespace: "copy"},
		Request: plan.Request{All: true, Prune: true, Adopt: true, Into: "all.of-it"},
	}, {
		Name: "third", At: mirrorfile.Position{File: "<stdin>", Line: 4, Column: 3},
		From: endpoint.Address{Kind: secret.Swarm}, To: endpoint.Address{Kind: secret.Kubernetes},
		Request: plan.Request{Selector: "app=web"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
}

// TestMistakes: each of a file's mistakes has its place, its reason, and what would be right.
func TestMistakes(t *testing.T) {
	_, err := mirrorfile.Read([]string{"testdata/mistakes.yaml"}, nil)
	var problems mirrorfile.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	golden, readErr := os.ReadFile("testdata/mistakes.golden")
	if os.Getenv("UPDATE") != "" {
		readErr = os.WriteFile("testdata/mistakes.golden", []byte(err.Error()+"\n"), 0o644)
		golden = []byte(err.Error() + "\n")
	}
	if readErr != nil {
		t.Fatal(readErr)
	}
	if got := err.Error() + "\n"; got != string(golden) {
		t.Errorf("got\n%s\nwant\n%s", got, golden)
	}
	if len(problems) < 20 {
		t.Errorf("%d mistakes found", len(problems))
	}
}

func TestGuards(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'k'; i++ {
		bomb += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+string(i-1)+",", 8) + "*" + string(i-1) + "]\n"
	}
	for name, text := range map[string]string{
		"anchors":   bomb,
		"merge":     mirror("m", "  <<: {from: swarm}\n  to: kubernetes\n  all: true"),
		"deep":      strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"large":     mirror("m", "  names: ["+strings.Repeat("x,", 600_000)+"]"),
		"empty":     "",
		"comments":  "# nothing\n---\n# again\n",
		"not text":  "\x00\x01\xff",
		"a list":    "- apiVersion: secretx.github.io/v1alpha1",
		"two":       "{}\n...\n{}",
		"tag":       mirror("m", "  from: !!binary c3dhcm0=\n  to: kubernetes\n  all: true"),
		"just text": "hello",
	} {
		_, err := mirrorfile.Read([]string{"-"}, strings.NewReader(text))
		var problems mirrorfile.Problems
		if !errors.As(err, &problems) || len(err.Error()) > 40_000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mirrorfile.Read([]string{"-"}, bytes.NewReader(make([]byte, 17<<20))); err == nil || !strings.Contains(err.Error(), "split it") {
		t.Errorf("a huge file: %v", err)
	}
	if _, err := mirrorfile.Read([]string{"a", "a"}, nil); err == nil {
		t.Error("a file may be named twice")
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/mistakes.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(mirror("m", "  from: swarm\n  to: kubernetes\n  all: true")))
	f.Add([]byte("a: &a [*a]\n---\n!!map {? x : y, ? [z] : w}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		mirrors, problems := mirrorfile.Parse("f", text)
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, p := range problems {
			if p.At.Line < 1 || p.At.Line > lines+1 || p.Text == "" {
				t.Errorf("%v: %q of %d lines", p.At, p.Text, lines)
			}
		}
		for _, m := range mirrors {
			if m.Name == "" || m.From.Kind == "" || m.To.Kind == "" || m.From == m.To {
				t.Errorf("a mirror without its fields: %+v", m)
			}
		}
	})
}

func TestWhatADocumentLacks(t *testing.T) {
	_, err := mirrorfile.Read([]string{"-"}, strings.NewReader("other: 1\n"))
	for _, want := range []string{
		"apiVersion is missing: write apiVersion: ", "kind is missing: write kind: ", "metadata is missing: write metadata: ",
		"spec is missing: it says what to mirror", " other: there is no such field",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q: %v", want, err)
		}
	}
}
