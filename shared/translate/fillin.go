package translate

import (
	"slices"
	"strings"
)

// mark stands in a text before (NAME) where the kubelet puts the value of a variable that is a secret. Nothing that
// is read has it: no process can be given one.
const mark = "\x00"

func withoutMarks(text string) string { return strings.ReplaceAll(text, mark, "") }

func referTo(name string) string { return mark + "(" + name + ")" }

// referred are the variables that are secrets and part of a text.
func referred(text string) []string {
	var names []string
	for {
		_, rest, found := strings.Cut(text, mark+"(")
		if !found {
			return names
		}
		name, after, _ := strings.Cut(rest, ")")
		names = append(names, name)
		text = after
	}
}

// unfilled are texts as they stand in the manifest.
func unfilled(texts ...string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, strings.ReplaceAll(t, mark, "$"))
	}
	return all
}

// filled is a word of a shell that puts the variables into a text.
func filled(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, mark+"(")
		if before != "" || !found && b.Len() == 0 {
			b.WriteString(quote(before))
		}
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, ")")
		b.WriteString(`"$` + name + `"`)
		text = after
	}
}

// fillIn gives the command that a container runs so that the values of secrets are in its words, and in variables of
// which they are a part. A Swarm puts none into a text, but the shell that sets the variables can.
func (s *service) fillIn(vars, composed []Var, whole []string, byShell bool) []string {
	var names []string
	for _, text := range append(slices.Clone(whole), s.args...) {
		names = append(names, referred(text)...)
	}
	words := len(names) > 0
	for _, v := range composed {
		names = append(names, referred(v.Value)...)
		byShell = byShell && isIdentifier(v.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		byShell = byShell && isIdentifier(name) && slices.ContainsFunc(vars, func(v Var) bool { return v.Name == name })
	}
	if len(names) == 0 {
		return whole
	}
	said := "$(" + strings.Join(names, "), $(") + ")"
	if !byShell {
		for _, v := range composed {
			v.Value = unfilled(v.Value)[0]
			s.variable(v)
			said += ", in $" + v.Name
		}
		s.command, s.args = unfilled(s.command...), unfilled(s.args...)
		reason := "its value is a secret, and a Swarm puts none into a text: let the process put it together"
		if s.options.Env != EnvFile && len(whole) == 0 {
			reason += ", or say with --image-command IMAGE=COMMAND what the image runs, and a shell does"
		}
		s.w.note(said+": it stands as it is within a value or a command", reason)
		return unfilled(whole...)
	}
	var script strings.Builder
	for _, v := range composed {
		script.WriteString("export " + v.Name + "=" + filled(v.Value) + "; ")
		said += ", in $" + v.Name
		s.pair("(a shell makes $"+v.Name+" of it)", "env: name: "+v.Name+"\n     value: "+unfilled(v.Value)[0])
	}
	script.WriteString("exec")
	for _, word := range whole {
		script.WriteString(" " + filled(word))
	}
	reason := "its value is a secret, and a Swarm puts none into a text; in Kubernetes, the command is that of the shell, too, when it is translated back"
	if words {
		said += ", in the command"
		reason += ". Whoever lists the processes of the node sees it there, as before"
	}
	s.w.note(said+": a shell fills it in", reason)
	return []string{"/bin/sh", "-c", script.String()}
}
