package command

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/doctor"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/rights"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

// settledMemory knows its namespace, and how it fares.
type settledMemory struct {
	*storetest.KeyedMemory
	namespace string
	checks    []doctor.Check
	asked     doctor.Options
}

func (m *settledMemory) Namespace() (string, error) { return m.namespace, nil }

func (m *settledMemory) Examine(_ context.Context, options doctor.Options) []doctor.Check {
	m.asked = options
	return m.checks
}

// examinedSwarm is a Swarm that tells how it fares.
type examinedSwarm struct {
	*storetest.Memory
	checks []doctor.Check
}

func (m *examinedSwarm) Examine(context.Context, doctor.Options) []doctor.Check { return m.checks }

func newSettledWorld(t *testing.T) *world {
	w := newWorld(t)
	w.endpoints["kubernetes"] = &settledMemory{KeyedMemory: w.kubernetes, namespace: "default"}
	w.endpoints["kubernetes:/other"] = &settledMemory{KeyedMemory: storetest.NewKubernetes("other"), namespace: "other"}
	return w
}

// access runs rbac and gives the Roles and bindings.
func (w *world) access(args ...string) []report.AccessObject {
	w.t.Helper()
	if _, code := w.run(append([]string{"rbac"}, args...)...); code != 0 {
		w.t.Fatalf("rbac %v: %d %s", args, code, w.err.String())
	}
	var d report.Access
	if err := json.Unmarshal(w.out.Bytes(), &d); err != nil {
		w.t.Fatal(err)
	}
	return d.Items
}

func create(t *testing.T, m *storetest.Memory, s secret.Secret) {
	t.Helper()
	if _, err := m.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func rulesOf(o report.AccessObject) (all rights.Rules) {
	for _, r := range o.Rules {
		for _, resource := range r.Resources {
			all = append(all, rights.Rule{Group: r.APIGroups[0], Resource: resource, Names: r.ResourceNames, Verbs: r.Verbs})
		}
	}
	return all
}

// What rbac prints for the arguments of each row of the table is what the row says.
func TestRbacPrintsTheTable(t *testing.T) {
	w := newSettledWorld(t)
	create(t, w.swarm, swarmSecret("name", "v"))
	for _, row := range rights.Rows {
		use := row.Use
		use.Namespace = "default"
		use.Secrets = slices.Clone(use.Secrets)
		for i := range use.Secrets {
			use.Secrets[i] = strings.ToLower(use.Secrets[i])
		}
		want, err := rights.For(use)
		if err != nil {
			t.Fatal(err)
		}
		args := strings.ReplaceAll(row.Args, "NAME", "name")
		if !strings.Contains(args, "--from") {
			args += " --from kubernetes --to swarm"
		}
		items := w.access(strings.Fields(args)...)
		got := rulesOf(items[0])
		if len(items) != 1 || (items[0].Kind == "ClusterRole") != use.Cluster() {
			t.Errorf("%s: %v", row.Name, items)
		}
		for i := range want {
			want[i].Without = ""
		}
		order := func(a, b rights.Rule) int {
			return strings.Compare(a.Plural()+strings.Join(a.Names, ",")+strings.Join(a.Verbs, ","), b.Plural()+strings.Join(b.Names, ",")+strings.Join(b.Verbs, ","))
		}
		slices.SortFunc(want, order)
		slices.SortFunc(got, order)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: rbac %s prints\n%v, and the table says\n%v", row.Name, args, got, want)
		}
	}
}

// Whoever adds a verb says what it takes.
func TestEveryVerbHasRights(t *testing.T) {
	nothing := []string{"completion", "probe-image", "rbac", "version"} // but for what the verbs take that rbac is for
	var of []string
	for _, cmd := range NewRoot(newWorld(t).host()).Commands() {
		of = append(of, cmd.Name())
		if _, err := rights.Verb(cmd.Name()); err != nil && !slices.Contains(nothing, cmd.Name()) && !cmd.Hidden && cmd.Name() != "help" {
			t.Errorf("shared/rights doesn't say what %s takes", cmd.Name())
		}
	}
	for _, verb := range rights.Verbs {
		if !slices.Contains(of, verb) {
			t.Errorf("there is no verb %s", verb)
		}
	}
}

func TestRbac(t *testing.T) {
	w := newSettledWorld(t)
	create(t, w.swarm, swarmSecret("Capital_Name", "v"))

	// A mirror may have another name than its origin.
	rules := rulesOf(w.access("Capital_Name", "--from", "swarm", "--to", "kubernetes")[0])
	at := slices.IndexFunc(rules, func(r rights.Rule) bool {
		return slices.Contains(r.Verbs, "patch") && !slices.Contains(r.Names, rights.KeyName)
	})
	if at < 0 || len(rules[at].Names) != 1 || !strings.HasPrefix(rules[at].Names[0], "capital-name-") {
		t.Errorf("%v", rules)
	}

	// Two namespaces are two Roles, and the installation key stands beside the mirrors.
	items := w.access("a", "--from", "kubernetes", "--to", "kubernetes:/other", "--user", "jane", "--service-account", "ci/robot", "--group", "team")
	var kinds []string
	for _, o := range items {
		kinds = append(kinds, o.Metadata.Namespace+"/"+o.Kind)
	}
	if !slices.Equal(kinds, []string{"default/Role", "default/RoleBinding", "other/Role", "other/RoleBinding"}) {
		t.Fatalf("%v", kinds)
	}
	for i, key := range map[int]bool{0: false, 2: true} {
		if rulesOf(items[i]).Allows("get", "secrets", rights.KeyName) != key {
			t.Errorf("%s: %v", kinds[i], items[i].Rules)
		}
	}
	want := []report.Subject{
		{APIGroup: "rbac.authorization.k8s.io", Kind: "Group", Name: "team"}, {Kind: "ServiceAccount", Namespace: "ci", Name: "robot"},
		{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: "jane"},
	}
	if !reflect.DeepEqual(items[1].Subjects, want) || items[1].RoleRef.Name != items[0].Metadata.Name {
		t.Errorf("%v", items[1])
	}
	if only := w.access("a", "--from", "kubernetes", "--to", "kubernetes:/other", "--side", "to"); len(only) != 1 || only[0].Metadata.Namespace != "other" {
		t.Errorf("%v", only)
	}

	// A file of mirrors: one Role for each namespace, with all that is declared.
	file := w.file("one", "from: kubernetes, to: swarm, names: [a]", "two", "from: kubernetes, to: 'kubernetes:/other', names: [b]", "three", "from: swarm, to: kubernetes, all: true, prune: true")
	items = w.access("-f", file, "--user", "jane")
	if len(items) != 4 || items[0].Metadata.Namespace != "default" || items[2].Metadata.Namespace != "other" || items[0].Metadata.Name != "secretx-sync-one-two-three" {
		t.Fatalf("%v", items)
	}
	for right, allowed := range map[string]bool{"get secrets a": true, "list secrets ": true, "delete secrets ": true, "get pods ": false} {
		verb, rest, _ := strings.Cut(right, " ")
		resource, name, _ := strings.Cut(rest, " ")
		if rulesOf(items[0]).Allows(verb, resource, name) != allowed {
			t.Errorf("%s: %v", right, items[0].Rules)
		}
	}
	if other := rulesOf(items[2]); !other.Allows("patch", "secrets", "b") || other.Allows("patch", "secrets", "a") || other.Allows("list", "secrets", "") {
		t.Errorf("%v", other)
	}
	// Two people have one Role and a binding each; two uses have two Roles.
	name := func(args ...string) string { return w.access(args...)[1].Metadata.Name }
	if a, b := name("a", "--user", "jane", "--from", "kubernetes", "--to", "swarm"), name("a", "--user", "joe", "--from", "kubernetes", "--to", "swarm"); a == b {
		t.Errorf("both bindings are called %s", a)
	}
	if a, b := name("a", "--user", "a/b", "--from", "kubernetes", "--to", "swarm"), name("a", "--user", "a-b", "--from", "kubernetes", "--to", "swarm"); a == b || strings.Contains(a, "/") {
		t.Errorf("%s, %s", a, b)
	}
	many := make([]string, 40)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	if long := w.access(append(many, "--from", "kubernetes", "--to", "swarm")...)[0].Metadata.Name; len(long) > 110 {
		t.Errorf("%s", long)
	}
}

func TestRbacRefuses(t *testing.T) {
	w := newSettledWorld(t)
	for args, says := range map[string]string{
		"":                                     "say which secrets",
		"a --all":                              "exclude each other",
		"a --for frobnicate":                   `"frobnicate" takes no rights in Kubernetes`,
		"a --for version":                      `"version" takes no rights`,
		"--for rotate --all":                   "--all goes with --for diff or sync",
		"a --for rotate --rollout":             "--rollout goes with --for sync",
		"a --for sync -A":                      "--all-namespaces goes with --for ls",
		"a web/":                               "it must be TYPE/NAME",
		"a rollout/web --for peek":             `"rollout" is no kind of Kubernetes' own`,
		"a deployment/web":                     "TYPE/NAME goes with --for peek",
		"a --service-account robot":            "it must be NAMESPACE/NAME",
		"a --user=":                            "--user can't be empty",
		"a --side left":                        "it must be from or to",
		"a --from swarm --to swarm:other":      "nothing to allow",
		"a --from kubernetes:x --to swarm":     "no context for",
		"a -f mirrors.yaml":                    "leave out the names",
		"pod/a --for peek -f mirrors.yaml":     "leave out the names",
		"--all -f mirrors.yaml":                "leave out --all",
		"a --from kubernetes --to kubernetes:": "a context or /NAMESPACE must follow the colon",
	} {
		if _, code := w.run(append([]string{"rbac"}, strings.Fields(args)...)...); code != ExitUsage || !strings.Contains(w.err.String(), says) || w.out.Len() > 0 {
			t.Errorf("rbac %s: %d %s%s", args, code, w.out.String(), w.err.String())
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // neither docker nor kubectl
	down := []doctor.Check{{Name: "connection", State: doctor.Failed, Detail: "down", Advice: "Start it."}}
	fine := []doctor.Check{{Name: "connection", State: doctor.OK}, {Name: "version", State: doctor.OK}}
	bad := append(slices.Clone(fine), doctor.Check{Name: "rights: sync", State: doctor.Failed, Advice: "Ask."})
	warned := append(slices.Clone(fine), doctor.Check{Name: "clock", State: doctor.Warning})
	for _, test := range []struct {
		swarm, kubernetes []doctor.Check
		code              int
	}{
		{fine, fine, 0}, {fine, warned, 0}, {fine, bad, ExitDifferent}, {down, fine, ExitDifferent}, {fine, down, ExitDifferent}, {down, down, ExitUsage},
	} {
		w := newWorld(t)
		m := &settledMemory{KeyedMemory: w.kubernetes, namespace: "default", checks: test.kubernetes}
		w.endpoints["kubernetes"], w.endpoints["swarm"] = m, &examinedSwarm{w.swarm, test.swarm}
		_, code := w.run("doctor", "--for", "sync,peek")
		var d report.Doctor
		if err := json.Unmarshal(w.out.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		if code != test.code || len(d.Checks) != 2+len(test.swarm)+len(test.kubernetes) || d.Kind != report.KindDoctor {
			t.Errorf("%d instead of %d: %s", code, test.code, w.out.String())
		}
		needs, err := m.asked.Needs("default")
		if err != nil || len(needs) != 2 || needs[1].Verb != "peek-in-container" || !needs[0].Asked || !needs[0].Rules.Allows("list", "secrets", "") {
			t.Errorf("%v %v", needs, err)
		}
		if advice := m.asked.Allow("sync"); !strings.Contains(advice, "rbac --for sync --all") {
			t.Error(advice)
		}
	}
	w := newWorld(t)
	if _, code := w.run("doctor", "--for", "frobnicate"); code != ExitUsage || w.out.Len() > 0 {
		t.Errorf("%d %s", code, w.out.String())
	}
}

// Each host CLI is asked for the version of the plugin that it finds.
func TestDoctorFindsPlugins(t *testing.T) {
	for name, test := range map[string]struct{ script, state, detail string }{
		"same":    {"echo test", "ok", "runs version test"},
		"other":   {"echo v0.1", "warning", "runs version v0.1, and this is test"},
		"unknown": {"echo 'unknown command' >&2; exit 1", "warning", "doesn't find the plugin"},
		"leaky":   {`[ -z "$DOCKER_CLI_PLUGIN_SOCKET" ] && echo test`, "ok", "runs version test"},
	} {
		folder := t.TempDir()
		t.Setenv("PATH", folder+":/usr/bin:/bin")
		t.Setenv("DOCKER_CLI_PLUGIN_SOCKET", "x")
		for _, cli := range []string{"docker", "kubectl"} {
			if err := os.WriteFile(filepath.Join(folder, cli), []byte("#!/bin/sh\n"+test.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			got := plugin(t.Context(), cli, "test")
			if got.State != test.state || !strings.Contains(got.Detail, test.detail) || (got.State == "warning") != (got.Advice != "") {
				t.Errorf("%s: %v", name, got)
			}
		}
	}
}
