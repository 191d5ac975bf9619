package translate

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/secretx/secretx/shared/secret"
)

// engineService is a service as the engine shows it, as far as these tests make one.
type engineService map[string]any

// engine reads a docker service create command as docker does, and gives the service that would come of it.
func engine(t rapid.TB, words []string) engineService {
	t.Helper()
	if len(words) < 4 || strings.Join(words[:3], " ") != "docker service create" {
		t.Fatalf("not a docker service create: %q", words)
	}
	container := map[string]any{}
	task := map[string]any{"ContainerSpec": container}
	spec := map[string]any{"TaskTemplate": task, "Mode": map[string]any{"Replicated": map[string]any{"Replicas": 1}}}
	labels, containerLabels := map[string]any{}, map[string]any{}
	restart, health := map[string]any{}, map[string]any{}
	var env, ports, secrets, groups []any
	replicas, parallel, mode := int64(1), int64(0), "replicated"
	i := 3
	for ; i < len(words) && strings.HasPrefix(words[i], "--"); i++ {
		flag := words[i]
		if flag == "--read-only" || flag == "--tty" {
			container[map[string]string{"--read-only": "ReadOnly", "--tty": "TTY"}[flag]] = true
			continue
		}
		i++
		value := words[i]
		switch flag {
		case "--name":
			spec["Name"] = value
		case "--mode":
			mode = value
		case "--replicas":
			replicas, _ = strconv.ParseInt(value, 10, 64)
		case "--max-concurrent":
			parallel, _ = strconv.ParseInt(value, 10, 64)
		case "--restart-condition":
			restart["Condition"] = value
		case "--restart-max-attempts":
			n, _ := strconv.ParseInt(value, 10, 64)
			restart["MaxAttempts"] = n
		case "--label", "--container-label":
			k, v, _ := strings.Cut(value, "=")
			map[string]map[string]any{"--label": labels, "--container-label": containerLabels}[flag][k] = v
		case "--env":
			env = append(env, value)
		case "--publish":
			ports = append(ports, enginePort(t, value))
		case "--secret":
			secrets = append(secrets, engineSecret(t, value))
		case "--group":
			groups = append(groups, value)
		case "--stop-grace-period":
			container["StopGracePeriod"] = engineTime(t, flag, value)
		case "--limit-cpu", "--limit-memory", "--reserve-cpu", "--reserve-memory":
			engineAmount(t, task, flag, value)
		case "--cap-add", "--cap-drop":
			key := map[string]string{"--cap-add": "CapabilityAdd", "--cap-drop": "CapabilityDrop"}[flag]
			all, _ := container[key].([]string)
			if value != "ALL" {
				value = "CAP_" + value
			}
			container[key] = append(all, value)
		case "--health-cmd":
			health["Test"] = []string{"CMD-SHELL", value}
		case "--health-interval":
			health["Interval"] = engineTime(t, flag, value)
		case "--health-timeout":
			health["Timeout"] = engineTime(t, flag, value)
		case "--health-start-period":
			health["StartPeriod"] = engineTime(t, flag, value)
		case "--health-retries":
			n, _ := strconv.ParseInt(value, 10, 64)
			health["Retries"] = n
		case "--hostname":
			container["Hostname"] = value
		case "--workdir":
			container["Dir"] = value
		case "--user":
			container["User"] = value
		case "--entrypoint":
			container["Command"] = Split(value)
		default:
			t.Fatalf("docker has no flag %s", flag)
		}
	}
	container["Image"] = words[i]
	if rest := words[i+1:]; len(rest) > 0 {
		container["Args"] = rest
	}
	container["Env"], container["Secrets"], container["Labels"], container["Groups"] = env, secrets, containerLabels, groups
	container["Healthcheck"] = health
	spec["Labels"] = labels
	spec["EndpointSpec"] = map[string]any{"Ports": ports}
	task["RestartPolicy"] = restart
	switch mode {
	case "global":
		spec["Mode"] = map[string]any{"Global": map[string]any{}}
	case "replicated-job":
		spec["Mode"] = map[string]any{"ReplicatedJob": map[string]any{"TotalCompletions": replicas, "MaxConcurrent": or(parallel, replicas)}}
	default:
		spec["Mode"] = map[string]any{"Replicated": map[string]any{"Replicas": replicas}}
	}
	return engineService{"Spec": spec}
}

// engineTime is a duration as docker takes it in a flag, and shows it.
func engineTime(t rapid.TB, flag, value string) int64 {
	t.Helper()
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		t.Fatalf("%s %s: %v", flag, value, err)
	}
	return int64(d)
}

// engineAmount sets one of a task's resources as docker does, and refuses what the engine refuses.
func engineAmount(t rapid.TB, task map[string]any, flag, value string) {
	t.Helper()
	which, what, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "-")
	of, key := map[string]string{"limit": "Limits", "reserve": "Reservations"}[which], map[string]string{"cpu": "NanoCPUs", "memory": "MemoryBytes"}[what]
	number, factor, least := value, 1.0, 4<<20
	if what == "cpu" {
		factor, least = 1e9, 1_000_000
	} else if i := strings.IndexAny(value, "KMG"); i >= 0 {
		number, factor = value[:i], map[string]float64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[value[i:]]
	}
	n, err := strconv.ParseFloat(number, 64)
	amount := int64(math.Round(n * factor))
	if err != nil || amount < int64(least) {
		t.Fatalf("%s %s: %v", flag, value, err)
	}
	resources, _ := task["Resources"].(map[string]any)
	if resources == nil {
		resources = map[string]any{}
		task["Resources"] = resources
	}
	if resources[of] == nil {
		resources[of] = map[string]any{}
	}
	resources[of].(map[string]any)[key] = amount
}

func engineSecret(t rapid.TB, value string) map[string]any {
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		t.Fatalf("--secret %q: %v", value, err)
	}
	name, target, uid, gid, mode := "", "", "0", "0", int64(0o444)
	for _, f := range fields {
		k, v, set := strings.Cut(f, "=")
		switch {
		case !set && len(fields) == 1:
			name = f
		case k == "source":
			name = v
		case k == "target":
			target = v
		case k == "uid":
			uid = v
		case k == "gid":
			gid = v
		case k == "mode":
			if mode, err = strconv.ParseInt(v, 0, 64); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("--secret %q has the field %q", value, k)
		}
	}
	return map[string]any{"SecretName": name, "SecretID": "id-" + name, "File": map[string]any{"Name": or(target, name), "UID": uid, "GID": gid, "Mode": mode}}
}

func enginePort(t rapid.TB, value string) map[string]any {
	port := map[string]any{"Protocol": "tcp", "PublishMode": "ingress"}
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if published, target, short := strings.Cut(value, ":"); short {
		port["PublishedPort"], port["TargetPort"] = number(published), number(target)
		return port
	}
	for field := range strings.SplitSeq(value, ",") {
		switch k, v, _ := strings.Cut(field, "="); k {
		case "published":
			port["PublishedPort"] = number(v)
		case "target":
			port["TargetPort"] = number(v)
		case "protocol":
			port["Protocol"] = v
		case "mode":
			port["PublishMode"] = v
		}
	}
	return port
}

func (s engineService) source(t rapid.TB) *Source {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	source, err := FromServices(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return source
}

// facts are all that a workload says, each as a line; what a note has to have in it where a line is lost stands behind
// the tab.
func facts(source *Source) map[string]string {
	all := map[string]string{}
	for _, w := range source.Workloads {
		say := func(token, format string, args ...any) { all[fmt.Sprintf(format, args...)] = token }
		if w.Mode == Job {
			say("job", "mode %s, %d of them, %d at once", w.Mode, w.Replicas, or(w.Parallel, w.Replicas))
		} else {
			say("one on each node", "mode %s, %d of them", w.Mode, w.Replicas)
		}
		say("started again", "restart %s", w.Restart)
		if w.Attempts >= 0 {
			say("a limit", "attempts %d", w.Attempts)
		}
		if len(w.Containers) > 1 {
			say("become a service each", "name %s", w.Name)
		} else {
			say("is called", "name %s", w.Name)
		}
		for _, l := range append(slices.Clone(w.Labels), w.PodLabels...) {
			if l.Name != nameLabel {
				say(l.Name, "label %s=%s", l.Name, l.Value)
			}
		}
		if w.Grace != nil {
			say("grace period", "grace period %s", w.Grace)
		}
		if w.Hostname != "" {
			say(w.Hostname, "hostname %s", w.Hostname)
		}
		for _, p := range w.Ports {
			say("port", "port %+v", p)
		}
		for _, c := range w.Containers {
			for what, n := range map[string]int64{"limit of CPU": c.Limits.CPU, "limit of memory": c.Limits.Memory, "request of CPU": c.Requests.CPU, "request of memory": c.Requests.Memory} {
				if n > 0 {
					say(what, "%s %d", what, n)
				}
			}
			for _, name := range c.CapAdd {
				say(name, "with the capability %s", name)
			}
			for _, name := range c.CapDrop {
				say(name, "without the capability %s", name)
			}
			if h := c.Health; h != nil && h.Off {
				say("--no-healthcheck", "no health check")
			} else if h != nil {
				test := fmt.Sprintf("%q", h.Test)
				if line, ok := h.line(); ok {
					test = line
				}
				say("health check", "health check %s", test)
				say("health check", "health check each %s, within %s, after %s, %d times", h.Interval, h.Timeout, h.StartPeriod, h.Retries)
			}
			say("image", "image %s", c.Image)
			say("command", "command %q", unfilled(append(slices.Clone(c.Command), c.Args...)...))
			say("command", "entrypoint replaced: %v", len(c.Command) > 0)
			say("user", "user %q dir %q read-only %v tty %v", c.User, c.Dir, c.ReadOnly, c.TTY)
			for _, v := range c.Env {
				if v.From != nil {
					say("$"+v.Name, "variable %s from %s", v.Name, v.From)
				} else {
					say("$"+v.Name, "variable %s=%q unset %v", v.Name, unfilled(v.Value)[0], v.Unset)
				}
			}
			for _, f := range c.Files {
				say(f.Path, "file %s at %s", f.Ref, f.Path)
				say(f.Path, "file at %s has the mode %04o", f.Path, f.Mode)
				say(f.Path, "file at %s is of %s:%s", f.Path, f.UID, f.GID)
			}
		}
	}
	return all
}

// lost are facts that are gone without a note.
func lost(before, after *Source, notes ...[]Note) []string {
	var all []string
	have := facts(after)
	for fact, token := range facts(before) {
		if _, kept := have[fact]; kept {
			continue
		}
		said := slices.ContainsFunc(slices.Concat(notes...), func(n Note) bool { return strings.Contains(n.String(), token) })
		if !said {
			all = append(all, fact)
		}
	}
	slices.Sort(all)
	return all
}

// synced are the mirrors that sync makes of what a translation needs.
func synced(r *Result) []secret.Secret {
	at := map[string]int{}
	var all []secret.Secret
	for _, n := range r.Secrets {
		if r.To == secret.Swarm {
			all = append(all, secret.Secret{
				Name: n.Mirror.Secret, Keys: []secret.Key{{Name: n.Mirror.Secret}},
				Mark: &secret.Mark{Origin: "kubernetes:1", Parts: []secret.Part{{Key: n.Mirror.Secret, Form: &secret.Form{Secret: n.Origin.Secret, Key: n.Origin.Key, Type: secret.Opaque}}}},
			})
			continue
		}
		i, there := at[n.Mirror.Secret]
		if !there {
			i = len(all)
			at[n.Mirror.Secret] = i
			all = append(all, secret.Secret{Name: n.Mirror.Secret, Type: secret.Opaque, Mark: &secret.Mark{Origin: "swarm:1"}})
		}
		all[i].Keys = append(all[i].Keys, secret.Key{Name: n.Mirror.Key})
		all[i].Mark.Parts = append(all[i].Mark.Parts, secret.Part{Key: n.Mirror.Key, SwarmName: n.Origin.Secret})
		secret.SortKeys(all[i].Keys)
	}
	return all
}

func must(t rapid.TB, source *Source, options Options) (*Result, string) {
	t.Helper()
	r, err := Translate(source, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Text(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, text
}

var (
	word       = rapid.StringMatching(`[a-z][a-z0-9]{0,6}`)
	secretName = rapid.StringMatching(`[a-zA-Z0-9]([a-zA-Z0-9._-]{0,12}[a-zA-Z0-9])?`)
	nasty      = rapid.OneOf(word, rapid.StringMatching(`[ -~]{0,12}`), rapid.SampledFrom([]string{
		"", "yes", "0123", "1e3", "~", "a: b", "- x", "#", "$(HOME)", "$$(X)", "${X}", "{{.Node.Hostname}}", "a\nb\n", "'", `"`, `\`, "é☃", "*a", "&a", "!x", "0x1f", "12:30:45", " lead", "trail ", "|", ">",
	}))
	capabilities = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"ALL", "CAP_NET_ADMIN", "NET_RAW", "cap_chown"}), 0, 2, rapid.ID[string])

	modes = rapid.SampledFrom([]int64{0o444, 0o400, 0o440, 0o644, 0o600, 0o777, 0o004})
)

func fileTarget(t *rapid.T) string {
	return rapid.OneOf(
		word, rapid.Custom(func(t *rapid.T) string { return word.Draw(t, "dir") + "/" + word.Draw(t, "file") }),
		rapid.Custom(func(t *rapid.T) string {
			return "/" + strings.Join(rapid.SliceOfN(word, 1, 3).Draw(t, "path"), "/")
		}),
		rapid.SampledFrom([]string{"/custom/path/a", "/custom/path/b", "/custom/c", "/etc/app.conf", "/etc/ssl/x", "/etc/ssl/y", "/run/secrets/sub/x", "/with space/a,b", `/with"quote`}),
	).Draw(t, "target")
}

func isWithin(file, dir string) bool { return strings.HasPrefix(file, dir+"/") }

// aTest is the command of a health check.
func aTest(t *rapid.T) []string {
	if rapid.Bool().Draw(t, "a line") {
		return []string{rapid.SampledFrom([]string{"/bin/sh", "sh"}).Draw(t, "shell"), "-c", nasty.Filter(func(s string) bool { return s != "" }).Draw(t, "line")}
	}
	return append([]string{word.Draw(t, "program")}, rapid.SliceOfN(nasty, 0, 2).Draw(t, "arguments")...)
}

// aHealth is the health check of a service.
func aHealth(t *rapid.T) map[string]any {
	health := map[string]any{}
	switch rapid.SampledFrom([]string{"", "none", "shell", "command"}).Draw(t, "health check") {
	case "":
		return nil
	case "none":
		return map[string]any{"Test": []string{"NONE"}}
	case "shell":
		health["Test"] = []string{"CMD-SHELL", nasty.Filter(func(s string) bool { return s != "" }).Draw(t, "line")}
	default:
		health["Test"] = append([]string{"CMD"}, aTest(t)...)
	}
	for _, key := range []string{"Interval", "Timeout", "StartPeriod"} {
		if n := rapid.SampledFrom([]int64{-1, 0, 1, 1_500, 90_000}).Draw(t, key); n >= 0 {
			health[key] = n * 1_000_000
		}
	}
	health["Retries"] = rapid.IntRange(0, 5).Draw(t, "retries")
	return health
}

func aService(t *rapid.T) engineService {
	var secrets, env []any
	taken, names := map[string]bool{}, map[string]string{}
	for range rapid.IntRange(0, 5).Draw(t, "secrets") {
		name, target := secretName.Draw(t, "secret"), fileTarget(t)
		if folded := lower(name); names[folded] != "" {
			name = names[folded] // a Swarm has no two that differ in case alone
		} else {
			names[folded] = name
		}
		at := targetPath(target)
		clash := false
		for other := range taken {
			clash = clash || other == at || isWithin(at, other) || isWithin(other, at)
		}
		if clash {
			continue
		}
		taken[at] = true
		secrets = append(secrets, map[string]any{"SecretName": name, "SecretID": "id", "File": map[string]any{
			"Name": target, "UID": rapid.SampledFrom([]string{"0", "0", "0", "1000"}).Draw(t, "uid"), "GID": rapid.SampledFrom([]string{"0", "0", "0", "1001"}).Draw(t, "gid"), "Mode": modes.Draw(t, "mode"),
		}})
	}
	for _, name := range rapid.SliceOfDistinct(rapid.StringMatching(`[A-Z][A-Z0-9_]{0,5}`), rapid.ID).Draw(t, "env") {
		env = append(env, name+"="+nasty.Draw(t, "value"))
	}
	container := map[string]any{"Image": "registry.example/x:" + word.Draw(t, "tag"), "Env": env, "Secrets": secrets,
		"Dir": rapid.SampledFrom([]string{"", "/work"}).Draw(t, "dir"), "User": rapid.SampledFrom([]string{"", "1000", "1000:1001", "www"}).Draw(t, "user"),
		"ReadOnly": rapid.Bool().Draw(t, "ro"), "TTY": rapid.Bool().Draw(t, "tty"), "Hostname": rapid.SampledFrom([]string{"", "h1", "H_1"}).Draw(t, "hostname"),
		"Labels": rapid.MapOfN(word, nasty, 0, 2).Draw(t, "labels")}
	if grace := rapid.SampledFrom([]int64{-1, 0, 1, 1_500_000_000, 10_000_000_000, 30_000_000_000, 3_600_000_000_000}).Draw(t, "grace period"); grace >= 0 {
		container["StopGracePeriod"] = grace
	}
	if rapid.Bool().Draw(t, "entrypoint") {
		container["Command"] = rapid.SliceOfN(nasty, 1, 3).Filter(func(s []string) bool { return s[0] != "" }).Draw(t, "command")
	}
	if rapid.Bool().Draw(t, "has args") {
		container["Args"] = rapid.SliceOfN(nasty, 1, 3).Draw(t, "args")
	}
	var ports []any
	for i := range rapid.IntRange(0, 2).Draw(t, "ports") {
		ports = append(ports, map[string]any{
			"TargetPort": 80 + i, "PublishedPort": rapid.SampledFrom([]int{0, 8080 + i}).Draw(t, "published"), "Protocol": rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol"),
			"PublishMode": rapid.SampledFrom([]string{"ingress", "host"}).Draw(t, "publish mode"),
		})
	}
	spec := map[string]any{"EndpointSpec": map[string]any{"Ports": ports}, "Name": rapid.StringMatching(`[a-z][a-zA-Z0-9_-]{0,8}[a-z0-9]`).Draw(t, "name"), "Labels": rapid.MapOfN(rapid.OneOf(word, rapid.Just("com.example/a")), nasty, 0, 3).Draw(t, "service labels")}
	if health := aHealth(t); health != nil {
		container["Healthcheck"] = health
	}
	if rapid.Bool().Draw(t, "capabilities") {
		container["CapabilityAdd"] = capabilities.Draw(t, "added")
		container["CapabilityDrop"] = capabilities.Draw(t, "dropped")
	}
	amounts := func(label string) map[string]any {
		return map[string]any{
			"NanoCPUs":    rapid.SampledFrom([]int64{0, 0, 1_000_000, 1_234_567, 500_000_000, 1_000_000_000, 2_250_000_000}).Draw(t, label+" of CPU"),
			"MemoryBytes": rapid.SampledFrom([]int64{0, 0, 4 << 20, 6 << 20, 1e9, 7_654_321, 1 << 30}).Draw(t, label+" of memory"),
		}
	}
	task := map[string]any{"ContainerSpec": container, "Resources": map[string]any{"Limits": amounts("limit"), "Reservations": amounts("reservation")}}
	spec["TaskTemplate"] = task
	n := rapid.IntRange(0, 4).Draw(t, "replicas")
	switch rapid.SampledFrom([]string{"replicated", "global", "job"}).Draw(t, "mode") {
	case "replicated":
		spec["Mode"] = map[string]any{"Replicated": map[string]any{"Replicas": n}}
		task["RestartPolicy"] = map[string]any{"Condition": rapid.SampledFrom([]string{"any", "none", "on-failure"}).Draw(t, "restart")}
	case "global":
		spec["Mode"] = map[string]any{"Global": map[string]any{}}
	default:
		spec["Mode"] = map[string]any{"ReplicatedJob": map[string]any{"TotalCompletions": n + 1, "MaxConcurrent": rapid.IntRange(1, n+1).Draw(t, "parallel")}}
		task["RestartPolicy"] = map[string]any{"Condition": rapid.SampledFrom([]string{"none", "on-failure"}).Draw(t, "restart")}
	}
	return engineService{"Spec": spec}
}

func TestSwarmAndBackLosesNothingUnsaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := aService(t).source(t)
		there, text := must(t, before, Options{Mount: rapid.SampledFrom([]Mount{MountAuto, MountDir, MountFile}).Draw(t, "mount")})
		manifests, err := FromManifests([]byte(text), ReadOptions{Known: synced(there)})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		back, command := must(t, manifests, Options{})
		after := engine(t, slices.Concat(back.Workloads[0].Command...)).source(t)
		if gone := lost(before, after, there.Notes, back.Notes); len(gone) > 0 {
			t.Fatalf("lost without a note:\n%s\n%s\n%s", strings.Join(gone, "\n"), text, command)
		}
		// By way of a Compose file, too.
		back, compose := must(t, manifests, Options{Form: Compose})
		after, err = FromCompose([]byte(compose), ReadOptions{})
		if err != nil {
			t.Fatalf("%v\n%s", err, compose)
		}
		if gone := lost(before, after, there.Notes, back.Notes); len(gone) > 0 {
			t.Fatalf("lost without a note:\n%s\n%s\n%s", strings.Join(gone, "\n"), text, compose)
		}
	})
}

// aManifest is a workload, its Secrets and an Ingress, and the names of those that are referred to.
func aManifest(t *rapid.T) (string, map[string]bool) {
	env, volumes, mounts := []any{}, []any{}, []any{}
	secrets := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]([a-z0-9.-]{0,8}[a-z0-9])?`).Filter(func(s string) bool {
		return !strings.Contains(s, "..") && !strings.Contains(s, ".-") && !strings.Contains(s, "-.")
	}), 1, 3, rapid.ID[string]).Draw(t, "secrets")
	keys := map[string][]string{}
	var docs []string
	for _, s := range secrets {
		keys[s] = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9_][a-zA-Z0-9._-]{0,6}`), 1, 3, lower).Draw(t, "keys")
		data := map[string]any{}
		for _, k := range keys[s] {
			data[k] = "eA=="
		}
		docs = append(docs, jsonText(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": s}, "data": data, "immutable": rapid.Bool().Draw(t, "immutable")}))
	}
	// named is whatever the workload refers to.
	named := map[string]bool{}
	aSecret := func() (string, []string) {
		s := rapid.SampledFrom(secrets).Draw(t, "secret")
		named[s] = true
		return s, keys[s]
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Z][A-Z0-9_]{0,5}`), 0, 4, rapid.ID[string]).Draw(t, "env") {
		if rapid.Bool().Draw(t, "from a secret") {
			s, all := aSecret()
			env = append(env, map[string]any{"name": name, "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": s, "key": rapid.SampledFrom(all).Draw(t, "key"), "optional": rapid.Bool().Draw(t, "optional")}}})
			continue
		}
		env = append(env, map[string]any{"name": name, "value": nasty.Draw(t, "value")})
	}
	items := func(all []string) []any {
		var list []any
		for i, key := range all {
			item := map[string]any{"key": key, "path": fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"f", "sub/f"}).Draw(t, "path"), i)}
			if rapid.Bool().Draw(t, "with a mode") {
				item["mode"] = modes.Draw(t, "mode")
			}
			list = append(list, item)
		}
		return list
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "volumes") {
		name := fmt.Sprintf("v%d", i)
		s, all := aSecret()
		mount := map[string]any{"name": name, "mountPath": rapid.SampledFrom([]string{"/custom/path", "/etc", "/run/secrets"}).Draw(t, "at") + "/" + name}
		switch rapid.SampledFrom([]string{"whole", "items", "projected", "subPath", "subPathExpr", "csi"}).Draw(t, "volume") {
		case "whole":
			volumes = append(volumes, map[string]any{"name": name, "secret": map[string]any{"secretName": s, "defaultMode": modes.Draw(t, "mode"), "optional": rapid.Bool().Draw(t, "optional")}})
		case "csi":
			volumes = append(volumes, map[string]any{"name": name, "csi": map[string]any{"driver": "x", "nodePublishSecretRef": map[string]any{"name": s}}})
		case "subPathExpr":
			volumes = append(volumes, map[string]any{"name": name, "secret": map[string]any{"secretName": s}})
			mount["subPathExpr"] = "$(KEY_NAME)"
			if rapid.Bool().Draw(t, "known name") {
				env = append(env, map[string]any{"name": "KEY_NAME" + name, "value": all[0]})
				mount["subPathExpr"] = "$(KEY_NAME" + name + ")"
			} else {
				delete(mount, "subPathExpr")
				mount["subPath"] = all[0]
			}
		case "items":
			volumes = append(volumes, map[string]any{"name": name, "secret": map[string]any{"secretName": s, "items": items(all)}})
		case "projected":
			var sources []any
			for n, of := range secrets {
				source := items(keys[of])
				for _, item := range source {
					item := item.(map[string]any)
					item["path"] = fmt.Sprintf("%d-%s", n, strings.ReplaceAll(item["path"].(string), "/", "-"))
				}
				named[of] = true
				sources = append(sources, map[string]any{"secret": map[string]any{"name": of, "items": source, "optional": rapid.Bool().Draw(t, "optional")}})
			}
			for _, other := range []map[string]any{
				{"configMap": map[string]any{"name": "c"}}, {"serviceAccountToken": map[string]any{"path": "token"}}, {"downwardAPI": map[string]any{"items": []any{map[string]any{"path": "labels", "fieldRef": map[string]any{"fieldPath": "metadata.labels"}}}}},
			} {
				if rapid.Bool().Draw(t, "another source") {
					sources = append(sources, other)
				}
			}
			volumes = append(volumes, map[string]any{"name": name, "projected": map[string]any{"sources": sources, "defaultMode": modes.Draw(t, "mode")}})
		default:
			volumes = append(volumes, map[string]any{"name": name, "secret": map[string]any{"secretName": s}})
			mount["subPath"] = rapid.SampledFrom(all).Draw(t, "subPath")
		}
		mounts = append(mounts, mount)
	}
	container := map[string]any{"name": "c", "image": "registry.example/x:1", "env": env, "volumeMounts": mounts}
	if rapid.Bool().Draw(t, "command") {
		container["command"] = rapid.SliceOfN(nasty, 1, 2).Filter(func(s []string) bool { return s[0] != "" }).Draw(t, "words")
	}
	if rapid.Bool().Draw(t, "args") {
		container["args"] = rapid.SliceOfN(nasty, 1, 2).Draw(t, "words")
	}
	var envFrom []any
	for range rapid.IntRange(0, 2).Draw(t, "envFrom") {
		s, _ := aSecret()
		envFrom = append(envFrom, map[string]any{"prefix": rapid.SampledFrom([]string{"", "P_"}).Draw(t, "prefix"), "secretRef": map[string]any{"name": s, "optional": rapid.Bool().Draw(t, "optional")}})
	}
	container["envFrom"] = envFrom
	resources := map[string]any{}
	for _, of := range []string{"limits", "requests"} {
		amounts := map[string]any{}
		for what, all := range map[string][]string{"cpu": {"", "", "0", "1m", "100m", "0.5", "1", "1500m", "1e-1", "2.5e0"}, "memory": {"", "", "0", "1Mi", "128Mi", "1G", "1e9", "64M", "1234567890", "2Gi", "0.5Gi"}} {
			if amount := rapid.SampledFrom(all).Draw(t, of+what); amount != "" {
				amounts[what] = amount
			}
		}
		resources[of] = amounts
	}
	container["resources"] = resources
	container["securityContext"] = map[string]any{"capabilities": map[string]any{"add": capabilities.Draw(t, "added"), "drop": capabilities.Draw(t, "dropped")}}
	for _, name := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
		probe := map[string]any{}
		switch rapid.SampledFrom([]string{"", "", "exec", "httpGet"}).Draw(t, name) {
		case "":
			continue
		case "exec":
			probe["exec"] = map[string]any{"command": aTest(t)}
		default:
			probe["httpGet"] = map[string]any{"path": "/healthz", "port": "http"}
		}
		for _, key := range []string{"periodSeconds", "timeoutSeconds", "initialDelaySeconds", "failureThreshold"} {
			if n := rapid.SampledFrom([]int{-1, 0, 1, 45}).Draw(t, key); n >= 0 {
				probe[key] = n
			}
		}
		container[name] = probe
	}
	pod := map[string]any{"containers": []any{container}, "volumes": volumes}
	other := func(name string) map[string]any {
		s, all := aSecret()
		return map[string]any{"name": name, "image": "registry.example/y:1", "command": []any{"run", "--token=$(TOKEN)"}, "env": []any{
			map[string]any{"name": "TOKEN", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": s, "key": all[0]}}},
		}}
	}
	var before []any
	if rapid.Bool().Draw(t, "init container") {
		before = append(before, other("setup"))
	}
	if rapid.Bool().Draw(t, "sidecar") {
		sidecar := other("side")
		sidecar["restartPolicy"] = "Always"
		before = append(before, sidecar)
	}
	pod["initContainers"] = before
	if rapid.Bool().Draw(t, "second container") {
		pod["containers"] = []any{container, other("second")}
	}
	if rapid.Bool().Draw(t, "pull secret") {
		s, _ := aSecret()
		pod["imagePullSecrets"] = []any{map[string]any{"name": s}}
	}
	if rapid.Bool().Draw(t, "ingress") {
		s, _ := aSecret()
		docs = append(docs, jsonText(map[string]any{"kind": "Ingress", "metadata": map[string]any{"name": "i"}, "spec": map[string]any{"tls": []any{map[string]any{"secretName": s}}}}))
	}
	if rapid.Bool().Draw(t, "fsGroup") {
		pod["securityContext"] = map[string]any{"fsGroup": 2000, "runAsUser": 1000}
	}
	// Not 10: the engine says that of every service.
	if grace := rapid.SampledFrom([]int{-1, 0, 1, 30, 3600}).Draw(t, "grace period"); grace >= 0 {
		pod["terminationGracePeriodSeconds"] = grace
	}
	kind := rapid.SampledFrom([]string{"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}).Draw(t, "kind")
	object := map[string]any{"kind": kind, "metadata": map[string]any{"name": word.Draw(t, "name"), "labels": map[string]any{"tier": "x"}, "annotations": rapid.MapOfN(word, nasty, 0, 2).Draw(t, "annotations")}}
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": pod}
	spec := map[string]any{"template": template}
	switch kind {
	case "Pod":
		pod["restartPolicy"] = rapid.SampledFrom([]string{"Always", "OnFailure", "Never"}).Draw(t, "restart")
		spec = pod
	case "Job", "CronJob":
		spec["completions"], spec["parallelism"] = rapid.IntRange(1, 4).Draw(t, "completions"), 1
		spec["backoffLimit"] = rapid.IntRange(0, 6).Draw(t, "backoff")
		pod["restartPolicy"] = rapid.SampledFrom([]string{"OnFailure", "Never"}).Draw(t, "restart")
		if kind == "CronJob" {
			spec = map[string]any{"schedule": "1 2 * * *", "jobTemplate": map[string]any{"spec": spec}}
		}
	case "DaemonSet":
	default:
		spec["replicas"] = rapid.IntRange(0, 3).Draw(t, "replicas")
	}
	object["spec"] = spec
	docs = append(docs, jsonText(object))
	return "[" + strings.Join(docs, ",") + "]", named
}

func jsonText(object map[string]any) string {
	text, _ := json.Marshal(object) // can't fail
	return string(text)
}

// asRead has files and variables instead of whole Secrets, and of the script.
func asRead(source *Source) *Source {
	for i := range source.Workloads {
		spread(source, &source.Workloads[i])
		for j := range source.Workloads[i].Containers {
			unwrap(&source.Workloads[i].Containers[j])
		}
	}
	return source
}

func TestKubernetesAndBackLosesNothingUnsaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, named := aManifest(t)
		before, err := FromManifests([]byte(text), ReadOptions{})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		options := Options{Env: rapid.SampledFrom([]Env{EnvAuto, EnvShell, EnvFile}).Draw(t, "env way")}
		if rapid.Bool().Draw(t, "known image") {
			options.Images = map[string]Command{"registry.example/x:1": {Cmd: []string{"serve"}}}
		}
		there, command := must(t, before, options)
		var swarm *Source
		if rapid.Bool().Draw(t, "by Compose") {
			options.Form = Compose
			there, command = must(t, before, options)
			if swarm, err = FromCompose([]byte(command), ReadOptions{}); err != nil {
				t.Fatalf("%v\n%s", err, command)
			}
		} else {
			for _, w := range there.Workloads {
				one := engine(t, slices.Concat(w.Command...)).source(t)
				if swarm == nil {
					swarm = one
				} else {
					swarm.Workloads = append(swarm.Workloads, one.Workloads...)
				}
			}
		}
		// Whatever refers to a Secret comes with it, or a note says which is missing.
		for name := range named {
			if !slices.ContainsFunc(there.Secrets, func(n Named) bool { return n.Origin.Secret == name }) &&
				!slices.ContainsFunc(there.Notes, func(n Note) bool { return strings.Contains(n.String(), name) }) {
				t.Fatalf("%s is lost without a word:\n%s\n%s", name, text, command)
			}
		}
		swarm.Secrets = synced(there)
		back, manifests := must(t, swarm, Options{})
		after, err := FromManifests([]byte(manifests), ReadOptions{})
		if err != nil {
			t.Fatalf("%v\n%s", err, manifests)
		}
		if gone := lost(asRead(before), asRead(after), there.Notes, back.Notes); len(gone) > 0 {
			t.Fatalf("lost without a note:\n%s\n%s\n%s\n%s", strings.Join(gone, "\n"), text, command, manifests)
		}
	})
}
