package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// shared is how many services share a secret, and how many secrets a service has.
const shared = 20

// rotate brings a new value to many services of one secret, and new values of many secrets to one service,
// against a shell script that does it with docker service update. It counts the updates.
func rotate(ctx context.Context, b *bench) ([]result, error) {
	image, err := b.engine.image(ctx)
	if err != nil {
		return nil, err
	}
	node, err := b.engine.node(ctx)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", mark)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	seen := &traffic{requests: map[string]int{}}
	socket := filepath.Join(folder, "engine.sock")
	stop, _, err := seen.serve("unix", socket, "/", b.engine.base, b.engine.http.Transport)
	if err != nil {
		return nil, err
	}
	defer stop()
	r := &rotations{bench: b, image: image, node: node, file: filepath.Join(folder, "value"), watched: []string{"DOCKER_HOST=unix://" + socket}, seen: seen}
	many, err := r.manyServices(ctx)
	if err != nil {
		return nil, err
	}
	one, err := r.manySecrets(ctx)
	return append(many, one...), err
}

type rotations struct {
	*bench
	image, node, file string
	watched           []string // environment that leads through what counts
	seen              *traffic
	n                 int
}

// value writes another one to the file.
func (r *rotations) value() error {
	r.n++
	return os.WriteFile(r.file, fmt.Appendf(nil, "value %d", r.n), 0o600)
}

// updates counts those since it was last called.
func (r *rotations) updates() int {
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	n := 0
	for request, times := range r.seen.requests {
		if strings.HasPrefix(request, "POST ") && strings.Contains(request, "/services/") && strings.HasSuffix(request, "/update") {
			n += times
		}
	}
	r.seen.requests = map[string]int{}
	return n
}

func (r *rotations) service(ctx context.Context, name string, secrets []swarmSecret) error {
	references := make([]object, len(secrets))
	for i, s := range secrets {
		references[i] = object{"SecretID": s.ID, "SecretName": s.Spec.Name, "File": object{"Name": fmt.Sprint("value-", i), "UID": "0", "GID": "0", "Mode": 0o400}}
	}
	spec, err := json.Marshal(object{
		"Name": name, "Labels": object{mark: "true"},
		"Mode":         object{"Replicated": object{"Replicas": 1}},
		"UpdateConfig": object{"Parallelism": 1, "Monitor": time.Second, "FailureAction": "pause"},
		"TaskTemplate": object{
			"ContainerSpec": object{"Image": r.image, "Command": []string{"sleep", "100000"}, "StopGracePeriod": 1, "Secrets": references},
			"Placement":     object{"Constraints": []string{"node.id==" + r.node}},
		},
	})
	if err != nil {
		return err
	}
	if err := r.engine.do(ctx, http.MethodPost, "/services/create", spec, nil); err != nil {
		return err
	}
	_, err = r.engine.running(ctx, name, 1)
	return err
}

// turns does the work by turns, ours and each of the scripts, and counts our updates.
func (r *rotations) turns(wanted int, our func() error, scripts ...func(round int) (time.Duration, error)) (ours series, theirs []series, err error) {
	theirs = make([]series, len(scripts))
	for round := range r.rounds {
		if err := r.value(); err != nil {
			return nil, nil, err
		}
		r.updates() // what came before doesn't count
		took, err := timed(our)
		if err != nil {
			return nil, nil, err
		}
		if n := r.updates(); n != wanted {
			return nil, nil, fmt.Errorf("%d updates of services instead of %d", n, wanted)
		}
		ours = append(ours, took)
		for i, script := range scripts {
			if took, err = script(round); err != nil {
				return nil, nil, err
			}
			theirs[i] = append(theirs[i], took)
			say("  round %d: ours %.2f s, %d updates; script %d %.2f s", round+1, ours[round].Seconds(), wanted, i+1, took.Seconds())
		}
	}
	return ours, theirs, nil
}

func (r *rotations) manyServices(ctx context.Context) ([]result, error) {
	const name = mark + "-shared"
	if err := r.value(); err != nil {
		return nil, err
	}
	if _, err := command(ctx, nil, "docker", "secretx", "create", name, "--from-file", r.file); err != nil {
		return nil, err
	}
	var services []string
	for i := range shared {
		all, err := r.engine.secrets(ctx, "io.github.secretx.name="+name)
		if err != nil || len(all) != 1 {
			return nil, errors.Join(err, fmt.Errorf("%d secrets", len(all)))
		}
		services = append(services, fmt.Sprintf("%s-%02d", name, i))
		if err := r.service(ctx, services[i], all); err != nil {
			return nil, err
		}
	}
	ours, theirs, err := r.turns(shared, func() error {
		_, err := command(ctx, r.watched, "docker", "secretx", "rotate", name, "--from-file", r.file)
		return err
	}, r.byScript(ctx, name, "apart", services, `for s in "${@:4}"; do update "$s"; done`), r.byScript(ctx, name, "together", services, `pids=()
for s in "${@:4}"; do update "$s" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid"; done`))
	if err != nil {
		return nil, err
	}
	work := fmt.Sprintf("rotate: 1 secret, %d services", shared)
	return []result{{
		work: work, reference: "docker service update, one after another",
		ours: ours.seconds(), against: theirs[0].seconds(), ratio: ratio(theirs[0], ours), aim: 1, atLeast: true,
	}, {
		// Ours proves in the containers what they have, and can go back; the script only waits.
		work: work, reference: "docker service update, all at once",
		ours: ours.seconds(), against: theirs[1].seconds(), ratio: ratio(theirs[1], ours), aim: 0.5, atLeast: true,
	}}, nil
}

// byScript does what a careful operator would: a name of his own for the new version, and an update of each
// service, in a loop of his.
func (r *rotations) byScript(ctx context.Context, name, suffix string, services []string, loop string) func(round int) (time.Duration, error) {
	script := `set -e
current=$(docker secretx current "$1")
docker secret create "$1-$2" "$3" >/dev/null
update() { docker service update --quiet --detach=false --no-resolve-image --secret-rm "$current" --secret-add "source=$new,target=value-0,mode=0400" "$1" >/dev/null; }
new=$1-$2
` + loop
	return func(round int) (time.Duration, error) {
		took, err := timedCommand(ctx, append([]string{"bash", "-c", script, "script", name, fmt.Sprint(suffix, round), r.file}, services...)...)
		if err != nil {
			return 0, err
		}
		// Back to what stands, for the next one.
		all, err := r.engine.secrets(ctx, "io.github.secretx.name="+name)
		if err != nil {
			return 0, err
		}
		var group errgroup.Group
		for _, s := range services {
			group.Go(func() error {
				return errors.Join(r.engine.dismiss(ctx, s), r.service(ctx, s, newestOf(all)))
			})
		}
		return took, group.Wait()
	}
}

func (r *rotations) manySecrets(ctx context.Context) ([]result, error) {
	const name, namespace = mark + "-many", mark + "-rotate"
	if _, err := r.cluster.namespace(ctx, namespace); err != nil {
		return nil, err
	}
	set := func() error {
		pairs := make([]string, shared)
		for i := range pairs {
			pairs[i] = fmt.Sprintf(`"k%02d":"value %d"`, i, r.n)
		}
		path := secretsPath(namespace)
		body := fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q},"stringData":{%s}}`, name, strings.Join(pairs, ","))
		if r.n > 0 {
			if err := r.cluster.do(ctx, http.MethodPut, path+"/"+name, []byte(body), nil); err == nil {
				return nil
			}
		}
		return r.cluster.do(ctx, http.MethodPost, path, []byte(body), nil)
	}
	sync := func(rollout ...string) error {
		_, err := command(ctx, r.watched, append([]string{"kubectl", "secretx", "sync", name, "--namespace", namespace}, rollout...)...)
		return err
	}
	if err := errors.Join(set(), sync()); err != nil {
		return nil, err
	}
	all, err := r.engine.secrets(ctx, "io.github.secretx.secret="+name)
	if err != nil || len(all) != shared {
		return nil, errors.Join(err, fmt.Errorf("%d secrets", len(all)))
	}
	if err := r.service(ctx, name, all); err != nil {
		return nil, err
	}
	ours, theirs, err := r.turns(1, func() error {
		if err := set(); err != nil {
			return err
		}
		return sync("--rollout")
	}, func(round int) (time.Duration, error) {
		script := `set -e
for i in $(seq -w 00 19); do
  docker secret create "$1-script-$2-$i" "$3" >/dev/null
  old=$(docker service inspect "$1" --format '{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}} {{.File.Name}}
{{end}}' | awk -v k=".k$i" 'index($1, k) { print $1, $2 }')
  set -- "$1" "$2" "$3" $old
  docker service update --quiet --detach=false --no-resolve-image --secret-rm "$4" --secret-add "source=$1-script-$2-$i,target=$5,mode=0400" "$1" >/dev/null
done`
		took, err := timedCommand(ctx, "bash", "-c", script, "script", name, fmt.Sprint(round), r.file)
		if err != nil {
			return 0, err
		}
		all, err := r.engine.secrets(ctx, "io.github.secretx.secret="+name)
		return took, errors.Join(err, r.engine.dismiss(ctx, name), r.service(ctx, name, newestOf(all)))
	})
	if err != nil {
		return nil, err
	}
	return []result{{
		work: fmt.Sprintf("sync --rollout: %d secrets, 1 service", shared), reference: "docker service update for each secret",
		ours: ours.seconds(), against: theirs[0].seconds(), ratio: ratio(theirs[0], ours), aim: 1, atLeast: true,
	}}, nil
}

// dismiss removes a service, and waits until its container is gone.
func (e *engine) dismiss(ctx context.Context, name string) error {
	if err := e.do(ctx, http.MethodDelete, "/services/"+name, nil, nil); err != nil {
		return err
	}
	_, err := e.running(ctx, name, 0)
	return err
}

// newestOf leaves the highest version of each logical name.
func newestOf(all []swarmSecret) []swarmSecret {
	newest := map[string]swarmSecret{}
	for _, s := range all {
		name := s.Spec.Labels["io.github.secretx.name"]
		if old, there := newest[name]; !there || len(s.Spec.Name) > len(old.Spec.Name) || len(s.Spec.Name) == len(old.Spec.Name) && s.Spec.Name > old.Spec.Name {
			newest[name] = s
		}
	}
	var left []swarmSecret
	for _, s := range newest {
		left = append(left, s)
	}
	return left
}
