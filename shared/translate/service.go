package translate

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// The labels by which docker knows what belongs to a stack.
const (
	stackLabel      = "com.docker.stack.namespace"
	stackImageLabel = "com.docker.stack.image"
)

// swarmDirectory is where a Swarm puts secrets unless it is told otherwise.
const swarmDirectory = "/run/secrets"

// FromServices reads services as the engine shows them: what `docker service inspect` prints, or specs alone.
func FromServices(text []byte) (*Source, error) {
	docs, err := parse(text)
	if err != nil {
		return nil, err
	}
	source := &Source{Kind: secret.Swarm}
	return source, readServices(docs, source)
}

func readServices(docs []*object, source *Source) error {
	if len(docs) > mostWorkloads {
		return fmt.Errorf("it has %d services, and more than %d are not read", len(docs), mostWorkloads)
	}
	for _, doc := range docs {
		w := readService(doc)
		if doc.doc.err != nil {
			return fmt.Errorf("service %s: %w", w.Name, doc.doc.err)
		}
		source.Workloads = append(source.Workloads, w)
	}
	return nil
}

func readService(o *object) Workload {
	spec := o
	if s := o.object("Spec"); s != nil {
		spec = s
	}
	w := Workload{Kind: serviceKind, Name: spec.str("Name"), Mode: Replicated, Replicas: 1, Restart: Always, Attempts: -1}
	if w.Name == "" {
		spec.doc.complain("Spec.Name", "the name of a service")
	}
	for _, label := range spec.pairs("Labels") {
		switch label.Name {
		case stackLabel:
			w.Stack = label.Value
		case stackImageLabel: // the image without its digest, which docker shows
		default:
			w.Labels = append(w.Labels, label)
		}
	}
	w.unstack()
	task := spec.object("TaskTemplate")
	readMode(spec.object("Mode"), &w)
	readRestart(task.object("RestartPolicy"), &w)
	for _, p := range spec.object("EndpointSpec").objects("Ports") {
		target, _ := p.number("TargetPort")
		published, _ := p.number("PublishedPort")
		p.ignore("Name")
		w.Ports = append(w.Ports, Port{Target: target, Published: published, Protocol: or(lower(p.str("Protocol")), "tcp"), Mode: or(p.str("PublishMode"), "ingress")})
	}
	container := task.object("ContainerSpec")
	c := readContainerSpec(container, &w)
	resources := task.object("Resources")
	c.CapAdd, c.CapDrop = w.capabilities(container, "CapabilityAdd"), w.capabilities(container, "CapabilityDrop")
	c.Health = readHealth(&w, container.object("Healthcheck"))
	limits, reserved := resources.object("Limits"), resources.object("Reservations")
	c.Limits = Amounts{w.amount(limits, "NanoCPUs", wholeAmount), w.amount(limits, "MemoryBytes", wholeAmount)}
	c.Requests = Amounts{w.amount(reserved, "NanoCPUs", wholeAmount), w.amount(reserved, "MemoryBytes", wholeAmount)}
	w.Containers = []Container{c}
	// What every engine says of every service.
	if mode := spec.object("EndpointSpec").str("Mode"); mode == "dnsrr" {
		w.leave("EndpointSpec.Mode dnsrr")
	}
	container.ignore("Isolation")
	if container.boolean("Init") {
		w.leave("ContainerSpec.Init")
	}
	if w.Grace = w.time(container, "StopGracePeriod", nanoseconds); w.Grace != nil && *w.Grace == usualGraceOfSwarm {
		w.Grace = nil
	}
	if container.str("StopSignal") != "" && container.str("StopSignal") != "SIGTERM" {
		w.leave("ContainerSpec.StopSignal")
	}
	task.ignore("ForceUpdate", "Runtime")
	task.object("Placement").ignore("Platforms")
	for _, key := range []string{"UpdateConfig", "RollbackConfig"} {
		w.leaveUnless(spec.object(key), "Parallelism", "1", "FailureAction", "pause", "Monitor", "5000000000", "MaxFailureRatio", "0", "Order", "stop-first", "Delay", "0")
	}
	labels := container.pairs("Labels")
	for _, l := range labels {
		if l.Name != stackLabel {
			w.PodLabels = append(w.PodLabels, l)
		}
	}
	for _, at := range spec.left() {
		w.leave(strings.TrimPrefix(strings.TrimPrefix(at, "Spec."), "TaskTemplate."))
	}
	return w
}

func readMode(mode *object, w *Workload) {
	switch {
	case mode.has("Global"):
		w.Mode = Global
	case mode.has("GlobalJob"):
		w.Mode, w.Restart = GlobalJob, OnFailure
	case mode.has("ReplicatedJob"):
		job := mode.object("ReplicatedJob")
		w.Mode, w.Restart = Job, OnFailure
		w.Parallel, _ = job.number("MaxConcurrent")
		w.Replicas = or(w.Parallel, 1)
		if n, there := job.number("TotalCompletions"); there {
			w.Replicas = n
		}
	default:
		if n, there := mode.object("Replicated").number("Replicas"); there {
			w.Replicas = n
		}
	}
}

func readRestart(policy *object, w *Workload) {
	switch c := policy.str("Condition"); c {
	case "":
	case "any", "on-failure", "none":
		w.Restart = Restart(c)
	default:
		policy.doc.complain("RestartPolicy.Condition", "any, on-failure or none")
	}
	if n, there := policy.number("MaxAttempts"); there && n > 0 {
		w.Attempts = n
	}
	// The engine's own defaults say nothing.
	if delay, there := policy.number("Delay"); there && delay != 5e9 && delay != 0 {
		w.leave("RestartPolicy.Delay")
	}
}

func readContainerSpec(o *object, w *Workload) Container {
	c := Container{
		Name: w.Name, Image: o.str("Image"), Dir: o.str("Dir"), User: o.str("User"),
		ReadOnly: o.boolean("ReadOnly"), TTY: o.boolean("TTY"), Stdin: o.boolean("OpenStdin"),
	}
	w.Hostname = o.str("Hostname")
	c.Groups = o.strings("Groups")
	if o.has("Command") {
		c.Command = o.strings("Command")
	}
	if o.has("Args") {
		c.Args = o.strings("Args")
	}
	for _, entry := range o.strings("Env") {
		c.setEnv(o.doc, envEntry(entry))
	}
	for _, s := range o.objects("Secrets") {
		f := File{Ref: Ref{Secret: s.str("SecretName")}, UID: "0", GID: "0", Mode: 0o444}
		s.ignore("SecretID")
		if f.Ref.Secret == "" {
			f.Ref.Secret = s.str("SecretID")
		}
		file := s.object("File")
		if file == nil {
			w.note("the secret "+f.Ref.Secret+" was left out", "it is for the engine and not a file in the container")
			s.ignore("Runtime")
			continue
		}
		f.Path = targetPath(or(file.str("Name"), f.Ref.Secret))
		f.UID, f.GID = or(file.str("UID"), "0"), or(file.str("GID"), "0")
		if mode, there := file.number("Mode"); there {
			f.Mode = uint32(mode) & 0o7777
			c.modeTrap(w, f.Path, mode)
		}
		c.addFile(w, f)
	}
	return c
}

// modeTrap notes a mode that was meant to be octal, and was read as a decimal number: 400 is 0620.
func (*Container) modeTrap(w *Workload, at string, mode int64) {
	if mode < 0 || mode > 0o7777 {
		w.note(fmt.Sprintf("%s got the mode %04o", at, uint32(mode)&0o7777), fmt.Sprintf("%d is none: it takes 0 to 07777", mode))
		return
	}
	switch meant := strconv.FormatInt(mode, 10); meant {
	case "400", "440", "444", "500", "550", "555", "600", "640", "644", "660", "664", "666", "700", "750", "755", "770", "775", "777":
		w.note(fmt.Sprintf("%s has the mode %04o", at, mode), fmt.Sprintf("that is what the number %s says; if 0%s was meant, write it so", meant, meant))
	}
}

// longestPath is what Linux takes.
const longestPath = 4096

// mostOfContainer is how many variables and how many files a container may have. No container comes near.
const mostOfContainer = 3_000

// setEnv keeps one entry for each name: the last one holds, as it does in the engine.
func (c *Container) setEnv(d *document, v Var) {
	for i := range c.Env {
		if c.Env[i].Name == v.Name {
			c.Env[i] = v
			return
		}
	}
	if len(c.Env) == mostOfContainer {
		d.complain("a container", fmt.Sprintf("one with at most %d variables", mostOfContainer))
		return
	}
	c.Env = append(c.Env, v)
}

func envEntry(entry string) Var {
	name, value, set := strings.Cut(entry, "=")
	return Var{Name: name, Value: value, Unset: !set}
}

// addFile keeps one file for each path: no side lets two meet.
func (c *Container) addFile(w *Workload, f File) {
	if f.Path == "/" {
		w.note(fmt.Sprintf("%s was left out", f.Ref), "/ is no file")
		return
	}
	if len(f.Path) > longestPath {
		w.note(fmt.Sprintf("%s was left out", f.Ref), fmt.Sprintf("the path of its file is longer than %d characters", longestPath))
		return
	}
	if len(c.Files) == mostOfContainer {
		w.note("some files of secrets were left out", fmt.Sprintf("there are more than %d", mostOfContainer))
		return
	}
	for _, other := range c.Files {
		if other.Path == f.Path {
			w.note(fmt.Sprintf("%s was left out at %s", f.Ref, f.Path), fmt.Sprintf("%s is there already", other.Ref))
			return
		}
	}
	c.Files = append(c.Files, f)
}

// targetPath is where a Swarm puts a secret with this target.
func targetPath(target string) string {
	if path.IsAbs(target) {
		return path.Clean(target)
	}
	return path.Join(swarmDirectory, target)
}

// unstack takes the name of its stack off a service's name.
func (w *Workload) unstack() {
	if rest, cut := strings.CutPrefix(w.Name, w.Stack+"_"); cut && w.Stack != "" && rest != "" {
		w.Name = rest
	}
}

// leave notes what has nothing to do with secrets and isn't translated.
func (w *Workload) leave(what string) { w.notes = leave(w.notes, what, reasonLeft) }

// leave adds to the one note on what was left out for a reason.
func leave(notes []Note, what, reason string) []Note {
	i := slices.IndexFunc(notes, func(n Note) bool { return n.Reason == reason })
	if i < 0 {
		return append(notes, Note{Text: leftOut + what, Reason: reason})
	}
	text := notes[i].Text
	switch {
	case strings.HasSuffix(text, andMore) || strings.Contains(text+",", " "+what+","):
	case len(text) > longestNote:
		notes[i].Text += andMore
	default:
		notes[i].Text += ", " + what
	}
	return notes
}

// longestNote is how long a list of what was left out becomes.
const (
	longestNote = 10_000
	andMore     = ", and more"
)

const (
	leftOut    = "left out: "
	reasonLeft = "it refers to no secret, and translate knows no form of it at the other side"
)

func or[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}

func lower(s string) string { return strings.ToLower(s) }
