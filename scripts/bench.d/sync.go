package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	count     = 1000 // new secrets
	size      = 1024 // bytes of each
	loopCount = 100  // secrets of the shell loop, which is slow
	key       = "value"
)

// values makes names, and random values for them.
func values(n int) (names []string, all map[string][]byte) {
	all = make(map[string][]byte, n)
	for i := range n {
		name := fmt.Sprintf("%s-%05d", mark, i)
		value := make([]byte, size)
		_, _ = rand.Read(value) // never fails
		names = append(names, name)
		all[name] = value
	}
	return names, all
}

// encode makes a request's body of each thing, before the clock runs.
func encode[T any](things []T) ([][]byte, error) {
	bodies := make([][]byte, len(things))
	for i, thing := range things {
		var err error
		if bodies[i], err = json.Marshal(thing); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// fill makes a namespace with n Secrets of one key each.
func (b *bench) fill(ctx context.Context, namespace string, n int) (uid string, names []string, err error) {
	if uid, err = b.cluster.namespace(ctx, namespace); err != nil {
		return "", nil, err
	}
	names, all := values(n)
	secrets := make([]kubeSecret, n)
	for i, name := range names {
		secrets[i] = kubeSecret{Metadata: kubeMetadata{Name: name}, Type: "Opaque", Data: map[string][]byte{key: all[name]}}
	}
	bodies, err := encode(secrets)
	if err != nil {
		return "", nil, err
	}
	return uid, names, b.cluster.create(ctx, namespace, bodies, 32)
}

// toSwarm brings new secrets from Kubernetes to the Swarm: with the plugin, with the same requests
// from a bare client, and with the shell loop that everybody writes first.
func toSwarm(ctx context.Context, b *bench) ([]result, error) {
	const namespace = mark + "-to-swarm"
	uid, names, err := b.fill(ctx, namespace, count)
	if err != nil {
		return nil, err
	}
	ours := func() (time.Duration, error) {
		return timedCommand(ctx, "kubectl", "secretx", "sync", "--all", "--namespace", namespace)
	}
	clear := func(want int) error {
		n, err := b.engine.remove(ctx, mirrorOf(uid))
		if err == nil && n != want {
			err = fmt.Errorf("there were %d secrets in the Swarm instead of %d", n, want)
		}
		return err
	}

	// The first time makes the installation key, shows that the values are right, and what exactly
	// is written: the bare client sends the same.
	if _, err := ours(); err != nil {
		return nil, err
	}
	if _, err := command(ctx, nil, "kubectl", "secretx", "diff", "--all", "--prove", "--namespace", namespace); err != nil {
		return nil, fmt.Errorf("the values are not equal: %w", err)
	}
	written, err := b.engine.secrets(ctx, mirrorOf(uid))
	if err != nil {
		return nil, err
	}
	specs := make([]swarmSecretSpec, len(written))
	for i, s := range written {
		specs[i] = s.Spec
		specs[i].Data = make([]byte, size)
		_, _ = rand.Read(specs[i].Data) // never fails
	}
	bodies, err := encode(specs)
	if err != nil {
		return nil, err
	}
	if err := clear(count); err != nil {
		return nil, err
	}

	bare := func(ctx context.Context, concurrency int) (time.Duration, error) {
		took, err := timed(func() error { return b.engine.create(ctx, bodies, concurrency) })
		if err == nil {
			err = clear(count)
		}
		return took, err
	}
	concurrency, err := best(ctx, bare)
	if err != nil {
		return nil, err
	}
	var our, their, loop series
	for round := range b.rounds {
		took, err := ours()
		if err == nil {
			err = clear(count)
		}
		if err != nil {
			return nil, err
		}
		our = append(our, took)
		if took, err = bare(ctx, concurrency); err != nil {
			return nil, err
		}
		their = append(their, took)
		say("  round %d: ours %.2f s, bare %.2f s", round+1, our[round].Seconds(), their[round].Seconds())
		if round < 3 {
			if took, err = b.shellLoop(ctx, namespace, uid, names[:loopCount]); err == nil {
				err = clear(loopCount)
			}
			if err != nil {
				return nil, err
			}
			loop = append(loop, took*count/loopCount)
			say("  a shell loop over %d of them: %.2f s", loopCount, took.Seconds())
		}
	}
	work := "Kubernetes to Swarm, 1,000 new"
	return []result{
		{work: work, reference: fmt.Sprintf("bare POSTs, %d at a time", concurrency), ours: our.seconds(), against: their.seconds(), ratio: ratio(our, their), aim: 1.25},
		{work: work, reference: "shell loop (100, times 10)", ours: our.seconds(), against: loop.seconds(), ratio: ratio(loop, our), aim: 50, atLeast: true},
	}, nil
}

func (b *bench) shellLoop(ctx context.Context, namespace, uid string, names []string) (time.Duration, error) {
	script := `set -e -o pipefail
for name in "${@:4}"; do
  kubectl get secret "$name" --namespace "$1" --output "jsonpath={.data.$2}" | base64 -d |
    docker secret create --label "$3" "$name.$2" - >/dev/null
done`
	return timedCommand(ctx, append([]string{"bash", "-c", script, "loop", namespace, key, mirrorOf(uid)}, names...)...)
}

// toKubernetes brings new secrets from the Swarm to Kubernetes, and does the least that this can
// be done with: one job that reads them, and the requests that write them.
func toKubernetes(ctx context.Context, b *bench) ([]result, error) {
	const namespace = mark + "-to-kubernetes"
	if _, err := b.cluster.namespace(ctx, namespace); err != nil {
		return nil, err
	}
	names, all := values(count)
	specs := make([]swarmSecretSpec, count)
	for i, name := range names {
		specs[i] = swarmSecretSpec{Name: name, Labels: map[string]string{mark: "true"}, Data: all[name]}
	}
	bodies, err := encode(specs)
	if err != nil {
		return nil, err
	}
	if err := b.engine.create(ctx, bodies, 16); err != nil {
		return nil, err
	}
	origins, err := b.engine.secrets(ctx, mark)
	if err != nil {
		return nil, err
	}
	image, err := b.engine.image(ctx)
	if err != nil {
		return nil, err
	}

	ours := func() (time.Duration, error) {
		// Not --all: whatever else this Swarm holds doesn't belong into a benchmark.
		return timedCommand(ctx, "docker", "secretx", "sync", "--selector", mark+"=true", "--to", "kubernetes:/"+namespace)
	}
	// check sees that all arrived, and clears the namespace for the next.
	check := func(values map[string][]byte) ([]kubeSecret, error) {
		found, err := b.cluster.secrets(ctx, namespace, mirrors)
		if err != nil {
			return nil, err
		}
		equal := 0
		for _, s := range found {
			if v, ok := all[s.Metadata.Name]; ok && (values == nil || bytes.Equal(v, s.Data[s.Metadata.Name])) {
				equal++
			}
		}
		if equal != count {
			return nil, fmt.Errorf("%d of %d secrets arrived as they should", equal, count)
		}
		return found, b.cluster.remove(ctx, namespace, mirrors)
	}

	if _, err := ours(); err != nil {
		return nil, err
	}
	written, err := check(all)
	if err != nil {
		return nil, err
	}
	for i := range written {
		written[i].Metadata.UID = ""
		for k := range written[i].Data {
			_, _ = rand.Read(written[i].Data[k]) // never fails
		}
	}
	if bodies, err = encode(written); err != nil {
		return nil, err
	}
	write := func(ctx context.Context, concurrency int) (time.Duration, error) {
		took, err := timed(func() error { return b.cluster.create(ctx, namespace, bodies, concurrency) })
		if err == nil {
			_, err = check(nil)
		}
		return took, err
	}
	concurrency, err := best(ctx, write)
	if err != nil {
		return nil, err
	}
	var our, their series
	for round := range b.rounds {
		took, err := ours()
		if err == nil {
			_, err = check(all)
		}
		if err != nil {
			return nil, err
		}
		our = append(our, took)
		reading, err := timed(func() error { return b.engine.job(ctx, image, origins) })
		if err != nil {
			return nil, err
		}
		writing, err := write(ctx, concurrency)
		if err != nil {
			return nil, err
		}
		their = append(their, reading+writing)
		say("  round %d: ours %.2f s; bare job %.2f s, bare writes %.2f s", round+1, our[round].Seconds(), reading.Seconds(), writing.Seconds())
	}
	return []result{{
		work: "Swarm to Kubernetes, 1,000 new", reference: fmt.Sprintf("one bare job, bare POSTs, %d at a time", concurrency),
		ours: our.seconds(), against: their.seconds(), ratio: ratio(our, their), aim: 1.5,
	}}, nil
}

// start compares the least that a plugin can be asked for.
func start(ctx context.Context, b *bench) ([]result, error) {
	folder := os.Getenv("SECRETX_BENCH_BIN")
	ours := []string{folder + "/docker-secretx", "docker-cli-plugin-metadata"}
	theirs := []string{os.Getenv("SECRETX_BENCH_BUILDX"), "docker-cli-plugin-metadata"}
	out, err := command(ctx, nil, ours...)
	if err == nil && !strings.Contains(string(out), `"SchemaVersion":"0.1.0"`) && !strings.Contains(string(out), `"SchemaVersion": "0.1.0"`) {
		err = fmt.Errorf("not the metadata of a plugin: %s", out)
	}
	if err != nil {
		return nil, err
	}
	var our, their series
	for round := range 6 * b.rounds {
		a, err := timedCommand(ctx, ours...)
		if err != nil {
			return nil, err
		}
		c, err := timedCommand(ctx, theirs...)
		if err != nil {
			return nil, err
		}
		if round > 0 { // the first may have to read from the disk
			our, their = append(our, a), append(their, c)
		}
	}
	a, err := used(ctx, ours...)
	if err != nil {
		return nil, err
	}
	c, err := used(ctx, theirs...)
	if err != nil {
		return nil, err
	}
	say("  peak memory: ours %s, buildx %s", megabytes(a.Peak), megabytes(c.Peak))
	return []result{{
		work: "start: plugin metadata", reference: "docker-buildx " + os.Getenv("SECRETX_BENCH_BUILDX_VERSION"),
		ours: our.seconds(), against: their.seconds(), ratio: ratio(our, their), aim: 0.5,
	}}, nil
}
