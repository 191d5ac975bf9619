package peek

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/secretx/secretx/shared/secret"
)

// State is what a line says.
type State string

// The states of a line.
const (
	Fresh        State = "fresh"
	StaleFile    State = "stale-file"
	StaleEnv     State = "stale-env"
	StaleSubPath State = "stale-subpath"
	Pending      State = "pending" // the kubelet will bring it
	Missing      State = "missing"
	WrongMode    State = "wrong-mode"
	WrongOwner   State = "wrong-owner"
	Extra        State = "extra"
	Unverifiable State = "unverifiable"
)

// Current is what the containers of an endpoint would be given now of one key of a secret.
type Current struct {
	// Unknown says why it isn't known; empty when what follows holds.
	Unknown string
	// Exists tells whether there is such a key. Without it, nothing else is set.
	Exists bool
	Digest secret.Digest
	// UID and Name are those of the secret; in a Swarm those of the newest version.
	UID, Name string
	// Origin says whose value Digest is of, where it isn't this secret's own: that of a mirror.
	Origin string
	// Immutable, Created and Changed are those of a Kubernetes Secret.
	Immutable        bool
	Created, Changed time.Time
}

// Judge is what lines are judged by.
type Judge struct {
	// Kind is that of the endpoint.
	Kind secret.Kind
	// Current gives what a want's secret holds now.
	Current func(Want) Current
	// Nonce is that of the look.
	Nonce []byte
	// Now is the time of the look.
	Now time.Time
}

// Line is one thing that a container is meant to have, or has although it isn't meant to.
type Line struct {
	How            How
	Secret, Key    string
	Path, Variable string
	State          State
	Detail         string // why it isn't fresh, or what is special about it
	Mend           string // what to do about it
	Fine           bool   // fresh, or missing as it may be
	Seen           FileSeen
	HasSeen        bool // of a file
	Value          secret.Value
	Origin         string // see Current
}

// Lines judges one container. One that is over has none.
func (j Judge) Lines(c Container) []Line {
	if c.Over {
		return nil
	}
	if c.Unseen != "" && len(c.Wants) == 0 {
		return []Line{{State: Unverifiable, Detail: c.Unseen, Mend: c.Hint}}
	}
	lines := make([]Line, 0, len(c.Wants))
	wanted := make(map[string]bool, len(c.Wants))
	for _, w := range c.Wants {
		line := Line{How: w.How, Secret: w.Secret, Key: w.Key, Path: w.Path, Variable: w.Variable}
		if w.How == File {
			wanted[path.Clean(w.Path)] = true
		}
		j.judge(&line, c, w)
		line.Fine = line.Fine || line.State == Fresh
		lines = append(lines, line)
	}
	if c.Unseen == "" {
		lines = append(lines, j.extras(c, wanted)...)
	}
	return lines
}

func (j Judge) judge(line *Line, c Container, w Want) {
	current := j.Current(w)
	line.Origin = current.Origin
	switch {
	case w.How == Pull:
		j.pull(line, w, current)
	case c.Unseen != "":
		line.State, line.Detail, line.Mend = Unverifiable, c.Unseen, c.Hint
	case w.How == Pointer:
		j.pointer(line, c, w)
	case w.How == Env:
		j.variable(line, c, w, current)
	default:
		j.file(line, c, w, current)
	}
}

// pull: nothing of it is in the container, so that there is only whether it is there at all.
func (j Judge) pull(line *Line, w Want, current Current) {
	switch {
	case current.Unknown != "":
		line.State, line.Detail = Unverifiable, current.Unknown
	case current.Exists:
		line.State, line.Detail = Fresh, "used when the image is pulled"
	default:
		line.State, line.Detail = Missing, fmt.Sprintf("there is no Secret %q: images are pulled without it", w.Secret)
		line.Mend = "Make it, or take it out of imagePullSecrets."
	}
}

// pointer: the variable must hold the path, and something must stand there.
func (j Judge) pointer(line *Line, c Container, w Want) {
	if c.Seen.EnvUnseen != "" {
		line.State, line.Detail, line.Mend = Unverifiable, c.Seen.EnvUnseen, c.Hint
		return
	}
	content, set := c.Seen.Env[w.Variable]
	file, there := c.Seen.Files[path.Clean(w.Path)]
	switch {
	case !set:
		line.State, line.Detail = Missing, "process 1 doesn't have the variable"
		line.Mend = j.restart(c)
	case !content.Digest.Equal(secret.NewValue([]byte(w.Path)).Digest(j.Nonce)):
		line.State, line.Detail = StaleEnv, "in process 1 it names another file"
		line.Mend = j.restart(c)
	case !there:
		line.State, line.Detail = Missing, "there is no file at that path"
		line.Mend = "Give the container a secret there, or change the variable."
	case file.Unseen != "":
		line.State, line.Detail = Unverifiable, file.Unseen
	default:
		line.State = Fresh
	}
}

func (j Judge) variable(line *Line, c Container, w Want, current Current) {
	content, set := c.Seen.Env[w.Variable]
	line.Value = content.Value
	switch {
	case c.Seen.EnvUnseen != "":
		line.State, line.Detail, line.Mend = Unverifiable, c.Seen.EnvUnseen, c.Hint
	case current.Unknown != "":
		line.State, line.Detail = Unverifiable, current.Unknown
	case !set && !current.Exists:
		j.absent(line, w)
	case !set:
		line.State, line.Detail = Missing, "process 1 doesn't have the variable: the key came after it started"
		line.Mend = j.restart(c)
	case !current.Exists:
		line.State, line.Detail = StaleEnv, gone(w)+", and process 1 still has its value"
		line.Mend = j.restart(c)
	case !content.Digest.Equal(current.Digest):
		line.State, line.Detail = StaleEnv, "process 1 has an older value: an environment never changes"
		line.Mend = j.restart(c)
	default:
		line.State = Fresh
	}
}

// absent: nothing to have, and nothing there.
func (j Judge) absent(line *Line, w Want) {
	line.State, line.Detail = Missing, gone(w)
	if w.Optional {
		line.Fine = true
		line.Detail += "; it is optional"
		return
	}
	line.Mend = "Make the key, or take the reference out."
}

func gone(w Want) string {
	if w.Key == "" || w.Key == w.Secret {
		return fmt.Sprintf("there is no secret %q any more", w.Secret)
	}
	return fmt.Sprintf("the Secret %q has no key %q", w.Secret, w.Key)
}

func (j Judge) file(line *Line, c Container, w Want, current Current) {
	seen, there := c.Seen.Files[path.Clean(w.Path)]
	line.Seen, line.HasSeen, line.Value = seen, there && seen.Stat, seen.Content.Value
	switch {
	case w.Template != "":
		line.State, line.Detail = Unverifiable, w.Template
		if !there {
			line.State, line.Detail, line.Mend = Missing, "there is no file", j.restart(c)
		}
	case there && seen.Unseen != "":
		line.State, line.Detail, line.Mend = Unverifiable, seen.Unseen, c.Hint
	case current.Unknown != "":
		line.State, line.Detail = Unverifiable, current.Unknown
		if !there {
			line.State, line.Detail, line.Mend = Missing, "there is no file", j.restart(c)
		}
	case !there && !current.Exists:
		j.absent(line, w)
	case !there:
		j.late(line, c, w, current, Missing, "there is no file")
	case !current.Exists && j.Kind == secret.Swarm:
		line.State, line.Detail = StaleFile, gone(w)+", this task has what it started with"
		line.Mend = "Take the reference out of the service, or give it another secret."
	case !current.Exists:
		j.late(line, c, w, current, StaleFile, gone(w)+", and the file is still there")
	case !seen.Content.Digest.Equal(current.Digest):
		j.late(line, c, w, current, StaleFile, j.older(w, current))
	case w.HasMode && seen.Mode != w.Mode:
		line.State = WrongMode
		line.Detail = fmt.Sprintf("its mode is %04o, it should be %04o", seen.Mode, w.Mode)
		line.Mend = j.tampered(c, w)
	case w.Owned && (seen.UID != w.FileUID || seen.GID != w.FileGID):
		line.State = WrongOwner
		line.Detail = fmt.Sprintf("its owner is %d:%d, it should be %d:%d", seen.UID, seen.GID, w.FileUID, w.FileGID)
		line.Mend = j.tampered(c, w)
	default:
		line.State = Fresh
	}
}

// older says what a file is behind of.
func (j Judge) older(w Want, current Current) string {
	switch {
	case current.Origin != "" && current.Name == w.Secret:
		return "it isn't what " + current.Origin + " has now"
	case j.Kind == secret.Swarm && current.Name != w.Secret:
		return fmt.Sprintf("the newest version is %q", current.Name)
	case j.Kind == secret.Swarm:
		return "its bytes are not those of the secret: something in the container changed it"
	}
	return "it has an older value"
}

// patience is how long a kubelet may take to bring a change: its sync period and the life of its
// cache, with something to spare.
const patience = 2 * time.Minute

// late judges a file that isn't as it should be by now: whether it will be by itself, and what helps
// if not.
func (j Judge) late(line *Line, c Container, w Want, current Current, otherwise State, detail string) {
	line.State, line.Detail = otherwise, detail
	if j.Kind == secret.Swarm {
		line.Mend = j.replace(c, w, current)
		return
	}
	line.Mend = j.restart(c)
	switch {
	case w.SubPath:
		line.State, line.Detail = StaleSubPath, detail+": a subPath mount never changes"
	case current.Immutable && !c.Started.IsZero() && !current.Created.Before(c.Started): // both are whole seconds
		line.Detail = detail + ": the Secret is immutable and was made anew since the container started, which a kubelet doesn't notice"
	case j.Now.Sub(current.Changed) < patience:
		line.State, line.Detail, line.Mend = Pending, detail+": the kubelet will see to it within two minutes", "Wait."
	default:
		line.Detail = detail + ", though the kubelet has had time"
	}
}

// extras are files among the secrets that nobody declared.
func (j Judge) extras(c Container, wanted map[string]bool) []Line {
	var lines []Line
	for p, seen := range c.Seen.Files {
		if wanted[p] || j.pointedAt(c, p) {
			continue
		}
		line := Line{How: File, Path: p, State: Extra, Seen: seen, HasSeen: seen.Stat, Value: seen.Content.Value, Detail: "nothing that is declared puts it there"}
		// In the volume of a Secret it can only be a key that the Secret had.
		if w, found := neighbour(c, p); found && j.Kind == secret.Kubernetes {
			if current := j.Current(w); j.Now.Sub(current.Changed) < patience {
				line.Secret, line.State, line.Mend = w.Secret, Pending, "Wait."
				line.Detail = fmt.Sprintf("the Secret %q has no such key: the kubelet will remove the file within two minutes", w.Secret)
			}
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Compare(a.Path, b.Path) })
	return lines
}

// pointedAt tells whether the file was looked at only because a variable names it.
func (j Judge) pointedAt(c Container, p string) bool {
	return path.Dir(p) != SwarmDirectory && slices.ContainsFunc(c.Wants, func(w Want) bool { return w.How == Pointer && path.Clean(w.Path) == p })
}

// neighbour finds a file that is declared in the same directory.
func neighbour(c Container, p string) (Want, bool) {
	i := slices.IndexFunc(c.Wants, func(w Want) bool { return w.How == File && !w.SubPath && path.Dir(w.Path) == path.Dir(p) })
	if i < 0 {
		return Want{}, false
	}
	return c.Wants[i], true
}
