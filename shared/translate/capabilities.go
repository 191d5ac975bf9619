package translate

import (
	"regexp"
	"slices"
	"strings"
)

// capabilityText is what the kernel calls one, and ALL.
var capabilityText = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,40}$`)

// capabilities reads names as Kubernetes has them: docker puts CAP_ before each, and takes either.
func (w *Workload) capabilities(o *object, key string) []string {
	var all []string
	for _, text := range o.strings(key) {
		name := strings.TrimPrefix(strings.ToUpper(text), "CAP_")
		switch {
		case !capabilityText.MatchString(name):
			w.leave(join(o.at, key) + " (not all of it is the name of a capability)")
		case !slices.Contains(all, name):
			all = append(all, name)
		}
	}
	return all
}

// capabilities are what a pod's container has beyond the usual ones, and lacks of them: both sides have the same.
func (k *cluster) capabilities(c *Container) Fields {
	for _, name := range c.CapAdd {
		k.pair("--cap-add "+name, "securityContext.capabilities.add: "+name)
	}
	for _, name := range c.CapDrop {
		k.pair("--cap-drop "+name, "securityContext.capabilities.drop: "+name)
	}
	return Fields{}.with("add", list(c.CapAdd)).with("drop", list(c.CapDrop))
}

// capabilities gives a task those of a pod's container: each with its flag.
func (s *service) capabilities() (flags [][]string) {
	for _, name := range s.c.CapAdd {
		flags = append(flags, []string{"--cap-add", name})
		s.pair("--cap-add "+name, "securityContext.capabilities.add: "+name)
	}
	for _, name := range s.c.CapDrop {
		flags = append(flags, []string{"--cap-drop", name})
		s.pair("--cap-drop "+name, "securityContext.capabilities.drop: "+name)
	}
	return flags
}
