package translate

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// container reads one of a pod.
func (m *manifests) container(w *Workload, o *object, v volumes, user string) Container {
	c := Container{
		Name: o.str("name"), Image: o.str("image"), Dir: o.str("workingDir"), TTY: o.boolean("tty"), Stdin: o.boolean("stdin"),
	}
	if o.has("command") {
		c.Command = o.strings("command")
	}
	if o.has("args") {
		c.Args = o.strings("args")
	}
	c.resources(w, o.object("resources"))
	c.probes(w, o)
	security := o.object("securityContext")
	c.User = userOf(security, user)
	c.ReadOnly = security.boolean("readOnlyRootFilesystem")
	capabilities := security.object("capabilities")
	c.CapAdd, c.CapDrop = w.capabilities(capabilities, "add"), w.capabilities(capabilities, "drop")
	for _, e := range o.objects("envFrom") {
		s := e.object("secretRef")
		if s == nil {
			for _, key := range e.keys {
				if key != "prefix" {
					w.leave("envFrom " + key + " " + e.object(key).str("name"))
					c.elsewhere = append(c.elsewhere, e.object(key).str("name"))
				}
				e.ignore(key)
			}
			continue
		}
		c.EnvFrom = append(c.EnvFrom, EnvFrom{Secret: s.str("name"), Prefix: e.str("prefix"), Optional: s.boolean("optional")})
	}
	for _, e := range o.objects("env") {
		if env, ok := readVar(w, e); ok {
			c.setEnv(o.doc, env)
		}
	}
	env := newExpansion()
	env.variables(slices.Clone(c.Env))
	gid := "0"
	if w.FSGroup != nil {
		gid = decimal(*w.FSGroup)
	}
	for _, mount := range o.objects("volumeMounts") {
		m.mount(w, &c, mount, v, gid, env)
	}
	if ports := o.objects("ports"); len(ports) > 0 {
		for _, p := range ports {
			host, there := p.number("hostPort")
			target, _ := p.number("containerPort")
			p.ignore("name", "hostIP")
			if there && host != 0 {
				w.Ports = append(w.Ports, Port{Target: target, Published: host, Protocol: or(lower(p.str("protocol")), "tcp"), Mode: "host"})
			}
			p.ignore("protocol") // what is only declared opens nothing, on either side
		}
	}
	o.ignore("terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy")
	return c
}

func readVar(w *Workload, e *object) (Var, bool) {
	v := Var{Name: e.str("name")}
	from := e.object("valueFrom")
	if from == nil {
		v.Value = e.str("value")
		return v, v.Name != ""
	}
	ref := from.object("secretKeyRef")
	if ref == nil {
		for _, key := range from.keys {
			from.ignore(key)
			w.leave("$" + v.Name + " from " + key)
		}
		return v, false
	}
	v.From, v.Optional = &Ref{ref.str("name"), ref.str("key")}, ref.boolean("optional")
	if v.From.Secret == "" || v.From.Key == "" {
		ref.doc.complain(ref.at, "the name of a Secret and a key")
	}
	return v, v.Name != ""
}

// mount makes the files of one mount.
func (m *manifests) mount(w *Workload, c *Container, o *object, v volumes, gid string, env *expansion) {
	volume, at, sub := o.str("name"), o.str("mountPath"), o.str("subPath")
	if text := o.str("subPathExpr"); text != "" {
		if sub = env.path(text); sub == "" {
			if len(v.files[volume])+len(v.whole[volume]) > 0 {
				w.note(at+" was left out", "its subPathExpr "+text+" names a file only once a pod runs")
			}
			return
		}
	}
	o.ignore("readOnly", "recursiveReadOnly")
	v.used[volume] = true
	if !path.IsAbs(at) {
		if at == "" {
			o.doc.complain(join(o.at, "mountPath"), "a path")
			return
		}
		at = "/" + at
	}
	at = path.Clean(at)
	if sub != "" {
		if sub = path.Clean(sub); sub == "." {
			sub = ""
		}
	}
	mode := func(m uint32) uint32 {
		if w.FSGroup != nil {
			m |= 0o440 // the kubelet lets the group read
		}
		return m
	}
	for _, f := range v.files[volume] {
		if len(c.Files) == mostOfContainer {
			c.addFile(w, File{}) // which says so
			return
		}
		file := File{Ref: f.ref, Path: path.Join(at, f.path), Mode: mode(f.mode), UID: "0", GID: gid, Optional: f.optional}
		if sub != "" {
			rest, below := strings.CutPrefix(f.path, sub+"/")
			switch {
			case f.path == sub:
				file.Path = at
			case below:
				file.Path = path.Join(at, rest)
			default:
				continue
			}
			file.Alone = true
		}
		c.addFile(w, file)
	}
	for _, f := range v.whole[volume] {
		if sub != "" {
			c.addFile(w, File{Ref: Ref{f.secret, sub}, Path: at, Mode: mode(f.mode), UID: "0", GID: gid, Alone: true, Optional: f.optional})
			continue
		}
		c.Whole = append(c.Whole, Whole{Secret: f.secret, Path: at, Mode: mode(f.mode), GID: gid, Optional: f.optional})
	}
}

// expansion resolves $(NAME) as the kubelet does: NAME is a variable of envFrom, or one that stands before. What
// names none stays; one whose value is a secret is marked.
type expansion struct {
	known  map[string]Var
	stays  []string // names that are none
	budget int
}

// isKey is what a variable of envFrom may be called: it is the key of a Secret or a ConfigMap.
var isKey = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

func newExpansion() *expansion {
	return &expansion{known: map[string]Var{}, budget: largestExpansion}
}

func (e *expansion) resolve(text string) string {
	if e.budget <= 0 {
		return text
	}
	expanded := expand(text, e.budget, func(name string) (string, bool) {
		v, there := e.known[name]
		switch {
		case !there:
			if isKey.MatchString(name) { // $(date +%F) is meant for a shell
				e.stays = append(e.stays, name)
			}
			return "", false
		case v.From != nil:
			return referTo(name), true
		}
		return v.Value, true
	})
	e.budget -= len(expanded)
	return expanded
}

// variables resolves values, in their order.
func (e *expansion) variables(env []Var) {
	for i, v := range env {
		if v.From == nil {
			env[i].Value = e.resolve(v.Value)
		}
		e.known[v.Name] = env[i]
	}
}

// path fills in the variables that a subPathExpr names, where all are known.
func (e *expansion) path(text string) string {
	known := true
	filled := expand(text, longestPath, func(name string) (string, bool) {
		v, there := e.known[name]
		known = known && there && v.From == nil && len(referred(v.Value)) == 0
		return v.Value, known
	})
	if !known {
		return ""
	}
	return filled
}

// expandAll resolves $(NAME) in values, commands and arguments. The variables from own on come from envFrom, and are
// there before the others; hidden are the Secrets of those that others of the same name replace.
func expandAll(w *Workload, c *Container, own int, hidden map[string]string) {
	e := newExpansion()
	for _, v := range c.Env[own:] {
		e.known[v.Name] = v
	}
	e.variables(c.Env[:own])
	for _, list := range []*[]string{&c.Command, &c.Args} {
		*list = slices.Clone(*list)
		for i, text := range *list {
			(*list)[i] = e.resolve(text)
		}
	}
	if e.budget <= 0 {
		w.note("$(NAME) stands as it is in some values", "filled in, they would be longer than anybody means them to be")
	}
	for _, name := range e.stays {
		if s, there := hidden[name]; there {
			c.elsewhere = append(c.elsewhere, s)
		}
	}
	if len(e.stays) > 0 && len(c.elsewhere) > 0 {
		w.note(dollar(e.stays)+" stands as it is", "it may be a variable of "+strings.Join(some(c.elsewhere), ", ")+", which was left out")
	}
}

// some are names as a note has them: sorted, each once, and not too many.
func some(names []string) []string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if most := 20; len(names) > most {
		names = append(names[:most], "…")
	}
	return names
}

// largestExpansion is how long all values of a container may become.
const largestExpansion = 1 << 18

// expand replaces $(NAME), and $$ by $.
func expand(text string, limit int, value func(string) (string, bool)) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text) && b.Len() < limit; i++ {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(text[i:], ')')
			if end < 0 {
				b.WriteString(text[i:])
				return b.String()
			}
			name := text[i+2 : i+end]
			if v, ok := value(name); ok {
				b.WriteString(v)
			} else {
				b.WriteString("$(" + name + ")")
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

// unexpanded writes a text so that the kubelet leaves it as it is.
func unexpanded(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if text[i] == '$' && i+1 < len(text) && (text[i+1] == '$' || text[i+1] == '(') {
			b.WriteByte('$')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
