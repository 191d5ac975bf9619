//go:build e2e

package kube_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
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
