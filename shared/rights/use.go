package rights

import (
	"fmt"
	"slices"
	"strings"
)

// KeyName is the Secret that keeps the installation key.
const KeyName = "secretx-fingerprint-key"

// backupSuffix names the Secret that keeps what another one held before a rotation.
const backupSuffix = ".rollback"

// Side is which end of a pair a namespace is, for sync and diff.
type Side string

// The two ends of a pair.
const (
	Origins Side = "origins"
	Mirrors Side = "mirrors"
)

// Use is what somebody is to be able to do in a namespace.
type Use struct {
	Verb      string
	Namespace string
	// Secrets are the names of those concerned, as they are called here; none: all.
	Secrets []string
	// Targets are what is looked into, translated, or moved to a new value; none: anything.
	Targets []Target

	Side Side // of sync and diff
	// Select: secrets are chosen otherwise than by name alone, or the absence of some counts (--all, -l,
	// --prune, --into), so that all have to be seen.
	Select bool
	Prune  bool // sync removes orphans
	// KeyElsewhere: the installation key is a file, or stands at the other end.
	KeyElsewhere bool
	// Both: create makes the secret and its mirror.
	Both bool
	// Immutable: Secrets may be immutable, or mirrors change their type, so that they are made anew.
	Immutable bool
	Rollout   bool // sync moves those who use the mirrors
	Ephemeral bool // containers may be looked into from beside
	Selector  bool // pods or workloads are chosen by their labels
	Watch     bool // sync stays
	// WatchAll: it can't watch its secrets one by one, as there are too many of them.
	WatchAll bool
	Events   bool // and tells here what it does
	// AllNamespaces: ls shows those of all namespaces.
	AllNamespaces bool
}

// Cluster tells that the rules belong into a ClusterRole.
func (u Use) Cluster() bool { return u.AllNamespaces }

// Verb gives a verb its full name.
func Verb(name string) (string, error) {
	switch name {
	case "peek":
		name = "peek-in-container"
	case "list":
		name = "ls"
	case "remove":
		name = "rm"
	}
	if _, known := verbs[name]; !known {
		return "", fmt.Errorf("%q takes no rights in Kubernetes, or is no verb: it must be one of %s", name, strings.Join(Verbs, ", "))
	}
	return name, nil
}

// Verbs are those that take any rights.
var Verbs = []string{
	"diff", "sync", "verify", "peek-in-container", "consumers", "ls", "inspect", "create", "rotate", "rm", "prune", "current", "translate", "doctor",
}

var verbs = map[string]func(Use) Rules{
	"diff": diff, "sync": sync, "verify": verify, "peek-in-container": peek, "consumers": consumers, "ls": list, "inspect": list,
	"create": create, "rotate": rotate, "rm": remove, "prune": prune, "current": current, "translate": translate, "doctor": doctor,
}

// For gives the rules that a use takes.
func For(u Use) (Rules, error) {
	verb, err := Verb(u.Verb)
	if err != nil {
		return nil, err
	}
	if verb == "diff" || verb == "sync" {
		if u.Side != Origins && u.Side != Mirrors {
			return nil, fmt.Errorf("%s: a namespace is the side of the origins or of the mirrors", verb)
		}
	}
	all := verbs[verb](u)
	if verb != "translate" { // which only reads what it is told to
		all = append(Rules{here(u)}, all...)
	}
	return all.Merged(), nil
}

// here is what the verbs do first: the UID of the namespace is the identity of the endpoint.
func here(u Use) Rule {
	if u.AllNamespaces {
		return rule("namespaces", "get", "list")
	}
	return rule("namespaces", "get").named(u.Namespace)
}

// secrets is a rule on those that are concerned.
func (u Use) secrets(verbs ...string) Rule { return rule("secrets", verbs...).named(u.Secrets...) }

const noFingerprints = "mirrors are judged without fingerprints"

func key(verbs ...string) Rule { return rule("secrets", verbs...).named(KeyName) }

func (u Use) keyRead() Rules {
	if u.KeyElsewhere {
		return nil
	}
	return Rules{key("get").or(noFingerprints)}
}

func diff(u Use) Rules {
	if u.Watch { // all is listed to begin with, and then what has changed is read by itself
		r := rule("secrets", "get", "list", "watch")
		if !u.Select && !u.WatchAll {
			r = r.named(u.Secrets...)
		}
		return append(Rules{r}, u.keyRead()...)
	}
	if u.Select || len(u.Secrets) == 0 {
		return append(Rules{rule("secrets", "list")}, u.keyRead()...)
	}
	return append(Rules{u.secrets("get")}, u.keyRead()...)
}

func sync(u Use) Rules {
	all := diff(u)
	if !u.KeyElsewhere {
		all = append(all, key("get", "create", "patch").or("mirrors are made without fingerprints, which is said"))
	}
	if u.Events {
		all = append(all, events)
	}
	if u.Side == Origins {
		return all
	}
	all = append(all, u.secrets("create", "patch"))
	switch {
	case u.Prune:
		all = append(all, rule("secrets", "delete"))
	case u.Immutable:
		all = append(all, u.secrets("delete"))
	}
	if u.Rollout {
		all = append(all, rule("secrets", "get", "list"))
		all = append(all, rollout(u)...)
	}
	return all
}

var events = rule("events.events.k8s.io", "create", "patch").or("there are no Events, which is said")

// Lease is what it takes to take part in the election of the one that writes, and to tell there what concerns all.
func Lease(name string, told bool) Rules {
	all := Rules{rule("leases.coordination.k8s.io", "get", "watch", "create", "patch").named(name)}
	if told {
		all = append(all, events)
	}
	return all.Merged()
}

// FewNames is how many secrets are watched one by one.
const FewNames = 25

// finders are the lists that a namespace is searched for consumers with.
func finders(without string, needed ...string) Rules {
	var all Rules
	for _, kind := range referring {
		r := rule(kind, "list")
		if !slices.Contains(needed, kind) {
			r = r.or(without)
		}
		all = append(all, r)
	}
	return all
}

const unseen = "what may not be seen is named"

func consumers(Use) Rules { return append(Rules{rule("secrets", "list")}, finders(unseen)...) }

func list(u Use) Rules { return append(consumers(u), u.keyRead()...) }

func verify(u Use) Rules {
	all := Rules{rule("secrets", "get", "list"), rule("pods/exec", "create")}
	all = append(all, finders(unseen, "pods")...) // what runs is a pod
	if u.Ephemeral {
		all = append(all, ephemeral...)
	}
	return all
}

var ephemeral = Rules{rule("pods", "get"), rule("pods/ephemeralcontainers", "patch")}

func peek(u Use) Rules {
	all := Rules{u.secrets("get")}
	exec := rule("pods/exec", "create")
	switch {
	case u.Selector:
		all = append(all, rule("pods", "list"), exec)
	case len(u.Targets) == 0:
		all = append(all, rule("pods", "get", "list"), exec, rule("jobs.batch", "list"))
		for _, kind := range owners {
			all = append(all, rule(kind, "get"))
		}
	}
	for _, t := range u.Targets {
		switch t.Resource {
		case "pods":
			all = append(all, rule("pods", "get").named(t.Name), exec.named(t.Name))
			if u.Ephemeral {
				all = append(all, rule("pods/ephemeralcontainers", "patch").named(t.Name))
			}
			continue
		case "cronjobs.batch":
			all = append(all, rule("jobs.batch", "list"))
		}
		all = append(all, rule(t.Resource, "get").named(t.Name), rule("pods", "list"), exec)
		if u.Ephemeral {
			all = append(all, ephemeral...)
		}
		if !slices.Contains(owners, t.Resource) {
			for _, kind := range between {
				all = append(all, rule(kind, "list").or("pods that it owns by way of these are not found, unless it has a selector"))
			}
		}
	}
	if u.Ephemeral && len(u.Targets) == 0 {
		all = append(all, ephemeral...)
	}
	return all
}

func translate(u Use) Rules {
	all := Rules{
		u.secrets("get").or("secrets are called what sync calls those that it has not made, which is said"),
		rule("services", "list").or("the Services that lead to it are left out"),
	}
	switch {
	case u.Selector:
		for _, kind := range selectable {
			all = append(all, rule(kind, "list"))
		}
	case len(u.Targets) == 0:
		all = append(all, rule("pods", "get"))
		for _, kind := range owners {
			all = append(all, rule(kind, "get"))
		}
	}
	for _, t := range u.Targets {
		all = append(all, rule(t.Resource, "get").named(t.Name))
	}
	return all
}

func create(u Use) Rules {
	all := Rules{u.secrets("create", "patch")}
	if u.Both {
		all = append(all, u.secrets("get"))
		if !u.KeyElsewhere {
			all = append(all, key("get", "create", "patch").or("the mirror is made without a fingerprint, which is said"))
		}
	}
	return all
}

func current(Use) Rules { return Rules{rule("secrets", "list")} }

func rotate(u Use) Rules {
	all := Rules{rule("secrets", "get", "list")}
	backups := make([]string, len(u.Secrets))
	for i, name := range u.Secrets {
		backups[i] = name + backupSuffix
	}
	all = append(all, u.secrets("patch"), rule("secrets", "create", "patch", "delete").named(backups...))
	if u.Immutable { // versions have names of their own
		all = append(all, rule("secrets", "create", "patch"), rule("secrets", "delete").or("older versions stay, which is said"))
	}
	return append(all, rollout(u)...)
}

// rollout is what it takes to move those who use a secret, to wait for them, and to look into their
// containers for proof. Whoever may not see them all changes nothing; only those that don't follow by
// themselves are written to.
func rollout(u Use) Rules {
	var all Rules
	for _, r := range finders("") {
		if r.Resource != podTemplates {
			all = append(all, r)
		}
	}
	move := func(kind string, names ...string) {
		r := rule(kind, "get", "patch").named(names...)
		if len(names) == 0 {
			r = r.or("what uses the secret, is of this kind and doesn't follow by itself can't be moved, and all go back")
		}
		all = append(all, r)
		if kind == "statefulsets.apps" {
			all = append(all, rule("pods", "delete").or("a StatefulSet that waits for a broken pod of an earlier template waits in vain"))
		}
	}
	if len(u.Targets) == 0 {
		for _, kind := range moved {
			move(kind)
		}
	}
	for _, t := range u.Targets {
		move(t.Resource, t.Name)
	}
	all = append(all, rule("pods/exec", "create").or("what the containers have is not proven, which is said"))
	if u.Ephemeral {
		all = append(all, ephemeral...)
	}
	return all
}

func remove(u Use) Rules {
	// What is not seen may use the secret, so that it is refused.
	return append(Rules{rule("secrets", "list"), u.secrets("delete")}, finders("")...)
}

func prune(Use) Rules {
	return append(Rules{rule("secrets", "list", "delete")}, finders("what can't be judged is kept, which is said")...)
}

func doctor(u Use) Rules { return u.keyRead() }
