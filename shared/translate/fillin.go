package translate

import "strings"

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

// dollar writes names as a manifest refers to them.
func dollar(names []string) string { return "$(" + strings.Join(some(names), "), $(") + ")" }

// kept is a text in which only those variables are to be filled in that can be, and the names of the others.
func kept(text string, can func(name string) bool) (string, []string) {
	var b strings.Builder
	var others []string
	for {
		before, rest, found := strings.Cut(text, mark+"(")
		b.WriteString(before)
		if !found {
			return b.String(), others
		}
		name, after, _ := strings.Cut(rest, ")")
		if can(name) {
			b.WriteString(referTo(name))
		} else {
			b.WriteString("$(" + name + ")")
			others = append(others, name)
		}
		text = after
	}
}

// fillIn gives the command that a container runs so that the values of secrets are in its words, and in variables of
// which they are a part. A Swarm puts none into a text, but the shell that sets the variables can.
func (s *service) fillIn(vars, composed []Var, whole []string, byShell bool) []string {
	set := map[string]bool{}
	for _, v := range vars {
		set[v.Name] = byShell && settable(v.Name)
	}
	var stays, fills []string
	var staysIn, fillsIn string
	cut := func(texts []string) []string {
		var all []string
		for _, text := range texts {
			text, others := kept(text, func(name string) bool { return set[name] })
			stays = append(stays, others...)
			all = append(all, text)
		}
		return all
	}
	var script strings.Builder
	for _, v := range composed {
		value, others := kept(v.Value, func(name string) bool { return set[name] && settable(v.Name) })
		if len(others) > 0 {
			stays = append(stays, others...)
			staysIn += ", in $" + v.Name
		}
		v.Value = value
		names := referred(value)
		if len(names) == 0 {
			s.variable(v)
			continue
		}
		fills = append(fills, names...)
		fillsIn += ", in $" + v.Name
		script.WriteString("export " + v.Name + "=" + filled(value) + "; ")
		s.pair("(a shell makes $"+v.Name+" of it)", "env: name: "+v.Name+"\n     value: "+unfilled(value)[0])
	}
	s.command, s.args, whole = cut(s.command), cut(s.args), cut(whole)
	script.WriteString("exec")
	reason := "its value is a secret, and a Swarm puts none into a text; in Kubernetes, the command is that of the shell, too, when it is translated back"
	inCommand := false
	for _, word := range whole {
		names := referred(word)
		fills = append(fills, names...)
		inCommand = inCommand || len(names) > 0
		script.WriteString(" " + filled(word))
	}
	if inCommand {
		fillsIn += ", in the command"
		reason += ". Whoever lists the processes of the node sees it there, as before"
	}
	if len(stays) > 0 {
		why := "its value is a secret, and a Swarm puts none into a text: let the process put it together"
		switch {
		case byShell:
			why = "its value is a secret, and no shell can fill it in under such a name: let the process put it together"
		case s.options.Env != EnvFile && len(whole) == 0:
			why += ", or say with --image-command IMAGE=COMMAND what the image runs, and a shell does"
		}
		s.w.note(dollar(stays)+staysIn+": it stands as it is within a value or a command", why)
	}
	if len(fills) == 0 {
		return whole
	}
	s.w.note(dollar(fills)+fillsIn+": a shell fills it in", reason)
	return []string{"/bin/sh", "-c", script.String()}
}
