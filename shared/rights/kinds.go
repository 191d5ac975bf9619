package rights

import (
	"fmt"
	"slices"
	"strings"
)

// referring are the kinds that may refer to a Secret. podtemplates are nobody's workload: nothing of
// them runs, and nothing moves them.
var referring = []string{
	"pods", podTemplates, "replicationcontrollers", "serviceaccounts", "deployments.apps", "replicasets.apps", "statefulsets.apps",
	"daemonsets.apps", "jobs.batch", "cronjobs.batch", "ingresses.networking.k8s.io",
}

const podTemplates = "podtemplates"

// moved are the kinds that a rollout writes to.
var moved = []string{
	"deployments.apps", "statefulsets.apps", "daemonsets.apps", "cronjobs.batch", "ingresses.networking.k8s.io", "serviceaccounts",
}

// owners are the kinds that own pods and are looked into by name.
var owners = []string{
	"deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "cronjobs.batch", "replicationcontrollers", "services",
}

// selectable are the kinds of what runs and is chosen by labels, unless a type is named.
var selectable = []string{
	"pods", "replicationcontrollers", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "cronjobs.batch",
}

// between are those that may stand between an object of another kind and its pods.
var between = []string{"replicasets.apps", "jobs.batch", "deployments.apps", "statefulsets.apps", "daemonsets.apps"}

// short are the names that kubectl takes for kinds beside singular and plural.
var short = map[string]string{
	"po": "pods", "rc": "replicationcontrollers", "sa": "serviceaccounts", "svc": "services", "deploy": "deployments.apps", "rs": "replicasets.apps",
	"sts": "statefulsets.apps", "ds": "daemonsets.apps", "cj": "cronjobs.batch", "ing": "ingresses.networking.k8s.io",
}

// Target is one object that containers belong to, or that uses a secret.
type Target struct {
	Resource string // the plural with its group: deployments.apps
	Name     string
}

// ParseTarget reads TYPE/NAME, where a type that isn't Kubernetes' own has its plural and its group:
// rollouts.argoproj.io/web.
func ParseTarget(text string) (Target, error) {
	kind, name, found := strings.Cut(text, "/")
	kind = strings.ToLower(kind)
	if !found || kind == "" || name == "" || strings.Contains(name, "/") {
		return Target{}, fmt.Errorf("%q: it must be TYPE/NAME, such as deployment/web or pod/web-0", text)
	}
	if full, known := short[kind]; known {
		return Target{full, name}, nil
	}
	word, group, qualified := strings.Cut(kind, ".")
	for _, resource := range slices.Concat(referring, owners) {
		plural, its, _ := strings.Cut(resource, ".")
		if (word == plural || word == singular(plural)) && (!qualified || group == its) {
			return Target{resource, name}, nil
		}
	}
	if !qualified {
		return Target{}, fmt.Errorf("%q: %q is no kind of Kubernetes' own: write its plural and its group, such as rollouts.argoproj.io/web", text, kind)
	}
	return Target{kind, name}, nil
}

func singular(plural string) string {
	if stem, found := strings.CutSuffix(plural, "sses"); found {
		return stem + "ss"
	}
	return strings.TrimSuffix(plural, "s")
}
