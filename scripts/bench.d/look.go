package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	tasks    = 100
	pods     = 5_000
	services = 500
)

type object = map[string]any

// service makes one whose tasks have a secret as a file, on the node that we speak to.
func (e *engine) service(ctx context.Context, name, image, node string, replicas int, s swarmSecret) error {
	spec, err := json.Marshal(object{
		"Name": name, "Labels": object{mark: "true"},
		"Mode": object{"Replicated": object{"Replicas": replicas}},
		"TaskTemplate": object{
			"ContainerSpec": object{
				"Image": image, "Command": []string{"sleep", "100000"}, "StopGracePeriod": 1,
				"Secrets": []object{{
					"SecretID": s.ID, "SecretName": s.Spec.Name,
					"File": object{"Name": "value", "UID": "0", "GID": "0", "Mode": 0o400},
				}},
			},
			"Placement": object{"Constraints": []string{"node.id==" + node}},
		},
	})
	if err != nil {
		return err
	}
	return e.do(context.WithoutCancel(ctx), http.MethodPost, "/services/create", spec, nil)
}

// node is the one that we speak to.
func (e *engine) node(ctx context.Context) (string, error) {
	var info struct{ Swarm struct{ NodeID string } }
	return info.Swarm.NodeID, e.do(ctx, http.MethodGet, "/info", nil, &info)
}

// secretsFor makes that many, and gives them as the Swarm has them.
func (e *engine) secretsFor(ctx context.Context, work string, n int) ([]swarmSecret, error) {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i], _ = json.Marshal(swarmSecretSpec{ // can't fail
			Name: fmt.Sprintf("%s-%s-%04d", mark, work, i), Labels: map[string]string{mark: work}, Data: fmt.Appendf(nil, "value %d", i),
		})
	}
	if err := e.create(ctx, bodies, 16); err != nil {
		return nil, err
	}
	all, err := e.secrets(ctx, mark+"="+work)
	if err == nil && len(all) != n {
		err = fmt.Errorf("there are %d secrets instead of %d", len(all), n)
	}
	return all, err
}

// peek looks into many tasks of one service, against a loop of docker exec over the same tasks.
func peek(ctx context.Context, b *bench) ([]result, error) {
	const service = mark + "-peek"
	all, err := b.engine.secretsFor(ctx, "peek", 1)
	if err != nil {
		return nil, err
	}
	image, err := b.engine.image(ctx)
	if err != nil {
		return nil, err
	}
	node, err := b.engine.node(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.engine.service(ctx, service, image, node, tasks, all[0]); err != nil {
		return nil, err
	}
	containers, err := b.engine.running(ctx, service, tasks)
	if err != nil {
		return nil, err
	}

	loop := []string{"sh", "-c", `for c; do docker exec "$c" sha256sum /run/secrets/value; done`, "sh"}
	var our, their series
	for round := range b.rounds {
		var out []byte
		took, err := timed(func() (err error) {
			out, err = command(ctx, nil, "docker", "secretx", "peek-in-container", service, "--format", "json")
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := allFresh(out); err != nil {
			return nil, err
		}
		our = append(our, took)
		if took, err = timedCommand(ctx, append(loop, containers...)...); err != nil {
			return nil, err
		}
		their = append(their, took)
		say("  round %d: ours %.2f s; the loop %.2f s", round+1, our[round].Seconds(), took.Seconds())
	}
	return []result{{
		work: fmt.Sprintf("peek into %d tasks", tasks), reference: "a loop of docker exec TASK sha256sum FILE",
		ours: our.seconds(), against: their.seconds(), ratio: ratio(their, our), aim: 10, atLeast: true,
	}}, nil
}

// running waits until all tasks of a service run, and gives their containers.
func (e *engine) running(ctx context.Context, service string, n int) ([]string, error) {
	began := time.Now()
	for ; ; time.Sleep(500 * time.Millisecond) {
		var found []struct{ ID string }
		if err := e.do(ctx, http.MethodGet, "/containers/json"+filters("label", "com.docker.swarm.service.name="+service), nil, &found); err != nil {
			return nil, err
		}
		if len(found) == n {
			say("  %d tasks run after %.0f s", n, time.Since(began).Seconds())
			ids := make([]string, n)
			for i, f := range found {
				ids[i] = f.ID
			}
			return ids, nil
		}
		if time.Since(began) > 5*time.Minute {
			return nil, fmt.Errorf("%d of %d tasks of %s run after five minutes", len(found), n, service)
		}
	}
}

// allFresh tells whether peek has seen each task's file, and that it is the current value.
func allFresh(out []byte) error {
	var document struct {
		Summary struct {
			Containers int
			States     map[string]int
		}
	}
	if err := json.Unmarshal(out, &document); err != nil {
		return err
	}
	if s := document.Summary; s.Containers != tasks || s.States["fresh"] != tasks || len(s.States) != 1 {
		return fmt.Errorf("peek saw %d containers, %v, instead of %d fresh ones", s.Containers, s.States, tasks)
	}
	return nil
}

// consumers finds who uses secrets among many pods and services, against the bare lists of all that
// it has to look at.
func consumers(ctx context.Context, b *bench) ([]result, error) {
	const namespace = mark + "-consumers"
	if _, err := b.cluster.namespace(ctx, namespace); err != nil {
		return nil, err
	}
	all, err := b.engine.secretsFor(ctx, "consumers", services)
	if err != nil {
		return nil, err
	}
	image, err := b.engine.image(ctx)
	if err != nil {
		return nil, err
	}
	node, err := b.engine.node(ctx)
	if err != nil {
		return nil, err
	}
	took, err := timed(func() error {
		return errors.Join(
			parallel(ctx, services, 16, func(ctx context.Context, i int) error {
				return b.engine.service(ctx, fmt.Sprintf("%s-consumers-%04d", mark, i), image, node, 0, all[i])
			}),
			parallel(ctx, pods, 32, func(ctx context.Context, i int) error { return b.cluster.pod(ctx, namespace, i) }),
		)
	})
	if err != nil {
		return nil, err
	}
	say("  %d services and %d pods made in %.0f s", services, pods, took.Seconds())

	size, err := b.bareLists(ctx, namespace)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var our, their series
	for round := range b.rounds {
		var out []byte
		took, err := timed(func() (err error) {
			out, err = command(ctx, nil, "kubectl-secretx", "consumers", "--namespace", namespace, "--output", "json")
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := allConsumers(out); err != nil {
			return nil, err
		}
		our = append(our, took)
		// By a process that has to start and to connect, too.
		if took, err = timedCommand(ctx, self, lister, namespace); err != nil {
			return nil, err
		}
		their = append(their, took)
		say("  round %d: ours %.2f s; the bare lists %.2f s", round+1, our[round].Seconds(), took.Seconds())
	}
	return []result{{
		work: fmt.Sprintf("consumers, %d pods, %d services", pods, services), reference: fmt.Sprintf("the bare lists of all kinds, at once (%s)", megabytes(size)),
		ours: our.seconds(), against: their.seconds(), ratio: ratio(our, their), aim: 1.5,
	}}, nil
}

// pod makes one that uses two secrets and that no scheduler ever looks at.
func (c *cluster) pod(ctx context.Context, namespace string, i int) error {
	body, err := json.Marshal(object{
		"metadata": object{"name": fmt.Sprintf("web-%04d", i), "labels": object{"app": "web", "pod-template-hash": "5d4f8c7b9"}},
		"spec": object{
			"schedulerName": "nobody",
			"containers": []object{{
				"name": "web", "image": "registry.example.com/shop/web:1.2.3",
				"resources": object{"requests": object{"cpu": "100m", "memory": "128Mi"}, "limits": object{"memory": "256Mi"}},
				"env": []object{
					{"name": "LEVEL", "value": "info"},
					{"name": "PASSWORD", "valueFrom": object{"secretKeyRef": object{"name": fmt.Sprint("db-", i%500), "key": "password"}}},
				},
				"volumeMounts": []object{{"name": "tls", "mountPath": "/etc/tls"}},
			}},
			"volumes": []object{{"name": "tls", "secret": object{"secretName": fmt.Sprint("tls-", i%500)}}},
		},
	})
	if err != nil {
		return err
	}
	return c.do(context.WithoutCancel(ctx), http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", body, nil)
}

// allConsumers tells whether the document has every pod, twice, and every service.
func allConsumers(out []byte) error {
	var document struct {
		Places []struct {
			Secrets []struct {
				Name      string
				Consumers []struct{ Kind, Name string }
			}
		}
	}
	if err := json.Unmarshal(out, &document); err != nil {
		return err
	}
	found := map[string]int{}
	for _, place := range document.Places {
		for _, s := range place.Secrets {
			for _, c := range s.Consumers {
				if c.Kind == "pod" || strings.HasPrefix(c.Name, mark) {
					found[c.Kind]++
				}
			}
		}
	}
	if found["pod"] != 2*pods || found["service"] != services {
		return fmt.Errorf("consumers found %v", found)
	}
	return nil
}

// lister is the first argument of this program when it only reads the lists, of the namespace that
// the second one names.
const lister = "lists"

func list(namespace string) int {
	b := &bench{}
	var err error
	if b.engine, err = newEngine(); err == nil {
		b.cluster, err = newCluster()
	}
	if err == nil {
		_, err = b.bareLists(context.Background(), namespace)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// bareLists reads the lists of all that may refer to a secret, and of the secrets, at once and in
// their smallest form, and counts their bytes.
func (b *bench) bareLists(ctx context.Context, namespace string) (int64, error) {
	in := "/namespaces/" + namespace + "/"
	kinds := []string{"/api/v1" + in + "secrets", "/api/v1" + in + "pods", "/api/v1" + in + "podtemplates", "/api/v1" + in + "replicationcontrollers", "/api/v1" + in + "serviceaccounts"}
	for _, k := range []string{"deployments", "replicasets", "statefulsets", "daemonsets"} {
		kinds = append(kinds, "/apis/apps/v1"+in+k)
	}
	kinds = append(kinds, "/apis/batch/v1"+in+"jobs", "/apis/batch/v1"+in+"cronjobs", "/apis/networking.k8s.io/v1"+in+"ingresses")
	engine := []string{"/secrets", "/services", "/tasks"}
	var size atomic.Int64
	err := parallel(ctx, len(kinds)+len(engine), len(kinds)+len(engine), func(ctx context.Context, i int) error {
		client, address, accept := b.cluster.http, "", "application/vnd.kubernetes.protobuf"
		if i < len(kinds) {
			address = b.cluster.base + kinds[i]
		} else {
			client, address, accept = b.engine.http, b.engine.base+engine[i-len(kinds)], "application/json"
		}
		n, err := readAll(ctx, client, address, accept)
		size.Add(n)
		return err
	})
	return size.Load(), err
}

// readAll reads an answer, uncompressed, and counts its bytes.
func readAll(ctx context.Context, client *http.Client, address, accept string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "identity")
	response, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return n, err
}
