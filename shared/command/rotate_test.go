package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/owner"
	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/storetest"
)

// ensemble is an endpoint in memory with workloads, each of which refers to one secret and whose container
// has what that held when it was made anew.
type ensemble struct {
	*storetest.Memory
	kind secret.Kind

	mu        sync.Mutex
	refs      map[string]secret.Ref
	has       map[string]string
	restarted map[string]int
	// takes tells which values a workload settles with.
	takes func(workload, value string) bool
	// calls are left until the process dies; negative: it doesn't.
	calls int
	dead  bool
}

var (
	_ mover = (*ensemble)(nil)

	errKilled = errors.New("killed")
)

// newEnsemble has a secret s with a value, and the workloads a and b that use it.
func newEnsemble(kind secret.Kind, immutable bool, value string) *ensemble {
	e := &ensemble{kind: kind, refs: map[string]secret.Ref{}, has: map[string]string{}, restarted: map[string]int{}, calls: -1, takes: func(string, string) bool { return true }}
	s := secret.Secret{Name: "s", Type: secret.Opaque, Immutable: immutable, Keys: []secret.Key{{Name: "k", Value: secret.NewValue([]byte(value))}}}
	if kind == secret.Swarm {
		e.Memory = storetest.NewSwarm("swarm")
		s.Keys[0].Name, s.Lineage = "s", secret.Lineage{Name: "s", Sequence: 1}
	} else {
		e.Memory = storetest.NewKubernetes("default").Memory
	}
	s = e.Put(s)
	for _, w := range []string{"service/a", "service/b"} {
		e.refs[w], e.has[w] = e.ref(s), value
	}
	e.Before(func(context.Context, storetest.Call) error { return e.call() })
	return e
}

func (e *ensemble) ref(s secret.Secret) secret.Ref {
	if e.kind == secret.Swarm {
		return secret.Ref{Name: s.Name, UID: s.UID}
	}
	return secret.Ref{Name: s.Name}
}

// call counts, and fails once the process is dead: nothing that it asks for happens any more.
func (e *ensemble) call() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.calls == 0 {
		e.dead = true
	}
	e.calls--
	if e.dead {
		return errKilled
	}
	return nil
}

// revive has another process follow, which finds that the one before is gone.
func (e *ensemble) revive(calls int) {
	e.calls, e.dead = calls, false
	for _, name := range e.Names() {
		if s, _ := e.Get(name); s.Lineage.Rollout == secret.Pending {
			s.Lineage.Owner = owner.Self() + "1" // which began at another time
			e.put(s)
		}
	}
}

// put changes what is noted on a secret, and leaves its ID.
func (e *ensemble) put(s secret.Secret) {
	e.Before(nil)
	defer e.Before(func(context.Context, storetest.Call) error { return e.call() })
	old, _ := e.Get(s.Name)
	if _, err := e.Update(context.Background(), old, s); err != nil {
		panic(err)
	}
}

func (e *ensemble) Workloads(context.Context) ([]rollout.Workload, error) {
	if err := e.call(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []rollout.Workload
	for _, id := range slices.Sorted(maps.Keys(e.refs)) {
		ref := e.refs[id]
		all = append(all, rollout.Workload{ID: id, UID: id, Refs: []rollout.Ref{{Name: ref.Name, UID: ref.UID}}})
	}
	return all, nil
}

func (e *ensemble) Move(_ context.Context, step rollout.Step) (rollout.Moved, error) {
	if err := e.call(); err != nil {
		return rollout.Moved{Step: step, Nothing: true}, endpoint.ErrNotFound // so that nobody tries again and again
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	id := step.Workload.ID
	key := e.refs[id].UID
	if e.kind == secret.Kubernetes {
		key = e.refs[id].Name
	}
	to, moves := step.Replace[key]
	moves = moves && to != e.refs[id]
	if !moves && !step.Restart {
		return rollout.Moved{Step: step, Nothing: true}, nil
	}
	if moves {
		e.refs[id] = to
	}
	s, there := e.Get(e.refs[id].Name)
	if !there {
		return rollout.Moved{}, fmt.Errorf("%s was given %s, which isn't there", id, e.refs[id].Name)
	}
	e.has[id] = string(s.Keys[0].Value.Reveal())
	e.restarted[id]++
	return rollout.Moved{Step: step}, nil
}

func (e *ensemble) Settle(_ context.Context, moved rollout.Moved, _ func(string)) error {
	if err := e.call(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if id := moved.Step.Workload.ID; !e.takes(id, e.has[id]) {
		return &rollout.Stuck{Workload: id, Why: "it crashes"}
	}
	return nil
}

func (e *ensemble) Containers(_ context.Context, target peek.Target) ([]peek.Container, error) {
	if err := e.call(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	id := "service/" + target.Name
	w := peek.Want{How: peek.Env, Secret: e.refs[id].Name, UID: e.refs[id].UID, Key: "k", Variable: "V"}
	if e.kind == secret.Swarm {
		w = peek.Want{How: peek.File, Secret: e.refs[id].Name, UID: e.refs[id].UID, Path: "/run/secrets/s"}
	}
	return []peek.Container{{Object: strings.Replace(id, "/", map[secret.Kind]string{secret.Swarm: " ", secret.Kubernetes: "/"}[e.kind], 1), Name: target.Name, ID: id, Wants: []peek.Want{w}}}, nil
}

func (e *ensemble) Look(_ context.Context, containers []peek.Container, options peek.LookOptions) error {
	if err := e.call(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range containers {
		c := &containers[i]
		content := peek.Content{Digest: value(e.has[c.ID]).Digest(options.Nonce)}
		c.Seen.Env = map[string]peek.Content{"V": content}
		if e.kind == secret.Swarm {
			c.Seen.Files = map[string]peek.FileSeen{"/run/secrets/s": {Content: content}}
		}
	}
	return nil
}

func (e *ensemble) Consumers(context.Context) (g consumers.Graph, err error) {
	if err := e.call(); err != nil {
		return g, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, ref := range e.refs {
		kind, name, _ := strings.Cut(id, "/")
		g.Consumers = append(g.Consumers, consumers.Consumer{Kind: kind, Name: name, Running: true, Uses: []consumers.Use{{Secret: ref.Name, UID: ref.UID, How: consumers.File}}})
	}
	return g, nil
}

// wrong says what is not as it may be at any moment: a workload without its secret.
func (e *ensemble) wrong() string {
	for id, ref := range e.refs {
		if s, there := e.Get(ref.Name); !there || ref.UID != "" && s.UID != ref.UID {
			return id + " refers to " + ref.Name + ", which is gone"
		}
	}
	return ""
}

// settled says what is not as it is to be at the end: all have one value, which is that of the newest version,
// and nothing is left of a rotation.
func (e *ensemble) settled() (value, wrong string) {
	values := slices.Compact(slices.Sorted(maps.Values(e.has)))
	if len(values) != 1 || len(slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, ref := range e.refs {
			yield(ref.Name)
		}
	}))) != 1 {
		return "", fmt.Sprintf("they have %v of %v", e.has, e.refs)
	}
	var versions []secret.Secret
	for _, name := range e.Names() {
		s, _ := e.Get(name)
		switch {
		case s.Lineage.Rollout == secret.Pending:
			return "", name + " is still pending"
		case strings.HasSuffix(name, backupSuffix):
			return "", name + " is left"
		}
		versions = append(versions, s)
	}
	newest := newestOf(versions)
	if ref := e.refs["service/a"]; ref != e.ref(newest) || string(newest.Keys[0].Value.Reveal()) != values[0] {
		return values[0], fmt.Sprintf("they have %s of %s, the newest is %s", values[0], ref.Name, newest.Name)
	}
	return values[0], e.wrong()
}

// waysToRotate are the ways in which a secret gets a new value.
var waysToRotate = []struct {
	name      string
	kind      secret.Kind
	immutable bool
}{{"swarm", secret.Swarm, false}, {"in place", secret.Kubernetes, false}, {"immutable", secret.Kubernetes, true}}

// TestRotationsThatAreKilled: a rotation is killed before each of its calls in turn, the run that follows
// before every third of its own, and the third one is left alone. Then all have one value, the newest.
func TestRotationsThatAreKilled(t *testing.T) {
	folder := t.TempDir()
	file := func(value string) string {
		path := filepath.Join(folder, value)
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, other := file("new"), file("other")
	follow := map[string][]string{"again": {"--from-file", first}, "another": {"--from-file", other}, "undo": {"--undo"}}
	for _, side := range waysToRotate {
		for _, sick := range []bool{false, true} {
			for how, args := range follow {
				t.Run(fmt.Sprintf("%s/sick %v/%s", side.name, sick, how), func(t *testing.T) {
					t.Parallel()
					all := 0
					for n := 1; ; n++ {
						ended := false
						for m := 1 + n%3; ; m += 3 {
							e := newEnsemble(side.kind, side.immutable, "old")
							if sick {
								e.takes = func(w, value string) bool { return w == "service/a" || value == "old" }
							}
							w := newWorld(t)
							w.endpoints["swarm"], w.endpoints["kubernetes"] = e, e
							run := func(calls int, args ...string) (code int, killed bool) {
								e.revive(calls)
								_, code = w.run(append([]string{"rotate", "s", "--in", string(side.kind)}, args...)...)
								if wrong := e.wrong(); wrong != "" {
									t.Fatalf("killed before call %d and %d: %s", n, m, wrong)
								}
								return code, e.dead
							}
							_, firstKilled := run(n, "--from-file", first)
							_, secondKilled := run(m, args...)
							code, _ := run(-1, args...)
							nothing := how == "undo" && code == 2 && strings.Contains(w.err.String(), "nothing to undo")
							got, wrong := e.settled()
							if wrong != "" {
								t.Fatalf("killed before call %d and %d: exit %d, %s\n%s%s", n, m, code, wrong, &w.out, &w.err)
							}
							want, wantCode := map[string]string{"again": "new", "another": "other"}[how], 0
							switch {
							case sick && how != "undo":
								want, wantCode = "old", 1
							case sick || !nothing && how == "undo":
								want = "old"
							}
							if got != want && want != "" || !nothing && code != wantCode {
								t.Fatalf("killed before call %d and %d: exit %d, they have %q instead of %q\n%s%s", n, m, code, got, want, &w.out, &w.err)
							}
							all++
							ended = !firstKilled
							if !secondKilled {
								break
							}
						}
						if ended {
							t.Logf("%d pairs of kills, %d calls", all, n)
							break
						}
					}
				})
			}
		}
	}
}

// rotate rotates the secret of an ensemble, in a world of its own.
func (e *ensemble) rotate(t *testing.T, args ...string) (code int, text string) {
	w := newWorld(t)
	w.endpoints["swarm"], w.endpoints["kubernetes"] = e, e
	_, code = w.run(append([]string{"rotate", "s", "--in", string(e.kind)}, args...)...)
	return code, w.out.String() + w.err.String()
}

// TestTwoGoOnWithARotation: of two runs that find the same rotation cut off, one goes on with it, and the
// other one changes nothing.
func TestTwoGoOnWithARotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, side := range waysToRotate {
		for _, args := range [][]string{{"--from-file", file}, {"--undo"}} {
			t.Run(side.name+" "+args[0], func(t *testing.T) {
				e := newEnsemble(side.kind, side.immutable, "old")
				e.revive(9) // it has made the version, or the backup
				if code, text := e.rotate(t, "--from-file", file); code == 0 {
					t.Fatal(text)
				}
				e.revive(-1)
				e.Before(func(_ context.Context, c storetest.Call) error {
					if c.Op == storetest.Update {
						e.Before(nil)
						if code, text := e.rotate(t, args...); code != 0 {
							t.Errorf("the one: exit %d: %s", code, text)
						}
					}
					return nil
				})
				if code, text := e.rotate(t, args...); code != 2 || !strings.Contains(text, "another run goes on") {
					t.Errorf("the other: exit %d: %s", code, text)
				}
				if _, wrong := e.settled(); wrong != "" {
					t.Error(wrong)
				}
			})
		}
	}
}

// TestTwoBeginARotation: of two rotations of one secret, the one that is quicker changes it. The other one says so,
// whatever it was about to write first.
func TestTwoBeginARotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, side := range waysToRotate {
		t.Run(side.name, func(t *testing.T) {
			e := newEnsemble(side.kind, side.immutable, "old")
			e.Before(func(_ context.Context, c storetest.Call) error {
				if c.Op == storetest.Update || c.Op == storetest.Create {
					e.Before(nil)
					if code, text := e.rotate(t, "--from-file", file); code != 0 {
						t.Errorf("the one: exit %d: %s", code, text)
					}
				}
				return nil
			})
			code, text := e.rotate(t, "--generate", "9")
			if code != 2 || !strings.Contains(text, "another rotation of") || !strings.Contains(text, "nothing was changed") {
				t.Errorf("the other: exit %d: %s", code, text)
			}
			if got, wrong := e.settled(); got != "new" || wrong != "" {
				t.Errorf("%s, %s", got, wrong)
			}
		})
	}
}

// TestChangedDuringARotation: a value that somebody else gave a Secret during a rotation that fails is not
// overwritten by the way back.
func TestChangedDuringARotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEnsemble(secret.Kubernetes, false, "old")
	e.takes = func(_, has string) bool {
		if has == "new" {
			s, _ := e.Get("s")
			s.Keys[0].Value = value("theirs")
			e.Put(s)
		}
		return has != "new"
	}
	if code, text := e.rotate(t, "--from-file", file); code != 1 || !strings.Contains(text, "somebody else has changed") || !strings.Contains(text, "stranded") {
		t.Errorf("exit %d: %s", code, text)
	}
	if s, _ := e.Get("s"); string(s.Keys[0].Value.Reveal()) != "theirs" {
		t.Error("their value is gone")
	}
	e.revive(-1)
	if code, text := e.rotate(t, "--undo"); code != 0 {
		t.Errorf("exit %d: %s", code, text)
	}
	if got, wrong := e.settled(); got != "old" || wrong != "" {
		t.Errorf("%s, %s", got, wrong)
	}
}

// TestProbeThatCannotRun: who has settled is not taken back because the value can't be read out of the Swarm; that
// it isn't proven is said.
func TestProbeThatCannotRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEnsemble(secret.Swarm, false, "old")
	e.revive(9)
	if code, text := e.rotate(t, "--from-file", file); code == 0 {
		t.Fatal(text)
	}
	e.revive(-1)
	e.Before(func(_ context.Context, c storetest.Call) error {
		if c.Op == storetest.Digests {
			return errors.New("no task started")
		}
		return nil
	})
	code, text := e.rotate(t, "--undo")
	if got, wrong := e.settled(); code != 0 || got != "old" || wrong != "" || !strings.Contains(text, "unproven") || !strings.Contains(text, "no task started") {
		t.Errorf("exit %d, they have %s, %s: %s", code, got, wrong, text)
	}
}
