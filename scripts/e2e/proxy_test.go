//go:build e2e || soak

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/client"
	"k8s.io/client-go/rest"
)

// proxies stand between secretx and both orchestrators: they write down what was asked for, which
// proves that a run wrote nothing and started no probe, and can leave a request without an answer.
type proxies struct {
	docker, other string // for DOCKER_HOST
	kubeconfig    string // a file
	mu            sync.Mutex
	requests      []string
	stall         func(request string) bool
	swallow       bool        // what is stalled is done all the same: only its answer doesn't come
	stalled       chan string // each request that got stuck
	// answer, if set, may answer in place of the other side, by a status that is not 0.
	answer func(request string, body []byte) (int, string)
	// engineAPI, if set, is the newest version of the API that the engines let on to have.
	engineAPI string
}

// newProxies writes a kubeconfig, whose namespace is the given one, and the sockets into the folder.
func newProxies(t testing.TB, b *testbed, folder, namespace string) (*proxies, error) {
	p := &proxies{
		docker: filepath.Join(folder, "docker.sock"), other: filepath.Join(folder, "other.sock"),
		kubeconfig: filepath.Join(folder, "proxied.kubeconfig"), stalled: make(chan string, 1000),
	}
	quiet := log.New(io.Discard, "", 0)
	// When the other side is gone, so is the connection.
	gone := func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	for path, cli := range map[string]*client.Client{p.docker: b.swarm, p.other: b.other} {
		host, err := client.ParseHostURL(cli.DaemonHost())
		if err != nil {
			return nil, err
		}
		address := host.Host
		if host.Scheme == "unix" {
			address = host.Path + host.Host
		}
		if host.Scheme != "unix" && host.Scheme != "tcp" {
			return nil, fmt.Errorf("no proxy for engines at %s", cli.DaemonHost())
		}
		engine := &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine" },
			FlushInterval: -1, ErrorLog: quiet, ErrorHandler: gone,
			ModifyResponse: func(r *http.Response) error {
				if p.engineAPI != "" {
					r.Header.Set("Api-Version", p.engineAPI)
				}
				return nil
			},
			Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, host.Scheme, address)
			}},
		}
		listener, err := net.Listen("unix", path)
		if err != nil {
			return nil, err
		}
		server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: p.note("docker", engine), ErrorLog: quiet}}
		server.Start()
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	}
	transport, err := rest.TransportFor(b.config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(b.config.Host)
	if err != nil {
		return nil, err
	}
	api := httptest.NewServer(p.note("kubernetes", &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = "" },
		FlushInterval: -1, ErrorLog: quiet, ErrorHandler: gone, Transport: transport,
	}))
	t.Cleanup(func() { api.CloseClientConnections(); api.Close() })
	p.docker, p.other = "unix://"+p.docker, "unix://"+p.other
	return p, os.WriteFile(p.kubeconfig, kubeconfigFor(api.URL, namespace), 0o600)
}

// kubeconfigFor has one context, called testbed like the testbed's own.
func kubeconfigFor(server, namespace string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {}}]
contexts: [{name: testbed, context: {cluster: c, user: u, namespace: %s}}]
current-context: testbed
`, server, namespace)
}

func (p *proxies) note(side string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := side + " " + r.Method + " " + r.URL.RequestURI()
		p.mu.Lock()
		p.requests = append(p.requests, request)
		stuck, swallow := p.stall != nil && p.stall(request), p.swallow
		p.mu.Unlock()
		if stuck {
			if swallow {
				next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			}
			p.stalled <- request
			// The body has to be read, or nobody notices that the client has gone.
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		if p.answer != nil {
			body, _ := io.ReadAll(r.Body)
			if code, text := p.answer(request, body); code != 0 {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(code)
				_, _ = io.WriteString(w, text)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(w, r)
	})
}

// taken gives what was asked for since it was last called.
func (p *proxies) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.requests
	p.requests = nil
	return all
}

// writes counts the writes that went through the proxies so far.
func writes(p *proxies) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.requests {
		if strings.Contains(r, " POST ") || strings.Contains(r, " PATCH ") {
			n++
		}
	}
	return n
}

// stallOn lets requests get stuck from now on; nil: none.
func (p *proxies) stallOn(which func(request string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall, p.swallow = which, false
}

// swallowOn lets such requests be done, and leaves them without an answer.
func (p *proxies) swallowOn(which func(request string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall, p.swallow = which, which != nil
}

// nowhere takes an answer that nobody gets.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// env is what leads secretx through the proxies.
func (p *proxies) env() []string {
	return []string{"DOCKER_HOST=" + p.docker, "KUBECONFIG=" + p.kubeconfig}
}
