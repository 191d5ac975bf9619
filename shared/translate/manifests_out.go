package translate

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The labels by which a cluster's tools know what belongs together.
const (
	nameLabel   = "app.kubernetes.io/name"
	partOfLabel = "app.kubernetes.io/part-of"
)

// manifests are the documents of a whole workload: itself, and before it the Service by which it is reached.
func (k *cluster) manifests(several bool) []Fields {
	var docs []Fields
	if s := k.service(several); s != nil {
		docs = append(docs, s)
	}
	docs = append(docs, k.workload())
	k.labels()
	return docs
}

func (k *cluster) apiVersion() string {
	switch k.kind {
	case "Pod":
		return "v1"
	case "Job":
		return "batch/v1"
	}
	return "apps/v1"
}

func (k *cluster) metadata(own []Pair) Fields {
	labels := Fields{{nameLabel, labelValue(k.name)}}
	if part := labelValue(k.w.Stack); part != "" {
		labels = append(labels, Field{partOfLabel, part})
	}
	var annotations Fields
	for _, l := range own {
		switch {
		case !labelName(l.Name) || labels.get(l.Name) != nil:
			if labels.get(l.Name) != l.Value {
				k.unlabelled = append(k.unlabelled, l.Name)
			}
		case labelValue(l.Value) == l.Value:
			labels = append(labels, Field{l.Name, l.Value})
		default:
			annotations = append(annotations, Field{l.Name, l.Value})
		}
	}
	for _, a := range annotations {
		k.annotated = append(k.annotated, a.Name)
	}
	metadata := Fields{{"name", k.name}}
	metadata = metadata.with("namespace", k.options.Namespace).with("labels", labels)
	return metadata.with("annotations", annotations)
}

// labels says in one note what became of those that Kubernetes takes no more than in part.
func (k *cluster) labels() {
	var said []string
	if names := some(k.unlabelled); len(names) > 0 {
		said = append(said, "left out of its labels: "+strings.Join(names, ", "))
	}
	if names := some(k.annotated); len(names) > 0 {
		said = append(said, "annotations instead of labels: "+strings.Join(names, ", "))
	}
	if len(said) > 0 {
		k.w.note(strings.Join(said, "; "), "names and values of labels in Kubernetes are at most 63 letters, digits and -_., and "+nameLabel+" is needed")
	}
}

var (
	labelText   = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?$`)
	labelPrefix = regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$`)
)

// labelValue is a text as the value of a label, or nothing.
func labelValue(text string) string {
	if labelText.MatchString(text) {
		return text
	}
	return ""
}

// labelName tells what Kubernetes takes as the name of a label. Those of kubernetes.io are its own.
func labelName(name string) bool {
	prefix, rest, prefixed := strings.Cut(name, "/")
	if !prefixed {
		return name != "" && labelText.MatchString(name)
	}
	return rest != "" && len(prefix) <= 253 && labelPrefix.MatchString(prefix) && labelText.MatchString(rest)
}

func (k *cluster) workload() Fields {
	w := k.w
	// In a Swarm, the labels of a service and those of its containers are apart, as they are here.
	own, pod := w.Labels, w.PodLabels
	if k.kind == "Pod" {
		own = append(append([]Pair(nil), own...), pod...)
	}
	doc := Fields{{"apiVersion", k.apiVersion()}, {"kind", k.kind}, {"metadata", k.metadata(own)}}
	spec := k.podSpec()
	if k.kind == "Pod" {
		return append(doc, Field{"spec", spec})
	}
	template := Fields{{"metadata", k.templateMetadata(pod)}, {"spec", spec}}
	selector := Fields{{"matchLabels", Fields{{nameLabel, labelValue(k.name)}}}}
	var body Fields
	switch k.kind {
	case "Job":
		body = Fields{{"completions", w.Replicas}}
		if w.Parallel > 0 {
			body = append(body, Field{"parallelism", w.Parallel})
		}
		switch {
		case w.Restart == Never:
			body = append(body, Field{"backoffLimit", int64(0)})
		case w.Attempts > 0:
			body = append(body, Field{"backoffLimit", w.Attempts})
		}
		k.pair("--mode "+string(w.Mode)+" --replicas "+decimal(w.Replicas), "completions: "+decimal(w.Replicas))
	case "DaemonSet":
		body = Fields{{"selector", selector}}
		k.pair("--mode global", "(one on each node)")
	default:
		body = Fields{{"replicas", w.Replicas}, {"selector", selector}}
		k.pair("--replicas "+decimal(w.Replicas), "replicas: "+decimal(w.Replicas))
	}
	return append(doc, Field{"spec", append(body, Field{"template", template})})
}

func (k *cluster) templateMetadata(pod []Pair) Fields {
	m := k.metadata(pod)
	var kept Fields
	for _, f := range m {
		if f.Name == "labels" || f.Name == "annotations" {
			kept = append(kept, f)
		}
	}
	return kept
}

func (k *cluster) podSpec() Fields {
	w := k.w
	var spec Fields
	switch {
	case k.kind == "Job" && w.Restart == Never, k.kind == "Pod" && w.Restart == Never:
		spec = spec.with("restartPolicy", "Never")
		k.pair("--restart-condition none", "restartPolicy: Never")
	case k.kind == "Job", k.kind == "Pod" && w.Restart == OnFailure:
		spec = spec.with("restartPolicy", "OnFailure")
		k.pair("--restart-condition on-failure", "restartPolicy: OnFailure")
	}
	if w.Hostname != "" {
		if h := dnsLabel(w.Hostname); h == w.Hostname {
			spec = spec.with("hostname", h)
		} else {
			w.note("the host name "+w.Hostname+" was left out", "Kubernetes takes no such name")
		}
	}
	spec = k.grace(spec)
	// A service gets neither a token of an API nor variables of its neighbours. Without the first, /run/secrets
	// is free: the token would have to stand within it.
	spec = append(spec, Field{"automountServiceAccountToken", false}, Field{"enableServiceLinks", false})
	var security Fields
	if k.fsGroup != nil {
		security = append(security, Field{"fsGroup", *k.fsGroup})
	}
	var groups []any
	for _, g := range w.Containers[0].Groups {
		if n, err := strconv.ParseInt(g, 10, 32); err == nil && n >= 0 {
			groups = append(groups, n)
		} else {
			w.note("the group "+g+" was left out", "Kubernetes takes numbers")
		}
	}
	spec = spec.with("securityContext", security.with("supplementalGroups", groups))
	spec = append(spec, Field{"containers", []any{k.containerSpec()}})
	return spec.with("volumes", k.volumes)
}

func (k *cluster) containerSpec() Fields {
	c := &k.w.Containers[0]
	out := Fields{{"name", k.name}, {"image", c.Image}}
	out = out.with("command", list(escaped(c.Command))).with("args", list(escaped(c.Args)))
	if len(c.Command) > 0 {
		k.pair("--entrypoint "+quote(c.Command[0]), "command: "+strings.Join(c.Command, " "))
	}
	if len(c.Args) > 0 {
		k.pair(quoteAll(c.Args), "args: "+strings.Join(c.Args, " "))
	}
	out = out.with("workingDir", c.Dir)
	out = out.with("env", append(append([]any(nil), k.secretEnv...), k.env...))
	var ports []any
	seen := map[Port]bool{}
	for _, p := range k.w.Ports {
		if p.Mode != "host" {
			p.Published = 0
		}
		if p.Mode = ""; seen[p] {
			continue
		}
		seen[p] = true
		port := Fields{{"containerPort", p.Target}}
		if p.Published > 0 {
			port = append(port, Field{"hostPort", p.Published})
		}
		if p.Protocol != "tcp" {
			port = append(port, Field{"protocol", strings.ToUpper(p.Protocol)})
		}
		ports = append(ports, port)
	}
	out = out.with("ports", ports).with("resources", k.resources(c))
	live, ready := k.probes(c)
	out = out.with("livenessProbe", live).with("readinessProbe", ready)
	var security Fields
	if c.User != "" {
		uid, gid, _ := strings.Cut(c.User, ":")
		u, errUser := strconv.ParseInt(uid, 10, 64)
		g, errGroup := strconv.ParseInt(or(gid, "0"), 10, 64)
		if errUser != nil || errGroup != nil || u < 0 || g < 0 {
			reason := "Kubernetes takes numbers; the image's own user holds"
			if strings.Contains(c.User, "$") {
				reason = notSet
			}
			k.w.note("the user "+c.User+" was left out", reason)
		} else {
			security = append(security, Field{"runAsUser", u})
			if gid != "" {
				security = append(security, Field{"runAsGroup", g})
			}
		}
	}
	security = security.with("readOnlyRootFilesystem", c.ReadOnly).with("capabilities", k.capabilities(c))
	out = out.with("securityContext", security).with("stdin", c.Stdin).with("tty", c.TTY)
	return out.with("volumeMounts", k.mounts)
}

func escaped(texts []string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, unexpanded(t))
	}
	return all
}

// service makes a workload reachable: at the ports that it publishes, or by its name alone where others may
// want to.
func (k *cluster) service(several bool) Fields {
	spec := Fields{}
	var ports []any
	targets := map[string]int64{}
	for _, p := range k.w.Ports {
		if p.Mode == "host" {
			if p.Published == 0 {
				k.w.note("the port "+decimal(p.Target)+" is not published", "on each node at whichever port is free is nothing that Kubernetes does")
			}
			continue
		}
		name := p.Protocol + "-" + decimal(or(p.Published, p.Target))
		if target, there := targets[name]; there {
			if target != p.Target {
				k.w.note("the port "+publishFlag(p)+" is not published", fmt.Sprintf("%s is that of %d already, and in a Service each has its own", name, target))
			}
			continue
		}
		targets[name] = p.Target
		port := Fields{{"name", name}, {"port", or(p.Published, p.Target)}, {"targetPort", p.Target}}
		if p.Protocol != "tcp" {
			port = append(port, Field{"protocol", strings.ToUpper(p.Protocol)})
		}
		ports = append(ports, port)
		if k.kind == "Job" {
			continue
		}
		k.pair("--publish "+publishFlag(p), "Service: port: "+decimal(or(p.Published, p.Target))+", targetPort: "+decimal(p.Target))
	}
	switch {
	case k.kind == "Job":
		if len(ports) > 0 {
			k.w.note("its ports are not published", "what ends has no Service in Kubernetes")
		}
		return nil
	case len(ports) > 0:
		spec = spec.with("type", "LoadBalancer")
		k.w.note("its ports are published by a Service of the type LoadBalancer", "Kubernetes publishes no port on every node by its own number; the cluster has to have something that provides load balancers")
	case several:
		spec = spec.with("clusterIP", "None") // by its name alone, at any port
	default:
		return nil
	}
	spec = append(spec, Field{"selector", Fields{{nameLabel, labelValue(k.name)}}}).with("ports", ports)
	metadata := Fields{{"name", k.name}}.with("namespace", k.options.Namespace)
	labels := Fields{{nameLabel, labelValue(k.name)}}
	if part := labelValue(k.w.Stack); part != "" {
		labels = append(labels, Field{partOfLabel, part})
	}
	metadata = append(metadata, Field{"labels", labels})
	return Fields{{"apiVersion", "v1"}, {"kind", "Service"}, {"metadata", metadata}, {"spec", spec}}
}
