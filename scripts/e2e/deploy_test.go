//go:build e2e && linux

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secretx/secretx/shared/rights"
)

// ownImage is the image of the continuous mode, with the program that is tested.
const ownImage = "secretx-test/secretx:1"

// bringImage makes the image as the release does, and gives it to both sides.
func bringImage(t *testing.T) {
	t.Helper()
	program := get[[]byte](t)(os.ReadFile(get[string](t)(exec.LookPath("kubectl-secretx"))))
	pack := func(out io.Writer, files map[string][]byte) {
		w := tar.NewWriter(out)
		for name, content := range files {
			must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}))
			get[int](t)(w.Write(content))
		}
		must(t, w.Close())
	}
	var layer bytes.Buffer
	pack(&layer, map[string][]byte{"kubectl-secretx": program})
	sum := sha256.Sum256(layer.Bytes())
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","config":{"User":"65532:65532","Entrypoint":["/kubectl-secretx"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}`,
		runtime.GOARCH, hex.EncodeToString(sum[:]))
	path := filepath.Join(t.TempDir(), "image.tar")
	f := get[*os.File](t)(os.Create(path))
	pack(f, map[string][]byte{
		"manifest.json": fmt.Appendf(nil, `[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, ownImage),
		"config.json":   []byte(config), "layer.tar": layer.Bytes(),
	})
	must(t, f.Close())
	cmd := exec.Command("../testbed", "load", path)
	cmd.Env = append(os.Environ(), "SECRETX_TESTBED_DIR="+os.Getenv("SECRETX_TESTBED"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scripts/testbed load: %v\n%s", err, out)
	}
}

// engineByTLS lets pods reach the engine as Docker's documentation says that it be reached: by TCP, with TLS that both
// sides prove themselves by. It gives the host, and the folder with what a client needs.
func engineByTLS(t *testing.T) (host, folder string) {
	t.Helper()
	server := get[*url.URL](t)(url.Parse(newTestbed(t).config.Host))
	listener := listenBesidePods(t, net.JoinHostPort(server.Hostname(), "0"))
	folder = t.TempDir()
	authority, key := certificate(t, folder, "ca", nil, nil, nil)
	certificate(t, folder, "server", net.ParseIP(server.Hostname()), authority, key)
	certificate(t, folder, "", nil, authority, key)
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	shown := get[tls.Certificate](t)(tls.LoadX509KeyPair(filepath.Join(folder, "server-cert.pem"), filepath.Join(folder, "server-key.pem")))
	secure := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{shown}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12})
	socket := strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	go func() {
		for {
			near, err := secure.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = near.Close() }()
				far, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(far, near)
					_ = far.(*net.UnixConn).CloseWrite()
				}()
				_, _ = io.Copy(near, far)
				_ = far.Close()
			}()
		}
	}()
	t.Cleanup(func() { _ = secure.Close() })
	return "tcp://" + listener.Addr().String(), folder
}

// listenBesidePods listens in the network that the testbed's Kubernetes has to itself, where its pods come through.
func listenBesidePods(t *testing.T, address string) net.Listener {
	t.Helper()
	record := get[[]byte](t)(os.ReadFile(filepath.Join(os.Getenv("SECRETX_TESTBED"), "run", "kube.sandbox")))
	network := get[*os.File](t)(os.Open("/proc/" + strings.Fields(string(record))[0] + "/ns/net"))
	defer func() { _ = network.Close() }()
	type result struct {
		listener net.Listener
		err      error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
			made <- result{err: fmt.Errorf("the network of Kubernetes: %w", err)}
			return
		}
		l, err := net.Listen("tcp", address)
		made <- result{l, err}
	}()
	r := <-made
	must(t, r.err)
	return r.listener
}

// certificate makes a key and a certificate; without an authority, one of its own.
func certificate(t *testing.T, folder, name string, address net.IP, authority *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := get[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "e2e " + name}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if address != nil {
		template.IPAddresses = []net.IP{address}
	}
	if authority == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		authority, by = template, key
	}
	raw := get[[]byte](t)(x509.CreateCertificate(rand.Reader, template, authority, key.Public(), by))
	prefix := ""
	if name != "" && name != "ca" {
		prefix = name + "-"
	}
	file := map[bool]string{true: "ca.pem", false: prefix + "cert.pem"}[name == "ca"]
	must(t, os.WriteFile(filepath.Join(folder, file), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	private := get[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
	if name != "ca" {
		must(t, os.WriteFile(filepath.Join(folder, prefix+"key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	}
	return get[*x509.Certificate](t)(x509.ParseCertificate(raw)), key
}

// stdin runs a command with an input, and fails the test unless it succeeds.
func stdin(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func waitFor(t *testing.T, what string, atMost time.Duration, holds func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if holds() {
			return time.Since(began)
		}
		if time.Since(began) > atMost {
			t.Fatalf("not within %s: %s", atMost, what)
		}
	}
}

// versions counts those of a secret in the Swarm.
func (w *world) versions(t *testing.T, logical string) (n int) {
	t.Helper()
	for _, s := range get2(w.ours(w.swarm))(t) {
		if s.Spec.Name == logical || strings.HasPrefix(s.Spec.Name, logical+".v") {
			n++
		}
	}
	return n
}

func document2(namespace string, names ...string) string {
	return fmt.Sprintf(`apiVersion: secretx.github.io/v1alpha1
kind: SecretMirror
metadata: {name: m}
spec: {from: 'kubernetes:/%s', to: swarm, names: [%s]}
`, namespace, strings.Join(names, ", "))
}

// TestDeployment: what rbac prints runs on a cluster that holds it to the strictest profile, with no right too many;
// the one that leads is killed, and the other takes over; what the ConfigMap declares may change.
func TestDeployment(t *testing.T) {
	w := newWorld(t)
	bringImage(t)
	host, certificates := engineByTLS(t)
	home, space := get[string](t)(w.namespace()), get[string](t)(w.namespace())
	stdin(t, "", "kubectl", "label", "namespace", home, "pod-security.kubernetes.io/enforce=restricted")
	stdin(t, "", "kubectl", "create", "secret", "generic", "watch-docker-tls", "-n", home, "--type=secretx.github.io/docker-tls",
		"--from-file="+filepath.Join(certificates, "ca.pem"), "--from-file="+filepath.Join(certificates, "cert.pem"), "--from-file="+filepath.Join(certificates, "key.pem"))
	name := func(i int) string { return fmt.Sprintf("%ss%d", w.prefix, i) }
	put := func(i int, value string) {
		t.Helper()
		must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name(i)}, Data: map[string][]byte{"k": []byte(value)}}))
	}
	file := filepath.Join(t.TempDir(), "mirrors.yaml")
	apply := func(names ...string) {
		t.Helper()
		must(t, os.WriteFile(file, []byte(document2(space, names...)), 0o600))
		printed := run(nil, "kubectl", "secretx", "rbac", "-f", file, "--deployment", home+"/watch", "--image", ownImage, "--swarm-host", host)
		if printed.code != 0 {
			t.Fatal(printed)
		}
		stdin(t, printed.out, "kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", "-")
		stdin(t, printed.out, "kubectl", "apply", "-f", "-")
		asJSON := run(nil, "docker", "secretx", "rbac", "-f", file, "--deployment", home+"/watch", "--image", ownImage, "--swarm-host", host, "--format", "json")
		if again := stdin(t, asJSON.out, "kubectl", "apply", "-f", "-"); strings.Contains(again, "configured") || strings.Contains(again, "created") {
			t.Errorf("docker secretx prints something else:\n%s", again)
		}
	}
	put(0, "one")
	put(1, "one")
	t.Cleanup(func() { // or it would mirror on while all is removed
		run(nil, "kubectl", "delete", "deployment/watch", "-n", home, "--ignore-not-found")
		run(nil, "kubectl", "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/instance=watch", "-n", home, "--timeout=60s")
	})
	apply(name(0))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(run(nil, "kubectl", "get", "pods,events", "-n", home), run(nil, "kubectl", "logs", "-n", home, "-l", "app.kubernetes.io/instance=watch", "--tail=30", "--prefix"))
		}
	})
	if ready := run(nil, "kubectl", "rollout", "status", "deployment/watch", "-n", home, "--timeout=90s"); ready.code != 0 {
		t.Fatal(ready)
	}
	pods := func() (names []string) {
		for _, p := range get[*corev1.PodList](t)(w.kube.Pods(home).List(t.Context(), metav1.ListOptions{})).Items {
			for _, c := range p.Status.ContainerStatuses {
				if c.Ready && p.DeletionTimestamp == nil && c.RestartCount == 0 {
					names = append(names, p.Name)
				}
			}
		}
		return names
	}
	if both := pods(); len(both) != 2 {
		t.Fatalf("ready: %q", both)
	}
	waitFor(t, "it is mirrored", 30*time.Second, func() bool { return w.versions(t, name(0)+".k") == 1 })
	put(0, "two")
	t.Logf("a change arrived in %s", waitFor(t, "a change arrives", 30*time.Second, func() bool { return w.versions(t, name(0)+".k") == 2 }))

	// Just these rights.
	account := "--as=system:serviceaccount:" + home + ":watch"
	for question, want := range map[string]string{
		"get secrets/" + name(0) + " -n " + space: "yes", "watch secrets/" + name(0) + " -n " + space: "yes", "patch leases/watch -n " + home: "yes",
		"create events.events.k8s.io -n " + space: "yes",
		"get secrets/" + name(1) + " -n " + space: "no", "list secrets -n " + space: "no", "patch secrets/" + name(0) + " -n " + space: "no",
		"delete secrets/" + name(0) + " -n " + space: "no", "get secrets/watch-docker-tls -n " + home: "no", "list secrets -n " + home: "no", "delete leases/watch -n " + home: "no",
		"patch leases/other -n " + home: "no", "get pods -n " + home: "no", "create pods -n " + home: "no", "get configmaps -n " + home: "no", "list namespaces": "no",
	} {
		args := append(append([]string{"auth", "can-i"}, strings.Fields(question)...), account)
		if answer := run(nil, "kubectl", args...); strings.TrimSpace(answer.out) != want {
			t.Errorf("may it %s? %s", question, answer)
		}
	}

	// The one that leads is killed.
	leader := func() string {
		holder := strings.TrimSpace(run(nil, "kubectl", "get", "lease", "watch", "-n", home, "-o", "jsonpath={.spec.holderIdentity}").out)
		pod, _, _ := strings.Cut(holder, "_")
		return pod
	}
	first := leader()
	if !slices.Contains(pods(), first) {
		t.Fatalf("%q leads, and there are %q", first, pods())
	}
	stdin(t, "", "kubectl", "delete", "pod", first, "-n", home, "--force", "--grace-period=0")
	killed := time.Now()
	put(0, "three")
	waitFor(t, "the other one takes over", 45*time.Second, func() bool { return w.versions(t, name(0)+".k") == 3 })
	t.Logf("the leader was killed: the next change arrived %s later", time.Since(killed).Round(time.Millisecond))
	if second := leader(); second == first || second == "" {
		t.Errorf("%q still leads", second)
	}
	put(0, "four")
	waitFor(t, "the next change arrives", 30*time.Second, func() bool { return w.versions(t, name(0)+".k") == 4 })
	waitFor(t, "there are two again", time.Minute, func() bool { return len(pods()) == 2 && !slices.Contains(pods(), first) })

	// What the ConfigMap declares changes, and no pod is made anew for it.
	before := pods()
	apply(name(0), name(1))
	t.Logf("a changed ConfigMap was taken over within %s", waitFor(t, "what is declared now is mirrored", 2*time.Minute, func() bool { return w.versions(t, name(1)+".k") == 1 }))
	if after := pods(); !slices.Equal(before, after) {
		t.Errorf("pods were made anew: %q, %q", before, after)
	}

	// Told to end, it hands over at once.
	first = leader()
	stdin(t, "", "kubectl", "delete", "pod", first, "-n", home, "--wait=false")
	began := time.Now()
	waitFor(t, "another one leads", 10*time.Second, func() bool { now := leader(); return now != "" && now != first })
	t.Logf("handed over within %s", time.Since(began).Round(time.Millisecond))
	put(0, "five")
	waitFor(t, "the next change arrives", 30*time.Second, func() bool { return w.versions(t, name(0)+".k") == 5 })
	time.Sleep(2 * time.Second)
	if n, m := w.versions(t, name(0)+".k"), w.versions(t, name(1)+".k"); n != 5 || m != 1 {
		t.Errorf("%d and %d versions after 5 values and 1", n, m)
	}

	// What was told of it, by Events and by logs, has no value in it.
	told := run(nil, "kubectl", "get", "events.events.k8s.io", "-n", space, "-o", "jsonpath={range .items[*]}{.reason} {.regarding.kind}/{.regarding.name}: {.note}{\"\\n\"}{end}").out
	if !strings.Contains(told, "Mirrored Secret/"+name(0)+": "+name(0)+".k.v2 at swarm: add-version done") {
		t.Errorf("Events:\n%s", told)
	}
	if elected := run(nil, "kubectl", "get", "events", "-n", home).out; strings.Count(elected, "became leader") < 2 {
		t.Errorf("Events of the Lease:\n%s", elected)
	}
}

// TestStack: what rbac prints runs as a service of the Swarm, starts again when it is killed, and follows the file.
func TestStack(t *testing.T) {
	w := newWorld(t)
	bringImage(t)
	space := get[string](t)(w.namespace())
	put := func(name, value string) {
		t.Helper()
		must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: w.prefix + name}, Data: map[string][]byte{"k": []byte(value)}}))
	}
	put("a", "one")
	put("b", "one")
	file := filepath.Join(t.TempDir(), "mirrors.yaml")
	must(t, os.WriteFile(file, []byte(document2(space, w.prefix+"a", w.prefix+"b")), 0o600))
	stack := w.prefix + "watch"

	// Its rights in Kubernetes, and what it shows there.
	stdin(t, "", "kubectl", "create", "serviceaccount", "watch", "-n", space)
	roles := run(nil, "kubectl", "secretx", "rbac", "-f", file, "--watch", "--events", "--service-account", space+"/watch")
	stdin(t, roles.out, "kubectl", "apply", "-f", "-")
	token := strings.TrimSpace(run(nil, "kubectl", "create", "token", "watch", "-n", space).out)
	kubeconfig := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{"token":%q}}],"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}]}`,
		token, w.config.Host, w.config.CAData)
	var parsed map[string]any
	must(t, json.Unmarshal([]byte(kubeconfig), &parsed))
	parsed["clusters"].([]any)[0].(map[string]any)["cluster"].(map[string]any)["certificate-authority-data"] = w.config.CAData
	stdin(t, string(get[[]byte](t)(json.Marshal(parsed))), "docker", "secret", "create", "--label", "io.github.secretx.internal=kubeconfig", stack+"-kubeconfig", "-")

	deploy := func() {
		t.Helper()
		printed := run(nil, "docker", "secretx", "rbac", "-f", file, "--stack", stack, "--image", ownImage, "--swarm-host", os.Getenv("DOCKER_HOST"))
		if printed.code != 0 {
			t.Fatal(printed)
		}
		path := filepath.Join(t.TempDir(), "stack.yaml")
		must(t, os.WriteFile(path, []byte(printed.out), 0o600))
		stdin(t, "", "docker", "stack", "deploy", "--resolve-image", "never", "-c", path, stack)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(run(nil, "docker", "service", "ps", "--no-trunc", stack+"_watch"), run(nil, "docker", "service", "logs", "--tail", "50", stack+"_watch"))
		}
		run(nil, "docker", "stack", "rm", stack)
		for range 100 { // it mirrors on until it has ended
			if run(nil, "docker", "ps", "-q", "-f", "label=com.docker.swarm.service.name="+stack+"_watch").out == "" {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, c := range strings.Fields(run(nil, "docker", "config", "ls", "-q", "-f", "name="+stack).out) {
			run(nil, "docker", "config", "rm", c)
		}
	})
	deploy()
	waitFor(t, "both are mirrored", time.Minute, func() bool { return w.versions(t, w.prefix+"a.k") == 1 && w.versions(t, w.prefix+"b.k") == 1 })
	put("a", "two")
	t.Logf("a change arrived in %s", waitFor(t, "a change arrives", 30*time.Second, func() bool { return w.versions(t, w.prefix+"a.k") == 2 }))

	// It is killed, and started again.
	container := strings.Fields(run(nil, "docker", "ps", "-q", "-f", "label=com.docker.swarm.service.name="+stack+"_watch").out)
	if len(container) != 1 {
		t.Fatalf("%q run", container)
	}
	stdin(t, "", "docker", "kill", container[0])
	put("a", "three")
	waitFor(t, "it is started again, and catches up", time.Minute, func() bool { return w.versions(t, w.prefix+"a.k") == 3 })

	// Another file.
	put("c", "one")
	must(t, os.WriteFile(file, []byte(document2(space, w.prefix+"a")+"---\n"+strings.Replace(document2(space, w.prefix+"c"), "name: m", "name: n", 1)), 0o600))
	roles = run(nil, "kubectl", "secretx", "rbac", "-f", file, "--watch", "--events", "--service-account", space+"/watch")
	stdin(t, roles.out, "kubectl", "apply", "-f", "-")
	deploy()
	waitFor(t, "what is declared now is mirrored", time.Minute, func() bool { return w.versions(t, w.prefix+"c.k") == 1 })
	put("b", "two") // nobody's any more
	put("a", "four")
	waitFor(t, "the last change arrives", 30*time.Second, func() bool { return w.versions(t, w.prefix+"a.k") == 4 })
	if n := w.versions(t, w.prefix+"b.k"); n != 1 {
		t.Errorf("%d versions of what is not declared any more", n)
	}
	if text := run(nil, "docker", "service", "logs", stack+"_watch"); strings.Contains(text.err, "not allowed") {
		t.Errorf("%s", text)
	}
}

// TestRightsToLead: the election takes just what rbac prints for it.
func TestRightsToLead(t *testing.T) {
	w := newWorld(t)
	space := get[string](t)(w.namespace())
	r := &rightsWorld{world: w, t: t, space: space, row: rights.Row{Name: "lead"}}
	here := rights.Rules{{Resource: "namespaces", Verbs: []string{"get"}}, {Resource: "secrets", Verbs: []string{"get", "list", "watch", "create", "patch"}}}
	lead := func(user, lease string) (func() string, context.CancelFunc) {
		var said lines
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, "kubectl-secretx", "sync", "--all", "--watch", "--events", "-n", space, "--leader-elect", space+"/"+lease, "--as", r.user(user))
		cmd.Stderr, cmd.Cancel = &said, func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		must(t, cmd.Start())
		return said.String, func() { cancel(); _ = cmd.Wait() }
	}
	all := rights.Lease("held", true)
	r.allow("all", append(slices.Clone(here), all...))
	first, end := lead("all", "held")
	defer end()
	waitFor(t, "it leads", 20*time.Second, func() bool { return strings.Contains(first(), "leading") && strings.Contains(first(), "compared") })
	for _, missing := range []string{"get", "watch", "create", "patch"} {
		lease := "free-" + missing
		if missing == "watch" { // what one that waits does
			lease = "held"
		}
		less := rights.Lease(lease, false)
		less[0].Verbs = slices.DeleteFunc(slices.Clone(less[0].Verbs), func(v string) bool { return v == missing })
		r.allow("no-"+missing, append(slices.Clone(here), less...))
		said, stop := lead("no-"+missing, lease)
		waitFor(t, "it says that it may not "+missing, 20*time.Second, func() bool {
			return strings.Contains(said(), fmt.Sprintf("must allow %q on \"leases\"", missing))
		})
		if strings.Contains(said(), "leading") {
			t.Errorf("without %s it leads: %s", missing, said())
		}
		stop()
	}
	less := rights.Lease("silent", false)
	r.allow("no-events", append(slices.Clone(here), less...))
	said, stop := lead("no-events", "silent")
	waitFor(t, "it leads, and says that there are no Events", 20*time.Second, func() bool {
		return strings.Contains(said(), "leading") && strings.Contains(said(), "no Event: ") && strings.Contains(said(), `"create" on "events"`)
	})
	stop()
	if strings.Contains(first(), "not allowed") {
		t.Errorf("with all rights: %s", first())
	}
}
