package translate

import (
	"slices"
	"strings"
)

// extended gives a service together with what it extends in the same file, merged as Compose does it. Other files
// are not opened.
func (c *compose) extended(services *object, name string, below []string) *object {
	service := services.object(name)
	if service == nil {
		return nil
	}
	base := ""
	switch v, _ := service.get("extends"); v.(type) {
	case scalar:
		base = service.str("extends")
	case *object:
		if from := service.object("extends"); !from.has("file") {
			base = from.str("service")
		}
	}
	if base == "" {
		return service
	}
	if slices.Contains(below, name) || len(below) > deepest {
		service.doc.complain(join(service.at, "extends"), "a service that doesn't extend this one in turn")
		return nil
	}
	from := c.extended(services, base, append(below, name))
	if from == nil {
		service.doc.complain(join(service.at, "extends"), "a service of the same file")
		return nil
	}
	merged := merge(from, service, service.at)
	if c.grown += size(merged); c.grown > mostNodes {
		service.doc.complain(join(service.at, "extends"), "less: with all that is extended, the file grows beyond all measure")
		return nil
	}
	delete(merged.values, "extends")
	if other, there := from.values["extends"]; there { // in another file
		merged.values["extends"] = other
	}
	return merged
}

// size is how many nodes a value has.
func size(value any) int {
	n := 1
	switch v := value.(type) {
	case *object:
		for _, inner := range v.values {
			n += size(inner)
		}
	case []any:
		for _, e := range v {
			n += size(e)
		}
	}
	return n
}

// merge puts the keys of one mapping over those of another.
func merge(base, over *object, at string) *object {
	merged := newObject(at, over.doc)
	for _, key := range base.keys {
		if v, there := base.values[key]; there {
			merged.set(key, moved(v, join(at, key)))
		}
	}
	for _, key := range over.keys {
		v, there := over.values[key]
		if !there {
			continue
		}
		old, both := merged.values[key]
		if s, null := v.(scalar); null && s.null() && both {
			continue
		}
		if both {
			v = mergeValues(key, old, v, join(at, key), over.doc)
		}
		merged.set(key, v)
	}
	return merged
}

func mergeValues(key string, base, over any, at string, doc *document) any {
	switch key {
	case "environment", "labels":
		base, over = asMapping(base, at, doc), asMapping(over, at, doc)
	}
	if b, ok := base.(*object); ok {
		if o, ok := over.(*object); ok {
			return merge(b, o, at)
		}
		return over
	}
	b, ok := base.([]any)
	o, both := over.([]any)
	if !ok || !both || key == "command" || key == "entrypoint" || key == "test" {
		return over
	}
	// What is for the same place is that of the upper one.
	places := map[string]bool{}
	for _, e := range o {
		places[place(e)] = true
	}
	b = slices.DeleteFunc(slices.Clone(b), func(e any) bool { return places[place(e)] })
	return append(b, o...)
}

// place is where an element of a list goes to, or all of it.
func place(element any) string {
	switch e := element.(type) {
	case scalar:
		return e.text
	case *object:
		for _, key := range []string{"target", "source"} {
			if s, ok := e.values[key].(scalar); ok {
				return s.text
			}
		}
	}
	return ""
}

// asMapping makes a mapping of a list of NAME=VALUE.
func asMapping(value any, at string, doc *document) any {
	list, ok := value.([]any)
	if !ok {
		return value
	}
	m := newObject(at, doc)
	for _, e := range list {
		s, ok := e.(scalar)
		if !ok {
			return value
		}
		name, text, set := strings.Cut(s.text, "=")
		entry := scalar{text: text, tag: "!!str", line: s.line}
		if !set {
			entry.tag = "!!null"
		}
		m.set(name, entry)
	}
	return m
}

// moved copies a value, so that what is asked of it is asked of the copy alone, and what is said of it names the
// place to which it was moved.
func moved(value any, at string) any {
	switch v := value.(type) {
	case *object:
		copied := newObject(at, v.doc)
		for _, key := range v.keys {
			if inner, there := v.values[key]; there {
				copied.set(key, moved(inner, join(at, key)))
			}
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, e := range v {
			copied[i] = moved(e, join(at, i))
		}
		return copied
	}
	return value
}
