package translate

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Health is how a container is found to be well. A Swarm replaces a task that isn't, and sends it nothing before it
// is: in Kubernetes that takes two probes, for liveness and for readiness, of the same command.
type Health struct {
	// Off leaves out what the image has of it.
	Off  bool
	Test []string // a command
	// Interval is from one time to the next, Timeout what each may take, and StartPeriod for how long it may fail at
	// first.
	Interval, Timeout, StartPeriod time.Duration
	// Retries is how often in a row it fails before the container isn't well.
	Retries int64
}

// What holds at each side where nothing is said.
var (
	usualHealth = Health{Interval: 30 * time.Second, Timeout: 30 * time.Second, Retries: 3}
	usualProbe  = Health{Interval: 10 * time.Second, Timeout: time.Second, Retries: 3}
)

// count reads how often something is: Kubernetes has 32 bits for it.
func count(s scalar) (int64, bool) {
	n, err := wholeNumber(s)
	return n, err == nil && n <= math.MaxInt32
}

// times reads them under these names, interval, timeout and start period, and the retries. 0 is what holds anyway.
func (h *Health) times(w *Workload, o *object, names [4]string, read func(scalar) (time.Duration, error)) {
	for i, into := range []*time.Duration{&h.Interval, &h.Timeout, &h.StartPeriod} {
		if d := w.time(o, names[i], read); d != nil && *d > 0 {
			*into = *d
		}
	}
	if n := w.amount(o, names[3], count); n > 0 {
		h.Retries = n
	}
}

// readHealth reads what an engine knows of it.
func readHealth(w *Workload, o *object) *Health {
	if o == nil || empty(o) {
		return nil
	}
	return swarmHealth(w, o, o.strings("Test"), [4]string{"Interval", "Timeout", "StartPeriod", "Retries"}, nanoseconds)
}

// composeHealth reads what a Compose file has of it.
func composeHealth(w *Workload, o *object) *Health {
	if o == nil || empty(o) {
		return nil
	}
	var test []string
	if v, _ := o.get("test"); v != nil {
		if _, line := v.(scalar); line {
			test = []string{"CMD-SHELL", o.str("test")}
		} else {
			test = o.strings("test")
		}
	}
	if o.boolean("disable") {
		test = []string{"NONE"}
	}
	return swarmHealth(w, o, test, [4]string{"interval", "timeout", "start_period", "retries"}, composeTime)
}

func swarmHealth(w *Workload, o *object, test []string, names [4]string, read func(scalar) (time.Duration, error)) *Health {
	h := usualHealth
	h.times(w, o, names, read)
	switch {
	case len(test) > 0 && test[0] == "NONE":
		return &Health{Off: true}
	case len(test) < 2 || test[1] == "":
	case test[0] == "CMD":
		h.Test = test[1:]
		return &h
	case test[0] == "CMD-SHELL":
		h.Test = append([]string{"/bin/sh", "-c"}, test[1:]...)
		return &h
	}
	// The image's own at other times, or nothing that an engine takes.
	w.leave(o.at)
	return nil
}

// reads tells whether the command names a file.
func (h *Health) reads(path string) bool {
	return h != nil && slices.ContainsFunc(h.Test, func(word string) bool { return strings.Contains(word, path) })
}

// line is that of a shell, where the command is one.
func (h *Health) line() (string, bool) {
	if len(h.Test) == 3 && (h.Test[0] == "/bin/sh" || h.Test[0] == "sh") && h.Test[1] == "-c" {
		return h.Test[2], true
	}
	return "", false
}

// probe is one of a container: a command, or what else it asks.
type probe struct {
	name, asks string
	health     Health
}

// probes reads those of a manifest, and makes a health check of one.
func (c *Container) probes(w *Workload, o *object) {
	static := newExpansion()
	for _, e := range o.objects("env") {
		static.known[e.str("name")] = Var{Value: e.str("value")} // as the kubelet has it, which puts nothing for a secret
	}
	live, start, ready := readProbe(w, o, "livenessProbe", static), readProbe(w, o, "startupProbe", static), readProbe(w, o, "readinessProbe", static)
	var chosen *probe
	for _, p := range []*probe{live, start, ready} {
		if chosen == nil && p != nil && p.asks == "" {
			chosen = p
		}
	}
	var others []string
	reason := "a Swarm has one health check"
	for _, p := range []*probe{live, start, ready} {
		switch {
		case p == nil || p == chosen:
		case p.asks != "":
			others = append(others, p.name+" ("+p.asks+")")
			reason = "a Swarm's health check is a command in the container, and the image may have none that asks this"
		case !slices.Equal(chosen.health.Test, p.health.Test):
			others = append(others, p.name+" (another command)")
		case p == ready && !chosen.health.same(p.health):
			others = append(others, p.name+" (other times)")
		}
	}
	if len(others) > 0 {
		w.noteWhole("of the probes of "+c.Name+" were left out: "+strings.Join(others, ", "), reason)
	}
	if chosen == nil {
		return
	}
	h := chosen.health
	switch {
	case chosen == start:
		w.noteWhole("the startupProbe of "+c.Name+" is its health check", "a Swarm has one, goes on with it, and replaces a task that fails it")
	case chosen == ready:
		w.noteWhole("the readinessProbe of "+c.Name+" is its health check", "a Swarm has one, and replaces a task that fails it")
	case start != nil:
		// Until it has ended well, or has failed so often, nothing else is asked.
		h.StartPeriod = max(h.StartPeriod, start.health.atMost())
	}
	c.Health = &h
}

// same tells whether two probes run one command at the same times.
func (h Health) same(other Health) bool {
	return slices.Equal(h.Test, other.Test) && h.Interval == other.Interval && h.Timeout == other.Timeout && h.Retries == other.Retries
}

// atMost is when it has failed for good.
func (h Health) atMost() time.Duration {
	if h.Retries > int64((longestTime-h.StartPeriod)/h.Interval) {
		return longestTime
	}
	return h.StartPeriod + h.Interval*time.Duration(h.Retries)
}

func readProbe(w *Workload, o *object, name string, static *expansion) *probe {
	at := o.object(name)
	if at == nil {
		return nil
	}
	p := probe{name: name, health: usualProbe}
	p.health.times(w, at, [4]string{"periodSeconds", "timeoutSeconds", "initialDelaySeconds", "failureThreshold"}, seconds)
	http, tcp, grpc := at.object("httpGet"), at.object("tcpSocket"), at.object("grpc")
	switch {
	case http != nil:
		asked, _, _ := strings.Cut(or(http.str("path"), "/"), "?") // what follows may be for nobody to see
		p.asks = "GET " + asked + " at port " + http.str("port")
	case tcp != nil:
		p.asks = "a connection to port " + tcp.str("port")
	case grpc != nil:
		p.asks = "gRPC at port " + grpc.str("port")
	default:
		for _, word := range at.object("exec").strings("command") {
			p.health.Test = append(p.health.Test, static.resolve(word))
		}
		line, isLine := p.health.line()
		if len(p.health.Test) == 0 || p.health.Test[0] == "" || isLine && line == "" {
			o.ignore(name)
			w.leave(join(o.at, name))
			return nil
		}
		w.leaveUnless(at, "successThreshold", "1")
		return &p
	}
	at.ignore(at.keys...)
	if most := 100; len(p.asks) > most {
		p.asks = strings.ToValidUTF8(p.asks[:most], "") + "…"
	}
	return &p
}

// probes are those that a pod's container has of a health check.
func (k *cluster) probes(c *Container) (live, ready Fields) {
	h := c.Health
	switch {
	case h == nil:
		return nil, nil
	case h.Off:
		k.w.note("--no-healthcheck has no form", "Kubernetes never runs the health check of an image")
		return nil, nil
	}
	counted := *h
	rounded := false
	for _, d := range []*time.Duration{&counted.Interval, &counted.Timeout, &counted.StartPeriod} {
		n, up := wholeSeconds(*d)
		*d, rounded = time.Duration(n)*time.Second, rounded || up
	}
	if rounded {
		k.w.note("the times of its health check are whole seconds, rounded up", "Kubernetes knows no fractions")
	}
	times := counted.probeTimes()
	live = Fields{{"exec", Fields{{"command", list(escaped(h.Test))}}}}
	ready = append(slices.Clone(live), times[1:]...) // it may be ready sooner
	if counted.StartPeriod > 0 {
		live = append(live, times[0])
	}
	k.pair(h.swarm(), counted.kubernetes())
	return append(live, times[1:]...), ready
}

// probeTimes are the fields of a probe: its delay comes first.
func (h *Health) probeTimes() Fields {
	return Fields{
		{"initialDelaySeconds", int64(h.StartPeriod / time.Second)}, {"periodSeconds", int64(h.Interval / time.Second)},
		{"timeoutSeconds", int64(h.Timeout / time.Second)}, {"failureThreshold", h.Retries},
	}
}

// health is what a task has of a pod's probes: its flags, and as a part of a Compose file.
func (s *service) health() (flags [][]string, compose Fields) {
	h := s.c.Health
	if h == nil {
		return nil, nil
	}
	if names := namedByShell(h.Test, s.c.Env); len(names) > 0 {
		s.w.note("the health check has no $"+strings.Join(names, ", $"), "a Swarm gives secrets as files alone, and the shell that sets variables runs nothing but the command: the check has to read the file itself")
	}
	s.pair(h.swarm(), h.kubernetes())
	test := append([]string{"CMD"}, h.Test...)
	if line, ok := h.line(); ok {
		test = []string{"CMD-SHELL", line}
	}
	compose = Fields{{"test", list(dollarsAll(test))}, {"interval", h.Interval.String()}, {"timeout", h.Timeout.String()}}
	if h.StartPeriod > 0 {
		compose = append(compose, Field{"start_period", h.StartPeriod.String()})
	}
	return h.flags(), append(compose, Field{"retries", h.Retries})
}

// variableOfShell is one that a shell fills in.
var variableOfShell = regexp.MustCompile(`\$\{?([a-zA-Z_][a-zA-Z0-9_]*)`)

// namedByShell are the variables whose values are secrets and that a command names.
func namedByShell(command []string, env []Var) []string {
	var names []string
	for _, word := range command {
		for _, m := range variableOfShell.FindAllStringSubmatch(word, -1) {
			if slices.ContainsFunc(env, func(v Var) bool { return v.From != nil && v.Name == m[1] }) {
				names = append(names, m[1])
			}
		}
	}
	return some(names)
}

// flags are those of docker service create.
func (h *Health) flags() [][]string {
	line, ok := h.line()
	if !ok {
		line = quoteAll(h.Test)
	}
	all := [][]string{{"--health-cmd", line}, {"--health-interval", h.Interval.String()}, {"--health-timeout", h.Timeout.String()}}
	if h.StartPeriod > 0 {
		all = append(all, []string{"--health-start-period", h.StartPeriod.String()})
	}
	return append(all, []string{"--health-retries", decimal(h.Retries)})
}

// swarm and kubernetes are how each side says it, for people.
func (h *Health) swarm() string {
	var all []string
	for _, f := range h.flags() {
		all = append(all, f[0]+" "+quote(f[1]))
	}
	return strings.Join(all, "\n")
}

func (h *Health) kubernetes() string {
	text := "livenessProbe:\n  exec: command: " + strings.Join(h.Test, " ")
	for _, f := range h.probeTimes() {
		if n, _ := f.Value.(int64); n > 0 {
			text += "\n  " + f.Name + ": " + decimal(n)
		}
	}
	return text + "\nreadinessProbe: (the same, at once)"
}
