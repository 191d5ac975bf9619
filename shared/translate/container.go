package translate

import (
	"path"
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
	security := o.object("securityContext")
	c.User = userOf(security, user)
	c.ReadOnly = security.boolean("readOnlyRootFilesystem")
	for _, e := range o.objects("envFrom") {
		s := e.object("secretRef")
		if s == nil {
			for _, key := range e.keys {
				if key != "prefix" {
					w.leave("envFrom " + key + " " + e.object(key).str("name"))
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
	expandAll(w, &c)
	gid := "0"
	if w.FSGroup != nil {
		gid = decimal(*w.FSGroup)
	}
	for _, mount := range o.objects("volumeMounts") {
		m.mount(w, &c, mount, v, gid)
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

// resolved fills in the variables that a subPathExpr names, where all are known.
func (c *Container) resolved(text string) string {
	known := true
	filled := expand(text, longestPath, func(name string) (string, bool) {
		i := slices.IndexFunc(c.Env, func(v Var) bool { return v.Name == name })
		known = known && i >= 0 && c.Env[i].From == nil && len(referred(c.Env[i].Value)) == 0
		if !known {
			return "", false
		}
		return c.Env[i].Value, true
	})
	if !known {
		return ""
	}
	return filled
}

// mount makes the files of one mount.
func (m *manifests) mount(w *Workload, c *Container, o *object, v volumes, gid string) {
	volume, at, sub := o.str("name"), o.str("mountPath"), o.str("subPath")
	if text := o.str("subPathExpr"); text != "" {
		if sub = c.resolved(text); sub == "" {
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

// expandAll resolves $(NAME) in values, commands and arguments, as the kubelet does: NAME is a variable that
// stands before. What names no variable stays; one whose value is a secret is marked.
func expandAll(w *Workload, c *Container) {
	known := map[string]*Var{}
	budget := largestExpansion
	resolve := func(text string) string {
		if budget <= 0 {
			return text
		}
		expanded := expand(text, budget, func(name string) (string, bool) {
			v, there := known[name]
			if !there {
				return "", false
			}
			if v.From != nil {
				return referTo(name), true
			}
			return v.Value, true
		})
		budget -= len(expanded)
		return expanded
	}
	for i := range c.Env {
		if c.Env[i].From == nil {
			c.Env[i].Value = resolve(c.Env[i].Value)
		}
		known[c.Env[i].Name] = &c.Env[i]
	}
	for _, list := range [][]string{c.Command, c.Args} {
		for i := range list {
			list[i] = resolve(list[i])
		}
	}
	if budget <= 0 {
		w.note("$(NAME) stands as it is in some values", "filled in, they would be longer than anybody means them to be")
	}
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
