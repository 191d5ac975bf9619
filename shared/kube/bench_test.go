//go:build e2e

package kube_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/secretx/secretx/shared/secret"
)

// each does something n times, so many at once.
func each(b *testing.B, n, concurrency int, do func(i int) error) {
	b.Helper()
	var next atomic.Int32
	var group sync.WaitGroup
	for range concurrency {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// BenchmarkCreate makes 1,000 secrets of 1 KB, beside the same by bare POSTs.
func BenchmarkCreate(b *testing.B) {
	const n = 1000
	values := make([][]byte, n)
	for i := range values {
		values[i] = make([]byte, 1000)
		_, _ = rand.Read(values[i])
	}
	for _, concurrency := range []int{8, 16, 32, 64} {
		b.Run(fmt.Sprint("endpoint/", concurrency), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				c := newCluster(b)
				e := c.open()
				b.StartTimer()
				each(b, n, concurrency, func(i int) error {
					s := mirror(fmt.Sprint("s-", i))
					s.Keys = []secret.Key{{Name: "value", Value: secret.NewValue(values[i])}}
					s.Mark = mark(s.Keys)
					_, err := e.Create(context.Background(), s)
					return err
				})
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "secrets/s")
		})
		b.Run(fmt.Sprint("bare/", concurrency), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				c := newCluster(b)
				b.StartTimer()
				each(b, n, concurrency, func(i int) error {
					name := fmt.Sprint("s-", i)
					m := secret.Secret{Mark: mark([]secret.Key{{Name: "value"}})}.OwnAnnotations()
					status, answer := c.do(http.MethodPost, c.secrets(), "", object{
						"metadata": object{"name": name, "labels": object{"secretx.github.io/mirror": "true"}, "annotations": m},
						"type":     "Opaque", "data": object{"value": values[i]},
					})
					if status != http.StatusCreated {
						return fmt.Errorf("%d %v", status, answer)
					}
					return nil
				})
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "secrets/s")
		})
	}
}

// BenchmarkList lists 10,000 mirrors of 1 KB.
func BenchmarkList(b *testing.B) {
	const n = 10_000
	c := newCluster(b)
	e := c.open()
	each(b, n, 32, func(i int) error {
		s := mirror(fmt.Sprint("s-", i))
		value := make([]byte, 1000)
		_, _ = rand.Read(value)
		s.Keys = []secret.Key{{Name: "value", Value: secret.NewValue(value)}}
		s.Mark = mark(s.Keys)
		_, err := e.Create(context.Background(), s)
		return err
	})
	b.ResetTimer()
	for range b.N {
		all, err := c.open().List(context.Background(), nil)
		if err != nil || len(all) != n {
			b.Fatal(len(all), err)
		}
		b.StopTimer()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/1e6, "live-MB")
		b.ReportMetric(float64(m.HeapSys)/1e6, "heap-MB")
		runtime.KeepAlive(all)
		b.StartTimer()
	}
}

// BenchmarkConsumers finds those of 5,000 pods, beside the bare lists of the same kinds.
func BenchmarkConsumers(b *testing.B) {
	const n = 5000
	c := newCluster(b)
	each(b, n, 32, func(i int) error {
		status, answer := c.do(http.MethodPost, "/api/v1/namespaces/"+c.namespace+"/pods", "", object{
			"metadata": object{
				"name": fmt.Sprint("web-", i), "labels": object{"app": "web", "pod-template-hash": "5d4f8c7b9"},
				"annotations": object{"example.com/revision": "1"},
			},
			"spec": object{
				"schedulerName": "nobody",
				"containers": []object{{
					"name": "web", "image": "registry.example.com/shop/web:1.2.3",
					"ports":     []object{{"containerPort": 8080}},
					"resources": object{"requests": object{"cpu": "100m", "memory": "128Mi"}, "limits": object{"memory": "256Mi"}},
					"env": []object{
						{"name": "LEVEL", "value": "info"},
						{"name": "PASSWORD", "valueFrom": object{"secretKeyRef": object{"name": fmt.Sprint("db-", i%500), "key": "password"}}},
					},
					"volumeMounts":  []object{{"name": "tls", "mountPath": "/etc/tls"}},
					"livenessProbe": object{"httpGet": object{"path": "/healthz", "port": 8080}},
				}},
				"volumes": []object{{"name": "tls", "secret": object{"secretName": fmt.Sprint("tls-", i%500)}}},
			},
		})
		if status != http.StatusCreated {
			return fmt.Errorf("%d %v", status, answer)
		}
		return nil
	})
	paths := []string{
		"/api/v1/namespaces/%s/pods", "/api/v1/namespaces/%s/podtemplates", "/api/v1/namespaces/%s/replicationcontrollers", "/api/v1/namespaces/%s/serviceaccounts",
		"/apis/apps/v1/namespaces/%s/deployments", "/apis/apps/v1/namespaces/%s/replicasets", "/apis/apps/v1/namespaces/%s/statefulsets", "/apis/apps/v1/namespaces/%s/daemonsets",
		"/apis/batch/v1/namespaces/%s/jobs", "/apis/batch/v1/namespaces/%s/cronjobs", "/apis/networking.k8s.io/v1/namespaces/%s/ingresses",
	}
	bare := func(query string) func(b *testing.B) {
		return func(b *testing.B) {
			defer reportTime(b)()
			for range b.N {
				var size atomic.Int64
				each(b, len(paths), len(paths), func(i int) error {
					request, err := http.NewRequest(http.MethodGet, c.config.Host+fmt.Sprintf(paths[i], c.namespace)+query, nil)
					if err != nil {
						return err
					}
					request.Header.Set("Accept", "application/vnd.kubernetes.protobuf")
					request.Header.Set("Accept-Encoding", "identity")
					response, err := c.client.Do(request)
					if err != nil {
						return err
					}
					defer func() { _ = response.Body.Close() }()
					read, err := io.Copy(io.Discard, response.Body)
					size.Add(read)
					return err
				})
				b.ReportMetric(float64(size.Load())/1e6, "MB")
			}
		}
	}
	b.Run("bare", bare(""))
	b.Run("bare-cache", bare("?resourceVersion=0"))
	b.Run("consumers", func(b *testing.B) {
		defer reportTime(b)()
		for range b.N {
			found, err := c.open().Consumers(b.Context())
			if err != nil || len(found.Consumers) != n {
				b.Fatal(len(found.Consumers), err)
			}
		}
	})
}

// reportTime tells what processor time a benchmark takes: on a busy machine, a better measure than
// how long it does.
func reportTime(b *testing.B) func() {
	used := func() int64 {
		var usage syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
		return usage.Utime.Nano() + usage.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/1e6/float64(b.N), "cpu-ms/op") }
}

// BenchmarkLook looks into 50 pods in one wave, beside a kubectl exec for each of some, one after another.
func BenchmarkLook(b *testing.B) {
	const n = 50
	c := newCluster(b)
	c.kubectl("", "create", "secret", "generic", "s", "--from-literal=value=1")
	c.manifest(strings.ReplaceAll(strings.ReplaceAll(web, "NAME", "s"), "replicas: 1", fmt.Sprint("replicas: ", n)))
	c.until("all run", func() bool {
		return c.kubectl("", "get", "deploy/web", "-o", "jsonpath={.status.readyReplicas}") == fmt.Sprint(n)
	})
	var names []string
	b.Run("wave", func(b *testing.B) {
		for range b.N {
			names = nil
			for _, found := range look(b, c.open(), target("deploy/web")) {
				if !is(found.Seen.Env["A"], "1") {
					b.Error(found.Unseen)
				}
				names = append(names, found.Name)
			}
			if len(names) != n {
				b.Error(len(names))
			}
		}
	})
	b.Run("loop-of-10", func(b *testing.B) {
		for range b.N {
			for _, name := range names[:10] {
				c.kubectl("", "exec", name, "--", "sh", "-c", "sha256sum < /proc/1/environ")
			}
		}
	})
}
