//go:build soak

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const many = 200

// direction is a pair of endpoints with secrets at the one and their mirrors at the other, and what
// a test needs to change the ones and to look at the others.
type direction struct {
	*world
	c          chance
	t          *testing.T
	from, to   string // addresses
	source     *client.Client
	target     *client.Client // nil: Kubernetes
	fromSpace  string         // namespaces, where it is Kubernetes
	toSpace    string
	selection  []string
	values     map[string][]byte // of the origins by name
	old        map[string][]byte // what the mirrors had before, where versions stay
	generation int
}

// directions are all pairs.
var directions = map[string]func(*testing.T) *direction{
	"kubernetes-swarm": func(t *testing.T) *direction {
		d := newDirection(t)
		d.fromSpace, d.target = get[string](t)(d.namespace()), d.swarm
		d.from, d.to = "kubernetes:/"+d.fromSpace, "swarm"
		d.selection = []string{"--all"}
		return d
	},
	"swarm-kubernetes": func(t *testing.T) *direction {
		d := newDirection(t)
		d.source, d.toSpace = d.swarm, get[string](t)(d.namespace())
		d.from, d.to = "swarm", "kubernetes:/"+d.toSpace
		return d
	},
	"kubernetes-kubernetes": func(t *testing.T) *direction {
		d := newDirection(t)
		d.fromSpace, d.toSpace = get[string](t)(d.namespace()), get[string](t)(d.namespace())
		d.from, d.to = "kubernetes:/"+d.fromSpace, "kubernetes:/"+d.toSpace
		d.selection = []string{"--all"}
		return d
	},
	"swarm-swarm": func(t *testing.T) *direction {
		d := newDirection(t)
		d.source, d.target = d.other, d.swarm
		d.from, d.to = "swarm:"+otherContext, "swarm"
		return d
	},
}

func newDirection(t *testing.T) *direction {
	w := newWorld(t)
	return &direction{world: w, t: t, c: newChance(t), values: map[string][]byte{}, selection: []string{"-l", "campaign=" + w.prefix}}
}

// change gives every origin a new value; the first time it makes them.
func (d *direction) change() {
	d.t.Helper()
	d.generation++
	d.old = maps.Clone(d.values)
	for i := range many {
		d.values[fmt.Sprintf("%s%03d", d.prefix, i)] = append(d.c.bytes(200+d.c.IntN(2000)), strconv.Itoa(d.generation)...)
	}
	names := slices.Sorted(maps.Keys(d.values))
	if d.source == nil {
		must(d.t, each(names, func(name string) error {
			return d.putKube(d.fromSpace, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": d.values[name]}})
		}))
		return
	}
	must(d.t, d.clear(d.source))
	must(d.t, each(names, func(name string) error {
		return putSwarm(d.source, name, d.values[name], map[string]string{"campaign": d.prefix})
	}))
}

// empty removes the mirrors.
func (d *direction) empty() {
	d.t.Helper()
	d.old = nil
	if d.target != nil {
		must(d.t, d.clear(d.target))
		return
	}
	found := get[map[string]corev1.Secret](d.t)(d.kubeSecrets(d.toSpace))
	must(d.t, each(slices.Collect(maps.Keys(found)), func(name string) error {
		return d.kube.Secrets(d.toSpace).Delete(d.t.Context(), name, metav1.DeleteOptions{})
	}))
}

// mirror is the name that an origin's mirror has.
func (d *direction) mirror(name string) string {
	if d.source == nil && d.target != nil {
		return name + ".v"
	}
	return name
}

// written counts the mirrors that have the origins' values of now.
func (d *direction) written() int {
	d.t.Helper()
	n := 0
	if d.target != nil {
		for _, s := range get2(d.ours(d.target))(d.t) {
			// What a first version is in the one round is a second in the next.
			if len(d.old) == 0 || strings.HasSuffix(s.Spec.Name, ".v2") {
				n++
			}
		}
		return n
	}
	for name, s := range get[map[string]corev1.Secret](d.t)(d.kubeSecrets(d.toSpace)) {
		for _, v := range s.Data {
			if bytes.Equal(v, d.values[name]) {
				n++
			}
		}
	}
	return n
}

// check compares what stands at the target with exactly what should.
func (d *direction) check() []string {
	d.t.Helper()
	want, got := map[string]sum{}, map[string]sum{}
	for name, v := range d.values {
		switch {
		case d.target == nil, len(d.old) == 0:
			want[d.mirror(name)] = sumOf(v)
		default:
			want[d.mirror(name)], want[d.mirror(name)+".v2"] = sumOf(d.old[name]), sumOf(v)
		}
	}
	if d.target != nil {
		got = get[map[string]sum](d.t)(swarmSums(d.target, get2(d.ours(d.target))(d.t)))
	} else {
		for name, s := range get[map[string]corev1.Secret](d.t)(d.kubeSecrets(d.toSpace)) {
			for _, v := range s.Data {
				got[name] = sumOf(v)
			}
		}
	}
	return sumDifferences(want, got)
}

func (d *direction) args(verb string, more ...string) []string {
	args := append([]string{verb, "--from", d.from, "--to", d.to}, d.selection...)
	return append(args, more...)
}

// converged expects that a sync ends well, that nothing is left to do, and that exactly what should
// stand at the target does.
func (d *direction) converged(host string) {
	d.t.Helper()
	expect(d.t, 0, host, d.args("sync")...)
	expect(d.t, 0, host, d.args("diff")...)
	expect(d.t, 0, host, d.args("diff", "--prove")...)
	show(d.t, "after the next sync", d.check())
	d.noProbes()
}

func (d *direction) noProbes() {
	d.t.Helper()
	for _, cli := range []*client.Client{d.swarm, d.other} {
		if left := get[[]string](d.t)(leftProbes(cli)); len(left) > 0 {
			d.t.Errorf("probes left: %v", left)
		}
	}
}

// rounds is how often something random is done: SOAK_ROUNDS, or the number of the test.
func rounds(t *testing.T, usual int) int {
	text := os.Getenv("SOAK_ROUNDS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("SOAK_ROUNDS: %v", err)
	}
	return n
}

// histogram shows how far killed runs had got.
func histogram(counts []int, of int) string {
	const parts = 10
	bins := make([]int, parts+2)
	for _, n := range counts {
		switch {
		case n == 0:
			bins[0]++
		case n >= of:
			bins[parts+1]++
		default:
			bins[1+(n-1)*parts/(of-1)]++
		}
	}
	var b strings.Builder
	for i, n := range bins {
		label := fmt.Sprintf("%d-%d %%", (i-1)*100/parts, i*100/parts)
		if i == 0 {
			label = "none"
		} else if i == parts+1 {
			label = "all"
		}
		fmt.Fprintf(&b, "  %-10s %3d %s\n", label, n, strings.Repeat("#", n))
	}
	return b.String()
}

// TestKilledSyncs kills syncs with SIGKILL at random moments, in turns such that make mirrors and such
// that bring new values, through both host CLIs.
func TestKilledSyncs(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(directions)) {
		t.Run(name, func(t *testing.T) {
			d, began := directions[name](t), time.Now()
			d.change()
			// How long it takes when nobody interferes.
			var usual [2]time.Duration
			for i := range usual {
				before := time.Now()
				expect(t, 0, "kubectl", d.args("sync")...)
				usual[i] = time.Since(before)
				show(t, "without a kill", d.check())
				d.change()
			}
			folder, err := os.MkdirTemp("", "e2e")
			must(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(folder) })
			between := get[*proxies](t)(newProxies(t, d.testbed, folder, "default"))
			var counts []int
			probes, total := 0, rounds(t, 50)
			for round := range total {
				host, kind := []string{"kubectl", "docker"}[round/4%2], round%2
				if kind == 0 {
					d.empty()
				} else {
					d.change()
				}
				between.taken()
				p, err := start(between.env(), host, append([]string{"secretx"}, d.args("sync")...)...)
				must(t, err)
				// By the clock, most hit while values are being read; so every other one waits for a
				// number of writes.
				moment, most := time.Duration(d.c.Float64()*float64(usual[kind])), 1+d.c.IntN(many-1)
				for began := time.Now(); alive(p.pid()); time.Sleep(time.Millisecond) {
					if round%4 < 2 && time.Since(began) > moment || round%4 >= 2 && writes(between) > most {
						break
					}
				}
				p.killAll()
				time.Sleep(100 * time.Millisecond) // for requests under way
				n := d.written()
				counts = append(counts, n)
				for _, cli := range []*client.Client{d.swarm, d.other} {
					probes += len(get[[]string](t)(leftProbes(cli)))
				}
				d.converged(host)
				if t.Failed() {
					t.Fatalf("round %d through %s, killed after %d of %d", round, host, n, many)
				}
			}
			partly := 0
			for _, n := range counts {
				if n > 0 && n < many {
					partly++
				}
			}
			t.Logf("FIGURES %s: %d syncs of %d secrets killed, %d of them part-way, %d left a probe behind; every next sync converged; all in %s\n%s",
				name, total, many, partly, probes, time.Since(began).Round(time.Second), histogram(counts, many))
			if partly == 0 && total > 10 {
				t.Error("no kill hit in the middle: this proves nothing")
			}
		})
	}
}
