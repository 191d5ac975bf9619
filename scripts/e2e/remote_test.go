//go:build e2e

package e2e

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// way is how an engine that is not on this machine is said.
type way struct {
	name    string
	env     []string
	context string // "": the one that env or the flags say
	flags   map[string][]string
	writes  bool // whether writing to it is tried, too
}

// TestRemoteEngines reaches the Swarm through TCP with TLS and through ssh, as contexts, by the
// environment and by the host CLIs' flags.
func TestRemoteEngines(t *testing.T) {
	r := newRemote(t)
	ways := []way{
		{name: "TLS, swarm:CONTEXT", context: "tls", writes: true},
		{name: "TLS, the flag for a context", flags: map[string][]string{"docker": {"--context", "tls"}, "kubectl": {"--docker-context", "tls"}}},
		{name: "TLS, DOCKER_CONTEXT", env: []string{"DOCKER_HOST=", "DOCKER_CONTEXT=tls"}},
		{name: "TLS, DOCKER_HOST", env: []string{"DOCKER_HOST=tcp://" + r.tls, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=" + r.certificates}, writes: true},
		{name: "TLS, docker's flags", flags: map[string][]string{"docker": {
			"-H", "tcp://" + r.tls, "--tlsverify", "--tlscacert", filepath.Join(r.certificates, "ca.pem"),
			"--tlscert", filepath.Join(r.certificates, "cert.pem"), "--tlskey", filepath.Join(r.certificates, "key.pem"),
		}}},
		{name: "ssh, swarm:CONTEXT", context: "ssh", writes: true},
		{name: "ssh, the flag for a context", flags: map[string][]string{"docker": {"--context", "ssh"}, "kubectl": {"--docker-context", "ssh"}}},
		{name: "ssh, DOCKER_CONTEXT", env: []string{"DOCKER_HOST=", "DOCKER_CONTEXT=ssh"}},
		{name: "ssh, DOCKER_HOST", env: []string{"DOCKER_HOST=" + r.ssh}, writes: true},
		{name: "ssh, the flag for a host", flags: map[string][]string{"docker": {"-H", r.ssh}, "kubectl": {"--docker-host", r.ssh}}},
	}
	origin := r.prefix + "s"
	must(t, putSwarm(r.swarm, origin, []byte("value"), nil))
	// More than are written at a time: connections are used again, and not too many at once are opened.
	const keys = 60
	many := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: r.prefix + "k"}, Data: map[string][]byte{}}
	for i := range keys {
		many.Data[fmt.Sprintf("key%02d", i)] = []byte{byte(i)}
	}
	for _, way := range ways {
		for host := range hosts {
			if way.flags != nil && way.flags[host] == nil {
				continue
			}
			t.Run(strings.ReplaceAll(way.name+", "+host, " ", "-"), func(t *testing.T) {
				namespace, swarm := get[string](t)(r.namespace()), "swarm"
				if way.context != "" {
					swarm += ":" + way.context
				}
				expect := func(code int, args ...string) {
					t.Helper()
					if done := run(append(r.env, way.env...), host, way.args(host, args)...); done.code != code {
						t.Fatalf("secretx %s: %s", strings.Join(args, " "), done)
					}
				}
				down := []string{"--from", swarm, "--to", "kubernetes:/" + namespace, origin}
				r.proxies.taken()
				expect(1, append([]string{"diff"}, down...)...)
				expect(0, append([]string{"sync"}, down...)...)
				found := get[map[string]corev1.Secret](t)(r.kubeSecrets(namespace))
				if string(found[origin].Data[origin]) != "value" {
					t.Errorf("the value didn't arrive")
				}
				if len(r.proxies.taken()) == 0 {
					t.Errorf("it went another way")
				}
				if !way.writes {
					return
				}
				expect(0, append([]string{"diff", "--prove"}, down...)...)
				must(t, r.putKube(namespace, many))
				up := []string{"--from", "kubernetes:/" + namespace, "--to", swarm, many.Name}
				expect(0, append([]string{"sync"}, up...)...)
				expect(0, append([]string{"diff"}, up...)...)
				if n := len(get2(r.ours(r.swarm))(t)); n != keys+1 {
					t.Errorf("%d mirrors in the Swarm, not %d", n-1, keys)
				}
				must(t, r.kube.Secrets(namespace).Delete(t.Context(), many.Name, metav1.DeleteOptions{}))
				expect(0, append([]string{"sync", "--prune", "--yes"}, up...)...)
			})
		}
	}
}

// args puts the host CLI's own flags where it takes them.
func (w way) args(host string, args []string) []string {
	if host == "docker" {
		return append(append(w.flags[host], "secretx"), args...)
	}
	return append(append([]string{"secretx"}, args...), w.flags[host]...)
}

// TestRemoteEnginesRefuse: what is wrong with a certificate or a key is said in one line.
func TestRemoteEnginesRefuse(t *testing.T) {
	r := newRemote(t)
	namespace := get[string](t)(r.namespace())
	strangers := filepath.Join(r.folder, "strangers")
	must(t, certificates(strangers))
	in := func(folder, file string) string { return filepath.Join(folder, file) }
	create := func(name, endpoint string) {
		t.Helper()
		if done := run(r.env, "docker", "context", "create", name, "--docker", endpoint); done.code != 0 {
			t.Fatal(done)
		}
	}
	create("wrong-ca", fmt.Sprintf("host=tcp://%s,ca=%s,cert=%s,key=%s", r.tls, in(strangers, "ca.pem"), in(r.certificates, "cert.pem"), in(r.certificates, "key.pem")))
	create("wrong-certificate", fmt.Sprintf("host=tcp://%s,ca=%s,cert=%s,key=%s", r.tls, in(r.certificates, "ca.pem"), in(strangers, "cert.pem"), in(strangers, "key.pem")))
	create("no-certificate", fmt.Sprintf("host=tcp://%s,ca=%s", r.tls, in(r.certificates, "ca.pem")))
	create("no-tls", "host=tcp://"+r.tls)
	listener := get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	closed := listener.Addr().String()
	must(t, listener.Close())
	create("closed", "host=ssh://"+closed)
	_, server, _ := strings.Cut(r.ssh, "@")
	create("stranger", "host=ssh://nobody-"+random(6)+"@"+server)
	for name, text := range map[string]string{
		"wrong-ca": "certificate signed by unknown authority", "wrong-certificate": "certificate", "no-certificate": "certificate",
		"no-tls": "HTTPS", "closed": "Connection refused", "stranger": "Permission denied",
	} {
		for host := range hosts {
			done := run(r.env, host, "secretx", "diff", "--all", "--from", "swarm:"+name, "--to", "kubernetes:/"+namespace)
			if done.code != 2 || strings.Count(done.err, "\n") != 1 || !strings.Contains(done.err, text) || done.out != "" {
				t.Errorf("%s, %s: not one line with %q: %s", host, name, text, done)
			}
		}
	}
	for host := range hosts {
		for path, text := range map[string]string{strangers: "certificate signed by unknown authority", "/nowhere": "/nowhere/ca.pem"} {
			done := run(append(r.env, "DOCKER_HOST=tcp://"+r.tls, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+path),
				host, "secretx", "diff", "--all", "--from", "swarm", "--to", "kubernetes:/"+namespace)
			if done.code != 2 || strings.Count(done.err, "\n") != 1 || !strings.Contains(done.err, text) {
				t.Errorf("DOCKER_CERT_PATH=%s, %s: not one line with %q: %s", path, host, text, done)
			}
		}
	}
}

// TestInterruptRemote stops syncs that hang somewhere on the way to the engine, or in it: no process of
// ssh stays, on neither side.
func TestInterruptRemote(t *testing.T) {
	r := newRemote(t)
	namespace, origin := get[string](t)(r.namespace()), r.prefix+"s"
	must(t, putSwarm(r.swarm, origin, []byte("value"), nil))
	// It takes the connection and never greets.
	silent := get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = silent.Close() })
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	for _, name := range []string{"tls", "ssh"} {
		for _, stall := range []string{"/_ping", "/secrets", "/services/create", "/logs"} {
			method := map[string]string{"/_ping": "docker HEAD", "/services/create": "docker POST"}[stall]
			if method == "" {
				method = "docker GET"
			}
			for host := range hosts {
				t.Run(strings.Join([]string{name, strings.Trim(strings.ReplaceAll(stall, "/", "-"), "-"), host}, "-"), func(t *testing.T) {
					r.proxies.stallOn(request(method, stall))
					defer r.proxies.stallOn(nil)
					run := get[*process](t)(start(r.env, host, "secretx", "sync", "--from", "swarm:"+name, "--to", "kubernetes:/"+namespace, origin))
					pids := waitForStall(t, r.proxies, run)
					r.interrupt(t, run, pids)
					// A probe whose removal took longer than an interrupted run may is the next one's.
					r.proxies.stallOn(nil)
					if done := runFor(time.Minute, r.env, host, "secretx", "diff", "--from", "swarm:"+name, "--to", "kubernetes:/"+namespace, origin); done.code != 1 {
						t.Errorf("the next run: %s", done)
					}
					noProbeOf(t, r.world, pids)
				})
			}
		}
		for host := range hosts {
			t.Run(name+"-silent-"+host, func(t *testing.T) {
				engine := []string{"DOCKER_HOST=ssh://" + silent.Addr().String()}
				if name == "tls" {
					engine = []string{"DOCKER_HOST=tcp://" + silent.Addr().String(), "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=" + r.certificates}
				}
				run := get[*process](t)(start(append(engine, r.env...), host, "secretx", "sync", "--from", "swarm", "--to", "kubernetes:/"+namespace, origin))
				conn := <-accepted
				defer conn.Close()
				time.Sleep(50 * time.Millisecond)
				r.interrupt(t, run, append([]int{run.pid()}, descendants(run.pid())...))
			})
		}
	}
}

// interrupt sends the signal, and expects that all ends soon that belongs to the run or answers it.
func (r *remote) interrupt(t *testing.T, run *process, pids []int) {
	t.Helper()
	began := time.Now()
	must(t, run.cmd.Process.Signal(os.Interrupt))
	took := allGone(t, pids, began)
	<-run.done
	if code := run.cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(run.err.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, run.err.String())
	}
	allGone(t, descendants(r.sshd), time.Now())
	t.Logf("ended after %s", took.Round(time.Millisecond))
}

// remote is the testbed's engine as one on another machine, that docker contexts "tls" and "ssh" lead to.
type remote struct {
	*world
	folder       string
	proxies      *proxies // in front of the engine
	tls          string   // HOST:PORT
	certificates string   // a folder, as DOCKER_CERT_PATH wants it
	ssh          string   // a URL
	sshd         int
	env          []string
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	// With a short name, as the paths of sockets have to be.
	folder := get[string](t)(os.MkdirTemp("", "e2e"))
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	r := &remote{world: newWorld(t), folder: folder, certificates: filepath.Join(folder, "tls")}
	r.proxies = get[*proxies](t)(newProxies(t, r.testbed, folder, "default"))
	must(t, certificates(r.certificates))
	r.serveTLS(t)
	r.serveSSH(t)
	config := filepath.Join(folder, "docker")
	must(t, exec.Command("cp", "-a", os.Getenv("DOCKER_CONFIG"), config).Run())
	r.env = append(r.env, "DOCKER_CONFIG="+config)
	for name, endpoint := range map[string]string{
		"tls": fmt.Sprintf("host=tcp://%s,ca=%s/ca.pem,cert=%s/cert.pem,key=%s/key.pem", r.tls, r.certificates, r.certificates, r.certificates),
		"ssh": "host=" + r.ssh,
	} {
		if done := run(r.env, "docker", "context", "create", name, "--docker", endpoint); done.code != 0 {
			t.Fatal(done)
		}
	}
	return r
}

// certificates writes those of an authority, and one of its that serves 127.0.0.1 and for clients.
func certificates(folder string) error {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	root, err := x509.CreateCertificate(rand.Reader, template, template, authority.Public(), authority)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: template.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, template, key.Public(), authority)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(crypto.PrivateKey(key))
	if err != nil {
		return err
	}
	write := func(name, kind string, bytes []byte) error {
		return os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600)
	}
	return errors.Join(os.MkdirAll(folder, 0o700),
		write("ca.pem", "CERTIFICATE", root), write("cert.pem", "CERTIFICATE", leaf), write("key.pem", "PRIVATE KEY", private))
}

// serveTLS does what an engine with --tlsverify does.
func (r *remote) serveTLS(t *testing.T) {
	t.Helper()
	certificate := get[tls.Certificate](t)(tls.LoadX509KeyPair(filepath.Join(r.certificates, "cert.pem"), filepath.Join(r.certificates, "key.pem")))
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(get[[]byte](t)(os.ReadFile(filepath.Join(r.certificates, "ca.pem"))))
	listener := get[net.Listener](t)(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
	}))
	t.Cleanup(func() { _ = listener.Close() })
	r.tls = listener.Addr().String()
	go func() {
		for {
			outside, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer outside.Close()
				plain := tls.RecordHeaderError{}
				if err := outside.(*tls.Conn).Handshake(); errors.As(err, &plain) && plain.Conn != nil {
					_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
					_ = plain.Conn.Close()
					return
				} else if err != nil {
					return
				}
				inside, err := net.Dial("unix", strings.TrimPrefix(r.proxies.docker, "unix://"))
				if err != nil {
					return
				}
				defer inside.Close()
				go func() {
					_, _ = io.Copy(inside, outside)
					_ = inside.Close()
				}()
				_, _ = io.Copy(outside, inside)
			}()
		}
	}()
}

// serveSSH starts an SSH server, with the keys, the users' settings and the port all its own. Over
// there docker finds the engine by DOCKER_HOST; over here a program called ssh, the first in PATH,
// gives the real one its configuration, since that looks for a user's nowhere else than in his
// real home.
func (r *remote) serveSSH(t *testing.T) {
	t.Helper()
	server, err := exec.LookPath("sshd")
	if err != nil {
		server = "/usr/sbin/sshd" // not in the PATH of everybody
	}
	client, err := exec.LookPath("ssh")
	if _, missing := os.Stat(server); err != nil || missing != nil {
		t.Fatal("there is no OpenSSH: apt-get install openssh-client openssh-server, or scripts/testbed up")
	}
	me := get[*user.User](t)(user.Current())
	folder := filepath.Join(r.folder, "ssh")
	must(t, os.MkdirAll(filepath.Join(folder, "bin"), 0o700))
	for _, key := range []string{"server", "client"} {
		if done := run(nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(folder, key)); done.code != 0 {
			t.Fatal(done)
		}
	}
	// Freed here to be taken there: nobody else asks for ports of this range by their number.
	listener := get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	must(t, listener.Close())
	public := get[[]byte](t)(os.ReadFile(filepath.Join(folder, "server.pub")))
	files := map[string]string{
		"known_hosts": "[127.0.0.1]:" + port + " " + string(public),
		"ssh_config": fmt.Sprintf("IdentityFile %s/client\nIdentitiesOnly yes\nIdentityAgent none\nBatchMode yes\nUserKnownHostsFile %s/known_hosts\nStrictHostKeyChecking yes\n",
			folder, folder),
		"sshd_config": fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s/server\nAuthorizedKeysFile %s/client.pub\nAuthenticationMethods publickey\nUsePAM no\nStrictModes no\nPermitUserRC no\nPidFile none\nSetEnv DOCKER_HOST=%s DOCKER_CONFIG=%s\n",
			port, folder, folder, r.proxies.docker, folder),
		"bin/ssh": fmt.Sprintf("#!/bin/sh\nexec %s -F %s/ssh_config \"$@\"\n", client, folder),
	}
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700))
	}
	command := []string{server, "-D", "-e", "-f", filepath.Join(folder, "sshd_config")}
	if me.Uid == "0" {
		// Its folder may be missing, where the system's own server doesn't run: it gets one that only it sees.
		command = append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", `mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$@"`, "sshd"}, command...)
	}
	sshd := get[*process](t)(start(nil, command[0], command[1:]...))
	t.Cleanup(func() {
		sshd.killAll()
		if t.Failed() {
			t.Logf("what the SSH server said: %s", sshd.err.String())
		}
	})
	r.sshd, r.ssh = sshd.pid(), fmt.Sprintf("ssh://%s@127.0.0.1:%s", me.Username, port)
	r.env = append(r.env, "PATH="+filepath.Join(folder, "bin")+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
			return
		}
		if ctx.Err() != nil || errors.Is(syscall.Kill(sshd.pid(), 0), syscall.ESRCH) {
			t.Fatalf("the SSH server: %s", sshd.err.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}
