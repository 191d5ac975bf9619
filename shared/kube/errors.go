package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// denied is how the API server's authorizers word a refusal. A quota, an admission webhook or a
// namespace that is going away answer with 403, too, but no Role would help against those.
var denied = regexp.MustCompile(`cannot (\S+) resource "([^"]+)"`)

// fail turns what a request failed with into an *endpoint.Error. The values are those that the
// request carried: an API that rejects an object may quote it.
func (c *connection) fail(ctx context.Context, op, object string, err error, values ...secret.Value) error {
	failure := &endpoint.Error{Op: op, Object: object, Place: c.place}
	var status apierrors.APIStatus
	var request *url.Error
	switch {
	case ctx.Err() != nil:
		failure.Cause = endpoint.Ended(ctx)
	case errors.As(err, &status):
		failure.Reason, failure.Hint = c.judge(err)
		failure.Cause = errors.New(secret.Redact(status.Status().Message, values...))
	case errors.As(err, &request) && strings.Contains(err.Error(), "getting credentials"):
		failure.Reason, failure.Cause = endpoint.ErrForbidden, request.Err
		failure.Hint = "The program that gives the credentials of this kubeconfig context failed: log in again."
	case errors.Is(err, context.DeadlineExceeded):
		failure.Reason = endpoint.ErrUnreachable
		failure.Cause = fmt.Errorf("%s has not answered within %s", c.server, endpoint.CallTimeout)
	case errors.As(err, &request):
		failure.Reason = endpoint.ErrUnreachable
		failure.Cause = fmt.Errorf("%s: %w", c.server, request.Err)
		failure.Hint = "Check that the cluster is up and that the kubeconfig context is the right one."
	default:
		failure.Cause = err // of ours, or of a connection; neither has seen a value
	}
	return failure
}

// judge finds the reason for what an API server answered, and what to do about it.
func (c *connection) judge(err error) (reason error, hint string) {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return endpoint.ErrForbidden, "The namespace is being deleted."
	case apierrors.IsForbidden(err):
		return endpoint.ErrForbidden, c.missingRight(err.Error())
	case apierrors.IsUnauthorized(err):
		return endpoint.ErrForbidden, "The credentials of this kubeconfig context are missing, wrong or expired: log in again."
	case apierrors.IsNotFound(err):
		if aboutNamespace(err) {
			hint = fmt.Sprintf("kubectl create namespace %s makes it.", c.namespace)
		}
		return endpoint.ErrNotFound, hint
	case apierrors.IsAlreadyExists(err):
		return endpoint.ErrTaken, ""
	case apierrors.IsConflict(err):
		return endpoint.ErrMoved, ""
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return endpoint.ErrInvalid, ""
	}
	return nil, ""
}

// missingRight names the right that a refusal is for want of; empty when that wouldn't help.
func (c *connection) missingRight(refusal string) string {
	m := denied.FindStringSubmatch(refusal)
	if m == nil {
		return ""
	}
	return fmt.Sprintf("A Role in namespace %q must allow %q on %q.", c.namespace, m[1], m[2])
}

// aboutNamespace tells whether it is the namespace itself that isn't there.
func aboutNamespace(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}
