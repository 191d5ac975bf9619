package deploy

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// at gives what stands in a document under a path of names and numbers.
func at(t interface{ Fatalf(string, ...any) }, in any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, ok := in.(map[string]any)
			if !ok || object[step] == nil {
				t.Fatalf("no %v of %v", step, path)
			}
			in = object[step]
		case int:
			list, ok := in.([]any)
			if !ok || len(list) <= step {
				t.Fatalf("no %v of %v", step, path)
			}
			in = list[step]
		}
	}
	return in
}

func parse(t interface{ Fatalf(string, ...any) }, text string) (all []any) {
	for one := range strings.SplitSeq(text, "\n---\n") {
		var object any
		if err := yaml.UnmarshalStrict([]byte(one+"\n"), &object); err != nil {
			t.Fatalf("%v in\n%s", err, one)
		}
		all = append(all, object)
	}
	return all
}

const access = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: r\n"

// TestTextStaysText: whatever the files and the flags hold, it is text in what is printed.
func TestTextStaysText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab:{}[]\"'\\#-|> &*!%@`,?\n\t~é€"))).Filter(func(s string) bool { return !strings.Contains(s, "\n---\n") })
		w := Watch{
			Name: "name", Namespace: "space", Image: text.Draw(t, "image"), Default: text.Draw(t, "default"), Prunes: rapid.Bool().Draw(t, "prunes"),
			Files:     []File{{"mirrors-1.yaml", text.Draw(t, "path"), text.Draw(t, "one")}, {"mirrors-2.yaml", text.Draw(t, "path"), text.Draw(t, "two")}},
			SwarmHost: "tcp://" + text.Draw(t, "host"), SwarmTLS: "name-docker-tls", Socket: text.Draw(t, "socket"), Kubeconfig: true, Access: access,
		}
		printed, err := w.Kubernetes()
		if err != nil {
			t.Fatal(err)
		}
		all := parse(t, printed)
		if len(all) != 4 {
			t.Fatalf("%d objects", len(all))
		}
		pod := at(t, all[3], "spec", "template", "spec")
		var args []string
		for _, arg := range at(t, pod, "containers", 0, "args").([]any) {
			args = append(args, arg.(string))
		}
		if !slices.Equal(args, w.Args()) {
			t.Fatalf("%q instead of %q", args, w.Args())
		}
		for i, f := range w.Files {
			if got := at(t, all[2], "data", f.Name); got != f.Text {
				t.Fatalf("file %d: %q instead of %q", i, got, f.Text)
			}
		}
		if got := at(t, pod, "containers", 0, "env", 0, "value"); got != w.SwarmHost {
			t.Fatalf("%q", got)
		}
		if got := at(t, pod, "containers", 0, "image"); got != w.Image {
			t.Fatalf("%q", got)
		}

		if printed, err = w.Stack(); err != nil {
			t.Fatal(err)
		}
		stack := parse(t, printed)[0]
		for _, f := range w.Files {
			if got := at(t, stack, "configs", f.Name, "file"); got != f.Path {
				t.Fatalf("%q instead of %q", got, f.Path)
			}
		}
		if got := at(t, stack, "services", "watch", "volumes", 0, "source"); got != w.Socket {
			t.Fatalf("%q", got)
		}
	})
}

// TestLeastOfAll: what isn't needed isn't there.
func TestLeastOfAll(t *testing.T) {
	w := Watch{Name: "name", Namespace: "space", Image: "image", Files: []File{{"mirrors.yaml", "f", "x"}}, Access: access, Socket: "/s"}
	printed, err := w.Kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"DOCKER", "docker-tls", "--yes", "--namespace"} {
		if strings.Contains(printed, word) {
			t.Errorf("%s in\n%s", word, printed)
		}
	}
	for _, word := range []string{
		"runAsNonRoot: true", "readOnlyRootFilesystem: true", "drop: [ALL]", "allowPrivilegeEscalation: false", "type: RuntimeDefault", "replicas: 2",
		"automountServiceAccountToken: false", `"--leader-elect","space/name"`, "path: /healthz", "path: /readyz",
	} {
		if !strings.Contains(printed, word) {
			t.Errorf("no %s in\n%s", word, printed)
		}
	}
	w.Namespace, w.Prunes = "", true
	if printed, err = w.Stack(); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{"secrets:": false, "KUBECONFIG": false, "--leader-elect": false, `"--yes"`: true, "node.role == manager": true, "cap_drop: [ALL]": true} {
		if strings.Contains(printed, word) != want {
			t.Errorf("%s: %v in\n%s", word, !want, printed)
		}
	}
	other := w.Files[0]
	other.Text = "y"
	if other.Version() == w.Files[0].Version() {
		t.Error("two contents with one name")
	}
}
