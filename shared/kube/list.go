package kube

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// pageSize bounds how much of a list is decoded and not yet converted.
const pageSize = 500

// listOf is a pointer to a type that holds lists.
type listOf[L any] interface {
	*L
	runtime.Object
	metav1.ListInterface
}

// pages goes through a list page by page, so that the whole list is never there twice.
func pages[L any, List listOf[L]](ctx context.Context, c *connection, request func() *rest.Request, each func(List) error) error {
	next := ""
	for {
		page := List(new(L))
		_, err := c.send(ctx, func() *rest.Request {
			return request().Param("limit", strconv.Itoa(pageSize)).Param("continue", next)
		}, page)
		if err != nil {
			// Whoever takes minutes between two pages is offered to go on in the list as it is by
			// now. It needn't be one snapshot: what changes is found out by its version.
			var status apierrors.APIStatus
			if apierrors.IsResourceExpired(err) && errors.As(err, &status) && status.Status().Continue != "" {
				next = status.Status().Continue
				continue
			}
			return err
		}
		if err := each(page); err != nil {
			return err
		}
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
}

// metadataOnly asks for objects of any kind without what is in them.
const metadataOnly = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

const metadataListOnly = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

// metadataOf lists the metadata of all objects of a kind.
func (c *connection) metadataOf(ctx context.Context, kind kind) ([]metav1.PartialObjectMetadata, error) {
	var all []metav1.PartialObjectMetadata
	err := pages(ctx, c, func() *rest.Request {
		return c.request(http.MethodGet, kind).SetHeader("Accept", metadataListOnly)
	}, func(page *metav1.PartialObjectMetadataList) error {
		all = append(all, page.Items...)
		return nil
	})
	return all, err
}
