package translate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// ReadOptions say what a reader can't find in a text.
type ReadOptions struct {
	// Stack is what a Compose file would be deployed as: its secrets are called STACK_NAME.
	Stack string
	// Set are the variables of a Compose file. Nothing is taken from the environment.
	Set map[string]string
	// Known are secrets of the side, with their keys and without values.
	Known []secret.Secret
}

// FromCompose reads Compose files, of which the later ones stand for themselves: nothing is merged. No other
// file is opened, and no variable of the machine is looked at.
func FromCompose(text []byte, options ReadOptions) (*Source, error) {
	docs, err := parse(text)
	if err != nil {
		return nil, err
	}
	source := &Source{Kind: secret.Swarm, Secrets: options.Known}
	for _, doc := range docs {
		if err := readCompose(doc, options, source); err != nil {
			return nil, err
		}
	}
	return source, nil
}

// compose is a Compose file that is being read.
type compose struct {
	options ReadOptions
	source  *Source
	secrets map[string]string // what a secret of the file is called in the Swarm
	missing map[string]bool   // variables that nobody has set
	assumed map[string]bool   // variables whose default was taken
	grown   int               // nodes that were made of what services extend
}

func readCompose(o *object, options ReadOptions, source *Source) error {
	c := &compose{options: options, source: source, secrets: map[string]string{}, missing: map[string]bool{}, assumed: map[string]bool{}}
	services := o.object("services")
	if o.has("include") && services != nil {
		source.Notes = append(source.Notes, Note{Text: "what it includes was left out", Reason: notOpened})
	}
	if services == nil {
		if o.doc.err != nil {
			return o.doc.err
		}
		if o.has("include") {
			return errors.New("it has no services of its own: include is not followed; " + oneOfAll)
		}
		return errors.New("it has no services, and isn't a Compose file of version 2 or later")
	}
	if len(services.keys) > mostWorkloads {
		return fmt.Errorf("it has %d services, and more than %d are not read", len(services.keys), mostWorkloads)
	}
	restore := c.interpolating(o)
	defer restore()
	o.ignore("version", "name")
	c.topSecrets(o.object("secrets"))
	for _, name := range services.keys {
		service := c.extended(services, name, nil)
		if service == nil {
			if o.doc.err == nil {
				o.doc.complain(join("services", name), "a mapping")
			}
			break
		}
		source.Workloads = append(source.Workloads, c.service(name, service))
		if o.doc.err != nil {
			break
		}
	}
	if o.doc.err != nil {
		return o.doc.err
	}
	source.Notes = append(source.Notes, o.doc.notes()...)
	top := Workload{}
	for _, at := range o.left() {
		if !isExtension(at) && !strings.HasPrefix(at, "services.") {
			top.leave(at)
		}
	}
	source.Notes = append(source.Notes, top.notes...)
	if len(c.missing) > 0 {
		source.Notes = append(source.Notes, Note{
			Text:   "not filled in: " + variables(c.missing),
			Reason: "nobody has set them, and the machine's environment is not looked at: --set NAME=VALUE does",
		})
	}
	if len(c.assumed) > 0 {
		source.Notes = append(source.Notes, Note{
			Text: "filled in with the defaults of the file: " + variables(c.assumed), Reason: "nobody has set them: --set NAME=VALUE does",
		})
	}
	return nil
}

const (
	oneOfAll  = "docker compose config prints one file of all"
	notOpened = "other files are not opened: " + oneOfAll
	notSet    = "nobody has set it, and the machine's environment is not looked at: --set NAME=VALUE does"
)

// isExtension tells what is of the user's own, and means nothing to anybody else.
func isExtension(at string) bool { return strings.HasPrefix(at, "x-") || strings.Contains(at, ".x-") }

func variables(set map[string]bool) string {
	return "$" + strings.Join(slices.Sorted(maps.Keys(set)), ", $")
}

func (c *compose) topSecrets(o *object) {
	if o == nil {
		return
	}
	for _, key := range o.keys {
		s := o.object(key)
		name := or(s.str("name"), key)
		external := false
		if v, there := s.get("external"); there {
			if old, ok := v.(*object); ok {
				name, external = or(old.str("name"), name), true
			} else {
				external = s.boolean("external")
			}
		}
		local := Local{File: s.str("file"), Environment: s.str("environment")}
		if local.Environment != "" && !isIdentifier(local.Environment) {
			s.doc.complain(join(s.at, "environment"), "the name of a variable")
		}
		if !external {
			if c.options.Stack != "" && s.str("name") == "" {
				name = c.options.Stack + "_" + name
			}
			local.Name = name
			if local.File != "" || local.Environment != "" {
				c.source.Local = append(c.source.Local, local)
			}
		}
		c.secrets[key] = name
		s.ignore("labels")
		if driver := or(s.str("driver"), s.str("template_driver")); driver != "" {
			c.source.Notes = append(c.source.Notes, Note{
				Text:   "the driver " + driver + " of the secret " + key + " was left out",
				Reason: "what a container gets is made by the driver and isn't the secret's bytes: put those into the mirror yourself",
			})
		}
	}
}

func (c *compose) service(name string, o *object) Workload {
	w := Workload{Kind: serviceKind, Name: name, Stack: c.options.Stack, Mode: Replicated, Replicas: 1, Restart: Always, Attempts: -1}
	k := Container{
		Name: name, Image: o.str("image"), Dir: o.str("working_dir"), User: o.str("user"),
		ReadOnly: o.boolean("read_only"), TTY: o.boolean("tty"), Stdin: o.boolean("stdin_open"),
		Command: words(o, "entrypoint"), Args: words(o, "command"),
	}
	w.Hostname = o.str("hostname")
	w.Grace = w.time(o, "stop_grace_period", composeTime)
	if k.Image == "" && o.has("build") {
		k.Image = name
		w.note("the image is called "+name, "the file names no image, and only says how to build one; a registry has to have it under this name")
	}
	o.ignore("build", "pull_policy", "expose")
	if from, there := o.get("extends"); there {
		if from, ok := from.(*object); ok {
			from.ignore(from.keys...)
		}
		w.note("what the service extends was left out", notOpened)
	}
	if o.has("env_file") {
		w.note("variables of the env_file were left out", notOpened)
	}
	if profiles := o.strings("profiles"); len(profiles) > 0 {
		w.note("it is of the profile "+strings.Join(profiles, ", ")+", and translated all the same", "Kubernetes has no profiles: take it out if it isn't meant to run")
	}
	c.environment(o, &k, &w)
	c.serviceSecrets(o, &k, &w)
	w.PodLabels = pairsOrList(o, "labels")
	c.ports(o, &w)
	restart, attempts, _ := strings.Cut(o.str("restart"), ":")
	switch restart {
	case "no", "false":
		w.Restart = Never
	case "on-failure":
		w.Restart = OnFailure
		if n, err := strconv.ParseInt(attempts, 10, 64); err == nil && n > 0 {
			w.Attempts = n
		}
	}
	if n, there := o.number("scale"); there {
		w.Replicas = n
	}
	k.CapAdd, k.CapDrop = w.capabilities(o, "cap_add"), w.capabilities(o, "cap_drop")
	k.Health = composeHealth(&w, o.object("healthcheck"))
	c.deploy(o.object("deploy"), &k, &w)
	w.Containers = []Container{k}
	for _, at := range o.left() {
		at = strings.TrimPrefix(at, "services."+name+".")
		if !isExtension(at) {
			w.leave(at)
		}
	}
	return w
}

func (c *compose) deploy(o *object, k *Container, w *Workload) {
	if o == nil {
		return
	}
	if n, there := o.number("replicas"); there {
		w.Replicas = n
	}
	switch mode := o.str("mode"); mode {
	case "", "replicated":
	case "global":
		w.Mode = Global
	case "replicated-job", "global-job":
		w.Mode = Mode(mode)
		if w.Restart == Always {
			w.Restart = OnFailure
		}
	default:
		o.doc.complain(join(o.at, "mode"), "replicated, global, replicated-job or global-job")
	}
	w.Labels = pairsOrList(o, "labels")
	resources := o.object("resources")
	limits, reserved := resources.object("limits"), resources.object("reservations")
	k.Limits = Amounts{w.amount(limits, "cpus", composeCPU), w.amount(limits, "memory", composeSize)}
	k.Requests = Amounts{w.amount(reserved, "cpus", composeCPU), w.amount(reserved, "memory", composeSize)}
	policy := o.object("restart_policy")
	switch condition := policy.str("condition"); condition {
	case "":
	case "any", "on-failure", "none":
		w.Restart = Restart(condition)
	default:
		policy.doc.complain(join(policy.at, "condition"), "any, on-failure or none")
	}
	if n, there := policy.number("max_attempts"); there {
		w.Attempts = n
	}
}

func (c *compose) environment(o *object, k *Container, w *Workload) {
	var unknown []string
	add := func(v Var) {
		if v.Unset {
			value, set := c.options.Set[v.Name]
			if !set {
				unknown = append(unknown, v.Name)
				return
			}
			v.Value, v.Unset = value, false
		}
		k.setEnv(o.doc, v)
	}
	v, _ := o.get("environment")
	switch v.(type) {
	case nil:
	case *object:
		m := o.object("environment")
		for _, key := range m.keys {
			s, there := m.scalar(key)
			value := yamlText(s)
			if value != s.text {
				w.note("$"+key+" is "+value, "that is what the number "+s.text+" is to docker; as text, it needs quotes")
			}
			add(Var{Name: key, Value: value, Unset: !there})
		}
	default:
		for _, entry := range o.strings("environment") {
			add(envEntry(entry))
		}
	}
	if len(unknown) > 0 {
		w.note("left out: $"+strings.Join(unknown, ", $"), "their values are those of the machine's environment, which is not looked at: --set NAME=VALUE sets them")
	}
}

// yamlText is what docker makes of a value that has to be text: of a number, the shortest way to write it.
func yamlText(s scalar) string {
	switch s.tag {
	case "!!int":
		if n, err := wholeNumber(s); err == nil {
			return strconv.FormatInt(n, 10)
		}
	case "!!float":
		if f, err := strconv.ParseFloat(s.text, 64); err == nil {
			return fmt.Sprint(f)
		}
	}
	return s.text
}

func (c *compose) serviceSecrets(o *object, k *Container, w *Workload) {
	for i, element := range o.list("secrets") {
		f := File{UID: "0", GID: "0", Mode: 0o444}
		key, target := "", ""
		switch e := element.(type) {
		case scalar:
			key = o.doc.text(e).text
		case *object:
			key, target = e.str("source"), e.str("target")
			f.UID, f.GID = idText(e, "uid"), idText(e, "gid")
			if s, there := e.scalar("mode"); there {
				mode, err := composeMode(s)
				if err != nil {
					e.doc.complain(join(e.at, "mode"), "a mode in octal, such as 0440")
				}
				f.Mode = uint32(mode) & 0o7777
				k.modeTrap(w, or(target, key), mode)
			}
		}
		if key == "" {
			o.doc.complain(join(join(o.at, "secrets"), i), "the name of a secret, or a mapping with its source")
			return
		}
		f.Path = targetPath(or(target, key))
		name, defined := c.secrets[key]
		if !defined {
			name = key
			w.note("the secret "+key+" is taken to exist", "the file doesn't define it under secrets")
		}
		f.Ref = Ref{Secret: name}
		k.addFile(w, f)
	}
}

// composeMode reads a mode: a number as YAML has it, octal between quotes.
func composeMode(s scalar) (int64, error) {
	if s.tag == "!!str" {
		return strconv.ParseInt(strings.TrimPrefix(strings.TrimPrefix(s.text, "0o"), "0O"), 8, 64)
	}
	return wholeNumber(s)
}

// idText reads a user or group, which is text in a Compose file, and often a number all the same.
func idText(o *object, key string) string {
	s, there := o.scalar(key)
	if !there {
		return "0"
	}
	if n, err := wholeNumber(s); err == nil && s.tag != "!!str" {
		return strconv.FormatInt(n, 10)
	}
	return or(s.text, "0")
}

// words reads a command: a list, or text that is split as a shell would.
func words(o *object, key string) []string {
	v, there := o.get(key)
	if !there {
		return nil
	}
	if _, ok := v.(scalar); ok {
		return Split(o.str(key))
	}
	if list := o.strings(key); list != nil {
		return list
	}
	return []string{}
}

// Split cuts a command line into words. Quotes and backslashes mean what they do in a shell; nothing else does.
func Split(text string) []string {
	all := []string{}
	var word strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' && r != '$' && r != '`' {
				word.WriteRune('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if in {
				all = append(all, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if in {
		all = append(all, word.String())
	}
	return all
}

// pairsOrList reads what is a mapping, or a list of NAME=VALUE.
func pairsOrList(o *object, key string) []Pair {
	v, _ := o.get(key)
	switch v.(type) {
	case nil:
		return nil
	case *object:
		return o.pairs(key)
	}
	var all []Pair
	for _, entry := range o.strings(key) {
		name, value, _ := strings.Cut(entry, "=")
		all = append(all, Pair{name, value})
	}
	return all
}

// mostPorts is how long a range of ports may be.
const mostPorts = 100

func (c *compose) ports(o *object, w *Workload) {
	for i, element := range o.list("ports") {
		switch e := element.(type) {
		case *object:
			target, _ := e.number("target")
			published, err := strconv.ParseInt(or(e.str("published"), "0"), 10, 64)
			if err != nil || target == 0 {
				w.leave(fmt.Sprintf("ports[%d]", i))
				continue
			}
			e.ignore("name", "app_protocol")
			if ip := e.str("host_ip"); ip != "" {
				w.note("the port "+decimal(target)+" is not published", "it is for the address "+ip+" of one machine, and other ways of publishing would open it to all")
				continue
			}
			w.Ports = append(w.Ports, Port{Target: target, Published: published, Protocol: or(lower(e.str("protocol")), "tcp"), Mode: or(e.str("mode"), "ingress")})
		case scalar:
			text := o.doc.text(e).text
			if i := strings.LastIndexByte(text, ':'); i > 0 && strings.Contains(text[:i], ":") {
				w.note("the port "+text+" is not published", "it is for one address of one machine, and other ways of publishing would open it to all")
				continue
			}
			ports, ok := shortPorts(text)
			switch {
			case !ok && strings.Contains(text, "$"):
				w.note("the port "+text+" is not published", notSet)
			case !ok:
				w.leave(fmt.Sprintf("ports[%d]", i))
			}
			w.Ports = append(w.Ports, ports...)
		}
	}
}

// shortPorts reads [PUBLISHED:]TARGET[/PROTOCOL], of which the ports may be ranges.
func shortPorts(text string) ([]Port, bool) {
	text, protocol, _ := strings.Cut(text, "/")
	target, published := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		target, published = text[i+1:], text[:i]
	}
	from, to, ok := portRange(target)
	if !ok {
		return nil, false
	}
	first := int64(0)
	if published != "" {
		var last int64
		if first, last, ok = portRange(published); !ok || last-first != to-from {
			return nil, false
		}
	}
	var all []Port
	for n := from; n <= to; n++ {
		p := Port{Target: n, Protocol: or(lower(protocol), "tcp"), Mode: "ingress"}
		if published != "" {
			p.Published = first + n - from
		}
		all = append(all, p)
	}
	return all, true
}

func portRange(text string) (from, to int64, ok bool) {
	a, b, isRange := strings.Cut(text, "-")
	from, err := strconv.ParseInt(a, 10, 64)
	to = from
	if err == nil && isRange {
		to, err = strconv.ParseInt(b, 10, 64)
	}
	return from, to, err == nil && from > 0 && to >= from && to < 1<<16 && to-from < mostPorts
}

// isCompose tells a Compose file from the other documents.
func isCompose(o *object) bool {
	_, services := o.values["services"]
	_, include := o.values["include"]
	_, api := o.values["apiVersion"]
	return (services || include) && !api
}
