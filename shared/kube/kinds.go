package kube

import (
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// kind is a kind of objects in a namespace, as the API server serves it.
type kind struct {
	group, version string // the group is empty for the first one of all
	plural         string // as it stands in a URL
	kind           string // as it stands in an object
	short          []string
}

// The kinds that are known without asking the API server.
var (
	podKind                   = kind{version: "v1", plural: "pods", kind: "Pod", short: []string{"po"}}
	podTemplateKind           = kind{version: "v1", plural: "podtemplates", kind: "PodTemplate"}
	replicationControllerKind = kind{version: "v1", plural: "replicationcontrollers", kind: "ReplicationController", short: []string{"rc"}}
	serviceAccountKind        = kind{version: "v1", plural: "serviceaccounts", kind: "ServiceAccount", short: []string{"sa"}}
	serviceKind               = kind{version: "v1", plural: "services", kind: "Service", short: []string{"svc"}}
	deploymentKind            = kind{group: "apps", version: "v1", plural: "deployments", kind: "Deployment", short: []string{"deploy"}}
	replicaSetKind            = kind{group: "apps", version: "v1", plural: "replicasets", kind: "ReplicaSet", short: []string{"rs"}}
	statefulSetKind           = kind{group: "apps", version: "v1", plural: "statefulsets", kind: "StatefulSet", short: []string{"sts"}}
	daemonSetKind             = kind{group: "apps", version: "v1", plural: "daemonsets", kind: "DaemonSet", short: []string{"ds"}}
	jobKind                   = kind{group: "batch", version: "v1", plural: "jobs", kind: "Job"}
	cronJobKind               = kind{group: "batch", version: "v1", plural: "cronjobs", kind: "CronJob", short: []string{"cj"}}
	ingressKind               = kind{group: "networking.k8s.io", version: "v1", plural: "ingresses", kind: "Ingress", short: []string{"ing"}}
)

var knownKinds = []kind{
	podKind, podTemplateKind, replicationControllerKind, serviceAccountKind, serviceKind,
	deploymentKind, replicaSetKind, statefulSetKind, daemonSetKind, jobKind, cronJobKind, ingressKind,
}

// addKinds registers the types that a codec decodes; what is streamed needs none.
func addKinds(scheme *runtime.Scheme) {
	scheme.AddKnownTypes(corev1.SchemeGroupVersion,
		&corev1.Secret{}, &corev1.SecretList{}, &corev1.Namespace{}, &corev1.NamespaceList{}, &corev1.Pod{}, &corev1.PodList{})
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	scheme.AddKnownTypes(coordinationv1.SchemeGroupVersion, &coordinationv1.Lease{})
	metav1.AddToGroupVersion(scheme, coordinationv1.SchemeGroupVersion)
	scheme.AddKnownTypes(metav1.SchemeGroupVersion, &metav1.PartialObjectMetadata{}, &metav1.PartialObjectMetadataList{})
}

// path is where all kinds of the group and version are served.
func (k kind) path() string {
	if k.group == "" {
		return "/api/" + k.version
	}
	return "/apis/" + k.group + "/" + k.version
}

// called tells whether a user means this kind by a name, the way kubectl takes one: deploy, Deployment,
// deployments.apps, deployments.v1.apps.
func (k kind) called(name string) bool {
	name = strings.ToLower(name)
	word, rest, qualified := strings.Cut(name, ".")
	singular := strings.ToLower(k.kind)
	if word != k.plural && word != singular && !slices.Contains(k.short, word) {
		return false
	}
	return !qualified || rest == k.group || rest == k.version+"."+k.group || rest == k.version && k.group == ""
}

// request begins a request for objects of a kind in the namespace.
func (c *connection) request(verb string, k kind) *rest.Request {
	return c.client.Verb(verb).AbsPath(k.path()).Namespace(c.namespace).Resource(k.plural)
}
