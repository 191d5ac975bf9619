package translate

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// service is a container of a workload on its way to a Swarm.
type service struct {
	w       *Workload
	c       *Container
	names   *naming
	options Options
	t       Translated
	name    string
	files   []File // with the names of the Swarm's secrets
	env     []Var
	command []string // replaces the entrypoint, as a whole with its arguments
	args    []string
	// optional are secrets that need not be there in Kubernetes.
	optional []string
}

func (r *Result) toSwarm(workloads []Workload, names *naming, options Options) {
	taken := map[string]int{}
	published := published{}
	for i := range workloads {
		w := &workloads[i]
		for j := range w.Containers {
			s := &service{w: w, c: &w.Containers[j], names: names, options: options, t: Translated{Object: w.Object()}}
			s.name = s.serviceName(j)
			if name := free(s.name, taken, options.longest()); name != s.name && options.Form != Update {
				w.note(s.name+" is called "+name, "another service has that name")
				s.name = name
			}
			if left := longestName - len("_") - len(s.name); options.Form == Compose && options.Stack == "" && left < shortStack {
				w.note(fmt.Sprintf("the name of its stack may have %d characters", max(left, 0)), "with that of the stack, a service's name has at most 63: --stack NAME makes it short enough")
			}
			s.t.Name = s.name
			s.pair("docker service create", "kind: "+w.Kind)
			s.pair("--name "+s.name, "metadata.name: "+w.Name)
			s.pair(quote(s.c.Image), "image: "+s.c.Image)
			s.translate()
			if options.Form != Update {
				published.free(s)
			}
			switch options.Form {
			case Compose:
				s.t.Service = s.compose()
			case Update:
				s.t.Command = s.update()
			default:
				s.t.Command = s.create()
			}
			// The notes of a workload belong to the first of its services.
			r.finish(w, &s.t)
			w.notes = nil
		}
	}
}

func (s *service) pair(swarm, kubernetes string) {
	s.t.Pieces = append(s.t.Pieces, Piece{Swarm: lines(swarm), Kubernetes: lines(kubernetes)})
}

// published are the services that have a port already, by its number and protocol, and in which mode.
type published map[Port]struct{ service, mode string }

// free gives what a service would publish, and something else has already, another port. Two services can both have
// it on the nodes that they run on (host).
func (p published) free(s *service) {
	var ports []Port
	seen := map[Port]bool{}
	for _, port := range s.w.Ports {
		if seen[port] {
			continue // two Services lead to it, and once is enough
		}
		seen[port] = true
		at := Port{Published: port.Published, Protocol: port.Protocol}
		said := fmt.Sprintf("Service: port: %d, targetPort: %d", port.Published, port.Target)
		if port.Mode == "host" {
			said = fmt.Sprintf("ports: containerPort: %d, hostPort: %d", port.Target, port.Published)
		}
		other, taken := p[at]
		switch {
		case port.Published == 0:
		case taken && (other.service == s.name || other.mode != "host" || port.Mode != "host"):
			s.w.note(fmt.Sprintf("the port %d is published at one that the Swarm chooses, and not at %d", port.Target, port.Published),
				fmt.Sprintf("%s has %d/%s already, and in a Swarm a port leads to one service: docker service inspect shows which it is", other.service, port.Published, port.Protocol))
			port.Published = 0
		case !taken:
			p[at] = struct{ service, mode string }{s.name, port.Mode}
		}
		ports = append(ports, port)
		s.pair("--publish "+publishFlag(port), said)
	}
	s.w.Ports = ports
}

// swarmName is the whole name of a service.
func swarmName(w *Workload) string {
	if w.Stack != "" {
		return w.Stack + "_" + w.Name
	}
	return w.Name
}

func (s *service) serviceName(n int) string {
	name := s.w.Name
	if len(s.w.Containers) > 1 {
		if n == 0 {
			var all []string
			for _, c := range s.w.Containers {
				all = append(all, c.Name)
			}
			s.w.note("its containers "+strings.Join(all, ", ")+" become a service each", "a task of a Swarm is one container: they no longer share an address, volumes or a fate")
		}
		name += "-" + s.c.Name
	}
	if s.options.Form == Update && s.options.Workload != "" {
		return s.options.Workload
	}
	fit := strings.Trim(notService.ReplaceAllString(name, "-"), "-_")
	fit = or(strings.TrimRight(fit[:min(len(fit), s.options.longest())], "-_"), "unnamed")
	if fit != name {
		s.w.note(name+" is called "+fit, "a service's name is of at most 63 letters, digits, - and _, with that of its stack")
	}
	return fit
}

// longest is how long the name of a service may be. In a stack, that of the stack stands before it.
func (o Options) longest() int {
	if o.Form == Compose && o.Stack != "" {
		return longestName - len(o.Stack) - len("_")
	}
	return longestName
}

var notService = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

func (s *service) translate() {
	c := s.c
	for _, f := range c.Files {
		to := f
		to.Ref = s.names.targets[f.Ref]
		s.files = append(s.files, to)
		s.pair("--secret "+quote(secretFlag(to.Ref.Secret, to)), filePiece(f))
		if f.Optional {
			s.needed(to.Ref.Secret)
		}
		if !f.Alone {
			s.w.note("files of secrets keep the value that they have when a task starts", "a Swarm's secrets never change: docker secretx rotate, or sync --rollout, brings a new one by an update of the service")
		}
	}
	var fromSecrets, composed []Var
	for _, v := range c.Env {
		switch {
		case v.From != nil:
			fromSecrets = append(fromSecrets, v)
		case len(referred(v.Value)) > 0:
			composed = append(composed, v)
		default:
			s.variable(v)
		}
	}
	s.commands()
	s.variables(fromSecrets, composed)
	s.oneMode()
	if len(s.optional) > 0 {
		s.w.note("there have to be the secrets "+strings.Join(s.optional, ", "), "a Swarm starts no service whose secret is missing, and in Kubernetes these are optional")
	}
	if strings.HasPrefix(c.User, ":") {
		s.w.note("the group "+c.User[1:]+" of its processes was left out", "a Swarm takes a group only together with a user")
		c.User = ""
	}
}

// variable adds one whose value is as it is.
func (s *service) variable(v Var) {
	s.env = append(s.env, v)
	s.pair("--env "+quote(v.Name+"="+v.Value), "env: name: "+v.Name+"\n     value: "+v.Value+pointer(s.c.Files, v))
}

// needed notes a secret that in Kubernetes is optional.
func (s *service) needed(name string) {
	if !slices.Contains(s.optional, name) {
		s.optional = append(s.optional, name)
	}
}

func filePiece(f File) string {
	text := fmt.Sprintf("volumes: secret: %s\n  items: key: %s, path: %s\n  mode: %04o", f.Ref.Secret, f.Ref.Key, path.Base(f.Path), f.Mode)
	if f.Alone {
		return text + "\nvolumeMounts:\n  mountPath: " + f.Path + "\n  subPath: " + path.Base(f.Path)
	}
	return text + "\nvolumeMounts:\n  mountPath: " + path.Dir(f.Path)
}

// commands takes over what runs.
func (s *service) commands() {
	s.command, s.args = s.c.Command, s.c.Args
	if len(s.command) > 0 {
		s.pair("--entrypoint "+quote(unfilled(s.command[0])[0]), "command: "+strings.Join(unfilled(s.command...), " "))
	}
	if len(s.args) > 0 {
		s.pair(quoteAll(unfilled(s.args...)), "args: "+strings.Join(unfilled(s.args...), " "))
	}
}

// whole is all of what the container runs, where it is known.
func (s *service) whole() []string {
	if len(s.command) > 0 {
		return append(slices.Clone(s.command), s.args...)
	}
	image, known := s.options.Images[s.c.Image]
	if !known {
		return nil
	}
	args := s.args
	if len(args) == 0 {
		args = image.Cmd
	}
	return append(slices.Clone(image.Entrypoint), args...)
}

// variables gives the container those whose value is a secret, which a Swarm has no form for.
func (s *service) variables(vars, composed []Var) {
	whole := s.whole()
	byShell := s.options.Env != EnvFile && len(whole) > 0
	whole = s.fillIn(vars, composed, whole, byShell)
	if len(vars) == 0 {
		return
	}
	var byFile []string
	var pairs []Pair
	for _, v := range vars {
		to := s.names.targets[*v.From]
		right := fmt.Sprintf("env: name: %s\n     valueFrom.secretKeyRef:\n       name: %s, key: %s", v.Name, v.From.Secret, v.From.Key)
		if v.Optional {
			s.needed(to.Secret)
		}
		f := File{Ref: to, Path: envDirectory + v.Name, Mode: 0o444, UID: "0", GID: "0"}
		if byShell && settable(v.Name) {
			// One that is there already does, and could have no other mode.
			if i := slices.IndexFunc(s.files, func(o File) bool { return o.Ref == to && !strings.HasPrefix(o.Path, envDirectory) }); i >= 0 {
				f = s.files[i]
			} else {
				s.files = append(s.files, f)
			}
			pairs = append(pairs, Pair{v.Name, f.Path})
			s.pair("--secret "+quote(secretFlag(to.Secret, f))+"\n(a shell makes $"+v.Name+" of it)", right)
			continue
		}
		f.Path = swarmDirectory + "/" + to.Secret
		if i := slices.IndexFunc(s.files, func(o File) bool { return o.Ref == to && !strings.HasPrefix(o.Path, envDirectory) }); i >= 0 {
			f = s.files[i]
		} else {
			s.files = append(s.files, f)
		}
		if slices.ContainsFunc(s.c.Env, func(o Var) bool { return o.Name == v.Name+"_FILE" }) {
			s.w.note("$"+v.Name+"_FILE stays as the manifest has it", "it can't also say that the value of $"+v.Name+" is in "+f.Path)
			s.pair("--secret "+quote(secretFlag(to.Secret, f)), right)
			continue
		}
		byFile = append(byFile, v.Name)
		s.env = append(s.env, Var{Name: v.Name + "_FILE", Value: f.Path})
		s.pair("--secret "+quote(secretFlag(to.Secret, f))+"\n--env "+quote(v.Name+"_FILE="+f.Path), right)
	}
	// The script has each value in $v before it exports it.
	slices.SortStableFunc(pairs, func(a, b Pair) int {
		switch "v" {
		case a.Name:
			return 1
		case b.Name:
			return -1
		}
		return 0
	})
	if len(pairs) > 0 {
		s.command, s.args = wrap(pairs, whole), nil
		names := make([]string, len(pairs))
		for i, p := range pairs {
			names[i] = "$" + p.Name
		}
		s.w.note(strings.Join(names, ", ")+": a shell sets it from a file, and then runs the command", "a Swarm gives secrets as files alone; the image has to have /bin/sh and cat, or else --env file names the file in NAME_FILE")
	}
	if len(byFile) > 0 {
		reason := "a Swarm gives secrets as files alone; the image has to know NAME_FILE"
		switch {
		case s.options.Env == EnvFile:
		case len(whole) > 0:
			reason += ". No shell can set a variable of such a name"
		default:
			reason += ". What the image runs isn't known, so that no shell could set the variable first: --image-command IMAGE=COMMAND says it, or a command in the manifest does"
		}
		s.w.note("$"+strings.Join(byFile, ", $")+": the path of a file is in $"+byFile[0]+"_FILE instead", reason)
	}
}

// oneMode: the engine gives all references of a service to one secret the mode and owner of one of them.
func (s *service) oneMode() {
	modes, paths := map[Ref]uint32{}, map[Ref][]string{}
	for _, f := range s.files {
		modes[f.Ref] |= f.Mode
		paths[f.Ref] = append(paths[f.Ref], f.Path)
	}
	for i := range s.files {
		f := &s.files[i]
		if mode := modes[f.Ref]; f.Mode != mode {
			f.Mode = mode
			s.w.note(fmt.Sprintf("%s all have the mode %04o", strings.Join(paths[f.Ref], ", "), mode),
				"Docker gives all references to one secret the same mode, and whoever may read one of them in Kubernetes has to be able to here")
		}
	}
}

// settable tells whether a shell can set a variable, and then run something: not one that bash keeps to itself, nor
// the path by which the rest is found.
func settable(name string) bool {
	return isIdentifier(name) && !slices.Contains([]string{"PATH", "_", "UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS"}, name)
}

func isIdentifier(name string) bool { return name != "" && nameLength(name) == len(name) }

// secretFlag writes what docker takes for --secret.
func secretFlag(name string, f File) string {
	target := f.Path
	if rest, below := strings.CutPrefix(target, swarmDirectory+"/"); below {
		target = rest
	}
	var options []string
	if f.UID != "" && f.UID != "0" {
		options = append(options, "uid="+f.UID)
	}
	if f.GID != "" && f.GID != "0" {
		options = append(options, "gid="+f.GID)
	}
	if f.Mode != 0o444 {
		options = append(options, fmt.Sprintf("mode=%04o", f.Mode))
	}
	if target == name && len(options) == 0 {
		return name
	}
	all := append([]string{"source=" + name, "target=" + target}, options...)
	for i, o := range all {
		if strings.ContainsAny(o, ",\"\n\r") {
			all[i] = `"` + strings.ReplaceAll(o, `"`, `""`) + `"`
		}
	}
	return strings.Join(all, ",")
}

func publishFlag(p Port) string {
	if p.Mode != "host" && p.Published > 0 && p.Protocol == "tcp" {
		return decimal(p.Published) + ":" + decimal(p.Target)
	}
	text := "target=" + decimal(p.Target)
	if p.Published > 0 {
		text = "published=" + decimal(p.Published) + "," + text
	}
	if p.Protocol != "tcp" {
		text += ",protocol=" + p.Protocol
	}
	if p.Mode == "host" {
		text += ",mode=host"
	}
	return text
}

// escapedTemplate is a template of a Swarm that says what begins one.
const escapedTemplate = `{{"{{"}}`

// untemplated keeps a Swarm from filling in what only looks like one of its templates.
func untemplated(value string) string { return strings.ReplaceAll(value, "{{", escapedTemplate) }

// labels are those of the service and of its containers, without what the way back would make again.
func (s *service) labels() (service, container []Pair) {
	keep := func(pairs []Pair) []Pair {
		return slices.DeleteFunc(slices.Clone(pairs), func(p Pair) bool {
			return p.Name == nameLabel && p.Value == s.w.Name || slices.Contains(ofOwners, p.Name)
		})
	}
	return keep(append(slices.Clone(s.w.Labels), s.w.Annotations...)), keep(s.w.PodLabels)
}

// ofOwners are labels that what owns a pod gives it.
var ofOwners = []string{
	"pod-template-hash", "controller-revision-hash", "pod-template-generation", "controller-uid", "job-name",
	"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
}

func (s *service) create() [][]string {
	w, c := s.w, s.c
	groups := [][]string{{"docker", "service", "create"}, {"--name", s.name}}
	flag := func(words ...string) { groups = append(groups, words) }
	switch w.Mode {
	case Global:
		flag("--mode", "global")
	case Job:
		flag("--mode", "replicated-job")
		if w.Parallel > 0 && w.Parallel != w.Replicas {
			flag("--max-concurrent", decimal(w.Parallel))
		}
	}
	if w.Mode != Global && (w.Replicas != 1 || w.Kind != "Pod" && w.Mode != Job) {
		flag("--replicas", decimal(w.Replicas))
	}
	switch {
	case w.Mode == Job && w.Restart == Never, w.Mode != Job && w.Restart != Always:
		flag("--restart-condition", string(w.Restart))
		s.pair("--restart-condition "+string(w.Restart), "restartPolicy: "+map[Restart]string{Never: "Never", OnFailure: "OnFailure"}[w.Restart])
	}
	if w.Attempts > 0 {
		flag("--restart-max-attempts", decimal(w.Attempts))
	}
	service, container := s.labels()
	for _, l := range service {
		flag("--label", l.Name+"="+l.Value)
	}
	for _, l := range container {
		flag("--container-label", l.Name+"="+l.Value)
	}
	for _, f := range s.files {
		flag("--secret", secretFlag(f.Ref.Secret, f))
	}
	for _, v := range s.env {
		flag("--env", v.Name+"="+untemplated(v.Value))
	}
	for _, p := range w.Ports {
		flag("--publish", publishFlag(p))
	}
	w.Ports = nil // those of a pod are published once
	if w.Hostname != "" {
		flag("--hostname", untemplated(w.Hostname))
	}
	if grace := s.grace(); grace != "" {
		flag("--stop-grace-period", grace)
	}
	if c.Dir != "" {
		flag("--workdir", c.Dir)
	}
	if c.User != "" {
		flag("--user", c.User)
	}
	for _, g := range c.Groups {
		flag("--group", g)
	}
	limits, _ := s.resources()
	health, _ := s.health()
	groups = slices.Concat(groups, s.capabilities(), limits, health)
	if c.Health != nil {
		if _, line := c.Health.line(); !line {
			w.note("its health check is run by /bin/sh", "docker service create takes a line for a shell alone; a Compose file can do without one")
		}
	}
	if c.ReadOnly {
		flag("--read-only")
	}
	if c.TTY {
		flag("--tty")
	}
	args := s.args
	if len(s.command) > 0 {
		// The flag takes words of a shell, and one is enough.
		flag("--entrypoint", quote(s.command[0]))
		args = append(slices.Clone(s.command[1:]), s.args...)
	}
	flag(c.Image)
	if len(args) > 0 {
		groups[len(groups)-1] = append(groups[len(groups)-1], args...)
	}
	return groups
}

// update adds what secrets take to a service that is there.
func (s *service) update() [][]string {
	groups := [][]string{{"docker", "service", "update"}}
	for _, f := range s.files {
		groups = append(groups, []string{"--secret-add", secretFlag(f.Ref.Secret, f)})
	}
	paths := map[string]bool{}
	for _, f := range s.files {
		paths[f.Path] = true
	}
	for _, v := range s.env {
		if paths[path.Clean(v.Value)] {
			groups = append(groups, []string{"--env-add", v.Name + "=" + untemplated(v.Value)})
		}
	}
	if len(s.command) > 3 && s.command[2] == envScript {
		groups = append(groups, []string{"--entrypoint", s.command[0]}, []string{"--args", quoteAll(s.command[1:])})
	}
	return append(groups, []string{s.name})
}

// compose is a service of a Compose file.
func (s *service) compose() Fields {
	w, c := s.w, s.c
	out := Fields{{"image", dollars(c.Image)}}
	out = out.with("entrypoint", list(dollarsAll(s.command))).with("command", list(dollarsAll(s.args)))
	out = out.with("hostname", dollars(untemplated(w.Hostname))).with("working_dir", dollars(c.Dir)).with("user", c.User)
	out = out.with("read_only", c.ReadOnly).with("tty", c.TTY).with("stdin_open", c.Stdin)
	out = out.with("stop_grace_period", s.grace())
	s.capabilities()
	out = out.with("cap_add", list(c.CapAdd)).with("cap_drop", list(c.CapDrop))
	_, health := s.health()
	out = out.with("healthcheck", health)
	if len(c.Groups) > 0 {
		w.note("the groups "+strings.Join(c.Groups, ", ")+" of its processes were left out", "docker stack deploy knows none")
	}
	var environment Fields
	for _, v := range s.env {
		environment = append(environment, Field{v.Name, dollars(untemplated(v.Value))})
	}
	out = out.with("environment", environment)
	var secrets []any
	for _, f := range s.files {
		target := f.Path
		if rest, below := strings.CutPrefix(target, swarmDirectory+"/"); below {
			target = rest
		}
		if target == f.Ref.Secret && f.Mode == 0o444 && f.UID+f.GID == "00" {
			secrets = append(secrets, f.Ref.Secret)
			continue
		}
		entry := Fields{{"source", f.Ref.Secret}, {"target", dollars(target)}}
		if f.UID+f.GID != "00" {
			entry = append(entry, Field{"uid", f.UID}, Field{"gid", f.GID})
		}
		if f.Mode != 0o444 {
			entry = append(entry, Field{"mode", octal(f.Mode)})
		}
		secrets = append(secrets, entry)
	}
	out = out.with("secrets", secrets)
	var ports []any
	for _, p := range w.Ports {
		port := Fields{{"target", p.Target}}
		if p.Published > 0 {
			port = append(port, Field{"published", p.Published})
		}
		ports = append(ports, append(port, Field{"protocol", p.Protocol}, Field{"mode", p.Mode}))
	}
	w.Ports = nil
	out = out.with("ports", ports)
	service, container := s.labels()
	out = out.with("labels", dollarMap(container))
	var deploy Fields
	if w.Mode != Replicated {
		deploy = append(deploy, Field{"mode", string(w.Mode)})
	}
	if w.Mode != Global && (w.Replicas != 1 || w.Kind != "Pod") {
		deploy = append(deploy, Field{"replicas", w.Replicas})
	}
	deploy = deploy.with("labels", dollarMap(service))
	if w.Mode == Job && w.Parallel > 0 && w.Parallel != w.Replicas {
		w.note("all of the job run at once", fmt.Sprintf("a Compose file has no word for %d at a time", w.Parallel))
	}
	_, resources := s.resources()
	deploy = deploy.with("resources", resources)
	var policy Fields
	if w.Restart != Always && (w.Mode != Job || w.Restart == Never) {
		policy = append(policy, Field{"condition", string(w.Restart)})
	}
	if w.Attempts > 0 {
		policy = append(policy, Field{"max_attempts", w.Attempts})
	}
	return out.with("deploy", deploy.with("restart_policy", policy))
}

// dollars keeps Compose from filling in variables.
func dollars(text string) string { return strings.ReplaceAll(text, "$", "$$") }

func dollarsAll(texts []string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, dollars(t))
	}
	return all
}

func dollarMap(pairs []Pair) Fields {
	var f Fields
	for _, p := range pairs {
		f = append(f, Field{p.Name, dollars(p.Value)})
	}
	return f
}
