package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const pairs = 10_000

// diff compares many pairs that are in sync, against the two lists that kubectl and docker print,
// and its memory against the bytes of the two lists.
func diff(ctx context.Context, b *bench) ([]result, error) {
	const namespace = mark + "-diff"
	uid, _, err := b.fill(ctx, namespace, pairs)
	if err != nil {
		return nil, err
	}
	took, err := timedCommand(ctx, "kubectl", "secretx", "sync", "--all", "--namespace", namespace)
	if err != nil {
		return nil, err
	}
	say("  sync of %d took %.1f s", pairs, took.Seconds())
	found, err := b.engine.secrets(ctx, mirrorOf(uid))
	if err != nil || len(found) != pairs {
		return nil, errors.Join(err, fmt.Errorf("there are %d mirrors instead of %d", len(found), pairs))
	}
	if err := b.readsOnly(ctx, namespace); err != nil {
		return nil, err
	}

	ours := []string{"kubectl", "secretx", "diff", "--all", "--namespace", namespace}
	var our, their series
	for round := range b.rounds {
		took, err := timedCommand(ctx, ours...)
		if err != nil {
			return nil, err
		}
		our = append(our, took)
		a, err := timedCommand(ctx, "kubectl", "get", "secrets", "--namespace", namespace, "--output", "json")
		if err != nil {
			return nil, err
		}
		c, err := timedCommand(ctx, "docker", "secret", "ls")
		if err != nil {
			return nil, err
		}
		their = append(their, a+c)
		lists, err := timed(func() error {
			_, err := b.lists(ctx, namespace)
			return err
		})
		if err != nil {
			return nil, err
		}
		say("  round %d: ours %.2f s; kubectl get %.2f s, docker secret ls %.2f s; the bare lists %.2f s",
			round+1, took.Seconds(), a.Seconds(), c.Seconds(), lists.Seconds())
	}

	bytes, err := b.lists(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var peaks []int64
	for range 3 {
		u, err := used(ctx, append([]string{"kubectl-secretx"}, ours[2:]...)...)
		if err != nil {
			return nil, err
		}
		peaks = append(peaks, u.Peak)
	}
	slices.Sort(peaks)
	limit := 2*bytes + 40<<20
	return []result{
		{
			work: "diff of 10,000 in sync", reference: "kubectl get -o json, docker secret ls",
			ours: our.seconds(), against: their.seconds(), ratio: ratio(our, their), aim: 0.25,
		},
		{
			work: "diff of 10,000: memory", reference: fmt.Sprintf("2 x the lists (%s) + 40 MB", megabytes(bytes)),
			ours: megabytes(peaks[1]), against: megabytes(limit), ratio: float64(peaks[1]) / float64(limit), aim: 1,
		},
	}, nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }

// lists reads both lists in their smallest form, uncompressed, and counts their bytes.
func (b *bench) lists(ctx context.Context, namespace string) (int64, error) {
	a, err := readAll(ctx, b.cluster.http, b.cluster.base+secretsPath(namespace), "application/vnd.kubernetes.protobuf")
	if err != nil {
		return 0, err
	}
	c, err := readAll(ctx, b.engine.http, b.engine.base+"/secrets", "application/json")
	return a + c, err
}

// readsOnly runs one diff whose every request is seen, and fails if one of them writes or starts
// a probe, or if it doesn't find every pair in sync.
func (b *bench) readsOnly(ctx context.Context, namespace string) error {
	folder, err := os.MkdirTemp("", mark)
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "engine.sock")
	kubeconfig := filepath.Join(folder, "kubeconfig")
	// Anybody on the machine can connect to a port, and kubeconfigs send no token without TLS.
	secretPath := "/" + rand.Text()
	seen := &traffic{requests: map[string]int{}}

	closeEngine, _, err := seen.serve("unix", socket, "/", b.engine.base, b.engine.http.Transport)
	if err != nil {
		return err
	}
	defer closeEngine()
	closeCluster, address, err := seen.serve("tcp", "127.0.0.1:0", secretPath+"/", b.cluster.base, b.cluster.http.Transport)
	if err != nil {
		return err
	}
	defer closeCluster()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "seen",
		"clusters": []any{map[string]any{"name": "seen", "cluster": map[string]any{"server": "http://" + address + secretPath}}},
		"contexts": []any{map[string]any{"name": "seen", "context": map[string]any{"cluster": "seen"}}},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		return err
	}

	out, err := command(ctx, []string{"DOCKER_HOST=unix://" + socket, "KUBECONFIG=" + kubeconfig},
		"kubectl-secretx", "diff", "--all", "--namespace", namespace, "--output", "json")
	if err != nil {
		return err
	}
	var document struct {
		Summary struct {
			Total  int
			States map[string]int
		}
	}
	if err := json.Unmarshal(out, &document); err != nil {
		return err
	}
	if document.Summary.Total != pairs || document.Summary.States["in-sync"] != pairs {
		return fmt.Errorf("diff found %v instead of %d in sync", document.Summary.States, pairs)
	}
	return seen.onlyReads()
}

// traffic is what two servers in between have seen.
type traffic struct {
	mu       sync.Mutex
	requests map[string]int // by method and path
}

// serve passes on the requests for what is below prefix.
func (t *traffic) serve(network, address, prefix, base string, transport http.RoundTripper) (stop func(), where string, err error) {
	target, err := url.Parse(base)
	if err != nil {
		return nil, "", err
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, "", err
	}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	count := func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		t.requests[r.Method+" "+r.URL.Path]++
		t.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}
	mux := http.NewServeMux()
	mux.Handle(prefix, http.StripPrefix(strings.TrimSuffix(prefix, "/"), http.HandlerFunc(count)))
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: mux}
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, listener.Addr().String(), nil
}

func (t *traffic) onlyReads() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	total := 0
	var writes []string
	var both [2]bool
	for request, n := range t.requests {
		total += n
		method, path, _ := strings.Cut(request, " ")
		if method != http.MethodGet && method != http.MethodHead {
			writes = append(writes, request)
		}
		both[0] = both[0] || strings.HasPrefix(path, "/api/v1/")
		both[1] = both[1] || strings.HasSuffix(path, "/secrets") && !strings.HasPrefix(path, "/api/")
	}
	if len(writes) > 0 {
		return fmt.Errorf("diff did more than read: %s", strings.Join(writes, ", "))
	}
	if !both[0] || !both[1] {
		return errors.New("diff did not read both sides through the servers that watch it")
	}
	say("  diff: all in sync, %d requests, none of which writes or starts a probe", total)
	return nil
}
