// Package kube is the endpoint over one namespace of a Kubernetes cluster. Besides the mains and
// command, which find the kubeconfig, it is the only package that may import client-go; it imports
// secret, endpoint, and the types of peek and consumers, and is given the configuration by its caller.
//
// # Rights
//
// A Role in the namespace with these rules is all that it uses:
//
//	namespaces  get                                Place
//	secrets     get                                List of a few names, Values, Digests, FingerprintKey
//	secrets     list                               List of all, or of many names
//	secrets     create, patch                      Create, FingerprintKey with create
//	secrets     patch                              Update
//	secrets     delete                             Remove
//
//	pods                     get    Containers of one pod; Look with AllowEphemeral
//	pods                     list   Containers of a selector or an owner
//	the owner's kind         get    Containers of an owner, as deployments.apps
//	jobs.batch               list   Containers of a CronJob
//	replicasets.apps, jobs.batch, deployments.apps, statefulsets.apps, daemonsets.apps
//	                         list   Containers of a custom kind that has no spec.selector: those of them
//	                                that stand between it and its pods
//	secrets                  get    Containers: the keys of what pods refer to
//	pods/exec                create Look
//	pods/ephemeralcontainers patch  Look with AllowEphemeral
//
//	pods, podtemplates, replicationcontrollers, serviceaccounts, deployments.apps, replicasets.apps,
//	statefulsets.apps, daemonsets.apps, jobs.batch, cronjobs.batch, ingresses.networking.k8s.io
//	                         list   Consumers; what may not be listed is in Graph.Blind; Workloads, but for
//	                                podtemplates: what may not be listed is an error
//	the workload's kind      get, patch   Move, as deployments.apps
//	the workload's kind, pods, for a Deployment replicasets.apps
//	                         list   Settle
//	pods                     delete Settle of a StatefulSet that waits for a broken pod of an earlier template
//
// Two things are better with more, and go without: with get on replicasets.apps and jobs.batch (list
// for many of them), Containers calls a pod's owner "deployment/web" and not after its ReplicaSet; with
// get on pods/exec, Look saves a request for each wave, since a WebSocket begins with a GET.
//
// Every rule may be narrowed by resourceNames, that for namespaces to the namespace itself and those
// for secrets to the names concerned; even create, which Kubernetes can't narrow for a POST, because
// secrets are created by server-side apply, where the name is part of the request. A list that is
// not allowed is made up for by a get for each name, where names are known.
package kube

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rollout"
	"github.com/secretx/secretx/shared/secret"
)

// FieldManager is the name under which server-side apply keeps what is ours.
const FieldManager = "secretx"

// dialTimeout bounds how long a server that doesn't answer at all is waited for.
const dialTimeout = 10 * time.Second

// Config finds the configuration of a cluster and the namespace, the way the host CLI does.
type Config func() (config *rest.Config, namespace string, err error)

// Options are what a caller may want otherwise.
type Options struct {
	// UserAgent is what the API server's audit log calls us; FieldManager where neither this nor
	// the configuration has one.
	UserAgent string
}

// Endpoint is a namespace. It is safe for concurrent use, which is how writes get quick.
type Endpoint struct {
	name    string
	config  Config
	options Options

	mu   sync.Mutex
	conn *connection // nil before the first use

	waiting rollout.Together[string, *view] // for workloads to settle, by the plurals of their kinds
}

// connection is what the first use makes.
type connection struct {
	client    *rest.RESTClient
	config    *rest.Config // for what a RESTClient can't do: exec
	namespace string
	place     string // what the endpoint is called, for messages
	server    string // its URL, likewise
	// spdyOnly: an exec by WebSocket was refused where one by SPDY was not.
	spdyOnly atomic.Bool
	// version of Kubernetes, once something depends on it.
	version atomic.Pointer[string]
}

var (
	_ endpoint.Endpoint = (*Endpoint)(nil)
	_ endpoint.Keeper   = (*Endpoint)(nil)
)

// New makes an endpoint that is called name in messages, such as kubernetes:prod/default. Nothing
// is loaded and nobody is spoken to before the first call of a method.
func New(config Config, name string, options Options) *Endpoint {
	return &Endpoint{config: config, name: name, options: options}
}

// connect loads the configuration. It opens no connection yet: the first request does.
func (e *Endpoint) connect() (*connection, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn != nil {
		return e.conn, nil
	}
	found, namespace, err := e.config()
	var failure *endpoint.Error
	if errors.As(err, &failure) {
		return nil, err
	}
	if err != nil {
		return nil, &endpoint.Error{Op: "load the configuration of the cluster", Place: e.name, Reason: endpoint.ErrUnreachable, Cause: err}
	}
	config := tune(found, e.options)
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, &endpoint.Error{Op: "use the configuration of the cluster", Place: e.name, Reason: endpoint.ErrUnreachable, Cause: err}
	}
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	e.conn = &connection{client: client, config: config, namespace: namespace, place: e.name, server: config.Host}
	return e.conn, nil
}

// Namespace is the one that is meant: the kubeconfig says, and nobody is asked.
func (e *Endpoint) Namespace() (string, error) {
	c, err := e.connect()
	if err != nil {
		return "", err
	}
	return c.namespace, nil
}

// tune makes a copy of a configuration that suits many small requests at a time.
func tune(found *rest.Config, options Options) *rest.Config {
	config := rest.CopyConfig(found)
	// A scheme of our own with the few types that are spoken here: that of client-go's clientset
	// registers every type of Kubernetes, whenever a binary that has it starts.
	scheme := runtime.NewScheme()
	addKinds(scheme)
	config.APIPath = "/api"
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	// The client holds nothing back: the API server's priority and fairness says how much is too
	// much, and its answer 429 is heeded.
	config.QPS, config.RateLimiter = -1, nil
	// Values don't compress, as a rule, and to try takes longer than to send them (for a list of 10,000
	// half as long again, on both sides).
	config.DisableCompression = true
	// A warning is a text of somebody's webhook, which may quote what it warns of.
	config.WarningHandler, config.WarningHandlerWithContext = rest.NoWarnings{}, nil
	if config.Dial == nil && config.Transport == nil {
		config.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	config.UserAgent = cmp.Or(options.UserAgent, config.UserAgent, FieldManager)
	return config
}

// Place implements endpoint.Reader. The identity is the UID of the namespace: it stays when a
// kubeconfig calls the cluster something else, and changes when the namespace is made anew.
func (e *Endpoint) Place(ctx context.Context) (endpoint.Place, error) {
	const op = "look at the namespace"
	c, err := e.connect()
	if err != nil {
		return endpoint.Place{}, err
	}
	var namespace corev1.Namespace
	_, err = c.send(ctx, func() *rest.Request {
		return c.client.Verb(http.MethodGet).Resource("namespaces").Name(c.namespace)
	}, &namespace)
	if err != nil {
		return endpoint.Place{}, c.fail(ctx, op, c.namespace, err)
	}
	name := e.name
	if address, err := endpoint.ParseAddress(name); err == nil {
		address.Namespace = c.namespace // a mirror far away shall tell which one it came from
		name = address.String()
	}
	return endpoint.Place{
		Kind:      secret.Kubernetes,
		Identity:  string(secret.Kubernetes) + ":" + string(namespace.UID),
		Name:      name,
		Namespace: c.namespace,
	}, nil
}
