//go:build unix

package translate

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/secretx/secretx/shared/secret"
)

// everything reads a text and writes it in all forms; nothing may crash, hang or grow beyond measure, and what
// is written can be read again.
func everything(t *testing.T, text []byte, read func([]byte) (*Source, error)) {
	began := busy()
	source, err := read(slices.Clone(text))
	if err != nil {
		checkMessage(t, err.Error())
		return
	}
	for _, form := range []Form{Manifests, StrategicPatch, JSONPatch, Kustomize, Create, Update, Compose} {
		if form.Of() == source.Kind {
			continue
		}
		options := Options{Form: form, Images: map[string]Command{"x": {Cmd: []string{"run"}}}}
		r, err := Translate(source, options)
		if err != nil {
			checkMessage(t, err.Error())
			continue
		}
		out, err := r.Text([]string{"secretx sync x"})
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		r.Explain(80)
		if strings.Contains(out, mark) {
			t.Fatalf("%s has what only we write: %q", form, out)
		}
		// The same comes of the same text, also of what was used already.
		for range 2 {
			if len(text) > 100_000 {
				break
			}
			same, err := Translate(source, options)
			if err != nil {
				t.Fatalf("%s, once more: %v", form, err)
			}
			if again, err := same.Text([]string{"secretx sync x"}); err != nil || again != out {
				t.Fatalf("%s is another one when it is made again (%v):\n%s\n%s", form, err, out, again)
			}
			if source, err = read(text); err != nil {
				t.Fatalf("it can't be read again: %v", err)
			}
		}
		unique(t, r)
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
	if took := busy() - began; took > slow {
		t.Fatalf("it took %s", took)
	}
}

// slow is more than anything may take.
const slow = 10 * time.Second

// busy is how long this process has computed: others may use the machine.
func busy() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// unique: no two objects or services have one name, and each command is one command to a shell.
func unique(t *testing.T, r *Result) {
	seen := map[string]bool{}
	name := func(name string) {
		if seen[name] {
			t.Fatalf("%s: two are called %q", r.Form, name)
		}
		seen[name] = true
	}
	for _, w := range r.Workloads {
		switch {
		case r.Form == Manifests:
			for _, doc := range w.Documents {
				name(fmt.Sprint(doc.get("kind"), " ", doc.get("metadata").(Fields).get("name")))
			}
		case r.Form.Of() == secret.Swarm && r.Form != Update:
			name(w.Name)
		case r.Form != Update:
			name(w.Target)
		}
		var words []string
		for _, group := range w.Command {
			words = append(words, group...)
		}
		if text := shellText(w.Command); len(words) > 0 && utf8.ValidString(text) && !slices.Equal(Split(strings.ReplaceAll(text, "\\\n", "")), words) {
			t.Fatalf("%q is read as other words:\n%s", words, text)
		}
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
	`services: {a: {image: x, extends: b}, b: {extends: {service: c}, environment: [A, B=1], secrets: [s]}, c: {image: y, secrets: [{source: t, target: s}], labels: [a=b]}, a_b: {image: x}, a-b: {image: x, profiles: [p]}}`,
	`apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  initContainers: [{name: i, image: x, restartPolicy: Always, command: [a, $(A), "b$(A)c"], env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, value: "$(A) $$(A)"}]}, {name: j, image: x}]
  containers: [{name: c, image: x, volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, csi: {nodePublishSecretRef: {name: n}}}]
---
kind: Ingress
spec: {tls: [{secretName: t}]}
---
kind: ConfigMap
data: {a: /v/b}
`,
	"kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x, command: [$$$(k), $$$$(k)], env: [{name: A, value: $(k)$(j)}, {name: j}], envFrom: [{secretRef: {name: s}}, {configMapRef: {name: m}}]}]}\n---\nkind: Secret\nmetadata: {name: s}\ndata: {k: , j: }\n",
	"services: {a: {image: x, init: true, cap_add: [NET_ADMIN, cap_net_raw, '', a b], cap_drop: [ALL]}}",
	"services: {a: {image: x, healthcheck: {test: \"curl $$A | x\", interval: 1m, timeout: 1.5s, retries: 9999999999}}, b: {image: x, healthcheck: {test: [CMD, a, b], start_period: 1h}}, c: {image: x, healthcheck: {disable: true}}, d: {image: x, healthcheck: {interval: 3s}}}",
	`{"Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Image":"i","Healthcheck":{"Test":["CMD-SHELL","a $(B) $$(C)"],"Interval":1500000000,"Timeout":-1,"StartPeriod":9223372036854775807,"Retries":-1}}}}}`,
	"kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x, env: [{name: A, value: b}], livenessProbe: {exec: {command: [a, $(A) $$(A) $A]}}, startupProbe: {tcpSocket: {port: 1}, periodSeconds: 2147483647, failureThreshold: 2147483647}, readinessProbe: {exec: {command: [sh, -c, x]}}}, {name: d, image: x, readinessProbe: {exec: {command: []}}, livenessProbe: {httpGet: {path: /a?b, port: http}}}]}\n",
	"services: {a: {image: x, deploy: {resources: {limits: {cpus: '0.5', memory: 512M, pids: 1}, reservations: {cpus: .25, memory: 64mb}}}}, b: {image: x, deploy: {resources: {limits: {cpus: 1e9, memory: -1}}}}}",
	`{"Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Image":"i"},"Resources":{"Limits":{"NanoCPUs":9223372036854775807,"MemoryBytes":1},"Reservations":{"NanoCPUs":1234567,"MemoryBytes":1e99}}}}}`,
	"kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x, resources: {limits: {cpu: 100m, memory: 128Mi}, requests: {cpu: 0, memory: 1e9}}}, {name: d, image: x, resources: {limits: {cpu: 1E99, memory: .5Ei}}}]}\n",
	"services: {a: {image: x, stop_grace_period: 1m30s}, b: {image: x, stop_grace_period: -1h}, c: {image: x, stop_grace_period: 9999999h}}",
	`[{"Spec":{"Name":"w","TaskTemplate":{"ContainerSpec":{"Image":"i","StopGracePeriod":1500000000}}}},{"Spec":{"Name":"v","TaskTemplate":{"ContainerSpec":{"Image":"i","StopGracePeriod":1e99}}}}]`,
	"kind: Pod\nmetadata: {name: p}\nspec: {terminationGracePeriodSeconds: 9223372036854775807, containers: [{name: c, image: x}]}\n",
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
	repeated := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "%", decimal(int64(i))))
		}
		return b.String()
	}
	pod := func(container, volumes string) string {
		return "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x, " + container + "}], volumes: [" + volumes + "]}\n"
	}
	bombs := map[string]string{
		"variables":          "services: {w: {image: x, environment: [" + repeated(50_000, "A%,") + "]}}",
		"unknown fields":     "services: {w: {image: x, " + repeated(50_000, "k%: 1,") + "}}",
		"unpublished ports":  "services: {w: {image: x, ports: [" + repeated(50_000, "'1:%:2',") + "]}}",
		"secrets":            "services: {w: {image: x, secrets: [" + repeated(50_000, "s%,") + "]}}\nsecrets: {" + repeated(20_000, "s%: {file: f},") + "}",
		"directories":        repeated(40, "---\nservices: {w%: {image: x, secrets: ["+repeated(2_500, "{source: a, target: /d%/f},")+"]}}\n"),
		"deep directories":   "services: {w: {image: x, secrets: [" + repeated(100, "{source: a%, target: '/%"+strings.Repeat("/d", 2_000)+"'},") + "]}}",
		"services":           "services: {" + repeated(50_000, "w%: {image: x},") + "}",
		"one name":           "services: {" + strings.ReplaceAll(repeated(30_000, "w#%: {image: x},"), "#", strings.Repeat("a", 70)) + "}",
		"extended services":  "services: {b: {image: x, environment: [" + repeated(2_000, "A%=1,") + "]}, " + repeated(20_000, "w%: {extends: b},") + "}",
		"extended in chains": "services: {w0: {image: x}, " + repeated(5_000, "w%x: {extends: w%},") + "}",
		"variables of a pod": pod("env: ["+repeated(60_000, "{name: A%, value: b},")+"]", ""),
		"variables of keys":  pod("env: ["+repeated(2_900, "{name: A%, valueFrom: {secretKeyRef: {name: s, key: k%}}},")+"]", ""),
		"files by mounts":    pod("volumeMounts: ["+repeated(10_000, "{name: v, mountPath: /m%},")+"]", "{name: v, secret: {secretName: s, items: ["+repeated(10_000, "{key: k, path: p%},")+"]}}"),
		"whole by mounts":    pod("volumeMounts: ["+repeated(10_000, "{name: v, mountPath: /m%},")+"], args: ['"+strings.Repeat("/m1/key ", 60_000)+"']", "{name: v, secret: {secretName: s}}"),
		"named by pods":      repeated(3_000, "---\nkind: Pod\nmetadata: {name: p%}\nspec: {containers: [{name: c, image: x, envFrom: [{secretRef: {name: s%}}], volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, secret: {secretName: w%}}]}\n"),
		"services of pods":   repeated(3_000, "---\nkind: Pod\nmetadata: {name: p%, labels: {a: b}}\nspec: {containers: [{name: c, image: x}]}\n---\nkind: Service\nmetadata: {name: s%}\nspec: {selector: {a: b}, ports: [{port: 1}]}\n"),
		"ports of pods":      repeated(2_500, "---\nkind: Pod\nmetadata: {name: p%, labels: {a: b}}\nspec: {containers: [{name: c, image: x}]}\n---\nkind: Service\nmetadata: {name: s%}\nspec: {type: NodePort, selector: {a: b}, ports: [{port: 1%}]}\n"),
		"other objects":      "kind: List\nitems: [{kind: Pod, metadata: {name: p}, spec: {containers: [{image: x}]}}, " + repeated(50_000, "{kind: K%, metadata: {name: n}, secretName: s%},") + "]",
		"duplicate keys":     "services: {w: {image: x}, w: {image: y}}",
		"keys of no text":    "services: {[a]: b, {c: d}: e}",
		"bad encoding":       "services: {w: {image: \"\xff\xfe\"}}",
		"null bytes":         "services: {w: {image: \"\\0(A)x\", command: [\"\\0(A)\"]}}",

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
			began := busy()
			everything(t, []byte(text), func(text []byte) (*Source, error) { return Read(text, ReadOptions{}) })
			took := busy() - began
			runtime.ReadMemStats(&after)
			if grew := (after.TotalAlloc - before.TotalAlloc) >> 20; grew > 600 || took > slow {
				t.Errorf("it took %s, and %d MiB in all", took, grew)
			}
		})
	}
}
