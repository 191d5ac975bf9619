package translate

import (
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// Text is what is to be piped to kubectl, kustomize, docker or a shell, with the notes as comments where the
// form has any. Before it stand the lines given, as comments or, in a shell's text, as they are.
func (r *Result) Text(first []string) (string, error) {
	var b strings.Builder
	shell := r.Form == Create || r.Form == Update
	if shell {
		for _, line := range first {
			b.WriteString(line + "\n")
		}
	} else if r.Form != JSONPatch {
		comment(&b, first)
	}
	for _, n := range r.Notes {
		if n.Workload == "" && r.Form != JSONPatch {
			comment(&b, []string{n.Line()})
		}
	}
	switch r.Form {
	case JSONPatch:
		return r.jsonText()
	case Kustomize:
		r.comments(&b, r.all())
		doc, err := r.component()
		if err != nil {
			return "", err
		}
		text, err := yamlOf(doc)
		return b.String() + text, err
	case Compose:
		r.comments(&b, r.all())
		text, err := yamlOf(r.ComposeFile())
		return b.String() + text, err
	}
	documents := 0
	for _, t := range r.Workloads {
		if shell {
			r.comments(&b, t.Notes)
			b.WriteString(shellText(t.Command))
			continue
		}
		for i, doc := range t.Documents {
			if documents++; documents > 1 {
				b.WriteString("---\n")
			}
			if i == 0 {
				r.comments(&b, t.Notes)
			}
			text, err := yamlOf(doc)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
		}
	}
	return b.String(), nil
}

// jsonText is the operations of the one workload; with several, an object of them by what they are for.
func (r *Result) jsonText() (string, error) {
	var value any
	if len(r.Workloads) == 1 {
		value = r.Workloads[0].Operations
	} else {
		var all Fields
		for _, t := range r.Workloads {
			all = append(all, Field{t.Target, t.Operations})
		}
		value = all
	}
	text, err := marshalIndent(value)
	return string(text) + "\n", err
}

func (r *Result) all() []int {
	var all []int
	for _, t := range r.Workloads {
		all = append(all, t.Notes...)
	}
	return all
}

func (r *Result) comments(b *strings.Builder, numbers []int) {
	for _, n := range numbers {
		comment(b, []string{r.Notes[n-1].Line()})
	}
}

// comment writes lines so that nothing in them can end the comment.
func comment(b *strings.Builder, texts []string) {
	for _, text := range texts {
		clean := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == '\ufeff' {
				return ' '
			}
			return r
		}, text)
		b.WriteString("# " + clean + "\n")
	}
}

// Line is a note with its number.
func (n Note) Line() string { return "Note " + decimal(int64(n.Number)) + ": " + n.String() }

// ComposeFile is the file of all services.
func (r *Result) ComposeFile() Fields {
	var services, secrets Fields
	for _, t := range r.Workloads {
		name := t.Name
		services = append(services, Field{name, t.Service})
	}
	for _, n := range r.Secrets {
		if secrets.get(n.Mirror.Secret) == nil {
			secrets = append(secrets, Field{n.Mirror.Secret, Fields{{"external", true}}})
		}
	}
	file := Fields{{"version", "3.8"}, {"services", services}}
	return file.with("secrets", secrets)
}

// Selected are the names that sync is given, each once.
func (r *Result) Selected() []string {
	var names []string
	seen := map[string]bool{}
	for _, n := range r.Secrets {
		if n.Selected != "" && !seen[n.Selected] {
			seen[n.Selected] = true
			names = append(names, n.Selected)
		}
	}
	return names
}

// Preparations are commands that make the secrets which a Compose file makes out of something.
func (r *Result) Preparations() []string {
	var all []string
	mirrors := map[string]Ref{}
	for _, n := range r.Secrets {
		mirrors[n.Origin.Secret] = n.Mirror
	}
	for _, l := range r.Local {
		if mirror, there := mirrors[l.Name]; there && r.To == secret.Kubernetes {
			if l.File != "" {
				all = append(all, quoteAll([]string{"kubectl", "create", "secret", "generic", mirror.Secret, "--from-file=" + mirror.Key + "=" + l.File}))
			} else {
				all = append(all, "printf %s \"$"+l.Environment+"\" | "+quoteAll([]string{"kubectl", "create", "secret", "generic", mirror.Secret, "--from-file=" + mirror.Key + "=/dev/stdin"}))
			}
		}
	}
	return all
}

// Mirror is the SecretMirror that makes the secrets which the result needs.
func (r *Result) Mirror(from, to string, names []string, into, nameTemplate string) Fields {
	name := "secrets"
	if len(r.Workloads) > 0 {
		_, name, _ = strings.Cut(strings.ReplaceAll(r.Workloads[0].Object, " ", "/"), "/")
	}
	spec := Fields{{"from", from}, {"to", to}, {"names", list(names)}}
	return Fields{
		{"apiVersion", "secretx.github.io/v1alpha1"}, {"kind", "SecretMirror"},
		{"metadata", Fields{{"name", dnsLabel(name)}}},
		{"spec", spec.with("into", into).with("nameTemplate", nameTemplate)},
	}
}
