// Package secret has the words that everything else is written in: a value that redacts itself, a
// secret as an endpoint shows it, the mark that makes one a mirror, and fingerprints. It imports
// nothing but the standard library.
package secret

import (
	"cmp"
	"slices"
	"time"
)

// Kind is an orchestrator.
type Kind string

// The orchestrators that hold secrets.
const (
	Swarm      Kind = "swarm"
	Kubernetes Kind = "kubernetes"
)

// Opaque is the type of a Kubernetes Secret that has none of the built-in meanings.
const Opaque = "Opaque"

// ServiceAccountToken is the type of a Secret whose content the cluster makes for one ServiceAccount.
const ServiceAccountToken = "kubernetes.io/service-account-token"

// Secret is one object at an endpoint: a Kubernetes Secret with all its keys, or one Swarm secret,
// which counts as one key named like itself.
type Secret struct {
	Name string
	// UID is the Swarm ID or the Kubernetes UID: another object of the same name has another one.
	UID string
	// Version is the Swarm Version.Index or the Kubernetes resourceVersion: it changes with every
	// write. A Swarm secret's content can't change while its UID stands, whatever its Version.
	Version string
	// Created is when the object was made, and Changed when its content last was, as far as the endpoint
	// tells; zero where it doesn't.
	Created, Changed time.Time
	// Type is the Kubernetes type, empty in a Swarm.
	Type string
	// Immutable is the Kubernetes flag. (Swarm secrets always are.)
	Immutable bool
	// Labels are those of the user, without what secretx wrote.
	Labels map[string]string
	// Keys are sorted by name; a Swarm secret has exactly one.
	Keys []Key
	// Lineage says which version it is of what.
	Lineage Lineage
	// Mark is what secretx wrote on it; nil when it is none of its mirrors.
	Mark *Mark
	// Damaged says what is wrong with a mark that can't be read: such a secret is nobody's to write
	// to. Empty for all others.
	Damaged string
	// Internal says why it is not mirrored unless it is asked for by name: a token, a Helm release,
	// something of secretx's own. Empty for all others.
	Internal string
	// Unreadable says why its bytes can't be read even by those who may: a Swarm secret that is a
	// template or comes from a driver. Empty for all others.
	Unreadable string
}

// Key is one named value of a secret. The Value is not known where it was not read.
type Key struct {
	Name  string
	Value Value
}

// Ref names one key of one secret at some endpoint.
type Ref struct {
	UID  string
	Name string // of the secret
	Key  string
}

// Ref gives the reference of one of s's keys.
func (s Secret) Ref(key string) Ref { return Ref{UID: s.UID, Name: s.Name, Key: key} }

// Key finds a key by name.
func (s Secret) Key(name string) (Key, bool) {
	i, found := slices.BinarySearchFunc(s.Keys, name, func(k Key, n string) int { return cmp.Compare(k.Name, n) })
	if !found {
		return Key{}, false
	}
	return s.Keys[i], true
}

// SortKeys puts keys into the order that Secret.Keys promises.
func SortKeys(keys []Key) {
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.Name, b.Name) })
}
