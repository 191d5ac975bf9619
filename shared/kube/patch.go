package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/rollout"
)

// restartedAt is what `kubectl rollout restart` writes into a pod template.
const restartedAt = "kubectl.kubernetes.io/restartedAt"

func (c *connection) referrer(ctx context.Context, k kind, name string) (*referrer, error) {
	var found referrer
	err := c.readJSON(ctx, k.path()+"/namespaces/"+c.namespace+"/"+k.plural+"/"+name, "application/json", &found)
	return &found, err
}

// is tells whether an object is the workload, and not another one of its name.
func (r *referrer) is(w rollout.Workload) bool {
	return w.UID == "" || string(r.Metadata.UID) == w.UID
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// state changes with everything that the paths of a patch depend on. A generation counts the changes of the
// spec alone, so that what controllers keep writing into the status of a workload doesn't disturb.
func (r *referrer) state() string {
	if r.Metadata.Generation == 0 { // a ServiceAccount
		return r.Metadata.ResourceVersion
	}
	return strconv.FormatInt(r.Metadata.Generation, 10)
}

// guard has a patch fail when the object is another one by now, or in another state.
func (r *referrer) guard() []operation {
	unchanged := operation{"test", "/metadata/generation", r.Metadata.Generation}
	if r.Metadata.Generation == 0 {
		unchanged = operation{"test", "/metadata/resourceVersion", r.Metadata.ResourceVersion}
	}
	return []operation{{"test", "/metadata/uid", r.Metadata.UID}, unchanged}
}

// patch is what a step takes; empty when the object is so already.
func (r *referrer) patch(step rollout.Step, stamp string) (patch []operation) {
	for pointer, name := range r.names() {
		if to, is := step.Replace[name]; is && to.Name != name {
			patch = append(patch, operation{"replace", pointer, to.Name})
		}
	}
	if stamp == "" || r.stamp() == stamp {
		return patch
	}
	const annotations = "/spec/template/metadata/annotations"
	if len(r.Spec.Template.Annotations) == 0 {
		return append(patch, operation{"add", annotations, map[string]string{restartedAt: stamp}})
	}
	return append(patch, operation{"add", annotations + "/" + strings.ReplaceAll(restartedAt, "/", "~1"), stamp})
}

// stamp is when it was restarted last, as it is noted.
func (r *referrer) stamp() string {
	if r.Spec.Template == nil {
		return ""
	}
	return r.Spec.Template.Annotations[restartedAt]
}

// nextStamp is the time that a restart is noted with. kubectl notes whole seconds, and so do we; a second
// restart within one would otherwise be none.
func (r *referrer) nextStamp(now time.Time) string {
	now = now.Truncate(time.Second)
	if last, err := time.Parse(time.RFC3339, r.stamp()); err == nil && !now.After(last) {
		now = last.Truncate(time.Second).Add(time.Second).In(now.Location())
	}
	return now.Format(time.RFC3339)
}

// patchObject writes a JSON patch and gives the generation that it made, and whether it may have made one: a
// connection that breaks leaves that open. It may be repeated: it holds for one state of the object alone.
func (c *connection) patchObject(ctx context.Context, k kind, name string, patch []operation) (generation int64, maybe bool, err error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return 0, false, err
	}
	var written metav1.PartialObjectMetadata
	a, err := c.send(ctx, func() *rest.Request {
		return c.client.Patch(types.JSONPatchType).AbsPath(k.path()).Namespace(c.namespace).Resource(k.plural).Name(name).
			Param("fieldManager", FieldManager).SetHeader("Accept", metadataOnly).Body(body)
	}, &written)
	var status apierrors.APIStatus
	refused := errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError
	return written.Generation, a.unsure || !refused, err
}

// token is what a write is known by: the generation that it made, and when it restarted it.
type token struct {
	generation int64
	stamp      string // empty when it didn't
}

func (t token) String() string {
	text := strconv.FormatInt(t.generation, 10)
	if t.stamp != "" {
		text += "@" + t.stamp
	}
	return text
}

func parseToken(text string) (token, error) {
	generation, stamp, _ := strings.Cut(text, "@")
	n, err := strconv.ParseInt(generation, 10, 64)
	if err != nil {
		return token{}, errors.New("its token is none of this endpoint's")
	}
	return token{n, stamp}, nil
}
