package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// literal is the value of a variable as far as the spec of its pod tells it.
type literal struct {
	text  string
	known bool
}

// expand puts variables in the place of $(NAME), as the kubelet does: $$ is a $, and a name that is
// nobody's stays as it is.
func expand(text string, variables map[string]literal) literal {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return literal{b.String(), true}
		}
		name, after, closed := strings.Cut(rest, ")")
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case !strings.HasPrefix(rest, "(") || !closed:
			b.WriteByte('$')
			text = rest
		default:
			text = after
			value, declared := variables[name[1:]]
			switch {
			case !declared:
				b.WriteString("$" + name + ")")
			case !value.known:
				return literal{}
			default:
				b.WriteString(value.text)
			}
		}
	}
}

// fieldValue is a field of the pod that a variable refers to.
func fieldValue(pod *corev1.Pod, field string) literal {
	if of, key, ok := strings.Cut(strings.TrimSuffix(field, "']"), "['"); ok {
		switch of {
		case "metadata.labels":
			return literal{pod.Labels[key], true}
		case "metadata.annotations":
			return literal{pod.Annotations[key], true}
		}
	}
	switch field {
	case "metadata.name":
		return literal{pod.Name, true}
	case "metadata.namespace":
		return literal{pod.Namespace, true}
	case "metadata.uid":
		return literal{string(pod.UID), true}
	case "spec.nodeName":
		return literal{pod.Spec.NodeName, true}
	case "spec.serviceAccountName":
		return literal{pod.Spec.ServiceAccountName, true}
	case "status.hostIP":
		return literal{pod.Status.HostIP, pod.Status.HostIP != ""}
	case "status.podIP":
		return literal{pod.Status.PodIP, pod.Status.PodIP != ""}
	}
	return literal{}
}
