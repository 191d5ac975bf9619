package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
)

var _ endpoint.Announcer = (*Endpoint)(nil)

var eventKind = kind{group: eventsv1.GroupName, version: "v1", plural: "events", kind: "Event"}

// longestText is what the API server takes.
const longestText = 1024

// Announce implements endpoint.Announcer. The Event stands in the namespace, as the object does.
func (e *Endpoint) Announce(ctx context.Context, n endpoint.Notice) error {
	const op = "tell of"
	c, err := e.connect()
	if err != nil {
		return err
	}
	// As client-go's own recorder names them.
	name := fmt.Sprintf("%.200s.%x", strings.ToLower(n.Object), n.First.UnixNano())
	series := &eventsv1.EventSeries{Count: int32(n.Count), LastObservedTime: metav1.MicroTime{Time: n.Last}}
	if n.Count > 1 {
		err := c.sendJSON(ctx, map[string]any{"series": series}, func() *rest.Request {
			return c.request(http.MethodPatch, eventKind).Name(name).SetHeader("Content-Type", string(types.MergePatchType))
		})
		if err == nil || !apierrors.IsNotFound(err) { // Events are kept for an hour
			return c.failed(ctx, op, n.Object, err)
		}
	}
	about := corev1.ObjectReference{Kind: n.Kind, APIVersion: "v1", Namespace: c.namespace, Name: n.Object, UID: types.UID(n.UID)}
	if n.Kind == leaseKind.kind {
		about.APIVersion = leaseKind.group + "/" + leaseKind.version
	}
	event := &eventsv1.Event{
		TypeMeta:            metav1.TypeMeta{APIVersion: eventKind.group + "/" + eventKind.version, Kind: eventKind.kind},
		ObjectMeta:          metav1.ObjectMeta{Name: name, Namespace: c.namespace},
		EventTime:           metav1.MicroTime{Time: n.First},
		ReportingController: "secretx.github.io/watch", ReportingInstance: fmt.Sprintf("%.128s", n.By),
		Action: n.Action, Reason: n.Reason, Regarding: about, Note: shortened(n.Text), Type: corev1.EventTypeNormal,
	}
	if n.Warning {
		event.Type = corev1.EventTypeWarning
	}
	if n.Count > 1 {
		event.Series = series
	}
	return c.failed(ctx, op, n.Object, c.sendJSON(ctx, event, func() *rest.Request {
		return c.request(http.MethodPost, eventKind).SetHeader("Content-Type", "application/json")
	}))
}

func (c *connection) failed(ctx context.Context, op, object string, err error) error {
	if err == nil {
		return nil
	}
	return c.fail(ctx, op, object, err)
}

// sendJSON makes a write whose answer nobody needs.
func (c *connection) sendJSON(ctx context.Context, body any, request func() *rest.Request) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = c.sendRead(ctx, func() *rest.Request { return request().Param("fieldManager", FieldManager).Body(text) }, func(rest.Result) error { return nil })
	return err
}

// shortened cuts a text to what an Event takes.
func shortened(text string) string {
	if len(text) <= longestText {
		return text
	}
	const more = "…"
	cut := longestText - len(more)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
