//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// TestScripts runs testdata/*.txtar. Each script has namespaces $NS and $NS2, and a prefix $P for
// all names of secrets: what bears it, or came out of the namespaces, is removed at its end. Its
// DOCKER_CONFIG and KUBECONFIG are its own; the kubeconfig's namespace is $NS.
func TestScripts(t *testing.T) {
	newTestbed(t)
	bringHelper(t)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s := &script{world: newWorld(t), t: t}
			testscript.Run(t, testscript.Params{
				Files: []string{file}, Setup: s.setup, RequireExplicitExec: true, RequireUniqueNames: true,
				Condition: s.condition,
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exits":       s.exits,
					"until":       s.until,
					"oneline":     s.oneline,
					"expand":      s.expand,
					"random":      s.random,
					"keyis":       s.keyis,
					"samesecrets": s.samesecrets,
					"swarmis":     s.swarmis,
					"swarmnames":  s.swarmnames,
					"kubenames":   s.kubenames,
					"record":      s.record,
					"requests":    s.requests,
					"older":       s.older,
					"refusing":    s.refusing,
					"fakeengine":  s.fakeengine,
				},
			})
		})
	}
}

type script struct {
	*world
	t       *testing.T
	proxies *proxies
}

func (s *script) setup(e *testscript.Env) error {
	for _, name := range []string{"NS", "NS2"} {
		made, err := s.namespace()
		if err != nil {
			return err
		}
		e.Setenv(name, made)
	}
	config := filepath.Join(e.WorkDir, ".docker")
	if err := exec.Command("cp", "-a", os.Getenv("DOCKER_CONFIG"), config).Run(); err != nil {
		return fmt.Errorf("copying DOCKER_CONFIG: %w", err)
	}
	kubeconfig, err := clientcmd.LoadFromFile(os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	current := kubeconfig.Contexts[kubeconfig.CurrentContext]
	current.Namespace = e.Getenv("NS")
	second := *current
	second.Namespace = e.Getenv("NS2")
	kubeconfig.Contexts["second"] = &second
	// Some clouds have slashes in the names of contexts.
	kubeconfig.Contexts["cloud/region/second"] = &second
	path := filepath.Join(e.WorkDir, ".kubeconfig")
	if err := clientcmd.WriteToFile(*kubeconfig, path); err != nil {
		return err
	}
	keys := filepath.Join(e.WorkDir, ".keys")
	if err := keyPair(keys); err != nil {
		return err
	}
	e.Setenv("KEYS", keys)
	e.Setenv("P", s.prefix)
	e.Setenv("HOME", filepath.Join(e.WorkDir, ".home"))
	e.Setenv("DOCKER_CONFIG", config)
	e.Setenv("DOCKER_HOST", os.Getenv("DOCKER_HOST"))
	e.Setenv("OTHER_HOST", s.other.DaemonHost())
	e.Setenv("KUBECONFIG", path)
	e.Setenv("CONTEXT", kubeconfig.CurrentContext)
	for _, name := range []string{"NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy"} {
		if v, there := os.LookupEnv(name); there {
			e.Setenv(name, v)
		}
	}
	return nil
}

// keyPair writes tls.crt and tls.key, since kubectl takes no others for a TLS Secret.
func keyPair(folder string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(folder, 0o700),
		os.WriteFile(filepath.Join(folder, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600),
		os.WriteFile(filepath.Join(folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	)
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// exits [-within D] N CMD ARGS…: runs the command and expects its exit code, and that it takes no
// longer than D.
func (s *script) exits(ts *testscript.TestScript, neg bool, args []string) {
	limit := time.Duration(0)
	if len(args) > 2 && args[0] == "-within" {
		var err error
		limit, err = time.ParseDuration(args[1])
		ts.Check(err)
		args = args[2:]
	}
	usage(ts, !neg && len(args) > 1, "exits [-within D] N CMD ARGS…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	began := time.Now()
	err = ts.Exec(args[1], args[2:]...)
	took, code := time.Since(began), 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, not %d", code, want)
	}
	if limit > 0 && took > limit {
		ts.Fatalf("it took %s, more than %s", took, limit)
	}
}

// until D [-out REGEXP] CMD ARGS…: runs the command again and again until it exits with 0, or, however
// it exits, until its output matches, for no longer than D.
func (s *script) until(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "until D [-out REGEXP] CMD ARGS…")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	args = args[1:]
	var wanted *regexp.Regexp
	if len(args) > 2 && args[0] == "-out" {
		wanted, err = regexp.Compile("(?m)" + args[1])
		ts.Check(err)
		args = args[2:]
	}
	for began := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		err = ts.Exec(args[0], args[1:]...)
		if err == nil && wanted == nil || wanted != nil && wanted.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Since(began) > limit {
			ts.Fatalf("not within %s: %v", limit, err)
		}
	}
}

// oneline [TEXT]: the error output of the last command is one line that has the text in it, and
// there is no other output.
func (s *script) oneline(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) <= 1, "oneline [TEXT]")
	text := ts.ReadFile("stderr")
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		ts.Fatalf("the error output is not one line")
	}
	if len(args) == 1 && !strings.Contains(text, args[0]) {
		ts.Fatalf("the error output lacks %q", args[0])
	}
	if ts.ReadFile("stdout") != "" {
		ts.Fatalf("there is output beside the error")
	}
}

// expand FILE…: replaces variables in files.
func (s *script) expand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "expand FILE…")
	for _, f := range args {
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(os.Expand(ts.ReadFile(f), ts.Getenv)), 0o600))
	}
}

// random FILE N: writes N random bytes.
func (s *script) random(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "random FILE N")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := make([]byte, n)
	_, _ = rand.Read(b)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// [!] keyis NAMESPACE SECRET KEY FILE: the key holds just the bytes of the file.
func (s *script) keyis(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 4, "keyis NAMESPACE SECRET KEY FILE")
	found, err := s.kube.Secrets(args[0]).Get(context.Background(), args[1], metav1.GetOptions{})
	ts.Check(err)
	value, there := found.Data[args[2]]
	if same := there && bytes.Equal(value, []byte(ts.ReadFile(args[3]))); same == neg {
		ts.Fatalf("%s/%s: key %s is there: %v, equal: %v", args[0], args[1], args[2], there, same)
	}
}

// samesecrets NAMESPACE NAMESPACE: both hold the same Secrets, by name, type, immutable flag, keys
// and bytes.
func (s *script) samesecrets(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "samesecrets NAMESPACE NAMESPACE")
	want, err := s.kubeSecrets(args[0])
	ts.Check(err)
	got, err := s.kubeSecrets(args[1])
	ts.Check(err)
	if all := differences(want, got); len(all) > 0 || len(want) == 0 {
		ts.Fatalf("of %d: %s", len(want), strings.Join(all, "\n"))
	}
}

// end takes -c CONTEXT from the arguments: the Swarm that is meant.
func (s *script) end(args []string) (*client.Client, []string) {
	if len(args) > 1 && args[0] == "-c" && args[1] == otherContext {
		return s.other, args[2:]
	}
	return s.swarm, args
}

// swarmis [-c other] NAME FILE [NAME FILE]…: a service that is given these secrets sees just the
// bytes of the files.
func (s *script) swarmis(ts *testscript.TestScript, neg bool, args []string) {
	cli, args := s.end(args)
	usage(ts, !neg && len(args) > 0 && len(args)%2 == 0, "swarmis [-c other] NAME FILE [NAME FILE]…")
	all, err := cli.SecretList(context.Background(), swarm.SecretListOptions{})
	ts.Check(err)
	var wanted []swarm.Secret
	want := map[string]sum{}
	for i := 0; i < len(args); i += 2 {
		want[args[i]] = sumOf([]byte(ts.ReadFile(args[i+1])))
		at := slices.IndexFunc(all, func(s swarm.Secret) bool { return s.Spec.Name == args[i] })
		if at < 0 {
			ts.Fatalf("there is no secret %s", args[i])
		}
		wanted = append(wanted, all[at])
	}
	got, err := swarmSums(cli, wanted)
	ts.Check(err)
	for name, sum := range want {
		if got[name] != sum {
			ts.Fatalf("%s holds %s, not %s", name, got[name], sum)
		}
	}
}

// swarmnames [-c other]: prints the names of the script's secrets in the Swarm, without the prefix.
func (s *script) swarmnames(ts *testscript.TestScript, neg bool, args []string) {
	cli, args := s.end(args)
	usage(ts, !neg && len(args) == 0, "swarmnames [-c other]")
	found, err := s.ours(cli)
	ts.Check(err)
	var names []string
	for _, f := range found {
		names = append(names, strings.TrimPrefix(f.Spec.Name, s.prefix))
	}
	s.print(ts, names)
}

// kubenames NAMESPACE: prints the names of the Secrets there, without the prefix, and without the
// one that keeps secretx's key.
func (s *script) kubenames(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "kubenames NAMESPACE")
	found, err := s.kubeSecrets(args[0])
	ts.Check(err)
	var names []string
	for name := range found {
		names = append(names, strings.TrimPrefix(name, s.prefix))
	}
	s.print(ts, names)
}

func (s *script) print(ts *testscript.TestScript, lines []string) {
	slices.Sort(lines)
	out := ts.Stdout() // also without lines: it clears what was there
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
}

// record: from now on all requests to the Swarm of DOCKER_HOST and to the API server are written down.
func (s *script) record(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0 && s.proxies == nil, "record")
	// In a folder with a short name, as a socket's has to be.
	folder, err := os.MkdirTemp("", "e2e")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(folder) })
	s.proxies, err = newProxies(s.t, s.testbed, folder, ts.Getenv("NS"))
	ts.Check(err)
	ts.Setenv("DOCKER_HOST", s.proxies.docker)
	ts.Setenv("KUBECONFIG", s.proxies.kubeconfig)
}

// requests: prints what was asked for since record, or since the last time.
func (s *script) requests(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0 && s.proxies != nil, "requests, after record")
	out := ts.Stdout()
	for _, r := range s.proxies.taken() {
		fmt.Fprintln(out, r)
	}
}

// refusing: sets REFUSING to an address where nobody listens, and writes refusing.kubeconfig.
func (s *script) refusing(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "refusing")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	address := l.Addr().String()
	ts.Check(l.Close())
	ts.Setenv("REFUSING", address)
	ts.Check(os.WriteFile(ts.MkAbs("refusing.kubeconfig"), kubeconfigFor("https://"+address, ts.Getenv("NS")), 0o600))
}

// fakeengine SWARM [ERROR]: sets FAKE to the socket of an engine that says of itself what SWARM
// says, and answers everything else with the error, as JSON.
func (s *script) fakeengine(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2), "fakeengine SWARM [ERROR]")
	message := `"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."`
	if len(args) == 2 {
		message = args[1]
	}
	folder, err := os.MkdirTemp("", "e2e")
	ts.Check(err)
	listener, err := net.Listen("unix", filepath.Join(folder, "s"))
	ts.Check(err)
	server := &httptest.Server{Listener: listener, Config: &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Api-Version", "1.41")
			w.Header().Set("Content-Type", "application/json")
			switch {
			case strings.HasSuffix(r.URL.Path, "/_ping"):
			case strings.HasSuffix(r.URL.Path, "/info"):
				fmt.Fprintf(w, `{"ID":"fake","Swarm":%s}`, args[0])
			default:
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"message":%s}`, message)
			}
		}),
	}}
	server.Start()
	ts.Setenv("FAKE", "unix://"+filepath.Join(folder, "s"))
	ts.Defer(func() { server.Close(); _ = os.RemoveAll(folder) })
}
