package translate

import (
	"slices"
	"time"

	"github.com/secretx/secretx/shared/secret"
)

// Source is what was read of one side: workloads, and what is known of the secrets that they use.
type Source struct {
	// Kind is the side: a Compose file is of Swarm's.
	Kind      secret.Kind
	Workloads []Workload
	// Secrets are those whose keys are known, without their values: those that stand in the same stream, and
	// those that whoever calls has looked up.
	Secrets []secret.Secret
	// Local are those that a Compose file makes out of something.
	Local []Local
	// Notes are on what belongs to no workload.
	Notes []Note
	// texts are those of configuration that stands in the same stream: they may name files of secrets.
	texts []string
}

// Local is a secret that doesn't exist yet: deploying the Compose file would make it.
type Local struct {
	Name        string // in the Swarm
	File        string // the file that it is made from, or
	Environment string // the variable
}

// Workload is something that runs, in whichever words it was declared.
type Workload struct {
	Kind      string // "service" for a Swarm's, or the Kubernetes kind: "Deployment"
	Name      string
	Namespace string
	// Stack is the stack or project that it belongs to; Name doesn't begin with it.
	Stack  string
	Labels []Pair // of itself
	// PodLabels are those of what it starts: containers, or pods.
	PodLabels   []Pair
	Annotations []Pair // of itself, in Kubernetes
	Mode        Mode
	// Replicas is how many run, or of a job how many have to end well.
	Replicas int64
	// Parallel is how many of a job run at once, 0 where nothing is said.
	Parallel int64
	Restart  Restart
	// Attempts is how often a job is tried anew, -1 where nothing is said.
	Attempts int64
	Schedule string // of a CronJob
	// Grace is how long it has to stop before it is killed; nil where nothing is said.
	Grace *time.Duration
	// FSGroup is the group that all files of a pod's volumes have; nil for none.
	FSGroup    *int64
	Hostname   string
	Containers []Container
	// Ports are those at which it can be reached from outside.
	Ports []Port
	notes []Note
}

// Object is how to call it: "service web", "deployment/web".
func (w Workload) Object() string {
	if w.Kind == serviceKind {
		return "service " + w.Name
	}
	return lower(w.Kind) + "/" + w.Name
}

const serviceKind = "service"

// Mode is how many of a workload run, and for how long.
type Mode string

// The modes of both sides.
const (
	Replicated Mode = "replicated"
	Global     Mode = "global"         // one on each node
	Job        Mode = "replicated-job" // until so many have ended well
	GlobalJob  Mode = "global-job"
)

// Restart says when a container that has ended is started again.
type Restart string

// When a container is started again.
const (
	Always    Restart = "any"
	OnFailure Restart = "on-failure"
	Never     Restart = "none"
)

// Pair is a name and a value, in an order that is kept.
type Pair struct{ Name, Value string }

// Port is one that can be reached from outside, on Published, which is 0 for any.
type Port struct {
	Target, Published int64
	Protocol          string // tcp, udp or sctp
	Mode              string // ingress, host
}

// Container is what runs, and what it has of secrets.
type Container struct {
	Name  string
	Image string
	// Command replaces the image's entrypoint, Args its command; nil leaves the image's.
	Command, Args []string
	Env           []Var
	// EnvFrom are secrets all of whose keys become variables.
	EnvFrom []EnvFrom
	// elsewhere is what else variables come from that aren't known.
	elsewhere []string
	Files     []File
	// Whole are secrets all of whose keys become files, where it isn't known which those are.
	Whole  []Whole
	Dir    string // where it starts
	User   string // as the side has it: UID, UID:GID, :GID or a name
	Groups []string
	// Limits are what it gets at most, Requests what is reserved for it.
	Limits, Requests Amounts
	Health           *Health // nil where nothing is said
	// CapAdd are capabilities beyond the usual ones, CapDrop those of them that it lacks; without CAP_.
	CapAdd, CapDrop []string
	ReadOnly        bool // its root
	TTY, Stdin      bool
}

// Ref names a value at its side: in a Swarm Key is empty.
type Ref struct{ Secret, Key string }

func (r Ref) String() string {
	if r.Key == "" {
		return r.Secret
	}
	return r.Secret + "/" + r.Key
}

// Var is an environment variable: its value, or the secret that has it.
type Var struct {
	Name, Value string
	From        *Ref
	Optional    bool
	// Unset removes one that the image has.
	Unset bool
}

// EnvFrom makes variables of all keys of a secret.
type EnvFrom struct {
	Secret, Prefix string
	Optional       bool
}

// File is a secret as a file.
type File struct {
	Ref      Ref
	Path     string // absolute and clean
	Mode     uint32 // permission bits, as they are in the container
	UID, GID string // numbers, as a rule
	// Alone: mounted by itself (subPath), so that it never follows its secret.
	Alone    bool
	Optional bool
}

// Whole makes files of all keys of a secret.
type Whole struct {
	Secret, Path string
	Mode         uint32
	GID          string
	Optional     bool
}

// Note is one thing that the other side has no form for, and what was done instead.
type Note struct {
	// Number is its place among all notes of a result, from 1.
	Number int
	// Workload is what it is about, empty for all of it.
	Workload string
	// Text says what was done or left out, Reason why.
	Text, Reason string
	// whole: it is about what only a whole workload has.
	whole bool
}

func (n Note) String() string {
	text := n.Text
	if n.Reason != "" {
		text += ": " + n.Reason
	}
	if n.Workload != "" {
		text = n.Workload + ": " + text
	}
	return text
}

// mostNotes is how many notes a workload has. Nobody reads more.
const mostNotes = 500

func (w *Workload) note(text, reason string) { w.add(Note{Text: text, Reason: reason}) }

// noteWhole notes what a patch or an update says nothing about.
func (w *Workload) noteWhole(text, reason string) {
	w.add(Note{Text: text, Reason: reason, whole: true})
}

func (w *Workload) add(note Note) {
	switch n := len(w.notes); {
	case slices.Contains(w.notes, note) || n > mostNotes:
	case n == mostNotes:
		w.notes = append(w.notes, Note{Text: "there is more that has no form at the other side", Reason: "these notes are too many to be read"})
	default:
		w.notes = append(w.notes, note)
	}
}
