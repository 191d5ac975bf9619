//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appsclient "k8s.io/client-go/kubernetes/typed/apps/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"

	"github.com/secretx/secretx/shared/rights"
)

// A rightsCase is how a row of the table of rights is tried out. NAME stands for a secret, web for the object
// that the row names: of each try's own or, where the case is shared, of the row's.
type rightsCase struct {
	verb    string
	code    int // with all rights
	prepare func(r *rightsWorld, name string)
	shared  bool
	again   func(r *rightsWorld, name string) // before each try, where it is shared
	// lack says of rights, such as "delete secrets", that their lack shows by another exit code than 2.
	lack map[string]int
	// silent are rights that can be done without, and whose lack isn't said.
	silent []string
	// other are rights for what doesn't come up in this case.
	other []string
	// change is made once a verb that stays has written, and has it write again.
	change func(r *rightsWorld, name string)
}

var keyRead = []string{"get secrets " + keySecret}

var late = map[string]int{"watch": 0}

var rightsCases = map[string]rightsCase{
	"diff-name":    {verb: "diff NAME", prepare: mirroredInSwarm, silent: keyRead},
	"diff-all":     {verb: "diff -l case=NAME", prepare: mirroredInSwarm, silent: keyRead},
	"diff-mirror":  {verb: "diff NAME --from swarm --to kubernetes", prepare: mirroredHere, silent: keyRead},
	"diff-mirrors": {verb: "diff -l case=NAME --from swarm --to kubernetes", prepare: mirroredHere, silent: keyRead},

	"sync-name":      {verb: "sync NAME", prepare: kubeSecret},
	"sync-all":       {verb: "sync -l case=NAME", prepare: kubeSecret},
	"sync-mirror":    {verb: "sync NAME --from swarm --to kubernetes", prepare: swarmSecret},
	"sync-mirrors":   {verb: "sync -l case=NAME --from swarm --to kubernetes", prepare: swarmSecret, silent: keyRead},
	"sync-prune":     {verb: "sync NAME NAME-gone --prune --yes --from swarm --to kubernetes", prepare: orphanAndNew, silent: keyRead, lack: map[string]int{"create secrets": 1, "patch secrets": 1, "delete secrets": 1}},
	"sync-immutable": {verb: "sync NAME --force --yes --from swarm --to kubernetes", prepare: strangerHere},
	"sync-rollout": {verb: "sync NAME --rollout --from swarm --to kubernetes", shared: true, prepare: mirroredAndUsed, again: rotatedInSwarm, silent: []string{"create secrets " + keySecret, "patch secrets " + keySecret}, other: []string{"create secrets NAME"}, lack: map[string]int{
		// The mirrors are written before.
		"list": 1, "get secrets": 2, "get deployments.apps web": 1, "patch deployments.apps web": 1,
	}},

	// An API server that doesn't begin a watch with what there is, as older ones, is asked for a list, too. Where it
	// can't watch, it lists again and again, which finds changes late and says so.
	"watch-name":    {verb: "sync NAME --watch", prepare: kubeSecret, change: changedHere, other: []string{"list secrets NAME"}, lack: late},
	"watch-all":     {verb: "sync -l case=NAME --watch", prepare: kubeSecret, change: changedHere, lack: late},
	"watch-mirror":  {verb: "sync NAME --watch --from swarm --to kubernetes", prepare: swarmSecret, change: mirrorChangedHere, other: []string{"list secrets NAME"}, lack: late},
	"watch-mirrors": {verb: "sync -l case=NAME --watch --from swarm --to kubernetes", prepare: swarmSecret, change: mirrorChangedHere, silent: keyRead, lack: late},
	"watch-events":  {verb: "sync NAME --watch --events", prepare: kubeSecret, change: changedHere, other: []string{"list secrets NAME", "patch events.events.k8s.io"}, lack: late},

	"peek-pod":       {verb: "peek-in-container pod/web", shared: true, prepare: usedByPod},
	"peek-owner":     {verb: "peek-in-container deployment/web", shared: true, prepare: usedByDeployment},
	"peek-cronjob":   {verb: "peek-in-container cronjob/web", shared: true, prepare: usedByCronJob},
	"peek-selector":  {verb: "peek-in-container -l app=web", shared: true, prepare: usedByDeployment},
	"peek-ephemeral": {verb: "peek-in-container pod/web --allow-ephemeral --helper-image " + busybox, prepare: usedByBarePod},
	"verify":         {verb: "verify NAME", shared: true, prepare: usedByPod},
	"consumers":      {verb: "consumers NAME", shared: true, prepare: usedByPod},
	"ls":             {verb: "ls", shared: true, prepare: usedByPod, silent: keyRead},
	"inspect":        {verb: "inspect NAME", shared: true, prepare: usedByPod, silent: keyRead},
	"ls-all":         {verb: "ls -A", shared: true, prepare: kubeSecret, silent: keyRead},

	"create":             {verb: "create NAME --from-file VALUE", prepare: nothing},
	"create-both":        {verb: "create NAME --from-file VALUE --in both", prepare: nothing},
	"rotate":             {verb: "rotate NAME --generate 16", shared: true, prepare: usedByDeployment, again: withoutBackup, lack: map[string]int{"delete secrets NAME.rollback": 1, "get deployments.apps web": 1, "patch deployments.apps web": 1}},
	"rotate-immutable":   {verb: "rotate NAME --generate 16", shared: true, prepare: immutableAndUsed, other: []string{"delete secrets NAME.rollback"}, silent: []string{"delete secrets"}, lack: map[string]int{"get secrets": 1, "get deployments.apps web": 1, "patch deployments.apps web": 1}},
	"rm":                 {verb: "rm NAME", prepare: kubeSecret},
	"prune":              {verb: "prune NAME --yes", prepare: orphanHere, lack: map[string]int{"delete secrets": 1}},
	"current":            {verb: "current NAME --in kubernetes", shared: true, prepare: kubeSecret},
	"translate":          {verb: "translate deployment/web", shared: true, prepare: usedByDeployment, silent: []string{"list services"}},
	"translate-selector": {verb: "translate -l app=web", shared: true, prepare: usedByDeployment, silent: []string{"list services"}},
	"doctor":             {verb: "doctor --for doctor", shared: true, prepare: nothing, lack: map[string]int{"get namespaces": 1}},
}

// rightsWorld is what the tries of one row have to themselves.
type rightsWorld struct {
	*world
	t     *testing.T
	space string
	value string // the path of a file
	row   rights.Row
	how   rightsCase
	n     int
}

// TestRights gives a user what rbac prints for each row of the table, by kubectl apply, and sees the verb work;
// then all of it but one right, and sees that one named, or what comes of doing without it.
func TestRights(t *testing.T) {
	w := newWorld(t)
	value := filepath.Join(t.TempDir(), "value")
	must(t, os.WriteFile(value, []byte("new"), 0o600))
	for _, row := range rights.Rows {
		how, there := rightsCases[row.Name]
		if !there {
			t.Errorf("%s: nothing tries it out", row.Name)
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			r := &rightsWorld{world: w, t: t, space: get[string](t)(w.namespace()), value: value, row: row, how: how}
			name := r.next()
			r.apply(name)
			if result := r.try(name, "all"); result.code != how.code || strings.Contains(result.out+result.err, "not allowed") || strings.Contains(result.err, "not seen") {
				t.Fatalf("with all rights: %s", result)
			}
			for i := range r.singles(name) {
				r.without(i)
			}
		})
	}
}

// next is the secret of the next try, and prepares for it.
func (r *rightsWorld) next() string {
	r.n++
	name := fmt.Sprintf("%s%s", r.prefix, strings.ReplaceAll(r.row.Name, "_", "-"))
	if !r.how.shared {
		name += fmt.Sprint("-", r.n)
	}
	if r.n == 1 || !r.how.shared {
		r.how.prepare(r, name)
	}
	if r.how.again != nil {
		r.how.again(r, name)
	}
	if !r.how.shared && (strings.HasPrefix(r.how.verb, "sync") || strings.HasPrefix(r.how.verb, "create")) {
		run(nil, "kubectl", "delete", "secret", keySecret, "-n", r.space, "--ignore-not-found") // made anew by each try
	}
	return name
}

// object is what web stands for.
func (r *rightsWorld) object(name string) string {
	if r.how.shared {
		return "web"
	}
	return name
}

func (r *rightsWorld) fill(text, name string) string {
	return strings.NewReplacer("NAME", name, "VALUE", r.value, "web", r.object(name)).Replace(text)
}

func (r *rightsWorld) user(what string) string { return r.prefix + r.row.Name + "-" + what }

// apply gives the user "all" what rbac prints, which is what the table says.
func (r *rightsWorld) apply(name string) {
	r.t.Helper()
	args := append([]string{"secretx", "rbac", "-n", r.space, "--user", r.user("all"), "--role-name", r.user("all")}, strings.Fields(r.fill(r.row.Args, name))...)
	text := run(nil, "kubectl", args...)
	if text.code != 0 {
		r.t.Fatalf("kubectl %s: %s", strings.Join(args, " "), text)
	}
	cmd := exec.CommandContext(r.t.Context(), "kubectl", "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(text.out)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s\n%s", err, out, text.out)
	}
	if r.row.Use.Cluster() {
		r.t.Cleanup(func() {
			run(nil, "kubectl", "delete", "clusterrole/"+r.user("all"), "clusterrolebinding/"+r.user("all")+"-"+r.user("all"))
		})
	}
	asJSON := run(nil, "kubectl", append(args, "-o", "json")...)
	var list struct {
		Items []struct{ Rules []rbacv1.PolicyRule }
	}
	must(r.t, json.Unmarshal([]byte(asJSON.out), &list))
	var printed rights.Rules
	for _, rule := range list.Items[0].Rules {
		for _, resource := range rule.Resources {
			printed = append(printed, rights.Rule{Group: rule.APIGroups[0], Resource: resource, Names: rule.ResourceNames, Verbs: rule.Verbs})
		}
	}
	wanted := get[rights.Rules](r.t)(rights.For(r.use(name)))
	for _, rule := range wanted {
		if !slices.ContainsFunc(printed, func(p rights.Rule) bool {
			p.Without = rule.Without
			return reflect.DeepEqual(p, rule)
		}) {
			r.t.Errorf("rbac %s doesn't print %v", r.row.Args, rule)
		}
	}
	if len(printed) != len(wanted) {
		r.t.Errorf("rbac %s prints %v instead of %v", r.row.Args, printed, wanted)
	}
	r.until("all", wanted)
}

// until waits until the API server knows of the rights of a user, which it does a little after they were given, and
// of all in a role at the same time.
func (r *rightsWorld) until(user string, rules rights.Rules) {
	r.t.Helper()
	if len(rules) == 0 {
		return
	}
	rule := rules[0]
	resource, sub, _ := strings.Cut(rule.Resource, "/")
	asked := authorizationv1.ResourceAttributes{Group: rule.Group, Resource: resource, Subresource: sub, Verb: rule.Verbs[0], Namespace: r.space}
	if len(rule.Names) > 0 {
		asked.Name = rule.Names[0]
	}
	client := get[*authorizationclient.AuthorizationV1Client](r.t)(authorizationclient.NewForConfig(r.config))
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		review, err := client.SubjectAccessReviews().Create(r.t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: r.user(user), ResourceAttributes: &asked},
		}, metav1.CreateOptions{})
		must(r.t, err)
		if review.Status.Allowed {
			return
		}
		if time.Since(began) > 30*time.Second {
			r.t.Fatalf("%s was never allowed to %v", r.user(user), rule)
		}
	}
}

// singles are the rights that a try takes, one by one.
func (r *rightsWorld) singles(name string) (all rights.Rules) {
	for _, rule := range get[rights.Rules](r.t)(rights.For(r.use(name))) {
		for _, verb := range rule.Verbs {
			one := rule
			one.Verbs = []string{verb}
			all = append(all, one)
		}
	}
	return all
}

// use is that of the row with the names of a try.
func (r *rightsWorld) use(name string) rights.Use {
	u := r.row.Use
	u.Namespace = r.space
	u.Secrets = slices.Clone(u.Secrets)
	for i, s := range u.Secrets {
		u.Secrets[i] = r.fill(s, name)
	}
	u.Targets = slices.Clone(u.Targets)
	for i, target := range u.Targets {
		u.Targets[i].Name = r.fill(target.Name, name)
	}
	return u
}

func (r *rightsWorld) try(name, user string) result {
	args := append([]string{"secretx"}, strings.Fields(r.fill(r.how.verb, name))...)
	args = append(args, "-n", r.space, "--as", r.user(user))
	if r.how.change != nil {
		return r.stay(name, args)
	}
	return run(nil, "kubectl", args...)
}

// stay runs a verb that does until it has written twice, or can't because of a right, which is an exit code of 2.
func (r *rightsWorld) stay(name string, args []string) result {
	var said lines
	cmd := exec.Command("kubectl-secretx", args[1:]...)
	cmd.Stderr = &said
	must(r.t, cmd.Start())
	written := func() int { return strings.Count(said.String(), " done") }
	refused := func() bool {
		for line := range strings.Lines(said.String()) {
			if strings.Contains(line, "not allowed") && !strings.HasPrefix(line, "no ") { // fingerprints, or Events
				return true
			}
		}
		return false
	}
	until := func(n int) bool {
		for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
			if written() >= n {
				return true
			}
			if refused() && time.Since(began) > 6*time.Second {
				return false
			}
		}
		return false
	}
	r2 := result{code: 2}
	if until(1) {
		settled(&said)
		r.how.change(r, name)
		if until(2) {
			r2.code = 0
			time.Sleep(200 * time.Millisecond) // what there is no Event of is said a little later
		}
	}
	must(r.t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		r.t.Errorf("%v ended with %v", args, err)
	}
	// What is tried again fails again.
	seen := map[string]bool{}
	for line := range strings.Lines(said.String()) {
		if !strings.Contains(line, "not allowed") || !seen["not allowed"] {
			r2.err += line
		}
		if strings.Contains(line, "not allowed") {
			seen["not allowed"] = true
		}
	}
	return r2
}

// settled waits until a watch has compared everything for the last time, so that what changes now comes to it as a
// change: it compares once more where an end has begun to be watched meanwhile. One that can't watch never rests.
func settled(said *lines) {
	last, since := -1, time.Now()
	for began := time.Now(); time.Since(since) < 2*time.Second && time.Since(began) < 6*time.Second; time.Sleep(50 * time.Millisecond) {
		if n := strings.Count(said.String(), ": compared "); n != last {
			last, since = n, time.Now()
		}
	}
}

var named = regexp.MustCompile(`must allow "(\w+)" on "([a-z/]+)"`)

// without tries the verb with all rights but one.
func (r *rightsWorld) without(i int) {
	r.t.Helper()
	name, user := r.next(), fmt.Sprint("less-", i)
	less := r.singles(name)
	missing := less[i]
	verb := missing.Verbs[0]
	r.allow(user, slices.Delete(less, i, i+1))
	right := verb + " " + missing.Plural()
	full := strings.TrimSpace(right + " " + strings.Join(missing.Names, ","))
	result := r.try(name, user)
	text := result.out + result.err
	plural, _, _ := strings.Cut(missing.Resource, "/")
	if slices.ContainsFunc(r.how.other, func(of string) bool { return r.fill(of, name) == full }) {
		if result.code != r.how.code {
			r.t.Errorf("without %s, which isn't needed here: %s", full, result)
		}
		return
	}
	if missing.Without != "" {
		silent := slices.Contains(r.how.silent, full)
		if result.code != r.how.code && result.code != 1 || !silent && !said(text, verb, plural) {
			r.t.Errorf("without %s, which can be left out: %s", full, result)
		}
		return
	}
	code := 2
	for _, key := range []string{verb, right, full} {
		for of, other := range r.how.lack {
			if r.fill(of, name) == key {
				code = other
			}
		}
	}
	if result.code != code {
		r.t.Errorf("without %s: not exit code %d: %s", full, code, result)
	}
	// A list that is not seen is named otherwise.
	unseen := fmt.Sprintf("%s in namespace %s: not allowed (%s)", missing.Resource, r.space, verb)
	if strings.Contains(text, unseen) {
		return
	}
	all := named.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		r.t.Errorf("without %s: it isn't named: %s", full, result)
	}
	for _, m := range all {
		if m[1] != verb || m[2] != missing.Resource {
			r.t.Errorf("without %s: another one is named: %s", full, result)
		}
	}
	if result.out == "" && strings.Count(result.err, "not allowed") != 1 {
		r.t.Errorf("without %s: not one error: %s", full, result)
	}
}

// said tells whether a text says that something is not allowed, and names the right.
func said(text, verb, plural string) bool {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "not allowed") && strings.Contains(line, verb) && strings.Contains(line, plural) || strings.Contains(line, "may not be read") {
			return true
		}
	}
	return false
}

// allow gives a user just these rights.
func (r *rightsWorld) allow(user string, rules rights.Rules) {
	r.t.Helper()
	defer r.until(user, rules)
	client := get[*rbacclient.RbacV1Client](r.t)(rbacclient.NewForConfig(r.config))
	meta := metav1.ObjectMeta{Name: r.user(user)}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: r.user(user)}}
	var policy []rbacv1.PolicyRule
	for _, rule := range rules {
		policy = append(policy, rbacv1.PolicyRule{APIGroups: []string{rule.Group}, Resources: []string{rule.Resource}, ResourceNames: rule.Names, Verbs: rule.Verbs})
	}
	if !r.row.Use.Cluster() {
		_, err := client.Roles(r.space).Create(r.t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: policy}, metav1.CreateOptions{})
		must(r.t, err)
		_, err = client.RoleBindings(r.space).Create(r.t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}, Subjects: subjects,
		}, metav1.CreateOptions{})
		must(r.t, err)
		return
	}
	_, err := client.ClusterRoles().Create(r.t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: policy}, metav1.CreateOptions{})
	must(r.t, err)
	_, err = client.ClusterRoleBindings().Create(r.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}, Subjects: subjects,
	}, metav1.CreateOptions{})
	must(r.t, err)
	r.t.Cleanup(func() {
		must(r.t, client.ClusterRoleBindings().Delete(context.Background(), meta.Name, metav1.DeleteOptions{}))
		must(r.t, client.ClusterRoles().Delete(context.Background(), meta.Name, metav1.DeleteOptions{}))
	})
}

// admin runs a verb with all rights there are.
func (r *rightsWorld) admin(args ...string) {
	r.t.Helper()
	if result := run(nil, "kubectl", append(append([]string{"secretx"}, args...), "-n", r.space)...); result.code != 0 {
		r.t.Fatalf("%s: %s", strings.Join(args, " "), result)
	}
}

func nothing(*rightsWorld, string) {}

func kubeSecret(r *rightsWorld, name string) {
	must(r.t, r.putKube(r.space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"case": name}}, Data: map[string][]byte{"v": []byte("old")}}))
}

func swarmSecret(r *rightsWorld, name string) {
	must(r.t, putSwarm(r.swarm, name, []byte("value"), map[string]string{"case": name}))
}

func changedHere(r *rightsWorld, name string) {
	must(r.t, r.putKube(r.space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"case": name}}, Data: map[string][]byte{"v": []byte("new")}}))
}

func mirrorChangedHere(r *rightsWorld, name string) {
	_, err := r.kube.Secrets(r.space).Patch(r.t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"stringData":{%q:"drifted"}}`, name), metav1.PatchOptions{})
	must(r.t, err)
}

func mirroredInSwarm(r *rightsWorld, name string) {
	kubeSecret(r, name)
	r.admin("sync", name)
}

func mirroredHere(r *rightsWorld, name string) {
	swarmSecret(r, name)
	r.admin("sync", name, "--from", "swarm", "--to", "kubernetes")
}

func orphanHere(r *rightsWorld, name string) {
	mirroredHere(r, name)
	r.unSwarm(name)
}

func orphanAndNew(r *rightsWorld, name string) {
	orphanHere(r, name+"-gone")
	swarmSecret(r, name)
}

// unSwarm removes a secret as soon as no probe has it any more.
func (r *rightsWorld) unSwarm(name string) {
	r.t.Helper()
	var err error
	for range 50 {
		if err = r.swarm.SecretRemove(r.t.Context(), name); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	r.t.Fatal(err)
}

// strangerHere has a Secret in the way that is immutable, so that it is made anew.
func strangerHere(r *rightsWorld, name string) {
	swarmSecret(r, name)
	fixed := true
	must(r.t, r.putKube(r.space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Immutable: &fixed, Data: map[string][]byte{name: []byte("other")}}))
}

// sleeper has the value in its environment, so that it doesn't follow by itself.
func sleeper(secret, key string) corev1.Container {
	return corev1.Container{Name: "a", Image: busybox, ImagePullPolicy: corev1.PullNever, Command: []string{"sleep", "3600"}, Env: []corev1.EnvVar{{
		Name: "V", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}},
	}}}
}

func (r *rightsWorld) template(name, key string) corev1.PodTemplateSpec {
	atOnce := int64(0)
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": r.object(name)}},
		Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: &atOnce, Containers: []corev1.Container{sleeper(name, key)}},
	}
}

func (r *rightsWorld) deploy(name, key string) {
	r.t.Helper()
	client := get[*appsclient.AppsV1Client](r.t)(appsclient.NewForConfig(r.config))
	_, err := client.Deployments(r.space).Create(r.t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: r.object(name), Labels: map[string]string{"app": r.object(name)}},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": r.object(name)}}, Template: r.template(name, key)},
	}, metav1.CreateOptions{})
	must(r.t, err)
	r.waits("rollout", "status", "deployment/"+r.object(name))
}

func (r *rightsWorld) waits(args ...string) {
	r.t.Helper()
	if result := run(nil, "kubectl", append(args, "-n", r.space, "--timeout=2m")...); result.code != 0 {
		r.t.Fatal(result)
	}
}

func usedByDeployment(r *rightsWorld, name string) {
	kubeSecret(r, name)
	r.deploy(name, "v")
}

func immutableAndUsed(r *rightsWorld, name string) {
	fixed := true
	must(r.t, r.putKube(r.space, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Immutable: &fixed, Data: map[string][]byte{"v": []byte("old")}}))
	r.deploy(name, "v")
}

func mirroredAndUsed(r *rightsWorld, name string) {
	r.admin("create", name, "--generate", "16", "--in", "swarm")
	r.admin("sync", name, "--from", "swarm", "--to", "kubernetes")
	r.deploy(name, name)
}

// rotatedInSwarm gives the origin another value, so that there is something to sync.
func rotatedInSwarm(r *rightsWorld, name string) {
	if r.n > 1 {
		r.admin("rotate", name, "--generate", "16", "--in", "swarm")
	}
}

// withoutBackup ends what a rotation has left that lacked the right to.
func withoutBackup(r *rightsWorld, name string) {
	run(nil, "kubectl", "delete", "secret", name+".rollback", "-n", r.space, "--ignore-not-found")
}

func usedByPod(r *rightsWorld, name string) {
	kubeSecret(r, name)
	must(r.t, r.putPod(r.space, r.object(name), nil, volume(name, corev1.Container{Image: busybox, Command: []string{"sleep", "3600"}})))
	r.running(r.t, r.space, r.object(name))
}

func usedByBarePod(r *rightsWorld, name string) {
	kubeSecret(r, name)
	must(r.t, r.putPod(r.space, r.object(name), nil, volume(name, corev1.Container{Image: distroless})))
	r.running(r.t, r.space, r.object(name))
}

func usedByCronJob(r *rightsWorld, name string) {
	kubeSecret(r, name)
	client := get[*batchclient.BatchV1Client](r.t)(batchclient.NewForConfig(r.config))
	template := r.template(name, "v")
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	_, err := client.CronJobs(r.space).Create(r.t.Context(), &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: r.object(name)},
		Spec:       batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}},
	}, metav1.CreateOptions{})
	must(r.t, err)
	if result := run(nil, "kubectl", "create", "job", "tonight", "--from=cronjob/"+r.object(name), "-n", r.space); result.code != 0 {
		r.t.Fatal(result)
	}
	r.waits("wait", "--for=jsonpath={.status.ready}=1", "job/tonight")
}

// TestRightsToLookIntoSwarm: a look into a Swarm does with less, which it says, where its secrets are mirrors of
// some in Kubernetes.
func TestRightsToLookIntoSwarm(t *testing.T) {
	w := newWorld(t)
	r := &rightsWorld{world: w, t: t, space: get[string](t)(w.namespace())}
	name := w.prefix + "s"
	mirroredInSwarm(r, name)
	w.putService(t, name, distroless, name+".v", false)
	all := rights.Rules{{Resource: "namespaces", Verbs: []string{"get"}}, {Resource: "secrets", Verbs: []string{"get"}}}
	for user, rules := range map[string]rights.Rules{"all": all, "namespaces": all[1:], "secrets": all[:1]} {
		r.allow(user, rules)
		result := run(nil, "kubectl", "secretx", "peek-in-container", "swarm/"+name, "-n", r.space, "--as", r.user(user))
		if said := strings.Contains(result.err, `"get" on "`+user+`"`); result.code != 0 || said == (user == "all") {
			t.Errorf("%s: %s", user, result)
		}
	}
}
