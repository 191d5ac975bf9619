package endpoint

import (
	"fmt"
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// Address is how a user names an endpoint.
//
//	swarm               the current Docker context
//	swarm:CONTEXT
//	kubernetes          the current kubeconfig context and namespace
//	kubernetes:CONTEXT
//	kubernetes:CONTEXT/NAMESPACE
//	kubernetes:/NAMESPACE
type Address struct {
	Kind      secret.Kind
	Context   string // empty: the current one
	Namespace string // empty: that of the context; always empty for Swarm
}

// ParseAddress reads an address. The word k8s stands for kubernetes. A kubeconfig context may have
// slashes in its name, as those of some clouds do: the namespace is what follows the last one, and
// a trailing slash ends a context that has slashes but no namespace.
func ParseAddress(text string) (Address, error) {
	kind, rest, colon := strings.Cut(text, ":")
	if colon && rest == "" {
		return Address{}, addressError(text, "a context or /NAMESPACE must follow the colon")
	}
	switch kind {
	case "swarm":
		if strings.Contains(rest, "/") {
			return Address{}, addressError(text, "a Swarm has no namespaces")
		}
		return Address{Kind: secret.Swarm, Context: rest}, nil
	case "kubernetes", "k8s":
		a := Address{Kind: secret.Kubernetes, Context: rest}
		if i := strings.LastIndexByte(rest, '/'); i >= 0 {
			a.Context, a.Namespace = rest[:i], rest[i+1:]
			if a.Context == "" && a.Namespace == "" {
				return Address{}, addressError(text, "a namespace must follow the slash")
			}
		}
		return a, nil
	}
	return Address{}, addressError(text, "it must begin with swarm, kubernetes or k8s")
}

func addressError(text, why string) error {
	return fmt.Errorf("unknown endpoint %q: %s (swarm, swarm:CONTEXT, kubernetes, kubernetes:CONTEXT, kubernetes:CONTEXT/NAMESPACE or kubernetes:/NAMESPACE)", text, why)
}

// String gives the address as ParseAddress reads it.
func (a Address) String() string {
	text := string(a.Kind)
	switch {
	case a.Namespace != "":
		text += ":" + a.Context + "/" + a.Namespace
	case strings.Contains(a.Context, "/"):
		text += ":" + a.Context + "/"
	case a.Context != "":
		text += ":" + a.Context
	}
	return text
}
