//go:build soak

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"k8s.io/client-go/rest"
)

// TestRestarts stops the API server and the engine in the middle of syncs, and starts them again.
// Whoever else uses this testbed will notice.
//
// What was begun may fail, but it says so, and the next run goes on from there.
func TestRestarts(t *testing.T) {
	for _, c := range []struct {
		direction string
		what      []string // as scripts/testbed is told
	}{
		{"kubernetes-swarm", []string{"docker", "node1"}},
		{"swarm-kubernetes", []string{"docker", "node1"}},
		{"swarm-kubernetes", []string{"kube"}},
		{"kubernetes-kubernetes", []string{"kube"}},
		{"kubernetes-swarm", []string{"kube"}},
	} {
		t.Run(c.direction+"-"+strings.Join(c.what, "-"), func(t *testing.T) {
			d, began := directions[c.direction](t), time.Now()
			folder, err := os.MkdirTemp("", "e2e")
			must(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(folder) })
			space := d.fromSpace
			if space == "" {
				space = d.toSpace
			}
			p := get[*proxies](t)(newProxies(t, d.testbed, folder, space))
			codes := map[int]int{}
			for round := range rounds(t, 4) {
				d.change()
				d.empty()
				// Slow enough for the stop to hit it in the middle: one write at a time, each noted.
				args := append([]string{"secretx"}, d.args("sync", "--concurrency", "1", "-o", "json")...)
				run := get[*process](t)(start(p.env(), "kubectl", args...))
				wait := 10 + round*40
				for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && alive(run.pid()); {
					if writes(p) > wait {
						break
					}
					time.Sleep(2 * time.Millisecond)
				}
				testbedDo(t, c.what, "stop")
				time.Sleep(time.Second)
				testbedDo(t, c.what, "start")
				awaitBoth(t, d)
				<-run.done
				p.taken()
				n := d.written()
				var said document
				_ = json.Unmarshal(run.out.Bytes(), &said)
				code := run.cmd.ProcessState.ExitCode()
				codes[code]++
				t.Logf("round %d: exit code %d, %d of %d stood; it said %d done, %d failed %v; %s",
					round, code, n, many, said.Summary.Done, said.Summary.Failed, failures(result{out: run.out.String()}), firstLine(run.err.String()))
				if code == 0 && n != many {
					t.Error("it said that all was done")
				}
				if code != 0 && run.err.Len() == 0 && said.Summary.Failed == 0 {
					t.Error("it failed without a word")
				}
				d.converged("kubectl")
				if t.Failed() {
					t.FailNow()
				}
			}
			t.Logf("FIGURES %s, %s restarted in the middle: exit codes %v; every next sync converged; all in %s", c.direction, strings.Join(c.what, " "), codes, time.Since(began).Round(time.Second))
		})
	}
}

func testbedDo(t *testing.T, what []string, action string) {
	t.Helper()
	args := append([]string{what[0], action}, what[1:]...)
	cmd := exec.Command("../testbed", args...)
	cmd.Env = append(os.Environ(), "SECRETX_TESTBED_DIR="+os.Getenv("SECRETX_TESTBED"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scripts/testbed %v: %v\n%s", args, err, out)
	}
}

// awaitBoth waits until both sides answer again.
func awaitBoth(t *testing.T, d *direction) {
	t.Helper()
	client, err := rest.HTTPClientFor(d.config)
	must(t, err)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		_, listed := d.swarm.SecretList(t.Context(), swarm.SecretListOptions{})
		response, err := client.Get(d.config.Host + "/readyz")
		if err == nil {
			_ = response.Body.Close()
		}
		if err == nil && response.StatusCode == 200 && listed == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the testbed didn't come back: %v, %v", err, listed)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line[:min(len(line), 200)]
}
