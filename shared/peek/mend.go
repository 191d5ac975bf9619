package peek

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/secretx/secretx/shared/secret"
)

// restart says how to have the container made anew.
func (j Judge) restart(c Container) string {
	kind, _, _ := strings.Cut(c.Object, "/")
	if j.Kind == secret.Swarm {
		kind, name, _ := strings.Cut(c.Object, " ")
		if kind == "service" {
			return "Make its tasks anew: docker service update --force " + name
		}
		return "Make the container anew."
	}
	switch kind {
	case "deployment", "statefulset", "daemonset":
		return "Restart it: kubectl rollout restart " + c.Object
	case "pod":
		return "Nobody would make the pod anew: delete and create it yourself."
	case "job", "cronjob":
		return "A job isn't restarted: its next run has the new value."
	}
	return fmt.Sprintf("Delete the pod, and %s makes it anew: kubectl delete pod %s", c.Object, c.Name)
}

// tampered says why a file can have another mode or owner than was declared.
func (j Judge) tampered(c Container, w Want) string {
	for _, other := range c.Wants {
		if j.Kind == secret.Swarm && other.How == File && other.UID == w.UID && other.Path != w.Path && (other.Mode != w.Mode || other.FileUID != w.FileUID || other.FileGID != w.FileGID) {
			return "Docker gives all references to one secret the same mode and owner, those of " + other.Path + ": make a second secret for the other ones."
		}
	}
	return "Something in the container changed it: " + lower(j.restart(c))
}

// replace says how to give a service the newest version in the place of the one that it has.
func (j Judge) replace(c Container, w Want, current Current) string {
	service, isService := strings.CutPrefix(c.Object, "service ")
	if !isService || current.Name == "" || current.Name == w.Secret {
		if current.Origin != "" {
			return "Bring the mirror in line: secretx sync"
		}
		return j.restart(c)
	}
	add := "source=" + current.Name + ",target=" + target(w.Path)
	if w.Owned {
		add += fmt.Sprintf(",uid=%d,gid=%d", w.FileUID, w.FileGID)
	}
	if w.HasMode {
		add += fmt.Sprintf(",mode=%04o", w.Mode)
	}
	return fmt.Sprintf("Give it the newest version: docker service update --secret-rm %s --secret-add %s %s", w.Secret, add, service)
}

// target is a path as Docker's users write it: relative to the directory of secrets.
func target(path string) string { return strings.TrimPrefix(path, SwarmDirectory+"/") }

// lower makes a sentence go on after a colon.
func lower(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(first)) + text[size:]
}
