//go:build e2e

package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// workload finds one by its ID.
func workload(t testing.TB, e *kube.Endpoint, id string) rollout.Workload {
	t.Helper()
	all, err := e.Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(w rollout.Workload) bool { return w.ID == id })
	if i < 0 {
		t.Fatalf("no %s among %v", id, all)
	}
	return all[i]
}

func restart(w rollout.Workload) rollout.Step { return rollout.Step{Workload: w, Restart: true} }

func replace(w rollout.Workload, names ...string) rollout.Step {
	s := rollout.Step{Workload: w, Replace: map[string]secret.Ref{}, Return: map[string]secret.Ref{}}
	for i := 0; i < len(names); i += 2 {
		s.Replace[names[i]] = secret.Ref{Name: names[i+1]}
		s.Return[names[i+1]] = secret.Ref{Name: names[i]}
	}
	return s
}

// moves carries a step out and waits for it.
func moves(t testing.TB, e *kube.Endpoint, step rollout.Step) (rollout.Moved, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	moved, err := e.Move(ctx, step)
	if err != nil {
		return moved, err
	}
	return moved, e.Settle(ctx, moved, func(line string) { t.Log(line) })
}

// secretOf makes a Secret, immutable or not.
func (c *cluster) secretOf(name, value string, immutable bool) {
	c.Helper()
	c.kubectl(fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q},"immutable":%v,"stringData":{"value":%q}}`, name, immutable, value),
		"create", "-f", "-")
}

// values are what the running pods of a workload have in $A, each once.
func (c *cluster) values(selector string) []string {
	c.Helper()
	var all []string
	list := c.must(http.MethodGet, "/api/v1/namespaces/"+c.namespace+"/pods?labelSelector="+url.QueryEscape(selector), nil)
	for _, item := range list["items"].([]any) {
		metadata := item.(object)["metadata"].(object)
		if metadata["deletionTimestamp"] == nil {
			all = append(all, strings.TrimSpace(c.kubectl("", "exec", metadata["name"].(string), "--", "sh", "-c", "echo $A")))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestRestartDeployment(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.secretOf("s", "1", false)
	c.manifest(strings.ReplaceAll(web, "NAME", "s"))
	c.kubectl("", "rollout", "status", "deploy/web")
	c.edit("s", object{"data": object{"value": b64("2")}})
	w := workload(t, e, "deployment/web")
	if len(w.Refs) != 1 || w.Refs[0] != (rollout.Ref{Name: "s"}) || w.Fixed != "" {
		t.Errorf("%+v", w)
	}
	for range 2 { // the second within the same second, maybe
		moved, err := moves(t, e, restart(w))
		if err != nil || moved.Nothing {
			t.Fatal(moved, err)
		}
	}
	if got := c.values("app=web"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("the pods have %q", got)
	}
	stamp := c.kubectl("", "get", "deploy/web", "-o", `jsonpath={.spec.template.metadata.annotations.kubectl\.kubernetes\.io/restartedAt}`)
	if _, err := time.Parse(time.RFC3339, stamp); err != nil {
		t.Error(stamp)
	}
}

func TestReplaceInDeployment(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.secretOf("s", "1", true)
	c.secretOf("s.v2", "2", true)
	c.manifest(strings.ReplaceAll(web, "NAME", "s"))
	c.kubectl("", "rollout", "status", "deploy/web")
	step := replace(workload(t, e, "deployment/web"), "s", "s.v2")
	for i := range 2 {
		moved, err := moves(t, e, step)
		if err != nil || moved.Nothing != (i == 1) {
			t.Fatal(moved, err)
		}
	}
	if got := c.values("app=web"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("the pods have %q", got)
	}
	if moved, err := moves(t, e, step.Back()); err != nil || moved.Nothing {
		t.Fatal(moved, err)
	}
	if got := c.values("app=web"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("the pods have %q", got)
	}
}

func TestPausedDeployment(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.secretOf("s", "1", false)
	c.manifest(strings.ReplaceAll(web, "NAME", "s"))
	w := workload(t, e, "deployment/web")
	c.kubectl("", "rollout", "pause", "deploy/web")
	before := c.kubectl("", "get", "deploy/web", "-o", "jsonpath={.spec}")
	var stuck *rollout.Stuck
	for _, step := range []rollout.Step{restart(w), replace(w, "s", "s.v2")} {
		if _, err := e.Move(t.Context(), step); !errors.As(err, &stuck) || !strings.Contains(err.Error(), "kubectl rollout resume deployment/web") {
			t.Error(err)
		}
	}
	if after := c.kubectl("", "get", "deploy/web", "-o", "jsonpath={.spec}"); before != after {
		t.Error("it was changed")
	}
	if w := workload(t, e, "deployment/web"); !strings.Contains(w.Fixed, "paused") {
		t.Errorf("%+v", w)
	}
}

// idle is a Deployment without pods, whose lists can be written to as fast as the API server goes.
const idle = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: 0
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec:
      containers:
      - name: a
        image: x
        env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: value}}}]
        envFrom: [{prefix: X_, secretRef: {name: s}}, {secretRef: {name: other}}]
      volumes:
      - {name: v, projected: {sources: [{secret: {name: s}}, {secret: {name: other}}]}}
`

// What somebody else writes at the same moment is kept, and what we write, too. The writer puts
// another Secret in front, so that the places of references change under our hands.
func TestMoveBesideAnotherWriter(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.manifest(idle)
	step := replace(workload(t, e, "deployment/idle"), "s", "s.v2")
	path := "/apis/apps/v1/namespaces/" + c.namespace + "/deployments/idle"
	const writes = 60
	done := make(chan error, 1)
	go func() {
		for i := range writes {
			at := "/spec/template/spec/containers/0/"
			status, answer := c.do(http.MethodPatch, path+"?fieldManager=another", "application/json-patch+json", []object{
				{"op": "add", "path": at + "env/-", "value": object{"name": fmt.Sprintf("N%d", i), "value": "x"}},
				{"op": "add", "path": at + "envFrom/0", "value": object{"secretRef": object{"name": fmt.Sprintf("n%d", i)}}},
			})
			if status >= 300 {
				done <- fmt.Errorf("%d %v", status, answer)
				return
			}
		}
		done <- nil
	}()
	moves, there := 0, true
	for running := true; running || !there; moves++ {
		select {
		case err := <-done:
			running = false
			if err != nil {
				t.Fatal(err)
			}
		default:
		}
		now := step
		if !there {
			now = step.Back()
		}
		now.Restart = true
		moved, err := e.Move(t.Context(), now)
		if err != nil || moved.Nothing {
			t.Fatal(moved, err)
		}
		there = !there
	}
	spec := c.must(http.MethodGet, path, nil)["spec"].(object)["template"].(object)["spec"].(object)
	text, _ := json.Marshal(spec)
	container := spec["containers"].([]any)[0].(object)
	env, from := container["env"].([]any), container["envFrom"].([]any)
	wrong := strings.Count(string(text), `"s"`) + strings.Count(string(text), `"s.v2"`)
	if len(env) != writes+1 || len(from) != writes+2 || wrong != 3 {
		t.Errorf("%d variables, %d sources, %d references after %d moves\n%s", len(env), len(from), wrong, moves, text)
	}
	t.Logf("%d moves beside %d writes", moves, writes)
}

// The same with kubectl, whose patch is a strategic merge.
func TestMoveBesideKubectlSetEnv(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.manifest(idle)
	step := replace(workload(t, e, "deployment/idle"), "s", "s.v2")
	for i := range 5 {
		set := make(chan struct{})
		go func() {
			defer close(set)
			c.kubectl("", "set", "env", "deploy/idle", fmt.Sprintf("N%d=x", i))
		}()
		for running := true; running; {
			if _, err := e.Move(t.Context(), step); err != nil {
				t.Fatal(err)
			}
			step = step.Back()
			select {
			case <-set:
				running = false
			default:
			}
		}
	}
	env := c.kubectl("", "set", "env", "deploy/idle", "--list")
	for i := range 5 {
		if !strings.Contains(env, fmt.Sprintf("N%d=x", i)) {
			t.Errorf("N%d is lost:\n%s", i, env)
		}
	}
}

// A workload that was made anew under its name is another one.
func TestMoveOfAnotherOneByItsName(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.manifest(idle)
	step := replace(workload(t, e, "deployment/idle"), "s", "s.v2")
	moved := rollout.Moved{Step: step, Token: "1"}
	c.kubectl("", "delete", "deploy/idle")
	for range 2 {
		var errs [2]error
		_, errs[0] = e.Move(t.Context(), step)
		errs[1] = e.Settle(t.Context(), moved, nil)
		for _, err := range errs {
			if !errors.Is(err, endpoint.ErrNotFound) || !strings.Contains(err.Error(), `deployment/idle`) || !strings.Contains(err.Error(), "it was removed") {
				t.Error(err)
			}
		}
		c.manifest(idle)
	}
	if text := c.kubectl("", "get", "deploy/idle", "-o", "jsonpath={.spec.template.spec}"); strings.Contains(text, "s.v2") {
		t.Error(text)
	}
}

// A template that the API server doesn't take is one clear error, and not tried again and again.
func TestMoveThatIsNotAccepted(t *testing.T) {
	c := newCluster(t)
	e := c.open()
	c.manifest(idle)
	moved, err := e.Move(t.Context(), replace(workload(t, e, "deployment/idle"), "s", "Not A Name"))
	if !errors.Is(err, endpoint.ErrInvalid) || !moved.Nothing || !strings.Contains(err.Error(), "Not A Name") {
		t.Error(moved, err)
	}
}
