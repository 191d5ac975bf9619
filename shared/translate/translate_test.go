package translate

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/secret"
)

// Each file of testdata is a text, and behind it what becomes of it in some forms, as `== FORM` and the lines
// that have to be there; `! ` begins one that must not, `note ` one that a note has to have in it. With `explain`, it
// is what --explain prints, without the blanks between the columns.
func TestTable(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(string(whole), "\n== ")
			if len(parts) < 2 {
				t.Fatal("nothing is expected")
			}
			for _, part := range parts[1:] {
				head, wants, _ := strings.Cut(part, "\n")
				check(t, parts[0], head, strings.Split(strings.TrimRight(wants, "\n"), "\n"))
			}
		})
	}
}

func check(t *testing.T, text, head string, wants []string) {
	options := Options{Images: map[string]Command{"known": {Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}}}}
	read := ReadOptions{Set: map[string]string{"SET": "set"}}
	words := strings.Fields(head)
	options.Form = Form(words[0])
	explain := false
	for _, w := range words[1:] {
		switch k, v, _ := strings.Cut(w, "="); k {
		case "mount":
			options.Mount = Mount(v)
		case "env":
			options.Env = Env(v)
		case "into":
			options.Rules = mapping.Rules{Into: v}
		case "stack":
			read.Stack, options.Stack = v, v
		case "workload":
			options.Workload = v
		case "container":
			options.Container = v
		case "explain":
			explain = true
		}
	}
	source, err := Read([]byte(text), read)
	if words[0] == "error" {
		if err == nil {
			_, err = Translate(source, Options{})
		}
		if err == nil || !strings.Contains(err.Error(), wants[0]) {
			t.Errorf("the error is %v, not %q", err, wants[0])
		}
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	r, err := Translate(source, options)
	if err != nil {
		t.Error(err)
		return
	}
	out, err := r.Text(r.Preparations())
	if err != nil {
		t.Error(err)
		return
	}
	if explain {
		out = regexp.MustCompile(` +`).ReplaceAllString(r.Explain(widest), " ")
	}
	// What is expected stands in one piece, in any depth: leading blanks don't count.
	plain := func(text string) string {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return strings.Join(lines, "\n")
	}
	got := plain(out)
	var block []string
	flush := func() {
		if len(block) > 0 && !strings.Contains("\n"+got+"\n", "\n"+strings.Join(block, "\n")+"\n") {
			t.Errorf("%s lacks\n%s\nin\n%s", head, strings.Join(block, "\n"), out)
		}
		block = nil
	}
	for _, want := range wants {
		if note, ok := strings.CutPrefix(want, "note "); ok {
			flush()
			if !slices.ContainsFunc(r.Notes, func(n Note) bool { return strings.Contains(n.String(), note) }) {
				t.Errorf("%s: no note has %q in it: %v", head, note, r.Notes)
			}
			continue
		}
		if not, ok := strings.CutPrefix(want, "! "); ok {
			flush()
			if strings.Contains(out, not) {
				t.Errorf("%s has %q\n%s", head, not, out)
			}
			continue
		}
		if want == "no notes" {
			flush()
			if len(r.Notes) > 0 {
				t.Errorf("%s: %v", head, r.Notes)
			}
			continue
		}
		if want == "..." || want == "" {
			flush()
			continue
		}
		block = append(block, strings.TrimSpace(want))
	}
	flush()
}

// What is known of secrets says what they are called: a version is its secret, a mirror is its origin.
func TestNamesAreThoseOfSync(t *testing.T) {
	service := `{"Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Image":"x","Secrets":[
		{"SecretName":"pw.v3","File":{"Name":"pw"}},{"SecretName":"user-pass.password","File":{"Name":"p"}}]}}}}`
	source, err := FromServices([]byte(service))
	if err != nil {
		t.Fatal(err)
	}
	source.Secrets = []secret.Secret{
		{Name: "pw", Keys: []secret.Key{{Name: "pw"}}, Lineage: secret.Lineage{Name: "pw", Sequence: 1}},
		{Name: "pw.v3", Keys: []secret.Key{{Name: "pw.v3"}}, Lineage: secret.Lineage{Name: "pw", Sequence: 3}},
		{Name: "user-pass.password", Keys: []secret.Key{{Name: "user-pass.password"}}, Mark: &secret.Mark{
			Origin: "kubernetes:1", Parts: []secret.Part{{Key: "user-pass.password", Form: &secret.Form{Secret: "user-pass", Key: "password", Type: secret.Opaque}}},
		}},
	}
	r, err := Translate(source, Options{Far: "kubernetes:1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Named{
		{Ref{Secret: "pw.v3"}, Ref{"pw", "pw"}, "pw"},
		{Ref{Secret: "user-pass.password"}, Ref{"user-pass", "password"}, ""},
	}
	if !slices.Equal(r.Secrets, want) {
		t.Errorf("%v", r.Secrets)
	}
	pod := `{"kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x","command":["a"],"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"pw","key":"pw"}}}]}]}}`
	if source, err = FromManifests([]byte(pod), ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err = Translate(source, Options{Mirrors: []secret.Secret{{Name: "pw.pw", Keys: []secret.Key{{Name: "pw.pw"}}}, {Name: "pw.pw.v2", Keys: []secret.Key{{Name: "pw.pw.v2"}}, Lineage: secret.Lineage{Name: "pw.pw", Sequence: 2}}}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Secrets[0].Mirror.Secret != "pw.pw.v2" {
		t.Errorf("the newest version is not used: %v", r.Secrets)
	}
}

// Several texts are one input: manifests are one stream, and what two texts have is an error that names both.
func TestSeveralTexts(t *testing.T) {
	const (
		pod     = "kind: Pod\nmetadata: {name: p, labels: {a: b}}\nspec: {containers: [{name: c, image: known, envFrom: [{secretRef: {name: s}}]}]}\n"
		service = "kind: Service\nmetadata: {name: p}\nspec: {type: LoadBalancer, selector: {a: b}, ports: [{port: 80, targetPort: 8080}]}\n"
		keys    = "kind: Secret\nmetadata: {name: s}\nstringData: {KEY: x}\n"
		compose = "services: {web: {image: x}}\n"
		spec    = `{"Spec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"x"}}}}`
	)
	read := func(all ...string) (*Source, error) {
		var texts []Text
		for i, text := range all {
			texts = append(texts, Text{"file-" + decimal(int64(i+1)), []byte(text)})
		}
		return ReadAll(texts, ReadOptions{})
	}
	// The Service comes first, and is of the pod all the same.
	source, err := read(service, "# nothing\n", pod, keys)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Translate(source, Options{Images: map[string]Command{"known": {Cmd: []string{"serve"}}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Text(nil)
	if err != nil || !strings.Contains(text, "--publish 80:8080") || !strings.Contains(text, "source=s.KEY,target=env/KEY") {
		t.Errorf("%v\n%s", err, text)
	}
	if source, err = read(compose, "services: {db: {image: x}}\n", strings.ReplaceAll(spec, "web", "job")); err != nil || len(source.Workloads) != 3 {
		t.Errorf("%v: %+v", err, source)
	}
	if source, err = read("kind: Pod\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x}]}\n", keys); err != nil || !strings.HasPrefix(source.Notes[0].Text, "file-1: kind is what line 2 says") {
		t.Errorf("%v: %+v", err, source)
	}
	for _, wrong := range []struct {
		texts []string
		want  string
	}{
		{[]string{pod, keys, pod}, "file-3: pod/p is in file-1, too: nothing is merged"},
		{[]string{pod, service, service}, "file-3: service/p is in file-2, too"},
		{[]string{keys, keys, pod}, "file-2: secret/s is in file-1, too"},
		{[]string{compose, compose}, "file-2: service web is in file-1, too: nothing is merged"},
		{[]string{compose, spec}, "file-2: service web is in file-1, too: nothing is merged"},
		{[]string{pod, compose}, "file-2: it is of swarm, and file-1 is of kubernetes: one side at a time"},
		{[]string{pod, "kind: Pod\nmetadata: {name: q}\nspec: {containers: x}\n"}, "file-2: Pod q: spec.containers should be a list"},
		{[]string{pod, "a: b\n"}, "file-2: it is neither a Compose file"},
		{[]string{pod, "[\n"}, "file-2: it isn't YAML"},
		{[]string{"", "#\n"}, "file-1: it is empty"},
		{[]string{compose, "services: {db: x}\n"}, "file-2: services.db should be a mapping"},
	} {
		if _, err := read(wrong.texts...); err == nil || !strings.HasPrefix(err.Error(), wrong.want) {
			t.Errorf("the error is %v, not %q", err, wrong.want)
		}
	}
	// The same name in another namespace is another one.
	if _, err := read(pod, strings.Replace(pod, "{name: p", "{namespace: n, name: p", 1)); err != nil {
		t.Error(err)
	}
}
