package kube

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/secretx/secretx/shared/endpoint"
)

const (
	attempts   = 6                      // of one request, the first included
	firstDelay = 100 * time.Millisecond // before the second attempt; then twice as long each time
	inFlight   = 32                     // requests that one call of ours has under way at most
)

// answer is what is known of a request besides the object and the error.
type answer struct {
	status int
	// unsure tells that an attempt failed in a way in which the server may have carried it out, so
	// that what a later one found may be our own doing.
	unsure bool
}

// errAnswer is for answers that succeeded and make no sense.
var errAnswer = errors.New("the answer is not one of a Kubernetes API server")

// send makes a request, anew for each attempt, and reads the answer into an object. All requests of this package may be repeated: a GET anyway, a write because it names the
// version that it may change, and a create because it names one that no object has.
func (c *connection) send(ctx context.Context, request func() *rest.Request, into runtime.Object) (answer, error) {
	return c.sendRead(ctx, request, func(result rest.Result) error { return take(result, into) })
}

// take reads an answer into an object. result.Into would do so silently with one of another kind,
// and leave the object empty.
func take(result rest.Result, into runtime.Object) error {
	object, err := result.Get()
	if err != nil {
		return err
	}
	if _, done := object.(*metav1.Status); done {
		return nil
	}
	from, to := reflect.ValueOf(object), reflect.ValueOf(into)
	if from.Type() != to.Type() {
		return errAnswer
	}
	to.Elem().Set(from.Elem())
	return nil
}

// read makes a request that changes nothing, and hands its answer over.
func (c *connection) read(ctx context.Context, request func() *rest.Request, take func(rest.Result) error) error {
	_, err := c.sendRead(ctx, request, take)
	return err
}

// get asks for one object.
func (c *connection) get(ctx context.Context, k kind, name string, into runtime.Object) error {
	_, err := c.send(ctx, func() *rest.Request { return c.request(http.MethodGet, k).Name(name) }, into)
	return err
}

func (c *connection) sendRead(ctx context.Context, request func() *rest.Request, take func(rest.Result) error) (answer, error) {
	var a answer
	err := c.persist(ctx, &a, func(ctx context.Context) error {
		result := request().MaxRetries(0).Do(ctx).StatusCode(&a.status)
		if err := result.Error(); err != nil {
			return err
		}
		if take(result) != nil {
			return errAnswer // instead of what a decoder says, which may quote what it stumbled on
		}
		return nil
	})
	return a, err
}

// persist attempts something again while its failure may pass.
func (c *connection) persist(ctx context.Context, a *answer, attempt func(context.Context) error) error {
	// client-go logs whole bodies at high verbosity, whoever set that.
	ctx = klog.NewContext(ctx, klog.Logger{})
	for i := 1; ; i++ {
		err := within(ctx, endpoint.CallTimeout, attempt)
		if err == nil || i == attempts || !passing(err) || ctx.Err() != nil {
			return err
		}
		// A 429 was turned away at the door; after anything else nothing is certain.
		a.unsure = a.unsure || !apierrors.IsTooManyRequests(err)
		delay := firstDelay << (i - 1)
		delay += rand.N(delay) // so that those turned away together don't come back together
		if seconds, suggested := apierrors.SuggestsClientDelay(err); suggested && seconds > 0 {
			delay = max(delay, time.Duration(seconds)*time.Second)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

func within(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}

// passing tells whether a failure may be gone the next time. One to connect is not among them: who
// is told at once can do something about it.
func passing(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsInternalError(err) ||
		utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) || utilnet.IsProbableEOF(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) ||
		strings.Contains(err.Error(), "server sent GOAWAY")
}

// parallel does something n times, a limited number of them at once, and stops at the first error.
func parallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, inFlight)
	var group sync.WaitGroup
	for i := range n {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-slots }()
			if err := do(ctx, i); err != nil {
				cancel(err) // only the first is kept
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
