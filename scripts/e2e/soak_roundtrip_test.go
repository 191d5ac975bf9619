//go:build soak

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	swarmLargest = 511_999
	campaign     = 500
	seed         = 20261123
)

// chance makes what looks random and is the same in every run.
type chance struct{ *rand.Rand }

func newChance(t *testing.T) chance {
	t.Logf("seed %d", seed)
	return chance{rand.New(rand.NewPCG(seed, 1))}
}

func (c chance) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.Uint32())
	}
	return b
}

// text gives n characters out of an alphabet.
func (c chance) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[c.IntN(len(alphabet))]
	}
	return string(b)
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// values are those that something on the way might not leave alone.
var values = [][]byte{
	allBytes(),
	{0}, {'\n'}, {' '}, {0xff}, {'x'},
	[]byte("ends in a newline\n"), []byte("ends in two\n\n"), []byte("dos\r\n"), []byte("\n\nbegins with two"),
	[]byte(" blanks around "), []byte("\ttab"),
	{0xc3, 0x28}, {0xed, 0xa0, 0x80}, {0xf8, 0x88, 0x80, 0x80, 0x80}, // not UTF-8
	[]byte("\xef\xbb\xbfbyte order mark"), []byte("grüße 日本語 🔑"),
	[]byte("cGFzc3dvcmQ="), []byte("{{ .Service.Name }}"), []byte("${HOME}$(id)`id`"), []byte(`{"a":"\u0000"}`), []byte("%s%d%00"),
	[]byte("--flag"), []byte("a,b=c;d"), []byte("'\"\\"), []byte("\x1b[31mred\x1b[0m"), []byte("null"), []byte("true"), []byte("0"),
	bytes.Repeat([]byte{0}, 4096), bytes.Repeat([]byte("\n"), 100),
}

func (c chance) value() []byte {
	if c.IntN(3) == 0 {
		return c.bytes(1 + c.IntN(3000))
	}
	return values[c.IntN(len(values))]
}

// large is the largest value that a Swarm takes.
func (c chance) large() []byte { return c.bytes(swarmLargest) }

// kubernetesSecrets are n Secrets whose names, keys, types and values are as awkward as the API
// server lets them be, all of them with a form in a Swarm.
func kubernetesSecrets(c chance, prefix string, n int) []corev1.Secret {
	name := func(end string) string { return prefix + end }
	fill := func(length int) string { // a name of just that length
		return name("n" + c.text("abcdefghijklmnopqrstuvwxyz0123456789", length-len(prefix)-1))
	}
	opaque := func(name string, keys ...string) corev1.Secret {
		s := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}}
		for _, k := range keys {
			s.Data[k] = c.value()
		}
		return s
	}
	long := strings.Repeat("k", 253)
	all := []corev1.Secret{
		opaque(fill(253), "key", long), opaque(fill(253), "key"), opaque(fill(63), "k"), opaque(fill(62), "k"), opaque(fill(61), "k"),
		opaque(name("x"), ".hidden", "-", "_", "a", "A", "a-b", "a_b", "a.b", "A.B", "Key", "key", "KEY", "key.v2", "key-abcdefghij"),
		// What would meet if names were only glued together.
		opaque(name("a"), "b.c"), opaque(name("a.b"), "c"), opaque(name("a-b"), "c"), opaque(name("a.b.c"), "c"), opaque(name("a--b"), "c"),
		opaque(name("v"), "k", "k.v2", "v2", "k.v2.v3"), opaque(name("v.k.v2"), "x"), opaque(name("v.v2"), "k"),
		opaque(name("h-abcdefghij"), "k", "k-abcdefghij"), opaque(name("9"), "0"), opaque(name("run.secrets"), "k"),
	}
	for i, v := range values {
		s := opaque(name(fmt.Sprintf("value-%d", i)))
		s.Data["v"] = v
		all = append(all, s)
	}
	for i := range 4 {
		s := opaque(name(fmt.Sprintf("large-%d", i)))
		s.Data["one"] = c.large()
		if i%2 == 0 {
			s.Data["two"] = c.large()
		}
		all = append(all, s)
	}
	typed := func(i int) corev1.Secret {
		s := opaque(name(fmt.Sprintf("typed-%d", i)))
		switch i % 7 {
		case 0:
			s.Type, s.Data[".dockerconfigjson"] = corev1.SecretTypeDockerConfigJson, []byte(`{"auths":{"registry.example":{"auth":"dTpw"}}}`+"\n")
		case 1:
			s.Type, s.Data[".dockercfg"] = corev1.SecretTypeDockercfg, []byte(`{"registry.example":{"auth":"dTpw"}}`)
		case 2:
			s.Type, s.Data["username"], s.Data["password"] = corev1.SecretTypeBasicAuth, []byte("u\n"), c.value()
		case 3:
			s.Type, s.Data["ssh-privatekey"] = corev1.SecretTypeSSHAuth, c.bytes(1700)
		case 4:
			s.Type, s.Data["tls.crt"], s.Data["tls.key"] = corev1.SecretTypeTLS, c.bytes(1200), c.bytes(1700)
			s.Data["ca.crt"] = c.value()
		case 5:
			s.Type, s.Data["anything"] = "example.com/its-own.type", c.value()
		case 6:
			s.Type, s.Data["password"] = corev1.SecretTypeBasicAuth, c.value()
		}
		return s
	}
	for i := range 70 {
		all = append(all, typed(i))
	}
	for i := 0; len(all) < n; i++ {
		keys := []string{}
		for range 1 + c.IntN(3) {
			keys = append(keys, strings.TrimLeft(c.text("abcXYZ019._-", 1+c.IntN(20)), ".")+"z")
		}
		middle := c.text("abcdefghijklmnopqrstuvwxyz0123456789-.", c.IntN(60))
		middle = strings.NewReplacer("..", "a", ".-", "a", "-.", "a").Replace(middle)
		middle = strings.NewReplacer("..", "a", ".-", "a", "-.", "a").Replace(middle)
		all = append(all, opaque(name(fmt.Sprintf("r%d%sz", i, strings.TrimLeft(middle, ".-"))), keys...))
	}
	for i := range all {
		if i%5 == 0 {
			yes := true
			all[i].Immutable = &yes
		}
	}
	return all
}

func byName(all []corev1.Secret) map[string]corev1.Secret {
	m := make(map[string]corev1.Secret, len(all))
	for _, s := range all {
		m[s.Name] = s
	}
	return m
}

func show(t *testing.T, what string, all []string) {
	t.Helper()
	if len(all) > 0 {
		t.Errorf("%s: %d differences\n%s", what, len(all), strings.Join(all[:min(len(all), 30)], "\n"))
	}
}

// expect fails unless the verb ended with the code, and gives its document.
func expect(t *testing.T, code int, host string, args ...string) document {
	t.Helper()
	d, r := secretx(host, args...)
	if r.took > 20*time.Second {
		t.Logf("slow: %s secretx %s took %s\n%s", host, abbreviated(args), r.took, r.err)
	}
	if r.code != code {
		text := r.String()
		t.Fatalf("%s secretx %s: exit code %d, not %d\n%s", host, abbreviated(args), r.code, code, text[max(0, len(text)-3000):])
	}
	return d
}

func abbreviated(args []string) string {
	text := strings.Join(args, " ")
	return text[:min(len(text), 200)]
}

// checkSwarm compares what a Swarm holds of a test with values that it should hold, whatever their
// names: it gives the names by value.
func checkSwarm(t *testing.T, w *world, cli *client.Client, want []sum) map[string]sum {
	t.Helper()
	stands := get[map[string]sum](t)(swarmSums(cli, get2(w.ours(cli))(t)))
	counts := map[sum]int{}
	for _, s := range want {
		counts[s]++
	}
	for name, s := range stands {
		if counts[s]--; counts[s] < 0 {
			t.Errorf("Swarm secret %s has a value that nothing should have, or once too often: %s", name, s)
		}
	}
	for s, n := range counts {
		if n > 0 {
			t.Errorf("%d Swarm secrets with the value %s are missing", n, s)
		}
	}
	return stands
}

// TestRoundTripFromKubernetes sends Secrets through a Swarm into another namespace.
func TestRoundTripFromKubernetes(t *testing.T) {
	w, c, began := newWorld(t), newChance(t), time.Now()
	from, to := get[string](t)(w.namespace()), get[string](t)(w.namespace())
	originals := kubernetesSecrets(c, w.prefix, campaign)
	must(t, each(originals, func(s corev1.Secret) error { return w.putKube(from, s) }))

	// What has no form in a Swarm is named, and holds nothing else up.
	hopeless := []corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: w.prefix + "bad-empty"}, Data: map[string][]byte{"v": {}}},
		{ObjectMeta: metav1.ObjectMeta{Name: w.prefix + "bad-large"}, Data: map[string][]byte{"v": c.bytes(swarmLargest + 1)}},
		{ObjectMeta: metav1.ObjectMeta{Name: w.prefix + "bad-none"}},
	}
	must(t, each(hopeless, func(s corev1.Secret) error { return w.putKube(from, s) }))
	// And what nobody means by "all".
	internal := []corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: w.prefix + "not-helm"}, Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte("r")}},
		{ObjectMeta: metav1.ObjectMeta{Name: w.prefix + "not-bootstrap"}, Type: corev1.SecretTypeBootstrapToken, Data: map[string][]byte{"token-id": []byte("t")}},
		{ObjectMeta: metav1.ObjectMeta{Name: w.prefix + "not-token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}}, Type: corev1.SecretTypeServiceAccountToken},
	}
	must(t, each(internal[:2], func(s corev1.Secret) error { return w.putKube(from, s) }))
	for range 100 { // until the namespace has its account
		if err := w.putKube(from, internal[2]); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}

	var want []sum
	for _, s := range originals {
		for _, v := range s.Data {
			want = append(want, sumOf(v))
		}
	}
	there := time.Now()
	d := expect(t, 1, "kubectl", "sync", "--all", "-n", from, "--to", "swarm")
	thereTook := time.Since(there)
	var unmappable []string
	for _, item := range d.Items {
		if item.State == "unmappable" {
			unmappable = append(unmappable, strings.Join(item.Origins, ","))
		}
	}
	slices.Sort(unmappable)
	if wantBad := []string{w.prefix + "bad-empty", w.prefix + "bad-large", w.prefix + "bad-none"}; !slices.Equal(unmappable, wantBad) {
		t.Errorf("named as unmappable: %v, not %v", unmappable, wantBad)
	}
	if d.Summary.Done != len(want) || d.Summary.Failed != 0 {
		t.Errorf("%d written, %d failed, of %d", d.Summary.Done, d.Summary.Failed, len(want))
	}
	names := checkSwarm(t, w, w.swarm, want)

	// The way back, by name: the Swarm may have secrets of others.
	back := time.Now()
	args := []string{"sync", "--from", "swarm", "--to", "kubernetes:/" + to}
	for _, s := range originals {
		args = append(args, s.Name)
	}
	expect(t, 0, "docker", args...)
	backTook := time.Since(back)
	show(t, "round trip", differences(byName(originals), get[map[string]corev1.Secret](t)(w.kubeSecrets(to))))

	// A second run of both is none: not one object changes.
	before := versions(t, w, from, to)
	d = expect(t, 1, "docker", "sync", "--all", "--from", "kubernetes:/"+from, "--to", "swarm")
	if d.Summary.Done+d.Summary.Failed != 0 {
		t.Errorf("a second sync wrote %d and failed at %d", d.Summary.Done, d.Summary.Failed)
	}
	d = expect(t, 0, "kubectl", args...)
	if d.Summary.Done+d.Summary.Failed != 0 {
		t.Errorf("a second sync back wrote %d and failed at %d", d.Summary.Done, d.Summary.Failed)
	}
	if after := versions(t, w, from, to); !maps.Equal(before, after) {
		t.Error("a second sync changed objects")
	}
	args[0] = "diff"
	expect(t, 0, "kubectl", args...)
	proof := time.Now()
	expect(t, 0, "docker", append(args, "--prove")...)
	t.Logf("FIGURES %d adversarial Secrets (%d keys) Kubernetes→Swarm %.1fs →Kubernetes %.1fs, proof %.1fs; %d Swarm names; %d unmappable named, 3 internal left out; all in %s",
		len(originals), len(want), thereTook.Seconds(), backTook.Seconds(), time.Since(proof).Seconds(), len(names), len(hopeless), time.Since(began).Round(time.Second))
}

// versions is what changes when an object is written to.
func versions(t *testing.T, w *world, namespaces ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, n := range namespaces {
		for name, s := range get[map[string]corev1.Secret](t)(w.kubeSecrets(n)) {
			all[n+"/"+name] = string(s.UID) + " " + s.ResourceVersion
		}
	}
	for where, cli := range map[string]*client.Client{"swarm": w.swarm, "other": w.other} {
		for _, s := range get2(w.ours(cli))(t) {
			all[where+"/"+s.Spec.Name] = fmt.Sprint(s.ID, " ", s.Version.Index)
		}
	}
	return all
}

// swarmNames are n names that a Swarm takes and Kubernetes mostly doesn't.
func swarmNames(c chance, prefix string, n int) []string {
	all := []string{}
	for _, end := range []string{"a-b", "a_b", "a.b", "A-C", "a_c", "a__b", "a..b", "a.-b", "UPPER", "x.v2", "x", "x.v3", "h-abcdefghij", "0", "a.b.v2", "MiXed_Case.Name"} {
		all = append(all, prefix+end)
	}
	for range 10 {
		all = append(all, prefix+c.text("abcXYZ019._-", 64-len(prefix)-1)+"z")
	}
	for range 5 { // the same but for the last character
		all = append(all, prefix+strings.Repeat("L", 64-len(prefix)-1)+c.text("abcdefgh", 1))
	}
	for i := 0; len(all) < n+10; i++ {
		all = append(all, fmt.Sprintf("%sr%d%sZ", prefix, i, c.text("abcXYZ019._-", c.IntN(45))))
	}
	seen := map[string]bool{}
	distinct := all[:0]
	for _, name := range all {
		if folded := strings.ToLower(name); !seen[folded] && len(distinct) < n {
			seen[folded] = true
			distinct = append(distinct, name)
		}
	}
	return distinct
}

// TestRoundTripFromSwarm sends Swarm secrets through Kubernetes into another Swarm, and straight
// into it.
func TestRoundTripFromSwarm(t *testing.T) {
	w, c, began := newWorld(t), newChance(t), time.Now()
	namespace := get[string](t)(w.namespace())
	originals, want := map[string][]byte{}, map[string]sum{}
	for i, name := range swarmNames(c, w.prefix, campaign) {
		switch {
		case i < len(values):
			originals[name] = values[i]
		case i < len(values)+6:
			originals[name] = c.large()
		default:
			originals[name] = c.value()
		}
		want[name] = sumOf(originals[name])
	}
	label := map[string]string{"campaign": w.prefix}
	must(t, each(slices.Sorted(maps.Keys(originals)), func(name string) error { return putSwarm(w.swarm, name, originals[name], label) }))
	// Swarm itself takes names that differ only in case for the same.
	if putSwarm(w.swarm, strings.ToUpper(w.prefix+"a-b"), []byte("x"), label) == nil {
		t.Error("this Swarm tells names apart by case, which the mapping does not expect")
	}

	there := time.Now()
	expect(t, 0, "docker", "sync", "-l", "campaign="+w.prefix, "--to", "k8s:/"+namespace)
	thereTook := time.Since(there)
	got := map[string]sum{}
	for name, s := range get[map[string]corev1.Secret](t)(w.kubeSecrets(namespace)) {
		if s.Type != corev1.SecretTypeOpaque || s.Immutable != nil && *s.Immutable || len(s.Data) != 1 {
			t.Errorf("%s: type %s, %d keys", name, s.Type, len(s.Data))
		}
		for key, v := range s.Data { // the key is the Swarm's name, as it is
			got[key] = sumOf(v)
		}
	}
	show(t, "Swarm to Kubernetes", sumDifferences(want, got))

	onward := time.Now()
	expect(t, 0, "kubectl", "sync", "--all", "-n", namespace, "--to", "swarm:"+otherContext)
	onwardTook := time.Since(onward)
	show(t, "Swarm to Kubernetes to Swarm", sumDifferences(want, get[map[string]sum](t)(swarmSums(w.other, get2(w.ours(w.other))(t)))))
	expect(t, 0, "kubectl", "diff", "--all", "-n", namespace, "--to", "swarm:"+otherContext, "--prove")
	expect(t, 0, "docker", "diff", "-l", "campaign="+w.prefix, "--to", "k8s:/"+namespace, "--prove")

	must(t, w.clear(w.other))
	straight := time.Now()
	expect(t, 0, "docker", "sync", "-l", "campaign="+w.prefix, "--to", "swarm:"+otherContext)
	straightTook := time.Since(straight)
	show(t, "Swarm to Swarm", sumDifferences(want, get[map[string]sum](t)(swarmSums(w.other, get2(w.ours(w.other))(t)))))
	before := versions(t, w, namespace)
	for host, to := range map[string]string{"docker": "swarm:" + otherContext, "kubectl": "kubernetes:/" + namespace} {
		if d := expect(t, 0, host, "sync", "-l", "campaign="+w.prefix, "--from", "swarm", "--to", to); d.Summary.Done != 0 {
			t.Errorf("a second sync to %s wrote %d", to, d.Summary.Done)
		}
	}
	if !maps.Equal(before, versions(t, w, namespace)) {
		t.Error("a second sync changed objects")
	}
	t.Logf("FIGURES %d adversarial Swarm secrets →Kubernetes %.1fs →other Swarm %.1fs; Swarm→Swarm %.1fs; all in %s",
		len(originals), thereTook.Seconds(), onwardTook.Seconds(), straightTook.Seconds(), time.Since(began).Round(time.Second))
}

func sumDifferences(want, got map[string]sum) []string {
	var all []string
	for name, s := range want {
		if g, there := got[name]; !there {
			all = append(all, fmt.Sprintf("%q is missing", name))
		} else if g != s {
			all = append(all, fmt.Sprintf("%q: %s, not %s", name, g, s))
		}
	}
	for name := range got {
		if _, there := want[name]; !there {
			all = append(all, fmt.Sprintf("%q is too many", name))
		}
	}
	slices.Sort(all)
	return all
}
