package translate

import "strings"

// interpolating has all texts of a document filled in as Compose does, until it is taken back.
func (c *compose) interpolating(o *object) func() {
	o.doc.expand = func(text string) string { return c.fill(text, 0) }
	return func() { o.doc.expand = nil }
}

// deepestDefault is how far defaults may stand within defaults.
const deepestDefault = 10

// fill replaces $NAME, ${NAME} and its forms with a default. What nobody has set stays as it is.
func (c *compose) fill(text string, depth int) string {
	if !strings.Contains(text, "$") || depth > deepestDefault {
		return text
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "{"):
			end := closing(rest)
			if end < 0 {
				b.WriteString("$" + rest)
				return b.String()
			}
			b.WriteString(c.braced(rest[1:end], depth))
			text = rest[end+1:]
		default:
			n := nameLength(rest)
			if n == 0 {
				b.WriteByte('$')
			} else {
				b.WriteString(c.variable(rest[:n], "$"+rest[:n]))
			}
			text = rest[n:]
		}
	}
}

// closing finds the brace that closes the one at the beginning.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func nameLength(text string) int {
	for i := range len(text) {
		b := text[i]
		letter := b == '_' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if !letter && (i == 0 || b < '0' || b > '9') {
			return i
		}
	}
	return len(text)
}

func (c *compose) variable(name, otherwise string) string {
	if value, set := c.options.Set[name]; set {
		return value
	}
	c.missing[name] = true
	return otherwise
}

func (c *compose) braced(inner string, depth int) string {
	n := nameLength(inner)
	name, form := inner[:n], inner[n:]
	whole := "${" + inner + "}"
	if n == 0 {
		return whole
	}
	value, set := c.options.Set[name]
	if rest, colon := strings.CutPrefix(form, ":"); colon {
		form, set = rest, set && value != ""
	}
	switch {
	case form == "":
		return c.variable(name, whole)
	case form[0] == '-' && set:
		return value
	case form[0] == '-':
		c.assumed[name] = true
		return c.fill(form[1:], depth+1)
	case form[0] == '?' && set:
		return value
	case form[0] == '?':
		c.missing[name] = true
		return whole
	case form[0] == '+' && set:
		return c.fill(form[1:], depth+1)
	case form[0] == '+':
		return ""
	}
	return whole
}
