package translate

import (
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/secretx/secretx/shared/secret"
)

// everything reads a text and writes it in all forms; nothing may crash, hang or grow beyond measure, and what
// is written can be read again.
func everything(t *testing.T, text []byte, read func([]byte) (*Source, error)) {
	began := time.Now()
	source, err := read(text)
	if err != nil {
		checkMessage(t, err.Error())
		return
	}
	for _, form := range []Form{Manifests, StrategicPatch, JSONPatch, Kustomize, Create, Update, Compose} {
		if form.Of() == source.Kind {
			continue
		}
		r, err := Translate(source, Options{Form: form, Images: map[string]Command{"x": {Cmd: []string{"run"}}}})
		if err != nil {
			checkMessage(t, err.Error())
			continue
		}
		out, err := r.Text([]string{"secretx sync x"})
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		r.Explain(80)
		if len(out) > 40*len(text)+1<<20 {
			t.Fatalf("%s: %d bytes became %d", form, len(text), len(out))
		}
		switch form {
		case Manifests:
			_, err = FromManifests([]byte(out), ReadOptions{})
		case Compose:
			_, err = FromCompose([]byte(out), ReadOptions{})
		case StrategicPatch, Kustomize, JSONPatch:
			_, err = parse([]byte(out))
		}
		if err != nil && len(out) <= LargestText && !strings.Contains(err.Error(), "neither") {
			t.Fatalf("%s can't be read again: %v\n%s", form, err, out)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Fatalf("it took %s", took)
	}
}

func checkMessage(t *testing.T, text string) {
	if text == "" || strings.Contains(text, "\n") && len(text) > 2000 || len(text) > 5000 {
		t.Fatalf("not a message: %.300q", text)
	}
}

var seeds = []string{
	`services: {web: {image: x, secrets: [a, {source: b, target: /c, mode: 0440, uid: "1"}], environment: {A: "${B:-c}", D: }, command: "a 'b c'", ports: ["80:80"]}}
secrets: {a: {file: ./a}, b: {external: true, name: X}}`,
	"x: &x {environment: [A=1]}\nservices:\n  w: {<<: *x, image: i, deploy: {mode: global, labels: [a=b]}}\n",
	`{"Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Image":"i","Env":["A=b"],"Secrets":[{"SecretName":"s","File":{"Name":"/x/y","UID":"1","GID":"0","Mode":256}}]}},"Mode":{"Replicated":{"Replicas":2}}}}`,
	`{"Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Image":"i"}},"Mode":{"ReplicatedJob":{"MaxConcurrent":1,"TotalCompletions":3}},"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":81}]}}}`,
	`apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  securityContext: {fsGroup: 1, runAsUser: 2}
  containers:
  - {name: c, image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, value: $(A)/run/secrets/k}], envFrom: [{secretRef: {name: s}}], volumeMounts: [{name: v, mountPath: /run/secrets}, {name: w, mountPath: /a, subPath: k}]}
  volumes: [{name: v, secret: {secretName: s}}, {name: w, projected: {defaultMode: 400, sources: [{secret: {name: t, items: [{key: k, path: a/k, mode: 0400}]}}]}}]
---
kind: Secret
metadata: {name: s}
stringData: {k: v}
`,
	"kind: CronJob\nmetadata: {name: j}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {backoffLimit: 2, template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}, {name: c, image: d}]}}}}}\n",
	"a: &a [*a]\n", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nservices: {w: *b}\n", "<<: [<<: x]\n", strings.Repeat("[", 300), "? [a]\n: b\n",
	"kind: List\nitems: [{kind: List, items: []}]\n", "services: {w: {image: \"$${a}${b${c}\", secrets: {a: b}}}",
}

func fuzz(f *testing.F, read func([]byte) (*Source, error)) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) { everything(t, text, read) })
}

func FuzzRead(f *testing.F) {
	fuzz(f, func(text []byte) (*Source, error) { return Read(text, ReadOptions{}) })
}

func FuzzCompose(f *testing.F) {
	fuzz(f, func(text []byte) (*Source, error) {
		return FromCompose(text, ReadOptions{Stack: "s", Set: map[string]string{"B": "b"}})
	})
}

func FuzzManifests(f *testing.F) {
	fuzz(f, func(text []byte) (*Source, error) {
		return FromManifests(text, ReadOptions{Known: []secret.Secret{{Name: "s", Keys: []secret.Key{{Name: "k"}}}}})
	})
}

func FuzzServices(f *testing.F) { fuzz(f, FromServices) }

// FuzzQuote: what is quoted is one word, and the same one, by the rules by which we split.
func FuzzQuote(f *testing.F) {
	f.Add("a'b \\\" $x\n")
	f.Fuzz(func(t *testing.T, word string) {
		if !utf8.ValidString(word) {
			t.Skip()
		}
		if got := Split(quote(word)); len(got) != 1 || got[0] != word {
			t.Fatalf("%q became %q", word, got)
		}
	})
}

// Bombs: each of them is small, and would be huge.
func TestBombs(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range 20 {
		n, m := string(rune('a'+i+1)), string(rune('a'+i))
		laughs.WriteString(n + "0: &" + n + "0 [*" + m + "0, *" + m + "0, *" + m + "0, *" + m + "0, *" + m + "0, *" + m + "0, *" + m + "0, *" + m + "0]\n")
	}
	var grown strings.Builder
	grown.WriteString("kind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    image: x\n    env:\n    - {name: A0, value: xxxxxxxxxxxxxxxx}\n")
	for i := range 40 {
		grown.WriteString("    - {name: A" + decimal(int64(i+1)) + ", value: $(A" + decimal(int64(i)) + ")$(A" + decimal(int64(i)) + ")}\n")
	}
	bombs := map[string]string{
		"laughs":          laughs.String() + "services: {w: {environment: *u0}}\n",
		"long text":       "a: &a " + long + "\nb: [" + strings.Repeat("*a, ", 100_000) + "]\nservices: {}\n",
		"circle":          "a: &a [*a, *a]\nservices: *a\n",
		"merged circle":   "a: &a\n  <<: *a\nservices: {}\n",
		"deep flow":       strings.Repeat("[", 1_000_000),
		"deep block":      strings.Repeat("- ", 500_000) + "x",
		"deep maps":       strings.Repeat("{a: ", 100_000),
		"many nodes":      "services: [" + strings.Repeat("a,", 2_000_000) + "]",
		"many documents":  strings.Repeat("---\na: b\n", 400_000),
		"large":           "services: {}\n#" + strings.Repeat("x", LargestText),
		"deep JSON":       strings.Repeat(`{"a":`, 9_000) + "1" + strings.Repeat("}", 9_000),
		"values that use": grown.String(),
		"long number":     "services: {w: {image: x, scale: " + strings.Repeat("9", 1_000_000) + "}}",
		"defaults within": "services: {w: {image: \"" + strings.Repeat("${A:-", 10_000) + strings.Repeat("}", 10_000) + "\"}}",
		"open braces":     "services: {w: {image: \"" + strings.Repeat("${A", 200_000) + "\"}}",
	}
	for name, text := range bombs {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			everything(t, []byte(text), func(text []byte) (*Source, error) { return Read(text, ReadOptions{}) })
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if grew := (after.TotalAlloc - before.TotalAlloc) >> 20; grew > 600 || took > 15*time.Second {
				t.Errorf("it took %s, and %d MiB in all", took, grew)
			}
		})
	}
}
