// Package consumers says who uses which secret. It is pure: swarm and kube tell it what refers to
// secrets at their endpoint, and it makes one graph of that. It imports secret and the standard
// library.
package consumers

// How an object uses a secret.
type How string

// The ways of using a secret.
const (
	File      How = "file"      // a file in a container: a Swarm reference, a volume
	Projected How = "projected" // a file through a projected volume
	Env       How = "env"       // one variable
	EnvFrom   How = "env-from"  // all keys as variables
	Pull      How = "pull"      // for pulling images
	TLS       How = "tls"       // an Ingress' certificate
	Account   How = "account"   // listed by a ServiceAccount
	Driver    How = "driver"    // a CSI, flex or other volume driver reads it
)

// Use is one reference to a secret.
type Use struct {
	// Secret is the name, Key the key where only one is used. UID is the ID of a Swarm secret, empty
	// in Kubernetes.
	Secret, Key, UID string
	How              How
	// Where says in which part of the consumer: "container web", "init container setup". Empty where
	// it has no parts.
	Where string
	// Target is the path or the variable, where there is one.
	Target   string
	Optional bool
	// Previous: only what a rollback would go back to refers to it.
	Previous bool
}

// Consumer is one object that refers to secrets.
type Consumer struct {
	// Kind as its users call it: service, task, pod, deployment, ingress, serviceaccount, or any custom
	// kind, in lower case.
	Kind string
	Name string
	// Owner is the consumer that made this one, "deployment/web", "service/web"; empty when it is nobody's.
	// It need not be in the graph: a custom kind has no pod template that is known.
	Owner string
	// Stack is the stack that a Swarm service belongs to.
	Stack string
	// Running tells that it holds its secrets right now: a live task or pod.
	Running bool
	Uses    []Use
}

// Graph is all that refers to secrets at one endpoint.
type Graph struct {
	Consumers []Consumer
	// Blind says what could not be looked at and why, a whole clause each: "ingresses in namespace
	// shop: not allowed (list)". While there is any, nothing can be called unused.
	Blind []string
}
