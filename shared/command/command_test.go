package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

// world is what a user of the verbs sees: endpoints by address, and what was printed.
type world struct {
	t          *testing.T
	endpoints  map[string]endpoint.Endpoint
	swarm      *storetest.Memory
	kubernetes *storetest.KeyedMemory
	in         string
	terminal   bool
	contexts   func(secret.Kind) []string
	out, err   bytes.Buffer
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, swarm: storetest.NewSwarm("swarm"), kubernetes: storetest.NewKubernetes("default")}
	w.endpoints = map[string]endpoint.Endpoint{
		"swarm": w.swarm, "kubernetes": w.kubernetes,
		"swarm:other": storetest.NewSwarm("swarm:other"), "kubernetes:/other": storetest.NewKubernetes("other"),
	}
	return w
}

// jsonPrinter prints the document, so that tests read what scripts read.
type jsonPrinter struct{ bad string }

func (p *jsonPrinter) Check() error {
	if p.bad != "" {
		return errors.New("bad format")
	}
	return nil
}
func (*jsonPrinter) Human() bool                                  { return false }
func (*jsonPrinter) Print(out io.Writer, d report.Document) error { return report.JSON(out, d) }

// host is one that opens the endpoints of the world.
func (w *world) host() Host {
	return Host{
		CLI: "test secretx", Native: secret.Kubernetes,
		In: strings.NewReader(w.in), Out: &w.out, Err: &w.err,
		Terminal: func() bool { return w.terminal },
		Printer: func(flags *pflag.FlagSet, _ []report.Column) Printer {
			p := &jsonPrinter{}
			flags.StringVar(&p.bad, "format", "", "")
			return p
		},
		Open: func(a endpoint.Address, _ OpenOptions) (endpoint.Endpoint, error) {
			if e, ok := w.endpoints[a.String()]; ok {
				return e, nil
			}
			return nil, fmt.Errorf("no context for %s", a)
		},
		Contexts: w.contexts,
		Version:  "test",
	}
}

// run runs the command line and gives the document and the exit code.
func (w *world) run(args ...string) (report.Comparison, int) {
	w.t.Helper()
	w.out.Reset()
	w.err.Reset()
	root := NewRoot(w.host())
	root.SetArgs(args)
	root.SetOut(&w.out)
	root.SetErr(&w.err)
	err := root.ExecuteContext(w.t.Context())
	if err != nil {
		w.err.WriteString(err.Error())
	}
	var d report.Comparison
	if w.out.Len() > 0 {
		if err := json.Unmarshal(w.out.Bytes(), &d); err != nil {
			d = report.Comparison{}
		}
	}
	return d, ExitCode(err)
}

// must runs and wants the exit code.
func (w *world) must(code int, args ...string) report.Comparison {
	w.t.Helper()
	d, got := w.run(args...)
	if got != code {
		w.t.Fatalf("%s: exit %d, want %d\n%s\n%s", strings.Join(args, " "), got, code, &w.out, &w.err)
	}
	return d
}

func value(text string) secret.Value { return secret.NewValue([]byte(text)) }

// kubernetesSecret makes a Secret of keys and values.
func kubernetesSecret(name string, pairs ...string) secret.Secret {
	s := secret.Secret{Name: name, Type: secret.Opaque}
	for i := 0; i < len(pairs); i += 2 {
		s.Keys = append(s.Keys, secret.Key{Name: pairs[i], Value: value(pairs[i+1])})
	}
	secret.SortKeys(s.Keys)
	return s
}

func swarmSecret(name, v string) secret.Secret {
	return secret.Secret{Name: name, Keys: []secret.Key{{Name: name, Value: value(v)}}}
}

// holds checks one value at an endpoint in memory.
func (w *world) holds(m *storetest.Memory, name, key, want string) {
	w.t.Helper()
	s, ok := m.Get(name)
	if !ok {
		w.t.Fatalf("no %q among %q", name, m.Names())
	}
	k, ok := s.Key(key)
	if !ok || string(k.Value.Reveal()) != want {
		w.t.Fatalf("%s/%s is not what it should be", name, key)
	}
}

func states(d report.Comparison) string {
	var all []string
	for _, item := range d.Items {
		all = append(all, item.Mirror+"="+item.State)
	}
	return strings.Join(all, " ")
}

func TestKubernetesToSwarm(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("user-pass", "username", "jdoe", "password", "s3cret"))

	d := w.must(1, "diff", "user-pass")
	if got := states(d); got != "user-pass.password=missing user-pass.username=missing" {
		t.Fatal(got)
	}
	w.must(0, "sync", "user-pass")
	w.holds(w.swarm, "user-pass.username", "user-pass.username", "jdoe")
	w.must(0, "diff", "user-pass")

	// A second sync writes nothing and runs no probe.
	w.swarm.ResetCalls()
	w.kubernetes.ResetCalls()
	w.must(0, "sync", "--all")
	for _, m := range []*storetest.Memory{w.swarm, w.kubernetes.Memory} {
		for _, op := range []storetest.Op{storetest.Create, storetest.Update, storetest.Remove, storetest.Values, storetest.Digests} {
			if n := m.Calls(op); n != 0 {
				t.Errorf("a second sync made %d calls of %s", n, op)
			}
		}
	}

	// A changed value is version 2 beside version 1.
	w.kubernetes.Put(kubernetesSecret("user-pass", "username", "jdoe", "password", "n3w"))
	d = w.must(1, "diff", "user-pass")
	if got := states(d); got != "user-pass.password.v2=changed user-pass.username=in-sync" {
		t.Fatal(got)
	}
	w.must(0, "sync", "user-pass")
	w.holds(w.swarm, "user-pass.password", "user-pass.password", "s3cret")
	w.holds(w.swarm, "user-pass.password.v2", "user-pass.password.v2", "n3w")
	w.must(0, "diff", "user-pass")
	w.must(0, "diff", "user-pass", "--prove")

	// The origin goes.
	w.kubernetes.Delete("user-pass")
	w.must(1, "diff", "--all")
	w.must(1, "diff", "user-pass")
	w.must(2, "sync", "user-pass", "--prune") // nobody to ask
	w.must(0, "sync", "user-pass", "--prune", "--yes")
	if n := w.swarm.Names(); len(n) != 0 {
		t.Fatalf("left: %q", n)
	}
	w.must(2, "diff", "user-pass")
}

func TestSwarmToKubernetes(t *testing.T) {
	w := newWorld(t)
	w.swarm.Put(swarmSecret("my-secret", "abc1234\n"))
	w.swarm.Put(swarmSecret("My_Other", "x"))
	back := []string{"--from", "swarm", "--to", "kubernetes"}
	w.must(0, append([]string{"sync", "--all"}, back...)...)
	w.holds(w.kubernetes.Memory, "my-secret", "my-secret", "abc1234\n")
	w.must(0, append([]string{"diff", "--all"}, back...)...)
	if n := w.swarm.Calls(storetest.Values); n != 1 {
		t.Errorf("values were read in %d calls", n)
	}

	// What is a mirror of the Swarm does not go back to it by itself.
	if d := w.must(0, "diff", "--all"); len(d.Items) != 0 {
		t.Errorf("it would go back: %s", states(d))
	}

	// Drift is seen and mended, a stranger's key goes.
	s, _ := w.kubernetes.Get("my-secret")
	s.Keys = append(s.Keys, secret.Key{Name: "stranger", Value: value("x")})
	secret.SortKeys(s.Keys)
	w.kubernetes.Put(s)
	d := w.must(1, append([]string{"diff", "my-secret"}, back...)...)
	if got := states(d); got != "my-secret=drifted" {
		t.Fatal(got)
	}
	s.Keys = []secret.Key{{Name: "my-secret", Value: value("tampered")}, s.Keys[1]}
	w.kubernetes.Put(s)
	w.must(0, append([]string{"sync", "my-secret"}, back...)...)
	w.must(0, append([]string{"diff", "my-secret", "--prove"}, back...)...)
	w.holds(w.kubernetes.Memory, "my-secret", "my-secret", "abc1234\n")
}

func TestSwarmToSwarmAndNamespaceToNamespace(t *testing.T) {
	w := newWorld(t)
	w.swarm.Put(swarmSecret("Token", "t"))
	w.must(0, "sync", "--all", "--from", "swarm", "--to", "swarm:other")
	w.holds(w.endpoints["swarm:other"].(*storetest.Memory), "Token", "Token", "t")
	w.must(0, "diff", "--all", "--from", "swarm", "--to", "swarm:other")

	s := kubernetesSecret("tls", "tls.crt", "c", "tls.key", "k")
	s.Type, s.Immutable = "kubernetes.io/tls", true
	w.kubernetes.Put(s)
	pair := []string{"--from", "kubernetes", "--to", "kubernetes:/other"}
	w.must(0, append([]string{"sync", "tls"}, pair...)...)
	other := w.endpoints["kubernetes:/other"].(*storetest.KeyedMemory)
	got, _ := other.Get("tls")
	if got.Type != s.Type || !got.Immutable {
		t.Errorf("type %q, immutable %t", got.Type, got.Immutable)
	}
	// An immutable mirror is replaced.
	s.Keys[1].Value = value("k2")
	w.kubernetes.Delete("tls")
	w.kubernetes.Put(s)
	if d := w.must(1, append([]string{"diff", "tls"}, pair...)...); d.Items[0].Action != "replace" {
		t.Errorf("action %q", d.Items[0].Action)
	}
	w.must(0, append([]string{"sync", "tls"}, pair...)...)
	w.holds(other.Memory, "tls", "tls.key", "k2")
	w.must(0, append([]string{"diff", "tls"}, pair...)...)
}

func TestRoundTripKeepsTheShape(t *testing.T) {
	w := newWorld(t)
	s := kubernetesSecret("registry.example", ".dockerconfigjson", `{"auths":{}}`)
	s.Type, s.Immutable = "kubernetes.io/dockerconfigjson", true
	w.kubernetes.Put(s)
	w.kubernetes.Put(kubernetesSecret("case", "KEY", "1", "key", "2", "a.b_c-", "3"))
	w.must(0, "sync", "--all")
	w.must(0, "sync", "--all", "--from", "swarm", "--to", "kubernetes:/other")
	other := w.endpoints["kubernetes:/other"].(*storetest.KeyedMemory)
	for _, want := range []string{"registry.example", "case"} {
		a, _ := w.kubernetes.Get(want)
		b, ok := other.Get(want)
		if !ok {
			t.Fatalf("no %q among %q", want, other.Names())
		}
		if a.Type != b.Type || a.Immutable != b.Immutable || len(a.Keys) != len(b.Keys) {
			t.Errorf("%s: %q %t %d keys", want, b.Type, b.Immutable, len(b.Keys))
		}
		for _, k := range a.Keys {
			w.holds(other.Memory, want, k.Name, string(k.Value.Reveal()))
		}
	}
}

func TestStrangersAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("db", "password", "same"))
	w.swarm.Put(swarmSecret("db.password", "same"))

	d := w.must(1, "diff", "db")
	if got := states(d); got != "db.password=unknown" {
		t.Fatal(got)
	}
	w.must(1, "sync", "db")
	w.must(0, "diff", "db", "--prove")
	w.must(1, "sync", "db", "--adopt", "--no-probe")
	w.must(0, "sync", "db", "--adopt")
	w.must(0, "diff", "db")
	if n := w.swarm.Calls(storetest.Create); n != 0 {
		t.Errorf("%d secrets were created", n)
	}

	w.kubernetes.Put(kubernetesSecret("web", "token", "ours"))
	w.swarm.Put(swarmSecret("web.token", "theirs"))
	d = w.must(1, "diff", "web", "--prove")
	if got := states(d); got != "web.token=conflict" {
		t.Fatal(got)
	}
	w.must(1, "sync", "web", "--adopt")
	w.terminal, w.in = true, "n\n"
	w.must(2, "sync", "web", "--force")
	w.in = "y\n"
	w.must(0, "sync", "web", "--force")
	w.holds(w.swarm, "web.token", "web.token", "theirs")
	w.holds(w.swarm, "web.token.v2", "web.token.v2", "ours")
	w.must(0, "diff", "web")
}

func TestIntoGathersAndKeeps(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"username", "password", "token"} {
		w.swarm.Put(swarmSecret(n, n+"-value"))
	}
	into := []string{"--into", "user-pass", "--from", "swarm", "--to", "kubernetes"}
	w.must(0, append([]string{"sync", "username", "password"}, into...)...)
	w.holds(w.kubernetes.Memory, "user-pass", "username", "username-value")
	w.must(0, append([]string{"diff", "username", "password"}, into...)...)
	// Another one joins; those whose origin is merely not named stay.
	w.must(0, append([]string{"sync", "token"}, into...)...)
	w.holds(w.kubernetes.Memory, "user-pass", "password", "password-value")
	w.must(0, append([]string{"diff", "username", "password", "token"}, into...)...)
	// One goes: its key is an orphan until it is pruned.
	w.swarm.Delete("token")
	w.must(1, append([]string{"diff", "username"}, into...)...)
	w.must(0, append([]string{"sync", "username", "password"}, into...)...)
	w.holds(w.kubernetes.Memory, "user-pass", "token", "token-value")
	w.must(0, append([]string{"sync", "username", "password", "--prune", "-y"}, into...)...)
	s, _ := w.kubernetes.Get("user-pass")
	if len(s.Keys) != 2 {
		t.Errorf("%d keys", len(s.Keys))
	}
	// And the way back to another Swarm has the Swarm's names again.
	w.must(0, "sync", "user-pass", "--to", "swarm:other")
	w.holds(w.endpoints["swarm:other"].(*storetest.Memory), "username", "username", "username-value")
}

func TestUnmappableHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("half", "empty", "", "full", "x"))
	w.kubernetes.Put(kubernetesSecret("none"))
	d := w.must(1, "sync", "--all")
	if d.Summary.States["unmappable"] != 2 || d.Summary.Done != 1 {
		t.Errorf("%+v", d.Summary)
	}
	w.holds(w.swarm, "half.full", "half.full", "x")
}

func TestPlanFiles(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	w.kubernetes.Put(kubernetesSecret("a", "k", "canary-value"))
	w.must(1, "diff", "--all", "--save-plan", file)
	text, err := os.ReadFile(file)
	if err != nil || bytes.Contains(text, []byte("canary-value")) {
		t.Fatalf("%v\n%s", err, text)
	}
	// The world moves on: the plan is refused, and nothing is written.
	w.kubernetes.Put(kubernetesSecret("a", "k", "another"))
	w.must(2, "sync", "--plan", file)
	if !strings.Contains(w.err.String(), "stale") || len(w.swarm.Names()) != 0 {
		t.Fatal(w.err.String())
	}
	w.must(1, "diff", "--all", "--save-plan", file)
	w.must(2, "sync", "--plan", file, "--all")
	w.must(0, "sync", "--plan", file)
	w.holds(w.swarm, "a.k", "a.k", "another")
	w.must(2, "sync", "--plan", file) // done already
	for _, damage := range []string{"", "{", `{"kind":"Plan"}`, string(text) + "x", strings.Replace(string(text), "steps", "stops", 1)} {
		if err := os.WriteFile(file, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		w.must(2, "sync", "--plan", file)
		if !strings.Contains(w.err.String(), "damaged") {
			t.Errorf("%q: %s", damage, &w.err)
		}
	}
}

func TestWrongInputChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("a.b", "c", "1"))
	w.kubernetes.Put(kubernetesSecret("x", "k", "1"))
	w.kubernetes.Put(kubernetesSecret("y", "k", "1"))
	for _, args := range []string{
		"sync",
		"sync nothing-like-it",
		"sync --all x",
		"sync --all --from swarmm",
		"sync --all --to swarm:",
		"sync --all --to swarm:gone",
		"sync --all --from kubernetes --to kubernetes",
		"sync -l =",
		"sync -l a=b --prune",
		"sync -l a=(b",
		"sync --from swarm --to kubernetes -l !!x",
		"sync --all --name-template {{.Nam}}",
		"sync --all --name-template {{",
		"sync --all --name-template same",
		"sync x y --into z",
		"sync --all --into z --name-template z",
		"sync --all --concurrency 0",
		"sync --all --dry-run=server",
		"sync --all --timeout 0s",
		"sync --all --format bad",
		"sync --all --save-plan x",
		"sync --plan /nowhere/plan.json",
		"sync --all --fingerprint-key /nowhere",
		"sync --all --frobnicate",
		"diff --all --no-probe --prove --from swarm --to kubernetes",
		"diff ",
		"frobnicate",
	} {
		t.Run(args, func(t *testing.T) {
			w.t = t
			w.must(2, strings.Fields(args)...)
			if text := w.err.String(); text == "" || strings.Contains(text, "\n") {
				t.Errorf("want one clear line, got %q", text)
			}
			if w.out.Len() != 0 {
				t.Errorf("printed %s", &w.out)
			}
		})
	}
	if n := w.swarm.Names(); len(n) != 0 {
		t.Errorf("written: %q", n)
	}
}

// TestArguments: too few or too many of them are told with where to look.
func TestArguments(t *testing.T) {
	w := newWorld(t)
	for _, args := range []string{"rotate", "rotate a b", "current", "rm", "create a b", "doctor a", "version a"} {
		w.t = t
		w.must(2, strings.Fields(args)...)
		verb, _, _ := strings.Cut(args, " ")
		if text := strings.TrimSpace(w.err.String()); !strings.Contains(text, "test secretx "+verb+": ") || !strings.HasSuffix(text, "See test secretx "+verb+" --help") {
			t.Errorf("%s: %q", args, text)
		}
	}
}

func TestFailuresDoNotStopTheRest(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.kubernetes.Put(kubernetesSecret(fmt.Sprintf("s%02d", i), "k", "canary-in-an-error"))
	}
	w.swarm.Before(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Create && c.Names[0] == "s07.k" {
			return errors.New("disk full")
		}
		return nil
	})
	d := w.must(1, "sync", "--all")
	if d.Summary.Done != 19 || d.Summary.Failed != 1 || d.Items[7].Result != "failed" {
		t.Errorf("%+v", d.Summary)
	}
	w.swarm.Before(nil)
	w.must(0, "sync", "--all")
	w.must(0, "diff", "--all")
	// Nothing can be done at all.
	w.kubernetes.Before(func(context.Context, storetest.Call) error {
		return &endpoint.Error{Op: "list", Reason: endpoint.ErrUnreachable}
	})
	w.must(2, "diff", "--all")
}

func TestAnotherRunWasFirst(t *testing.T) {
	w := newWorld(t)
	w.kubernetes.Put(kubernetesSecret("s", "k", "v"))
	raced := false
	w.swarm.Before(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Create && !raced {
			raced = true
			other := *w
			other.out, other.err = bytes.Buffer{}, bytes.Buffer{}
			if _, code := other.run("sync", "s"); code != 0 {
				return fmt.Errorf("the other run failed: %s", &other.err)
			}
		}
		return nil
	})
	d := w.must(0, "sync", "s")
	if d.Items[0].Reason != "another run wrote it" {
		t.Errorf("%+v", d.Items[0])
	}
	if n := w.swarm.Names(); len(n) != 1 {
		t.Errorf("doubled: %q", n)
	}
}

func TestInterruptedRunGoesOn(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		w.kubernetes.Put(kubernetesSecret(fmt.Sprintf("s%02d", i), "k", "v"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	w.swarm.Before(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Create {
			if n++; n == 10 {
				cancel()
			}
		}
		return nil
	})
	var err error
	func() {
		root := NewRoot(Host{
			Native: secret.Kubernetes, In: strings.NewReader(""), Out: io.Discard, Err: io.Discard,
			Terminal: func() bool { return false },
			Printer:  func(*pflag.FlagSet, []report.Column) Printer { return &jsonPrinter{} },
			Open: func(a endpoint.Address, _ OpenOptions) (endpoint.Endpoint, error) {
				return w.endpoints[a.String()], nil
			},
		})
		root.SetArgs([]string{"sync", "--all", "--concurrency", "1"})
		err = root.ExecuteContext(ctx)
	}()
	if ExitCode(err) != ExitInterrupted {
		t.Fatalf("exit %d: %v", ExitCode(err), err)
	}
	if left := len(w.swarm.Names()); left == 50 || left == 0 {
		t.Fatalf("%d written", left)
	}
	w.swarm.Before(nil)
	w.must(0, "sync", "--all")
	w.must(0, "diff", "--all", "--prove")
}

func TestAHangingLibraryDoesNotHoldUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	block := make(chan struct{})
	defer close(block)
	err := run(ctx, time.Minute, func(context.Context) error { <-block; return nil })
	if ExitCode(err) != ExitInterrupted || time.Since(begun) > 2*time.Second {
		t.Fatalf("%v after %s", err, time.Since(begun))
	}
}

func TestSelectors(t *testing.T) {
	w := newWorld(t)
	s := swarmSecret("labelled", "v")
	s.Labels = map[string]string{"com.example/team": "a b=c"}
	w.swarm.Put(s)
	w.swarm.Put(swarmSecret("plain", "v"))
	for selector, want := range map[string]int{
		"com.example/team": 1, "!com.example/team": 1, "com.example/team=a b=c": 1, "com.example/team!=a b=c": 1, "x": 0, "x!=y": 2,
	} {
		d, _ := w.run("diff", "-l", selector, "--from", "swarm", "--to", "kubernetes")
		if len(d.Items) != want {
			t.Errorf("%s: %s", selector, states(d))
		}
	}
	k := kubernetesSecret("web", "k", "v")
	k.Labels = map[string]string{"app": "web"}
	w.kubernetes.Put(k)
	if d, _ := w.run("diff", "-l", "app in (web,api)"); len(d.Items) != 1 {
		t.Error(states(d))
	}
}
