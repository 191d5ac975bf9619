//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
)

// allow gives a user a Role with exactly these rights: "get pods", "list deployments.apps".
func (w *world) allow(t *testing.T, namespace, user string, rights []string) {
	t.Helper()
	client := get[*rbacclient.RbacV1Client](t)(rbacclient.NewForConfig(w.config))
	meta := metav1.ObjectMeta{Name: user}
	_, err := client.Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules(rights)}, metav1.CreateOptions{})
	must(t, err)
	_, err = client.RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	must(t, err)
}

func rules(rights []string) []rbacv1.PolicyRule {
	var all []rbacv1.PolicyRule
	for _, right := range rights {
		verb, resource, _ := strings.Cut(right, " ")
		plural, group, _ := strings.Cut(resource, ".")
		all = append(all, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{plural}, Verbs: []string{verb}})
	}
	return all
}

// users are what a Kubernetes namespace is searched for consumers with.
var users = []string{
	"list pods", "list podtemplates", "list replicationcontrollers", "list serviceaccounts", "list deployments.apps", "list replicasets.apps",
	"list statefulsets.apps", "list daemonsets.apps", "list jobs.batch", "list cronjobs.batch", "list ingresses.networking.k8s.io",
}

// TestRightsOfVerbs runs each verb that looks with the rights that docs/rights.md lists for it, and then
// with one less of each: it works, or names the right that is missing.
func TestRightsOfVerbs(t *testing.T) {
	w := newWorld(t)
	space := get[string](t)(w.namespace())
	name := w.prefix + "s"
	must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": []byte("value")}}))
	must(t, w.putPod(space, "shell", nil, volume(name, corev1.Container{Image: busybox, Command: []string{"sleep", "1000"}})))
	if _, r := secretx("kubectl", "sync", "--from", "kubernetes:/"+space, "--to", "swarm", name); r.code != 0 {
		t.Fatal(r)
	}
	w.putService(t, name, distroless, name+".v", false)
	w.running(t, space, "shell")

	for i, verb := range []struct {
		args   []string
		rights []string
		// without are those whose lack is said, and is no error: not all could be seen.
		without []string
		// code is that of a run that lacks one of those.
		code int
	}{
		{[]string{"peek-in-container", "k8s/shell"}, []string{"get namespaces", "get pods", "get secrets", "create pods/exec"}, nil, 0},
		{[]string{"peek-in-container", "swarm/" + name}, []string{"get namespaces", "get secrets"}, []string{"get namespaces", "get secrets"}, 0},
		{[]string{"consumers", name}, append([]string{"get namespaces", "list secrets"}, users...), users, 0},
		{[]string{"consumers", "--unused"}, append([]string{"get namespaces", "list secrets"}, users...), users, 1},
		{[]string{"ls"}, append([]string{"get namespaces", "list secrets"}, users...), users, 0},
		{[]string{"inspect", name}, append([]string{"get namespaces", "list secrets"}, users...), users, 0},
		{[]string{"verify", name}, append([]string{"get namespaces", "list secrets", "get secrets", "create pods/exec"}, users...), users[1:], 0}, // what runs is a pod
	} {
		t.Run(strings.ReplaceAll(strings.ReplaceAll(strings.Join(verb.args, " "), " ", "-"), "/", "-"), func(t *testing.T) {
			try := func(user string, rights []string) result {
				w.allow(t, space, user, rights)
				args := append([]string{"secretx"}, verb.args...)
				return run(nil, "kubectl", append(args, "-n", space, "--as", user)...)
			}
			if r := try(fmt.Sprintf("v%d", i), verb.rights); r.code != 0 || strings.Contains(r.err, "not seen") || strings.Contains(r.err, "not looked at") {
				t.Errorf("with all rights: %s", r)
			}
			for j, right := range verb.rights {
				action, resource, _ := strings.Cut(right, " ")
				plural, _, _ := strings.Cut(resource, ".")
				r := try(fmt.Sprintf("v%d-%d", i, j), slices.Delete(slices.Clone(verb.rights), j, j+1))
				if slices.Contains(verb.without, right) {
					if r.code != verb.code || !strings.Contains(r.err, plural) || !strings.Contains(r.err, action) {
						t.Errorf("without %q: %s", right, r)
					}
					continue
				}
				if r.code != 2 || r.out != "" || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, fmt.Sprintf("must allow %q on %q", action, plural)) {
					t.Errorf("without %q: %s", right, r)
				}
			}
		})
	}
}

// TestRightsInAllNamespaces: ls -A takes a ClusterRole, and names what it lacks.
func TestRightsInAllNamespaces(t *testing.T) {
	w := newWorld(t)
	space := get[string](t)(w.namespace())
	name := w.prefix + "s"
	must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": []byte("value")}}))
	client := get[*rbacclient.RbacV1Client](t)(rbacclient.NewForConfig(w.config))
	try := func(user string, rights []string) result {
		user = w.prefix + user
		meta := metav1.ObjectMeta{Name: user}
		_, err := client.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules(rights)}, metav1.CreateOptions{})
		must(t, err)
		_, err = client.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		}, metav1.CreateOptions{})
		must(t, err)
		t.Cleanup(func() {
			must(t, client.ClusterRoleBindings().Delete(context.Background(), user, metav1.DeleteOptions{}))
			must(t, client.ClusterRoles().Delete(context.Background(), user, metav1.DeleteOptions{}))
		})
		return run(nil, "kubectl", "secretx", "ls", "-A", "-n", space, "--as", user)
	}
	rights := append([]string{"list namespaces", "get namespaces", "list secrets"}, users...)
	if r := try("all", rights); r.code != 0 || !strings.Contains(r.out, name) || strings.Contains(r.err, "not seen") {
		t.Errorf("with all rights: %s", r)
	}
	for i, right := range rights {
		action, resource, _ := strings.Cut(right, " ")
		plural, _, _ := strings.Cut(resource, ".")
		r := try(fmt.Sprint("less-", i), slices.Delete(slices.Clone(rights), i, i+1))
		if r.code > 2 || r.code < 0 || !strings.Contains(r.err, plural) || !strings.Contains(r.err, action) {
			t.Errorf("without %q: %s", right, r)
		}
	}
}

// TestRightsToChange does so with the verbs that write, each with a Secret of its own that nobody uses: what it
// takes to move those who do is tested beside the code that moves them. With one right less nothing is written,
// but for the end of a rotation.
func TestRightsToChange(t *testing.T) {
	w := newWorld(t)
	space := get[string](t)(w.namespace())
	value := filepath.Join(t.TempDir(), "value")
	must(t, os.WriteFile(value, []byte("new"), 0o600))
	workloads := slices.DeleteFunc(slices.Clone(users), func(right string) bool { return right == "list podtemplates" }) // nothing moves them
	for i, verb := range []struct {
		args   []string // NAME is that of the Secret
		create bool     // it isn't there yet
		rights []string
		late   string // a right whose lack is found out when all is done
	}{
		{[]string{"create", "NAME", "--from-file", value}, true, []string{"get namespaces", "create secrets", "patch secrets"}, ""},
		{[]string{"rotate", "NAME", "--from-file", value}, false, append([]string{"get namespaces", "list secrets", "get secrets", "create secrets", "patch secrets", "delete secrets"}, workloads...), "delete secrets"},
		{[]string{"rm", "NAME"}, false, append([]string{"get namespaces", "list secrets", "delete secrets"}, users...), ""},
		{[]string{"current", "NAME", "--in", "kubernetes"}, false, []string{"get namespaces", "list secrets"}, ""},
	} {
		t.Run(verb.args[0], func(t *testing.T) {
			n := 0
			try := func(rights []string) (name string, r result) {
				n++
				user := fmt.Sprintf("c%d-%d", i, n)
				name = w.prefix + user
				if !verb.create {
					must(t, w.putKube(space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"v": []byte("old")}}))
				}
				w.allow(t, space, user, rights)
				args := []string{"secretx"}
				for _, arg := range verb.args {
					args = append(args, strings.ReplaceAll(arg, "NAME", name))
				}
				return name, run(nil, "kubectl", append(args, "-n", space, "--as", user)...)
			}
			if _, r := try(verb.rights); r.code != 0 || strings.Contains(r.out+r.err, "not allowed") {
				t.Errorf("with all rights: %s", r)
			}
			for j, right := range verb.rights {
				action, resource, _ := strings.Cut(right, " ")
				plural, _, _ := strings.Cut(resource, ".")
				name, r := try(slices.Delete(slices.Clone(verb.rights), j, j+1))
				code, holds := 2, "old"
				if right == verb.late {
					code, holds = 1, "new"
				}
				if text := r.out + r.err; r.code != code || !strings.Contains(text, "not allowed") || !strings.Contains(text, action) || !strings.Contains(text, plural) {
					t.Errorf("without %q: %s", right, r)
				}
				all := get[*corev1.SecretList](t)(w.kube.Secrets(space).List(t.Context(), metav1.ListOptions{}))
				there := false
				for _, s := range all.Items {
					if s.Name == name {
						there = true
						if string(s.Data["v"]) != holds {
							t.Errorf("without %q, but it was written", right)
						}
					}
					if s.Name == name+".rollback" && right != verb.late {
						t.Errorf("without %q, and yet there is a backup", right)
					}
				}
				if there == verb.create {
					t.Errorf("without %q: there is it: %t", right, there)
				}
			}
		})
	}
}
