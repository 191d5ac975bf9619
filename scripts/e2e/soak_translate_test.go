//go:build soak

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	translations = 24
	atOnce       = 3
)

// places are targets of secrets, several of which a service gets; no two of them are one within the other.
var places = []string{
	"plain", "sub/one", "sub/two", "/custom/path/a", "/custom/path/b", "/custom/path/deep/c", "/custom/single", "/etc/single.conf",
	"/etc/ssl/x", "/etc/ssl/y", "/opt/with space/f", "/opt/a,b/f", "/at-root", "/var/lib/app/key", "/home/u/.key",
}

// looking prints of each file its place, mode, owner and bytes, and of a variable its bytes.
const looking = `printf "%s" "$V" | sha256sum; for f; do stat -L -c "%a %u:%g" "$f"; echo "$f"; sha256sum <"$f"; done; echo "done"; exec sleep 1000`

var awkward = []string{"plain", "", "$(HOME)", "$$(HOME)", "$$", "a\nb\n", "{{.Node.Hostname}}x", `'"\`, " blanks ", "0123", "yes", "é☃", "- a: b", "#"}

// TestSoakTranslate has services translated to Kubernetes and back, and looks into the containers: each file is at its
// place, with its mode, its owner and its bytes, or a note says what is otherwise.
func TestSoakTranslate(t *testing.T) {
	w := newWorld(t)
	c := newChance(t)
	namespace := get[string](t)(w.namespace())
	slots := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	var mu sync.Mutex
	for i := range translations {
		s := &translated{world: w, namespace: namespace, name: fmt.Sprintf("%sw%d", w.prefix, i), folder: t.TempDir()}
		if err := s.invent(c); err != nil {
			t.Fatal(err)
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := s.check(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				t.Errorf("%s: %v\n%s", s.name, err, strings.Join(s.create, " "))
			}
		})
	}
	group.Wait()
}

// translated is a service that is translated.
type translated struct {
	*world
	namespace, name, folder string
	create                  []string // the command that makes it
	paths, secrets          []string
}

func (s *translated) invent(c chance) error {
	s.create = []string{"service", "create", "--detach=false", "--no-resolve-image", "--quiet", "--name", s.name}
	user := ""
	if c.IntN(3) == 0 {
		user = "1000:1000"
		s.create = append(s.create, "--user", user)
	}
	targets := slices.Clone(places)
	c.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	for i, target := range targets[:1+c.IntN(5)] {
		secret := fmt.Sprintf("%s-%d", s.name, i)
		if c.IntN(4) == 0 {
			secret = fmt.Sprintf("%s_%d", s.name, i) // which is called otherwise in Kubernetes
		}
		file := filepath.Join(s.folder, secret)
		if err := os.WriteFile(file, c.value(), 0o600); err != nil {
			return err
		}
		if r := run(nil, "docker", "secret", "create", secret, file); r.code != 0 {
			return fmt.Errorf("%s", r)
		}
		mode, owner := []string{"0444", "0400", "0440", "0640", "0600", "0755"}[c.IntN(6)], ""
		if user != "" {
			owner = ",uid=1000,gid=1000"
		} else if c.IntN(4) == 0 {
			owner = ",uid=1234,gid=4321"
		}
		field := "target=" + target
		if strings.Contains(target, ",") {
			field = `"` + field + `"`
		}
		s.secrets = append(s.secrets, secret)
		s.create = append(s.create, "--secret", "source="+secret+","+field+",mode="+mode+owner)
		if !strings.HasPrefix(target, "/") {
			target = "/run/secrets/" + target
		}
		s.paths = append(s.paths, target)
	}
	value := awkward[c.IntN(len(awkward))]
	if strings.Contains(value, "{{") {
		value = strings.ReplaceAll(value, "{{", `{{"{{"}}`) // what a Swarm leaves as it is
	}
	s.create = append(s.create, "--env", "V="+value, "secretx-test/busybox:1", "sh", "-c", looking, "sh")
	s.create = append(s.create, s.paths...)
	return nil
}

// seen is what the container has printed, by place.
func seen(name string, logs ...string) (map[string][2]string, error) {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		r := run(nil, logs[0], logs[1:]...)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		if r.code != 0 || lines[len(lines)-1] != "done" {
			if time.Now().After(end) {
				return nil, fmt.Errorf("%s has not looked: %s", name, r)
			}
			continue
		}
		all := map[string][2]string{"$V": {"", lines[0]}}
		for i := 1; i+2 < len(lines); i += 3 {
			all[lines[i+1]] = [2]string{lines[i], lines[i+2]}
		}
		return all, nil
	}
}

func (s *translated) check() error {
	if r := run(nil, "docker", s.create...); r.code != 0 {
		return fmt.Errorf("%s", r)
	}
	swarmLogs := []string{"docker", "service", "logs", "--raw", s.name}
	before, err := seen("the service", swarmLogs...)
	if err != nil {
		return err
	}
	manifest := filepath.Join(s.folder, "manifest.yaml")
	there := run(nil, "docker", "secretx", "translate", s.name, "-n", s.namespace)
	if err := os.WriteFile(manifest, []byte(there.out), 0o600); err != nil || there.code != 0 {
		return fmt.Errorf("%w %s", err, there)
	}
	steps := [][]string{append([]string{"docker", "secretx", "sync", "-n", s.namespace}, s.secrets...)}
	for _, flags := range [][]string{{"--dry-run=server"}, nil} {
		steps = append(steps, append([]string{"kubectl", "apply", "-n", s.namespace, "--validate=strict", "-f", manifest}, flags...))
	}
	for _, step := range steps {
		if r := run(nil, step[0], step[1:]...); r.code != 0 {
			return fmt.Errorf("%s: %s\n%s", strings.Join(step, " "), r, there.out)
		}
	}
	workload := "deployment/" + strings.ToLower(s.name)
	inCluster, err := seen(workload, "kubectl", "logs", "-n", s.namespace, workload)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, there.out)
	}
	if err := same(before, inCluster, there.err); err != nil {
		return fmt.Errorf("in Kubernetes: %w\n%s", err, there)
	}

	if r := run(nil, "docker", "service", "rm", s.name); r.code != 0 {
		return fmt.Errorf("%s", r)
	}
	back := run(nil, "kubectl", "secretx", "translate", workload, "-n", s.namespace)
	command := strings.ReplaceAll(back.out, "docker service create", "docker service create --detach=false --no-resolve-image --quiet")
	if r := run(nil, "sh", "-c", command); r.code != 0 || back.code != 0 {
		return fmt.Errorf("%s\n%s", r, back)
	}
	after, err := seen("the service of "+workload, swarmLogs...)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, back)
	}
	if err := same(inCluster, after, back.err); err != nil {
		return fmt.Errorf("in the Swarm again: %w\n%s", err, back)
	}
	run(nil, "kubectl", "delete", "-n", s.namespace, "--wait=false", workload)
	run(nil, "docker", "service", "rm", s.name)
	return nil
}

// same compares: bytes always, mode and owner where no note speaks of the file.
func same(want, got map[string][2]string, notes string) error {
	for place, is := range want {
		now, there := got[place]
		switch {
		case !there:
			return fmt.Errorf("%s isn't there", place)
		case now[1] != is[1]:
			return fmt.Errorf("%s has other bytes", place)
		case now[0] != is[0] && !strings.Contains(notes, place):
			return fmt.Errorf("%s is %s and not %s, and no note says so", place, now[0], is[0])
		}
	}
	if len(want) != len(got) {
		return fmt.Errorf("%d places, not %d", len(got), len(want))
	}
	return nil
}
