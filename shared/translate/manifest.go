package translate

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// FromManifests reads Kubernetes objects, as a stream of YAML documents, as JSON, or as a List. Of Secrets in
// it only the names of their keys are kept.
func FromManifests(text []byte, options ReadOptions) (*Source, error) {
	docs, err := parse(text)
	if err != nil {
		return nil, err
	}
	return fromManifests(docs, options)
}

func fromManifests(docs []*object, options ReadOptions) (*Source, error) {
	m := manifests{called: map[int][]string{}, labelled: map[spot][]int{}, source: &Source{Kind: secret.Kubernetes, Secrets: options.Known}}
	for _, doc := range docs {
		m.gather(doc, 0)
		m.notes = append(m.notes, doc.doc.notes()...)
	}
	places := places{}
	for _, o := range m.objects {
		kind, name := o.str("kind"), o.object("metadata").str("name")
		if name != "" && (slices.Contains(templated, kind) || kind == "Service" || kind == "Secret") {
			if err := places.add(lower(kind)+"/"+name, o.object("metadata").str("namespace"), o.doc.of); err != nil {
				return nil, o.doc.of.wrong(err)
			}
		}
		spec := o.object("spec")
		w := Workload{Kind: kind, Mode: Replicated, Replicas: 1, Restart: Always, Attempts: -1}
		var template *object
		switch kind {
		case "Secret":
			m.secret(o, name)
		case "Service":
			m.services = append(m.services, o)
		case "Pod":
			template = o
		case "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job":
			template = spec.object("template")
		case "CronJob":
			w.Schedule = spec.str("schedule")
			w.leaveUnless(spec, "timeZone", "", "concurrencyPolicy", "Allow", "startingDeadlineSeconds", "", "suspend", "false")
			spec.ignore("successfulJobsHistoryLimit", "failedJobsHistoryLimit")
			spec = spec.object("jobTemplate").object("spec")
			template = spec.object("template")
		default:
			if kind == "" {
				return nil, o.doc.of.wrong(fmt.Errorf("line %d: it has no kind, so that it is no Kubernetes object", max(o.doc.line, 1)))
			}
			m.other(o, kind, name)
		}
		if template != nil {
			m.workload(&w, o, spec, template)
			m.source.Workloads = append(m.source.Workloads, w)
			if m.containers += len(w.Containers); m.containers > mostWorkloads {
				return nil, o.doc.of.wrong(fmt.Errorf("it has more containers than the %d that are read", mostWorkloads))
			}
		} else if slices.Contains(templated, kind) {
			o.doc.complain("spec", "one with the template of its pods")
		}
		if o.doc.err != nil {
			return nil, o.doc.of.wrong(fmt.Errorf("%s %s: %w", kind, name, o.doc.err))
		}
	}
	for i, w := range m.source.Workloads {
		for _, label := range w.PodLabels {
			at := spot{w.Namespace, label}
			m.labelled[at] = append(m.labelled[at], i)
		}
	}
	for _, o := range m.services {
		m.service(o)
		if o.doc.err != nil {
			return nil, o.doc.of.wrong(fmt.Errorf("service %s: %w", o.object("metadata").str("name"), o.doc.err))
		}
	}
	for i, names := range m.called {
		w := &m.source.Workloads[i]
		w.note("others have to reach it as "+w.Name, "in Kubernetes they do as "+strings.Join(names, ", ")+", by Services of that name")
	}
	m.source.Notes = append(m.source.Notes, m.notes...)
	return m.source, nil
}

// other notes an object that isn't translated.
func (m *manifests) other(o *object, kind, name string) {
	what := lower(kind) + "/" + name
	var names []string
	if kind != "CustomResourceDefinition" {
		names = secretsIn(o)
	}
	reason := reasonLeft
	switch {
	case kind == "ConfigMap":
		if data, ok := field(o, "data").(*object); ok {
			for _, key := range data.keys {
				if s, ok := data.values[key].(scalar); ok {
					m.source.texts = append(m.source.texts, s.text)
				}
			}
		}
	case strings.HasSuffix(kind, "Secret"):
		reason = "the Secret that comes of it is one of the cluster, and sync takes it from there"
	case len(names) > 0:
		reason = "a Swarm has no form of it"
		what += " (of " + strings.Join(names, ", ") + ")"
	}
	m.notes = leave(m.notes, what, reason)
}

var templated = []string{"Pod", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job", "CronJob"}

// manifests is a stream of objects that is being read.
type manifests struct {
	source   *Source
	objects  []*object
	services []*object
	notes    []Note
	// containers is how many have been read.
	containers int
	ports      int              // that Services publish
	labelled   map[spot][]int   // places of workloads, by each of their pods' labels
	called     map[int][]string // by the place of a workload, what else others call it
}

// spot is a label in a namespace.
type spot struct {
	namespace string
	label     Pair
}

// gather unpacks Lists.
func (m *manifests) gather(o *object, depth int) {
	if kind := o.str("kind"); strings.HasSuffix(kind, "List") && o.has("items") && depth < 5 {
		for _, item := range o.objects("items") {
			m.gather(item, depth+1)
		}
		return
	}
	m.objects = append(m.objects, o)
}

// secret keeps the names of a Secret's keys. Its values are not looked at.
func (m *manifests) secret(o *object, name string) {
	s := secret.Secret{Name: name, Type: or(o.str("type"), secret.Opaque), Immutable: o.boolean("immutable")}
	seen := map[string]bool{}
	for _, field := range []string{"data", "stringData"} {
		data := o.object(field)
		if data == nil {
			continue
		}
		for _, key := range data.keys {
			if !seen[key] {
				seen[key] = true
				s.Keys = append(s.Keys, secret.Key{Name: key})
			}
		}
	}
	secret.SortKeys(s.Keys)
	if !slices.ContainsFunc(m.source.Secrets, func(k secret.Secret) bool { return k.Name == name }) {
		m.source.Secrets = append(m.source.Secrets, s)
	}
}

func (m *manifests) workload(w *Workload, o, spec, template *object) {
	metadata := o.object("metadata")
	w.Name, w.Namespace = metadata.str("name"), metadata.str("namespace")
	if w.Name == "" {
		if w.Name = strings.TrimRight(metadata.str("generateName"), "-."); w.Name == "" {
			w.Name = lower(w.Kind)
		}
	}
	w.Labels = metadata.pairs("labels")
	for _, a := range metadata.pairs("annotations") {
		if !isOfKubernetes(a.Name) {
			w.Annotations = append(w.Annotations, a)
		}
	}
	// What has a uid comes from an API server, which says it of every pod.
	w.Grace = w.time(template.object("spec"), "terminationGracePeriodSeconds", seconds)
	if w.Grace != nil && *w.Grace == usualGraceOfKubernetes && metadata.has("uid") {
		w.Grace = nil
	}
	metadata.ignore("creationTimestamp", "uid", "resourceVersion", "generation", "managedFields", "ownerReferences", "selfLink", "generateName")
	pod := template.object("spec")
	if template != o {
		w.PodLabels = template.object("metadata").pairs("labels")
		template.object("metadata").ignore("creationTimestamp", "name")
		for _, a := range template.object("metadata").pairs("annotations") {
			if !isOfKubernetes(a.Name) {
				w.leave("the annotation " + a.Name + " of its pods")
			}
		}
	} else {
		w.PodLabels, w.Labels = w.Labels, nil
	}
	o.ignore("apiVersion", "status")
	w.scale(spec)
	w.restart(pod.str("restartPolicy"), spec)
	m.pod(w, pod)
	for _, at := range o.left() {
		w.leave(at)
	}
}

// isOfKubernetes tells annotations that the cluster or kubectl has written.
func isOfKubernetes(name string) bool {
	prefix, _, _ := strings.Cut(name, "/")
	return prefix == "kubernetes.io" || strings.HasSuffix(prefix, ".kubernetes.io") || strings.HasSuffix(prefix, ".k8s.io")
}

func (w *Workload) scale(spec *object) {
	switch w.Kind {
	case "DaemonSet":
		w.Mode = Global
		w.leaveStrategy(spec.object("updateStrategy"))
		spec.ignore("revisionHistoryLimit", "selector")
	case "Job", "CronJob":
		w.Mode = Job
		if n, there := spec.number("parallelism"); there {
			w.Parallel, w.Replicas = n, n
		}
		if n, there := spec.number("completions"); there {
			w.Replicas = n
		}
		if n, there := spec.number("backoffLimit"); there && n != 6 {
			w.Attempts = n
		}
		w.leaveUnless(spec, "completionMode", "NonIndexed", "suspend", "false")
		spec.ignore("selector", "manualSelector", "podReplacementPolicy")
	case "Pod":
	default:
		if n, there := spec.number("replicas"); there {
			w.Replicas = n
		}
		w.leaveStrategy(spec.object("strategy"))
		w.leaveStrategy(spec.object("updateStrategy"))
		w.leaveUnless(spec, "progressDeadlineSeconds", "600", "minReadySeconds", "0", "podManagementPolicy", "OrderedReady")
		spec.ignore("revisionHistoryLimit", "selector", "serviceName", "persistentVolumeClaimRetentionPolicy")
	}
	if w.Kind == "StatefulSet" {
		w.note("a StatefulSet becomes a service", "a Swarm gives its tasks no names, volumes or order of their own")
	}
	if w.Kind == "CronJob" {
		w.note(fmt.Sprintf("the schedule %q was left out", w.Schedule), "a Swarm starts no job by the clock: this one runs once, and again with docker service update --force, which a cron of yours can call")
	}
}

// leaveStrategy leaves out how a workload is updated, unless it is as the API server makes it.
func (w *Workload) leaveStrategy(o *object) {
	rolling := o.object("rollingUpdate")
	for _, field := range [][]string{{"maxSurge", "25%", "0"}, {"maxUnavailable", "25%", "1"}, {"partition", "0"}} {
		if s, there := rolling.scalar(field[0]); there && !slices.Contains(field[1:], s.text) {
			w.leave(join(rolling.at, field[0]))
		}
	}
	if kind := o.str("type"); kind != "" && kind != "RollingUpdate" {
		w.leave(join(o.at, "type"))
	}
}

// leaveUnless takes keys and the values that mean nothing.
func (w *Workload) leaveUnless(o *object, keysAndUsual ...string) {
	for i := 0; i+1 < len(keysAndUsual); i += 2 {
		if o == nil {
			return
		}
		if v, there := o.get(keysAndUsual[i]); there {
			if s, ok := v.(scalar); !ok || s.text != keysAndUsual[i+1] {
				w.leave(join(o.at, keysAndUsual[i]))
			}
		}
	}
}

func (w *Workload) restart(policy string, spec *object) {
	switch policy {
	case "Never":
		w.Restart = Never
	case "OnFailure":
		w.Restart = OnFailure
	default:
		if w.Mode == Job {
			spec.doc.complain("restartPolicy", "Never or OnFailure, in a Job")
		}
	}
	if w.Mode != Job {
		return
	}
	if n, there := spec.number("backoffLimit"); there && n == 0 {
		w.Restart, w.Attempts = Never, -1
		return
	}
	if w.Restart == Never {
		w.Restart = OnFailure
		w.note("its containers are started anew when they fail", "a Swarm keeps no failed one aside, as restartPolicy Never does")
	}
}

// service finds what a Service makes reachable from outside.
func (m *manifests) service(o *object) {
	metadata, spec := o.object("metadata"), o.object("spec")
	selector := spec.pairs("selector")
	kind := spec.str("type")
	if len(selector) == 0 {
		return
	}
	for _, i := range m.labelled[spot{metadata.str("namespace"), selector[0]}] {
		w := &m.source.Workloads[i]
		if !contains(w.PodLabels, selector) {
			continue
		}
		if name := metadata.str("name"); name != w.Name && len(m.called[i]) < 10 {
			m.called[i] = append(m.called[i], name)
		}
		if kind != "NodePort" && kind != "LoadBalancer" {
			continue
		}
		for _, p := range spec.objects("ports") {
			port, _ := p.number("port")
			if n, there := p.number("nodePort"); there && n != 0 && kind == "NodePort" {
				port = n
			}
			target, err := strconv.ParseInt(or(p.str("targetPort"), p.str("port")), 10, 64)
			if err != nil {
				w.leave("the port " + p.str("targetPort") + " of the Service " + metadata.str("name"))
				continue
			}
			if m.ports++; m.ports > mostPublished {
				o.doc.complain("all that is published", fmt.Sprintf("at most %d ports", mostPublished))
				return
			}
			w.Ports = append(w.Ports, Port{Target: target, Published: port, Protocol: or(lower(p.str("protocol")), "tcp"), Mode: "ingress"})
		}
	}
}

func contains(labels, selector []Pair) bool {
	for _, s := range selector {
		if !slices.Contains(labels, s) {
			return false
		}
	}
	return true
}

// pod reads the spec of a pod.
func (m *manifests) pod(w *Workload, o *object) {
	if o == nil {
		return
	}
	security := o.object("securityContext")
	user := userOf(security, "")
	if n, there := security.number("fsGroup"); there {
		w.FSGroup = &n
	}
	security.ignore("fsGroupChangePolicy")
	groups := security.strings("supplementalGroups")
	if w.FSGroup != nil && !slices.Contains(groups, decimal(*w.FSGroup)) {
		groups = append(groups, decimal(*w.FSGroup))
	}
	w.Hostname = o.str("hostname")
	v := m.volumes(w, o)
	for _, c := range o.objects("containers") {
		container := m.container(w, c, v, user)
		container.Groups = groups
		w.Containers = append(w.Containers, container)
	}
	if len(w.Containers) == 0 {
		o.doc.complain(join(o.at, "containers"), "a list of at least one")
	}
	for _, c := range o.objects("initContainers") {
		if c.str("restartPolicy") == "Always" { // it runs beside the others, for as long as they do
			container := m.container(w, c, v, user)
			container.Groups = groups
			w.Containers = append(w.Containers, container)
			continue
		}
		m.initContainer(w, c, v, user)
	}
	for _, name := range slices.Sorted(maps.Keys(v.left)) {
		switch why := v.why[name]; {
		case !v.used[name]:
		case why != "":
			w.note(v.left[name]+" was left out"+v.lost[name], why)
		default:
			w.leave(v.left[name])
		}
	}
	for _, s := range o.objects("imagePullSecrets") {
		w.note("the Secret "+s.str("name")+" for pulling images was left out", "a Swarm takes that from docker login: docker service create --with-registry-auth")
	}
	w.leaveUnless(o, "dnsPolicy", "ClusterFirst", "schedulerName", "default-scheduler", "serviceAccount", "default", "serviceAccountName", "default")
	o.ignore("automountServiceAccountToken", "enableServiceLinks")
	if w.Kind == "Pod" {
		o.ignore("nodeName", "priority", "preemptionPolicy", "tolerations") // of a running one, the cluster's doing
	}
}

// initContainer says what goes with one that a Swarm can't run.
func (m *manifests) initContainer(w *Workload, o *object, v volumes, user string) {
	v.used = map[string]bool{} // what it alone mounts needs no mention
	var alone Workload
	alone.Containers = []Container{m.container(&alone, o, v, user)}
	c := &alone.Containers[0]
	o.ignore(o.keys...)
	text := "the init container " + c.Name + " was left out"
	var names []string
	for _, ref := range references([]Workload{alone}) {
		names = append(names, ref.Secret)
	}
	for _, whole := range c.Whole {
		names = append(names, whole.Secret)
	}
	for _, from := range c.EnvFrom {
		names = append(names, from.Secret)
	}
	w.note(text+withSecrets(names), "a Swarm runs nothing before a task: what it prepares has to be in the image, or in the command")
}

// withSecrets says which secrets are left out with something.
func withSecrets(names []string) string {
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return ""
	}
	return ", and with it what it has of " + strings.Join(names, ", ")
}

func userOf(security *object, otherwise string) string {
	uid, hasUID := security.number("runAsUser")
	gid, hasGID := security.number("runAsGroup")
	base, group, _ := strings.Cut(otherwise, ":")
	if hasUID {
		base = strconv.FormatInt(uid, 10)
	}
	if hasGID {
		group = strconv.FormatInt(gid, 10)
	}
	if group != "" {
		return base + ":" + group
	}
	return base
}

// volumes are those of a pod: of secrets what is in them, of others where to find them.
type volumes struct {
	files map[string][]volumeFile
	whole map[string][]volumeWhole
	left  map[string]string // by name, what isn't a secret's
	why   map[string]string // and why a secret is concerned all the same
	lost  map[string]string // and which
	used  map[string]bool
}

// volumeFile is a file in a volume, by its path there.
type volumeFile struct {
	ref      Ref
	path     string
	mode     uint32
	optional bool
}

type volumeWhole struct {
	secret   string
	mode     uint32
	optional bool
}

func (m *manifests) volumes(w *Workload, pod *object) volumes {
	v := volumes{files: map[string][]volumeFile{}, whole: map[string][]volumeWhole{}, left: map[string]string{}, why: map[string]string{}, lost: map[string]string{}, used: map[string]bool{}}
	for _, o := range pod.objects("volumes") {
		name := o.str("name")
		if s := o.object("secret"); s != nil {
			v.add(w, name, s, s.str("secretName"), modeOf(w, s, "defaultMode", 0o644, name))
			continue
		}
		p := o.object("projected")
		if p == nil {
			v.left[name] = "the volume " + name
			if names := secretsIn(o); o.object("csi").str("driver") == storeDriver {
				v.why[name] = "its files come from a store outside of the cluster: docker secret create makes a secret of each"
			} else if len(names) > 0 {
				v.lost[name] = withSecrets(names)
				v.why[name] = "a Swarm has no such volumes, or has them by a driver of its own"
			}
			for _, key := range o.keys {
				o.ignore(key)
			}
			continue
		}
		usual := modeOf(w, p, "defaultMode", 0o644, name)
		var account bool
		var others []string
		for _, source := range p.objects("sources") {
			if s := source.object("secret"); s != nil {
				v.add(w, name, s, s.str("name"), usual)
				continue
			}
			for _, key := range source.keys {
				source.ignore(key)
				account = account || key == "serviceAccountToken"
				others = append(others, key)
			}
		}
		if len(others) > 0 && !(account && strings.HasPrefix(name, "kube-api-access")) {
			w.leave(strings.Join(slices.Compact(others), ", ") + " in the volume " + name)
		}
	}
	return v
}

// storeDriver mounts what external stores hold.
const storeDriver = "secrets-store.csi.k8s.io"

func modeOf(w *Workload, o *object, key string, usual uint32, where string) uint32 {
	n, there := o.number(key)
	if !there {
		return usual
	}
	(*Container)(nil).modeTrap(w, where, n)
	return uint32(n) & 0o777
}

func (v *volumes) add(w *Workload, volume string, o *object, name string, usual uint32) {
	if name == "" {
		o.doc.complain(o.at, "one with the name of a Secret")
		return
	}
	optional := o.boolean("optional")
	o.ignore("defaultMode")
	items := o.objects("items")
	if len(items) == 0 {
		v.whole[volume] = append(v.whole[volume], volumeWhole{name, usual, optional})
		return
	}
	for _, item := range items {
		f := volumeFile{ref: Ref{name, item.str("key")}, path: path.Clean(item.str("path")), optional: optional}
		f.mode = modeOf(w, item, "mode", usual, f.path)
		if f.ref.Key == "" || path.IsAbs(f.path) || f.path == "." || strings.HasPrefix(f.path, "..") {
			item.doc.complain(item.at, "a key, and a path within the volume")
			return
		}
		v.files[volume] = append(v.files[volume], f)
	}
}
