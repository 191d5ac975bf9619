//go:build e2e

package kube_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/rollout"
)

// What the package comment says of rights is enough to move a workload, and with one less one error names it.
func TestRightsToMove(t *testing.T) {
	c := newCluster(t)
	c.secretOf("s", "1", false)
	c.manifest(strings.ReplaceAll(web, "NAME", "s"))
	c.manifest(everything)
	c.kubectl("", "rollout", "status", "deploy/web")
	find := []string{
		"list pods", "list replicationcontrollers", "list serviceaccounts", "list deployments.apps", "list replicasets.apps",
		"list statefulsets.apps", "list daemonsets.apps", "list jobs.batch", "list cronjobs.batch", "list ingresses.networking.k8s.io",
	}
	if all, err := c.allowed("mover", find...).Workloads(t.Context()); err != nil || len(all) != 8 {
		t.Fatal(err, wiring(all))
	}
	for i, right := range find {
		_, err := c.allowed("mover", slices.Delete(slices.Clone(find), i, i+1)...).Workloads(t.Context())
		lacks(t, err, right)
	}
	all, err := c.open().Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, rights := range map[string][]string{
		"deployment/web":       {"get deployments.apps", "patch deployments.apps", "list deployments.apps", "list replicasets.apps", "list pods"},
		"statefulset/db":       {"get statefulsets.apps", "patch statefulsets.apps", "list statefulsets.apps", "list pods"},
		"daemonset/each":       {"get daemonsets.apps", "patch daemonsets.apps", "list daemonsets.apps", "list pods"},
		"cronjob/nightly":      {"get cronjobs.batch", "patch cronjobs.batch"},
		"ingress/front":        {"get ingresses.networking.k8s.io", "patch ingresses.networking.k8s.io"},
		"serviceaccount/robot": {"get serviceaccounts", "patch serviceaccounts"},
	} {
		w := all[slices.IndexFunc(all, func(w rollout.Workload) bool { return w.ID == id })]
		from := w.Refs[0].Name
		step := replace(w, from, "another")
		try := func(e *kube.Endpoint) error {
			step.Restart = true
			_, err := moves(t, e, step)
			if err == nil {
				step = step.Back()
			}
			return err
		}
		if id == "deployment/web" {
			step = restart(w)
		}
		began := time.Now()
		if err := try(c.allowed("mover", rights...)); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		t.Logf("%s: %s", id, time.Since(began).Round(time.Millisecond))
		for i, right := range rights {
			lacks(t, try(c.allowed("mover", slices.Delete(slices.Clone(rights), i, i+1)...)), right)
		}
	}
}

// lacks checks that an error names the right that is missing.
func lacks(t *testing.T, err error, right string) {
	t.Helper()
	verb, resource, _ := strings.Cut(right, " ")
	plural, _, _ := strings.Cut(resource, ".")
	if want := `must allow "` + verb + `" on "` + plural + `"`; !errors.Is(err, endpoint.ErrForbidden) || strings.Count(err.Error(), want) != 1 {
		t.Errorf("without %s: %v", right, err)
	}
}
