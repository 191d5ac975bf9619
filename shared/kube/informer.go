package kube

import (
	"context"
	"net/http"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fieldselector "k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/secretx/secretx/shared/endpoint"
)

// Watch implements endpoint.Watcher by informers of metadata: no value travels before somebody asks for it.
// A few names are watched one by one, which is all that a Role narrowed by resourceNames allows.
func (e *Endpoint) Watch(ctx context.Context, names []string, each func(endpoint.Change), failed func(error)) {
	c, err := e.connect()
	if err != nil {
		failed(err)
		<-ctx.Done()
		return
	}
	selectors := []string{""}
	if len(names) > 0 && len(names) <= fewNames {
		selectors = nil
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			if askable(name) {
				selectors = append(selectors, fieldselector.OneTermEqualSelector("metadata.name", name).String())
			}
		}
	}
	n := &news{each: each, failed: failed, waiting: len(selectors)}
	ctx = klog.NewContext(ctx, klog.Logger{}) // what failed is told by us
	var group sync.WaitGroup
	for _, selector := range selectors {
		group.Go(func() { n.inform(ctx, c, selector) })
	}
	group.Wait()
}

// news is what the informers of one watch tell, one at a time.
type news struct {
	mu      sync.Mutex
	each    func(endpoint.Change)
	failed  func(error)
	waiting int // informers that don't know yet what there is
}

func (n *news) tell(c endpoint.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.each(c)
}

// begun has been heard of every informer when what there is can be looked at.
func (n *news) begun() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting--; n.waiting == 0 {
		n.each(endpoint.Change{})
	}
}

func (n *news) problem(ctx context.Context, c *connection, err error) error {
	if err != nil && ctx.Err() == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.failed(c.fail(ctx, "watch secrets", "", err))
	}
	return err
}

// inform runs one informer until ctx ends. It lists again by itself when a watch has broken, and tells what
// has changed in between.
func (n *news) inform(ctx context.Context, c *connection, selector string) {
	version := schema.GroupVersion{Version: "v1"}
	request := func(accept string, options metav1.ListOptions) *rest.Request {
		options.FieldSelector = selector
		return c.secrets(http.MethodGet).SetHeader("Accept", accept).SpecificallyVersionedParams(&options, metav1.ParameterCodec, version).MaxRetries(0)
	}
	lists := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list := &metav1.PartialObjectMetadataList{}
			err := take(request(metadataListOnly, options).Do(ctx), list)
			return list, n.problem(ctx, c, err)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			options.Watch = true
			w, err := request(metadataOnly, options).Watch(ctx)
			return w, n.problem(ctx, c, err)
		},
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lists, ObjectType: &metav1.PartialObjectMetadata{}, Handler: n, Transform: bare,
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			n.begun()
		}
	}()
	informer.RunWithContext(ctx)
	<-done
}

// bare keeps what a change is told by, of each object that an informer holds.
func bare(object any) (any, error) {
	if o, ok := object.(*metav1.PartialObjectMetadata); ok {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion}}, nil
	}
	return object, nil
}

// OnAdd implements cache.ResourceEventHandler.
func (n *news) OnAdd(object any, initial bool) {
	if o, ok := object.(*metav1.PartialObjectMetadata); ok && !initial {
		n.tell(endpoint.Change{Name: o.Name, UID: string(o.UID), Version: o.ResourceVersion})
	}
}

// OnUpdate implements cache.ResourceEventHandler.
func (n *news) OnUpdate(old, object any) {
	was, ok := old.(*metav1.PartialObjectMetadata)
	if o, is := object.(*metav1.PartialObjectMetadata); ok && is && (o.ResourceVersion != was.ResourceVersion || o.UID != was.UID) {
		n.OnAdd(o, false)
	}
}

// OnDelete implements cache.ResourceEventHandler.
func (n *news) OnDelete(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	if o, ok := object.(*metav1.PartialObjectMetadata); ok {
		n.tell(endpoint.Change{Name: o.Name})
	}
}
