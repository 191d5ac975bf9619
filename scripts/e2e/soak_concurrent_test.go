//go:build soak

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestTwoSyncsAtOnce runs two syncs of the same at once: from nothing, with new values, and with
// values that change between the start of the one and that of the other.
func TestTwoSyncsAtOnce(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(directions)) {
		t.Run(name, func(t *testing.T) {
			d, began := directions[name](t), time.Now()
			ends, total := map[int]int{}, rounds(t, 9)
			for round := range total {
				kind := round % 3
				moving := kind == 2 && d.source == nil
				d.change()
				if kind != 1 && !moving {
					d.empty()
				}
				var results [2]result
				var both sync.WaitGroup
				for i, host := range []string{"kubectl", "docker"} {
					both.Go(func() {
						time.Sleep(time.Duration(i*round) * 20 * time.Millisecond)
						_, results[i] = secretx(host, d.args("sync")...)
					})
				}
				if moving {
					// A new value for some of them, while both run.
					time.Sleep(time.Duration(100+d.c.IntN(300)) * time.Millisecond)
					d.changeSome()
				}
				both.Wait()
				for i, r := range results {
					ends[r.code]++
					if r.code != 0 && r.code != 1 || r.code == 0 && r.err != "" && r.out == "" {
						t.Errorf("round %d, sync %d: %s", round, i, r)
					}
					if r.code == 1 && !moving {
						t.Logf("round %d, sync %d ended with 1: %v", round, i, failures(r))
					}
				}
				if moving {
					d.settled("kubectl")
				} else {
					// Nothing is left to do: what the two made together is what one would have made.
					expect(t, 0, "kubectl", d.args("diff")...)
					expect(t, 0, "docker", d.args("diff", "--prove")...)
					show(t, "after two at once", d.check())
				}
				d.noProbes()
				if t.Failed() {
					t.Fatalf("round %d", round)
				}
			}
			t.Logf("FIGURES %s: %d times two syncs of %d secrets at once; exit codes %v; all in %s", name, total, many, ends, time.Since(began).Round(time.Second))
		})
	}
}

// failures counts the errors in a document, for the log.
func failures(r result) map[string]int {
	var d document
	_ = json.Unmarshal([]byte(r.out), &d)
	counts := map[string]int{}
	for _, item := range d.Items {
		if item.Error != "" {
			counts[strings.ReplaceAll(item.Error, item.Mirror, "NAME")]++
		}
	}
	return counts
}

// changeSome gives every tenth Kubernetes origin another value.
func (d *direction) changeSome() {
	d.t.Helper()
	for i := 0; i < many; i += 10 {
		name := fmt.Sprintf("%s%03d", d.prefix, i)
		d.values[name] = append(d.c.bytes(300), "again"...)
		must(d.t, d.putKube(d.fromSpace, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": d.values[name]}}))
	}
}

// settled expects that the next sync converges after values have moved under two others: how many
// versions that took in a Swarm depends on the moment, so the newest ones are looked at.
func (d *direction) settled(host string) {
	d.t.Helper()
	expect(d.t, 0, host, d.args("sync")...)
	expect(d.t, 0, host, d.args("diff")...)
	expect(d.t, 0, host, d.args("diff", "--prove")...)
	if d.target == nil {
		show(d.t, "after values moved", d.check())
		return
	}
	sums := get[map[string]sum](d.t)(swarmSums(d.target, get2(d.ours(d.target))(d.t)))
	var wrong []string
	for name, v := range d.values {
		newest := d.mirror(name)
		for n := 2; ; n++ {
			if _, there := sums[fmt.Sprintf("%s.v%d", d.mirror(name), n)]; !there {
				break
			}
			newest = fmt.Sprintf("%s.v%d", d.mirror(name), n)
		}
		if sums[newest] != sumOf(v) {
			wrong = append(wrong, newest+" has another value")
		}
	}
	show(d.t, "after values moved", wrong)
}
