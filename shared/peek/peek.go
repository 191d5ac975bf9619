// Package peek judges what a container really has of its secrets by what it is meant to have. It
// is pure: swarm and kube tell it what is declared and what was seen, and it says of each line
// whether it is the current value. It imports secret and the standard library.
package peek

import (
	"time"

	"github.com/secretx/secretx/shared/secret"
)

// Target is what a user wants to look into. The zero one is all containers of an endpoint that have
// to do with secrets.
type Target struct {
	// Type is that of a Kubernetes object, as kubectl takes it: pod, deploy, statefulsets.apps. Empty
	// for a pod; never set for a Swarm, whose target is a service, a task or a container.
	Type string
	// Name is a name or, in a Swarm, an ID; empty with a Selector.
	Name string
	// Selector is a label selector of Kubernetes pods; empty with a Name.
	Selector string
}

// Container is one container: what it is meant to have, and once it was looked into, what it has.
type Container struct {
	// Object is what stands behind the container for its user: "service web", "deployment/web". What
	// has no owner is its own.
	Object string
	// Name is that of the task (web.1) or of the pod.
	Name string
	// Container is the name within the pod; empty in a Swarm.
	Container string
	// Kind is how it runs in its pod: "", "init", "sidecar" or "ephemeral".
	Kind string
	// Node is the host name of the node.
	Node string
	// ID is whatever its endpoint finds it by.
	ID string
	// Started is when it did; zero when it hasn't.
	Started time.Time
	// Wants are in the order in which they are declared.
	Wants []Want
	// Directories hold nothing but secrets: any other file in them is extra. Absolute paths.
	Directories []string
	// Unseen says why it could not be looked into, although it should have been: its node is away,
	// exec is forbidden, it ended meanwhile. Empty once Seen holds.
	Unseen string
	// Hint says what would let it be looked into; a whole sentence, or empty.
	Hint string
	// Over tells that it has ended as it should, as an init container does, so that there is nothing
	// to look into.
	Over bool
	// Note is what a look at it has left behind: an ephemeral container, for example.
	Note string
	Seen Seen
}

// How a container is given a secret.
type How string

// The ways of giving a secret to a container.
const (
	File    How = "file"    // at Path
	Env     How = "env"     // in the variable Variable
	Pointer How = "pointer" // the variable Variable holds Path, and the secret stands there
	Pull    How = "pull"    // for pulling the image; nothing of it is in the container
)

// Want is one thing that a container is meant to have.
type Want struct {
	How How
	// Secret and Key name it at the endpoint of the container; UID is that of the Swarm secret that
	// the reference names, empty in Kubernetes.
	Secret, Key, UID string
	// Path is absolute, within the container.
	Path string
	// Variable is the name of an environment variable.
	Variable string
	// Mode has the permission bits that the file should have; HasMode tells that they are known.
	Mode    uint32
	HasMode bool
	// UID and GID of the file; Owned tells that they are known.
	FileUID, FileGID int
	Owned            bool
	// Optional: it may be missing.
	Optional bool
	// SubPath: mounted by itself, so that it never follows its secret.
	SubPath bool
	// Template says that the bytes are not those of the secret: a Swarm template, a driver's.
	Template string
}

// Seen is what really is in a container.
type Seen struct {
	// Files are by path: those wanted that are there or can't be read, and whatever else stands in
	// the directories of secrets.
	Files map[string]FileSeen
	// Env are the wanted variables of process 1.
	Env map[string]Content
	// EnvUnseen says why the environment could not be read; empty when it could.
	EnvUnseen string
}

// FileSeen is one file, symbolic links followed.
type FileSeen struct {
	// Unseen says why it can't be read, or what it is other than a file; its mode and owner may be known
	// nevertheless (Stat).
	Unseen   string
	Stat     bool
	Mode     uint32 // permission bits
	UID, GID int
	Content  Content
}

// Content is what was seen of some bytes: their digest under the nonce of the look, and themselves
// where they were asked for.
type Content struct {
	Digest secret.Digest
	Value  secret.Value
}

// LookOptions say how to look.
type LookOptions struct {
	// Nonce makes the digests; used once.
	Nonce []byte
	// Reveal asks for the bytes as well.
	Reveal bool
	// LocalOnly forbids jobs on other nodes of a Swarm.
	LocalOnly bool
	// AllowEphemeral lets an ephemeral container be added to a pod where exec can't look; it stays in
	// the pod's spec.
	AllowEphemeral bool
	// HelperImage is the image of what looks where our own can't be loaded: on other nodes of a Swarm
	// (secretx's probe), in an ephemeral container (anything with a shell, cat and stat).
	HelperImage string
	// Progress is told in a few words what takes long; never nil.
	Progress func(string)
}

// SwarmDirectory is where a Swarm puts secrets unless it is told otherwise.
const SwarmDirectory = "/run/secrets"
