//go:build e2e

package kube_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/kube"
	"github.com/secretx/secretx/shared/peek"
)

var users atomic.Int64

// allowed opens the endpoint as somebody, each time another one, who may do exactly this: "get pods",
// "list deployments.apps".
func (c *cluster) allowed(user string, rights ...string) *kube.Endpoint {
	c.Helper()
	user = fmt.Sprint(user, "-", users.Add(1))
	rules := []object{}
	for _, right := range rights {
		verb, resource, _ := strings.Cut(right, " ")
		plural, group, _ := strings.Cut(resource, ".")
		rules = append(rules, object{"apiGroups": []string{group}, "resources": []string{plural}, "verbs": []string{verb}})
	}
	path := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + c.namespace
	role := object{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": object{"name": user}, "rules": rules}
	if status, answer := c.do(http.MethodPatch, path+"/roles/"+user+"?fieldManager=test&force=true", "application/apply-patch+yaml", role); status >= 300 {
		c.Fatal(status, answer)
	}
	binding := object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": object{"name": user},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
		"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}},
	}
	if status, answer := c.do(http.MethodPatch, path+"/rolebindings/"+user+"?fieldManager=test&force=true", "application/apply-patch+yaml", binding); status >= 300 {
		c.Fatal(status, answer)
	}
	c.mayNow(user, rights[0])
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	return c.openAs(config)
}

// mayNow waits until the API server knows of a right, which it does a little after it was given.
func (c *cluster) mayNow(user, right string) {
	c.Helper()
	verb, resource, _ := strings.Cut(right, " ")
	plural, group, _ := strings.Cut(resource, ".")
	plural, sub, _ := strings.Cut(plural, "/")
	review := object{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": object{
		"user":               user,
		"resourceAttributes": object{"namespace": c.namespace, "verb": verb, "group": group, "resource": plural, "subresource": sub},
	}}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		status, answer := c.do(http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", "", review)
		if found, _ := answer["status"].(map[string]any); found["allowed"] == true {
			return
		}
		if time.Since(began) > 30*time.Second {
			c.Fatal(status, answer)
		}
	}
}

// What the package comment says of rights is enough, and with one less one error names it.
func TestRightsToPeek(t *testing.T) {
	c := newCluster(t)
	c.manifest(distroless)
	c.manifest(strings.ReplaceAll(distroless, "{name: root}", "{name: another}"))
	c.manifest(lab)
	c.manifest(strings.ReplaceAll(web, "NAME", "s") + "        envFrom: [{secretRef: {name: s}}]\n")
	c.kubectl("", "patch", "deploy/web", "--type=json", "-p", `[{"op":"replace","path":"/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/key","value":"a"}]`)
	c.manifest(`
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          terminationGracePeriodSeconds: 0
          restartPolicy: Never
          containers: [{name: a, image: secretx-test/busybox:1, command: [sleep, "3600"], env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: a}}}]}]
`)
	c.kubectl("", "create", "job", "--from=cronjob/nightly", "tonight")
	c.running("root", "another", "secretpod")
	c.kubectl("", "rollout", "status", "deploy/web")
	c.kubectl("", "wait", "--for=jsonpath={.status.ready}=1", "job/tonight")
	for name, test := range map[string]struct {
		target peek.Target
		rights []string
		object string
	}{
		"pod":       {pod("secretpod"), []string{"get pods", "get secrets", "create pods/exec"}, "pod/secretpod"},
		"ephemeral": {pod("root"), []string{"get pods", "get secrets", "create pods/exec", "patch pods/ephemeralcontainers"}, "pod/root"},
		"owner":     {target("deploy/web"), []string{"get deployments.apps", "list pods", "get secrets", "create pods/exec"}, "replicaset/web-"},
		"selector":  {peek.Target{Selector: "app=web"}, []string{"list pods", "get secrets", "create pods/exec", "get replicasets.apps"}, "deployment/web"},
		"cronjob":   {target("cronjob/nightly"), []string{"get cronjobs.batch", "list pods", "list jobs.batch", "get jobs.batch", "get secrets", "create pods/exec"}, "cronjob/nightly"},
	} {
		try := func(e *kube.Endpoint) ([]peek.Container, error) {
			all, err := e.Containers(t.Context(), test.target)
			if err == nil {
				err = e.Look(t.Context(), all, peek.LookOptions{Nonce: nonce, AllowEphemeral: name == "ephemeral", HelperImage: "secretx-test/busybox:1", Progress: func(string) {}})
			}
			return all, err
		}
		all, err := try(c.allowed(name, test.rights...))
		if err != nil || len(all) != 1 || all[0].Unseen != "" || len(all[0].Seen.Env) == 0 || !strings.HasPrefix(all[0].Object, test.object) {
			t.Errorf("%s: %v\n%s", name, err, show(all))
		}
		if name == "ephemeral" {
			test.target = pod("another") // the container in the first would be used again
		}
		for i, right := range test.rights {
			if right == "get replicasets.apps" || right == "get jobs.batch" {
				continue // only for the name of the owner
			}
			all, err := try(c.allowed(name, slices.Delete(slices.Clone(test.rights), i, i+1)...))
			verb, resource, _ := strings.Cut(right, " ")
			plural, _, _ := strings.Cut(resource, ".")
			want := `must allow "` + verb + `" on "` + plural + `"`
			if !errors.Is(err, endpoint.ErrForbidden) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s without %s: %v\n%s", name, right, err, show(all))
			}
		}
	}
}

func TestRightsToFindConsumers(t *testing.T) {
	c := newCluster(t)
	c.manifest(everything)
	rights := []string{
		"list pods", "list podtemplates", "list replicationcontrollers", "list serviceaccounts", "list deployments.apps", "list replicasets.apps",
		"list statefulsets.apps", "list daemonsets.apps", "list jobs.batch", "list cronjobs.batch", "list ingresses.networking.k8s.io",
	}
	all, err := c.allowed("finder", rights...).Consumers(t.Context())
	if err != nil || len(all.Blind) > 0 || len(all.Consumers) != 8 {
		t.Errorf("%v, %v, %d", err, all.Blind, len(all.Consumers))
	}
	for i, right := range rights {
		less, err := c.allowed("finder", slices.Delete(slices.Clone(rights), i, i+1)...).Consumers(t.Context())
		plural, _, _ := strings.Cut(strings.TrimPrefix(right, "list "), ".")
		want := plural + " in namespace " + c.namespace + ": not allowed (list)"
		if err != nil || !slices.Equal(less.Blind, []string{want}) {
			t.Errorf("without %s: %v %v", right, err, less.Blind)
		}
	}
}
