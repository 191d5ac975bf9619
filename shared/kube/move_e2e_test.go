//go:build e2e

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

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
	s := rollout.Step{Workload: w, Replace: map[string]secret.Ref{}}
	for i := 0; i < len(names); i += 2 {
		s.Replace[names[i]] = secret.Ref{Name: names[i+1]}
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
