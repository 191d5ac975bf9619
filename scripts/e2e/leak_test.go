//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// canary is a value that must not turn up anywhere, and the forms in which it might.
type canary struct {
	value   string
	needles map[string]string // what it is to the form
}

func newCanary() canary {
	return canaryOf("C" + rand.Text()[:19] + "&/<ü") // what encodings change
}

// canaryOf makes one of a value of at least 20 bytes.
func canaryOf(value string) canary {
	c := canary{value: value, needles: map[string]string{"plain": value, "without its end": value[:20]}}
	// Wherever it stands in what is encoded.
	for offset := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + value))
		text = strings.TrimRight(text, "=")
		c.needles["base64, offset "+strconv.Itoa(offset)] = text[(offset*8+5)/6 : len(text)-1]
		text = strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(strings.Repeat("x", offset)+value)), "=")
		c.needles["base64 of URLs, offset "+strconv.Itoa(offset)] = text[(offset*8+5)/6 : len(text)-1]
	}
	c.needles["hex"], c.needles["HEX"] = hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value)))
	c.needles["query"], c.needles["path"] = url.QueryEscape(value), url.PathEscape(value)
	quoted, _ := json.Marshal(value)
	c.needles["JSON"], c.needles["Go"] = strings.Trim(string(quoted), `"`), strings.Trim(strconv.QuoteToASCII(value), `"`)
	c.needles["bytes"] = strings.Trim(fmt.Sprint([]byte(value)), "[]")
	// A digest without a key lets a weak value be guessed.
	md, sh1, sh2, sh5 := md5.Sum([]byte(value)), sha1.Sum([]byte(value)), sha256.Sum256([]byte(value)), sha512.Sum512([]byte(value))
	for name, digest := range map[string][]byte{"MD5": md[:], "SHA-1": sh1[:], "SHA-256": sh2[:], "SHA-512": sh5[:]} {
		c.needles[name] = hex.EncodeToString(digest)[:16]
		c.needles[name+", base64"] = base64.StdEncoding.EncodeToString(digest)[:14]
	}
	return c
}

// in tells in which forms a canary stands in a text.
func (c canary) in(text []byte) []string {
	var found []string
	for form, needle := range c.needles {
		if bytes.Contains(text, []byte(needle)) {
			found = append(found, form)
		}
	}
	slices.Sort(found)
	return found
}

// search collects where a canary was seen.
type search struct {
	canary
	mu    sync.Mutex
	found map[string][]string // place to forms
	looks map[string]int      // how much was looked at, by the kind of place
}

func newSearch(c canary) *search {
	return &search{canary: c, found: map[string][]string{}, looks: map[string]int{}}
}

// bears is the name of a variable that a container has beside one that holds a canary, as it is
// declared: its environment is where the canary belongs.
const bears = "BEARS_A_CANARY"

func (s *search) look(kind, place string, text []byte) {
	forms := s.in(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks[kind]++
	if len(forms) > 0 {
		s.found[kind+": "+place] = forms
	}
}

// processes looks at the arguments and the environment of every process.
func (s *search) processes() {
	for _, file := range []string{"cmdline", "environ"} {
		paths, _ := filepath.Glob("/proc/[0-9]*/" + file)
		for _, path := range paths {
			if text, err := os.ReadFile(path); err == nil && len(text) > 0 && !bytes.Contains(text, []byte(bears+"=")) {
				s.look("processes", path+" "+strings.ReplaceAll(string(text[:min(len(text), 80)]), "\x00", " "), text)
			}
		}
	}
}

// containers looks at what the engines have written of their containers since the last look.
func (s *search) containers(testbed string, since time.Time) {
	for _, pattern := range []string{"*-json.log*", "local-logs/*", "config.v2.json", "hostconfig.json"} {
		paths, _ := filepath.Glob(filepath.Join(testbed, "docker", "*", "containers", "*", pattern))
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || info.ModTime().Before(since) {
				continue
			}
			if text, err := os.ReadFile(path); err == nil {
				s.look("container files", path, text)
			}
		}
	}
}

// probes looks at the services and the containers of an engine and at what the services say, while
// they come and go.
func (s *search) probes(ctx context.Context, cli *client.Client) {
	messages, _ := cli.Events(ctx, events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "service"), filters.Arg("type", "container"))})
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-messages:
			text, _ := json.Marshal(m) // with the names and the labels
			s.look("engine events", string(m.Type)+" "+m.Actor.Attributes["name"], text)
			if m.Action != events.ActionCreate {
				continue
			}
			go func() {
				if m.Type == events.ContainerEventType {
					if _, raw, err := cli.ContainerInspectWithRaw(ctx, m.Actor.ID, false); err == nil {
						s.look("containers", m.Actor.Attributes["name"], raw)
					}
					return
				}
				if service, raw, err := cli.ServiceInspectWithRaw(ctx, m.Actor.ID, swarm.ServiceInspectOptions{}); err == nil {
					s.look("services", service.Spec.Name, raw)
				}
				body, err := cli.ServiceLogs(ctx, m.Actor.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
				if err != nil {
					return
				}
				defer func() { _ = body.Close() }()
				ended := context.AfterFunc(ctx, func() { _ = body.Close() })
				defer ended()
				var text []byte
				for chunk := make([]byte, 1<<16); ; {
					n, err := body.Read(chunk)
					// With the end of what was there before, in which a form may have begun.
					text = append(text[max(0, len(text)-1000):], chunk[:n]...)
					if n > 0 {
						s.look("service logs", m.Actor.Attributes["name"], text)
					}
					if err != nil {
						return
					}
				}
			}()
		}
	}
}

// metadata looks at all that both Swarms tell of secrets and services, and at what the namespaces
// tell of Secrets and events.
func (s *search) metadata(t *testing.T, w *world) {
	t.Helper()
	ctx := t.Context()
	for _, cli := range []*client.Client{w.swarm, w.other} {
		for _, found := range get[[]swarm.Secret](t)(cli.SecretList(ctx, swarm.SecretListOptions{})) {
			text, _ := json.Marshal(found)
			s.look("Swarm secrets", found.Spec.Name, text)
		}
		for _, found := range get[[]swarm.Service](t)(cli.ServiceList(ctx, swarm.ServiceListOptions{})) {
			text, _ := json.Marshal(found)
			s.look("services", found.Spec.Name, text)
		}
		tasks := get[[]swarm.Task](t)(cli.TaskList(ctx, swarm.TaskListOptions{}))
		text, _ := json.Marshal(tasks)
		s.look("tasks", cli.DaemonHost(), text)
	}
	for _, n := range w.namespaces {
		for _, found := range get[*corev1.SecretList](t)(w.kube.Secrets(n).List(ctx, metav1.ListOptions{})).Items {
			text, _ := json.Marshal(found.ObjectMeta)
			s.look("Kubernetes metadata", n+"/"+found.Name, text)
		}
		for _, found := range get[*corev1.PodList](t)(w.kube.Pods(n).List(ctx, metav1.ListOptions{})).Items {
			text, _ := json.Marshal(found)
			s.look("pods", n+"/"+found.Name, text)
		}
		text, _ := json.Marshal(get[*corev1.EventList](t)(w.kube.Events(n).List(ctx, metav1.ListOptions{})))
		s.look("Kubernetes events", n, text)
	}
}

// files searches what was written in folders since a moment, without the exempt.
func (s *search) files(t *testing.T, since time.Time, exempt []string, folders ...string) {
	t.Helper()
	folder := t.TempDir()
	needles := filepath.Join(folder, "needles")
	var text strings.Builder
	for _, needle := range s.needles {
		text.WriteString(needle + "\n")
	}
	must(t, os.WriteFile(needles, []byte(text.String()), 0o600))
	defer func() { must(t, os.Remove(needles)) }() // or another search would find it
	args := slices.Clone(folders)
	args = append(args, "-xdev", "(", "-path", folder)
	for _, path := range exempt {
		args = append(args, "-o", "-path", path)
	}
	args = append(args, ")", "-prune", "-o", "-type", "f", "-newermt", since.Format(time.RFC3339Nano), "-print0")
	var list bytes.Buffer
	find := exec.Command("find", args...)
	find.Stdout = &list
	_ = find.Run() // files come and go
	grep := exec.Command("xargs", "-0", "-r", "grep", "-laFs", "-f", needles)
	grep.Stdin = &list
	count := bytes.Count(list.Bytes(), []byte{0})
	out, _ := grep.Output()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks["files"] += count
	for path := range strings.FieldsSeq(string(out)) {
		text, _ := os.ReadFile(path)
		s.found["files: "+path] = s.in(text)
	}
}

// TestNothingLeaks sends a canary through every verb, in every direction, also such that fail, are
// interrupted or are killed, and looks for it everywhere but in the stores themselves.
//
// Exempt are etcd's data and the Swarm's encrypted log, which are the stores, and memory.
func TestNothingLeaks(t *testing.T) {
	w, testbed := newWorld(t), os.Getenv("SECRETX_TESTBED")
	began := time.Now().Add(-time.Second)
	// One canary for all that may not be where it is looked for, and one for environment variables, of
	// which a container's runtime keeps a note on its disk.
	s, variable, control := newSearch(newCanary()), newSearch(newCanary()), newSearch(newCanary())
	exempt := []string{filepath.Join(testbed, "kubernetes", "etcd"), filepath.Join(testbed, "docker", "*", "swarm", "raft"), filepath.Join(testbed, "cache")}

	// Everything that the runs may write to on this side.
	home := t.TempDir()
	temporary := filepath.Join(home, "tmp")
	must(t, os.MkdirAll(temporary, 0o700))
	must(t, exec.Command("cp", "-a", os.Getenv("DOCKER_CONFIG"), filepath.Join(home, "docker")).Run())
	env := []string{"HOME=" + home, "TMPDIR=" + temporary, "DOCKER_CONFIG=" + filepath.Join(home, "docker")}

	ctx, cancel := context.WithCancel(t.Context())
	var watchers sync.WaitGroup
	for _, cli := range []*client.Client{w.swarm, w.other} {
		for _, s := range []*search{s, variable, control} {
			watchers.Go(func() { s.probes(ctx, cli) })
		}
	}
	watchers.Go(func() {
		for ctx.Err() == nil {
			s.processes()
			variable.processes()
			time.Sleep(10 * time.Millisecond)
		}
	})
	watchers.Go(func() {
		for last := began; ctx.Err() == nil; {
			now := time.Now()
			s.containers(testbed, last.Add(-time.Second))
			variable.containers(testbed, last.Add(-time.Second))
			last = now
			time.Sleep(100 * time.Millisecond)
		}
	})

	// The search finds what there is to be found.
	controls := plant(t, w, control, home)
	control.processes()
	control.containers(testbed, began)
	control.metadata(t, w)
	control.files(t, began, exempt, home, filepath.Join(testbed, "docker"))
	for _, place := range []string{"processes: ", "files: " + home, "Swarm secrets: ", "Kubernetes metadata: ", "services: ", "service logs: ", "container files: ", "engine events: ", "containers: ", "pods: "} {
		deadline := time.Now().Add(10 * time.Second)
		for !control.foundAt(place) && time.Now().Before(deadline) {
			control.containers(testbed, began)
			time.Sleep(50 * time.Millisecond)
		}
		if !control.foundAt(place) {
			t.Errorf("the search doesn't find what was put there: %s", place)
		}
	}
	controls()

	r := &runs{t: t, env: env, searches: []*search{s, variable}}
	leakRuns(t, w, s, r)
	lookRuns(t, w, s, variable, r)
	made := rotateRuns(t, w, s, r)
	time.Sleep(500 * time.Millisecond) // for logs
	s.metadata(t, w)
	variable.metadata(t, w)
	cancel()
	watchers.Wait()
	s.files(t, began, exempt, home, os.TempDir(), testbed)
	// What was made at random is known only afterwards.
	for _, s := range made {
		s.metadata(t, w)
		s.containers(testbed, began)
		s.files(t, began, exempt, home, os.TempDir(), testbed)
	}
	exempt = append(exempt, filepath.Join(testbed, "kubernetes", "containerd"), filepath.Join(testbed, "run"))
	variable.files(t, began, exempt, home, os.TempDir(), testbed)
	all := map[string]*search{"": s, "of a variable: ": variable}
	for i, s := range made {
		all[fmt.Sprintf("made at random, %d: ", i)] = s
	}
	for name, s := range all {
		for place, forms := range s.found {
			t.Errorf("LEAK: %s%s: %v", name, place, forms)
		}
		t.Logf("%slooked at %v in %d forms", name, s.looks, len(s.needles))
	}
	t.Logf("%d runs", r.n)
}

func (s *search) foundAt(place string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.found {
		if strings.HasPrefix(p, place) {
			return true
		}
	}
	return false
}

// plant puts a canary into each kind of place, and gives what takes it away again.
func plant(t *testing.T, w *world, s *search, home string) func() {
	t.Helper()
	sleep := exec.Command("sleep", "60")
	sleep.Env = []string{"PLANTED=" + s.needles["hex"]}
	must(t, sleep.Start())
	file := filepath.Join(home, "planted")
	must(t, os.WriteFile(file, []byte("... "+s.needles["base64, offset 1"]+" ..."), 0o600))
	name := w.prefix + "planted"
	must(t, putSwarm(w.swarm, name, []byte("x"), map[string]string{"planted": s.needles["SHA-256"]}))
	namespace := get[string](t)(w.namespace())
	must(t, w.putKube(namespace, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"planted": s.value}}}))
	must(t, w.putPod(namespace, name, map[string]string{"planted": s.value}, corev1.PodSpec{
		SchedulerName: "nobody", Containers: []corev1.Container{{Name: "c", Image: busybox}},
	}))
	image, err := w.swarm.ImageInspect(t.Context(), busybox)
	must(t, err)
	service, err := w.swarm.ServiceCreate(t.Context(), swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name, Labels: map[string]string{"planted": s.value}},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{
			Image: image.ID, Command: []string{"sh", "-c", "echo " + s.needles["base64, offset 0"] + "; sleep 60"},
		}},
	}, swarm.ServiceCreateOptions{})
	must(t, err)
	made, err := w.swarm.ContainerCreate(t.Context(), &container.Config{Image: image.ID, Labels: map[string]string{"planted": s.value}}, nil, nil, nil, name)
	must(t, err)
	return func() {
		must(t, w.swarm.ContainerRemove(t.Context(), made.ID, container.RemoveOptions{}))
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
		must(t, os.Remove(file))
		must(t, w.swarm.ServiceRemove(t.Context(), service.ID))
	}
}

// runs counts the runs of verbs, and looks at what they print.
type runs struct {
	t        *testing.T
	env      []string
	searches []*search
	n        int
}

func (r *runs) look(what, output string) {
	r.n++
	for _, s := range r.searches {
		s.look("outputs", what, []byte(output))
	}
}

// home is where the runs may write to.
func (r *runs) home() string { return r.env[0][len("HOME="):] }

// both runs a verb through both host CLIs; what only reads, in turns.
func (r *runs) both(codes []int, args ...string) {
	r.t.Helper()
	all := []string{"docker", "kubectl"}
	if args[0] == "diff" {
		all = all[r.n%2:][:1]
	}
	for _, host := range all {
		done := run(r.env, host, append([]string{"secretx"}, args...)...)
		r.look(host+" "+strings.Join(args, " "), done.out+done.err)
		if !slices.Contains(codes, done.code) {
			r.t.Errorf("%s secretx %s: %s", host, strings.Join(args, " "), done)
		}
	}
}

// leakRuns runs the verbs that mirror.
func leakRuns(t *testing.T, w *world, s *search, all *runs) {
	t.Helper()
	both, env := all.both, all.env
	spaces := make([]string, 4)
	for i := range spaces {
		spaces[i] = get[string](t)(w.namespace())
	}
	value := []byte(s.value)
	a, b := w.prefix+"a", w.prefix+"b"
	labels := map[string]string{"app": w.prefix}
	must(t, w.putKube(spaces[0], corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: a}, Data: map[string][]byte{"v": value, "w": append([]byte("in the middle: "), value...)}}))
	must(t, putSwarm(w.swarm, b, value, labels))
	plan := filepath.Join(all.home(), "plan.json")
	for _, pair := range [][]string{
		{"--from", "k8s:/" + spaces[0], "--to", "swarm", a},
		{"--from", "k8s:/" + spaces[0], "--to", "k8s:/" + spaces[1], a},
		{"--from", "swarm", "--to", "k8s:/" + spaces[0], b},
		{"--from", "swarm", "--to", "swarm:" + otherContext, b},
	} {
		with := func(verb string, more ...string) []string { return append(append([]string{verb}, pair...), more...) }
		both([]int{1}, with("diff", "--save-plan", plan)...)
		both([]int{0}, with("sync", "--dry-run", "--save-plan", plan)...)
		both([]int{0}, with("sync")...)
		both([]int{0}, with("diff")...)
		both([]int{0}, with("diff", "--prove")...)
		both([]int{1}, with("diff", "--into", w.prefix+"into"+pair[3][:1])...)
	}

	// Failing ones: strangers in the way, no rights, no name, no time.
	for _, stranger := range []string{a + ".v", a + ".w"} {
		must(t, putSwarm(w.other, stranger, []byte("something else"), nil))
	}
	both([]int{1}, "sync", "--from", "k8s:/"+spaces[0], "--to", "swarm:"+otherContext, a)
	both([]int{1}, "sync", "--from", "k8s:/"+spaces[0], "--to", "swarm:"+otherContext, a, "--prove")
	both([]int{2}, "sync", "--from", "k8s:/"+spaces[0], "--to", "swarm:"+otherContext, a, "--force")
	both([]int{0}, "sync", "--from", "k8s:/"+spaces[0], "--to", "swarm:"+otherContext, a, "--force", "--yes")
	both([]int{2}, "sync", "--from", "k8s:/"+spaces[0], "--to", "swarm", s.value[:0]+"not-there")
	both([]int{1}, "sync", "--from", "swarm", "--to", "k8s:/"+spaces[2], b, "--timeout", "150ms")
	r := run(env, "kubectl", "secretx", "sync", "--from", "swarm", "--to", "k8s:/"+spaces[2], b, "--as", "nobody")
	all.look("--as nobody", r.out+r.err)

	// A server that repeats what it was sent in its error: neither the engine's nor the API server's
	// text may bring a value to the output.
	quoting := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/namespaces/") && !strings.Contains(r.URL.Path, "/secrets"):
			fmt.Fprintf(rw, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":%q,"uid":"quoting"}}`, spaces[3])
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/secrets"):
			fmt.Fprint(rw, `{"kind":"SecretList","apiVersion":"v1","metadata":{},"items":[]}`)
		default:
			body, _ := io.ReadAll(r.Body)
			code, reason := http.StatusUnprocessableEntity, "Invalid"
			if r.Method == http.MethodGet {
				code, reason = http.StatusNotFound, "NotFound"
			}
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(code)
			status, _ := json.Marshal(map[string]any{
				"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
				"message": "rejected: " + string(body) + " which says " + s.value + " " + url.QueryEscape(s.value) + " " + strconv.Quote(s.value),
			})
			_, _ = rw.Write(status)
		}
	}))
	defer quoting.Close()
	config := filepath.Join(all.home(), "quoting.kubeconfig")
	must(t, os.WriteFile(config, kubeconfigFor(quoting.URL, spaces[3]), 0o600))
	both([]int{2}, "sync", "--from", "swarm", "--to", "k8s", b, "--kubeconfig", config)

	folder, err := os.MkdirTemp("", "e2e")
	must(t, err)
	defer func() { _ = os.RemoveAll(folder) }()
	p := get[*proxies](t)(newProxies(t, w.testbed, folder, spaces[0]))
	c := w.prefix + "c"
	must(t, w.putKube(spaces[0], corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: c}, Data: map[string][]byte{"v": value}}))
	p.answer = func(request string, body []byte) (int, string) {
		if !strings.Contains(request, "/secrets/create") {
			return 0, ""
		}
		message, _ := json.Marshal(map[string]string{"message": "rejected: " + string(body) + " which says " + s.value})
		return http.StatusInternalServerError, string(message)
	}
	for host := range hosts {
		r := run(append(p.env(), env...), host, "secretx", "sync", "--from", "kubernetes", "--to", "swarm", c)
		all.look(host+": an engine that quotes", r.out+r.err)
		if r.code != 2 || !strings.Contains(r.out, "rejected") {
			t.Errorf("an engine that quotes: %s", r)
		}
	}
	p.answer = nil

	// Interrupted and killed while the probe answers.
	p.stallOn(request("docker GET", "/logs"))
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		run := get[*process](t)(start(append(p.env(), env...), "kubectl", "secretx", "sync", "--from", "swarm", "--to", "k8s:/"+spaces[3], b))
		pids := waitForStall(t, p, run)
		time.Sleep(time.Second) // so that the probe has said all
		must(t, syscall.Kill(pids[0], signal.(syscall.Signal)))
		<-run.done
		all.look("stopped by "+signal.String(), run.out.String()+run.err.String())
	}
	p.stallOn(nil)
	both([]int{0}, "sync", "--from", "swarm", "--to", "k8s:/"+spaces[3], b)

	// A new value, and mirrors that go.
	must(t, w.putKube(spaces[0], corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: a}, Data: map[string][]byte{"v": append(value, '\n')}}))
	both([]int{0, 1}, "diff", "--from", "k8s:/"+spaces[0], "--to", "swarm", a)
	both([]int{0}, "sync", "--from", "k8s:/"+spaces[0], "--to", "swarm", a, "--prune", "--yes")
	must(t, w.kube.Secrets(spaces[0]).Delete(t.Context(), a, metav1.DeleteOptions{}))
	both([]int{1}, "diff", "--from", "k8s:/"+spaces[0], "--to", "swarm", a)
}
