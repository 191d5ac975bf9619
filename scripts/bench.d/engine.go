package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// mark is how the names of all begin that a benchmark makes, and a label on it, so that it can be
// found and removed.
const mark = "secretx-bench"

// busybox is an image of the testbed.
const busybox = "secretx-test/busybox:1"

// concurrencies are those among which the best for the bare clients is sought.
var concurrencies = []int{4, 8, 16, 32, 64}

// engine is a bare HTTP client of a Docker engine, on as many connections as there are requests at
// a time.
type engine struct {
	http *http.Client
	base string
}

func newEngine() (*engine, error) {
	host, err := url.Parse(os.Getenv("DOCKER_HOST"))
	if err != nil || host.Scheme != "unix" {
		return nil, errors.New("DOCKER_HOST must name the socket of an engine: scripts/bench runs on the testbed")
	}
	return &engine{base: "http://engine", http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", host.Path)
		},
	}}}, nil
}

// request makes one request and reads the whole answer; into may be nil.
func request(ctx context.Context, client *http.Client, method, address string, header http.Header, body []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if header != nil {
		r.Header = header
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if method == http.MethodDelete && response.StatusCode == http.StatusNotFound {
		return nil // a removal that was interrupted was done nevertheless
	}
	if response.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return fmt.Errorf("%s %s: %s: %s", method, r.URL.Path, response.Status, bytes.TrimSpace(text))
	}
	if into == nil {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	return json.NewDecoder(response.Body).Decode(into)
}

var asJSON = http.Header{"Content-Type": {"application/json"}}

func (e *engine) do(ctx context.Context, method, path string, body []byte, into any) error {
	return request(ctx, e.http, method, e.base+path, asJSON, body, into)
}

// parallel does something n times, so many of them at a time.
func parallel(ctx context.Context, n, concurrency int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(n, concurrency) {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

// swarmSecret is what the engine's API calls a secret, as far as it matters here.
type swarmSecret struct {
	ID   string `json:",omitempty"`
	Spec swarmSecretSpec
}

type swarmSecretSpec struct {
	Name   string
	Labels map[string]string
	Data   []byte `json:",omitempty"`
}

func filters(key, value string) string {
	text, _ := json.Marshal(map[string][]string{key: {value}}) // can't fail
	return "?filters=" + url.QueryEscape(string(text))
}

// secrets lists those with a label.
func (e *engine) secrets(ctx context.Context, label string) (all []swarmSecret, err error) {
	return all, e.do(ctx, http.MethodGet, "/secrets"+filters("label", label), nil, &all)
}

// create posts the secrets. What has been sent is waited for, also after an interrupt: the engine
// would make it nevertheless, perhaps after all the rest was removed.
func (e *engine) create(ctx context.Context, bodies [][]byte, concurrency int) error {
	return parallel(ctx, len(bodies), concurrency, func(ctx context.Context, i int) error {
		return e.do(context.WithoutCancel(ctx), http.MethodPost, "/secrets/create", bodies[i], nil)
	})
}

// remove removes all secrets with a label, and tells how many there were.
func (e *engine) remove(ctx context.Context, label string) (int, error) {
	all, err := e.secrets(ctx, label)
	if err != nil {
		return 0, err
	}
	return len(all), e.removeAll(ctx, all)
}

func (e *engine) removeAll(ctx context.Context, all []swarmSecret) error {
	return parallel(ctx, len(all), 32, func(ctx context.Context, i int) error {
		return e.do(ctx, http.MethodDelete, "/secrets/"+all[i].ID, nil, nil)
	})
}

// clean removes all that benchmarks made, and what was made for them: all of it is known by its
// name, whatever became of the namespaces that the origins were in.
func (e *engine) clean(ctx context.Context) error {
	var services []struct {
		ID   string
		Spec struct {
			Name         string
			TaskTemplate struct {
				ContainerSpec struct{ Secrets []struct{ SecretName string } }
			}
		}
	}
	if err := e.do(ctx, http.MethodGet, "/services", nil, &services); err != nil {
		return err
	}
	for _, s := range services {
		// The probe of a plugin that was killed holds on to the secrets.
		secrets := s.Spec.TaskTemplate.ContainerSpec.Secrets
		if !ours(s.Spec.Name) && !(len(secrets) > 0 && ours(secrets[0].SecretName)) {
			continue
		}
		if err := e.do(ctx, http.MethodDelete, "/services/"+s.ID, nil, nil); err != nil {
			return err
		}
	}
	var secrets []swarmSecret
	if err := e.do(ctx, http.MethodGet, "/secrets", nil, &secrets); err != nil {
		return err
	}
	return e.removeAll(ctx, slices.DeleteFunc(secrets, func(s swarmSecret) bool { return !ours(s.Spec.Name) }))
}

func ours(name string) bool { return strings.HasPrefix(name, mark+"-") }

// image gives the ID of the image with busybox. A service that names it by ID is not held up by an attempt to
// pull it.
func (e *engine) image(ctx context.Context) (string, error) {
	var found struct{ ID string }
	return found.ID, e.do(ctx, http.MethodGet, "/images/"+busybox+"/json", nil, &found)
}

// job runs a job that reads the secrets as files, waits until it is complete, and removes it.
func (e *engine) job(ctx context.Context, image string, secrets []swarmSecret) error {
	references := make([]object, len(secrets))
	for i, s := range secrets {
		references[i] = object{
			"SecretID": s.ID, "SecretName": s.Spec.Name,
			"File": object{"Name": fmt.Sprintf("%06d", i), "UID": "0", "GID": "0", "Mode": 0o400},
		}
	}
	spec, err := json.Marshal(object{
		"Name":   mark + "-" + rand.Text(),
		"Labels": object{mark: "true"},
		"Mode":   object{"ReplicatedJob": object{"MaxConcurrent": 1, "TotalCompletions": 1}},
		"TaskTemplate": object{
			"ContainerSpec": object{"Image": image, "Command": []string{"sh", "-c", "cat /run/secrets/* >/dev/null"}, "Secrets": references},
			"RestartPolicy": object{"Condition": "none"},
		},
	})
	if err != nil {
		return err
	}
	var service struct{ ID string }
	if err := e.do(ctx, http.MethodPost, "/services/create", spec, &service); err != nil {
		return err
	}
	for ; ; time.Sleep(20 * time.Millisecond) {
		var tasks []struct {
			Status struct{ State, Err string }
		}
		if err := e.do(ctx, http.MethodGet, "/tasks"+filters("service", service.ID), nil, &tasks); err != nil {
			return err
		}
		if len(tasks) == 0 {
			continue
		}
		switch s := tasks[0].Status; s.State {
		case "complete":
			return e.do(ctx, http.MethodDelete, "/services/"+service.ID, nil, nil)
		case "failed", "rejected", "shutdown", "orphaned":
			return fmt.Errorf("the job of the reference was %s: %s", s.State, s.Err)
		}
	}
}

// best seeks the concurrency at which a bare client is the quickest: twice each, the better counts.
func best(ctx context.Context, once func(ctx context.Context, concurrency int) (time.Duration, error)) (int, error) {
	var found int
	var least time.Duration
	var seen []string
	for _, c := range concurrencies {
		var quickest time.Duration
		for range 2 {
			took, err := once(ctx, c)
			if err != nil {
				return 0, err
			}
			if quickest == 0 || took < quickest {
				quickest = took
			}
		}
		seen = append(seen, fmt.Sprintf("%d: %.2f s", c, quickest.Seconds()))
		if found == 0 || quickest < least {
			found, least = c, quickest
		}
	}
	say("  bare client by concurrency: %s; best: %d", strings.Join(seen, ", "), found)
	return found, nil
}
