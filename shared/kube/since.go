package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
)

// What came with which version of Kubernetes, in the form that is used here.
const (
	ephemeralSince = "1.25"
	cronJobSince   = "1.21"
	ingressSince   = "1.19"
)

// since tells, for kinds that were in another API version once, with which version of Kubernetes they
// came to be where they are looked for.
func (k kind) since() string {
	switch k.plural {
	case cronJobKind.plural:
		return cronJobSince
	case ingressKind.plural:
		return ingressSince
	}
	return ""
}

// older tells whether the server is of an earlier version of Kubernetes, and of which. What doesn't
// say is of none: a request will show what it can do. Everybody may ask, in a cluster as it usually is.
func (c *connection) older(ctx context.Context, than string) (version string, is bool) {
	if than == "" {
		return "", false
	}
	if known := c.version.Load(); known != nil {
		version = *known
	} else {
		err := c.read(ctx, func() *rest.Request { return c.client.Verb(http.MethodGet).AbsPath("/version") }, func(result rest.Result) error {
			body, err := result.Raw()
			if err != nil {
				return err
			}
			var found struct {
				GitVersion string `json:"gitVersion"`
			}
			err = json.Unmarshal(body, &found)
			version = found.GitVersion
			return err
		})
		if err != nil {
			return "", false
		}
		c.version.Store(&version)
	}
	parsed, err := utilversion.ParseGeneric(version)
	if err != nil {
		return "", false
	}
	return parsed.String(), parsed.LessThan(utilversion.MustParseGeneric(than))
}

// noEphemeral says that a cluster, of a known version or not, has no ephemeral containers.
func (c *connection) noEphemeral(op, pod, version string) error {
	return &endpoint.Error{
		Op: op, Object: pod, Place: c.place, Reason: endpoint.ErrInvalid,
		Cause: fmt.Errorf("%s has no ephemeral containers, which came with %s", strings.TrimSpace("Kubernetes "+version), ephemeralSince),
		Hint:  "Only containers with a shell can be looked into there.",
	}
}

// absent tells whether an API lacks a resource, as opposed to an object.
func absent(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(err.Error(), "the server could not find the requested resource")
}
