package kube

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// answerLimit bounds what a container may answer with: what it is asked for are Secrets, of which
// each has a megabyte at most.
const answerLimit = 64 << 20

// exec runs a command in a container and gives what it prints.
func (c *connection) exec(ctx context.Context, pod, container string, command []string) (stdout, stderr []byte, err error) {
	ctx = klog.NewContext(ctx, klog.Logger{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, complaint := sink{overflow: cancel}, sink{overflow: cancel}
	done := make(chan error, 1)
	go func() { done <- c.stream(ctx, pod, container, command, &out, &complaint) }()
	// Not everything in a stream heeds its context.
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	stdout, full := out.close()
	stderr, _ = complaint.close()
	if full {
		clear(stdout)
		err = errors.New("it answers with more than secrets can hold")
	}
	return stdout, stderr, err
}

// stream opens a WebSocket. SPDY is for servers and proxies that don't take those, and for users
// who may create an exec, but not get one, which is how a WebSocket begins.
func (c *connection) stream(ctx context.Context, pod, container string, command []string, out, complaint *sink) error {
	request := c.request(http.MethodPost, podKind).Name(pod).SubResource("exec").
		Param("container", container).Param("stdout", "true").Param("stderr", "true")
	for _, word := range command {
		request.Param("command", word)
	}
	options := remotecommand.StreamOptions{Stdout: out, Stderr: complaint}
	if !c.spdyOnly.Load() {
		executor, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, request.URL().String())
		if err != nil {
			return err
		}
		err = executor.StreamWithContext(ctx, options)
		var failure *httpstream.UpgradeFailureError
		if !errors.As(err, &failure) && !httpstream.IsHTTPSProxyError(err) {
			return err
		}
		if failure != nil && apierrors.IsNotFound(failure.Cause) {
			return failure.Cause
		}
	}
	executor, err := remotecommand.NewSPDYExecutor(c.config, http.MethodPost, request.URL())
	if err != nil {
		return err
	}
	err = executor.StreamWithContext(ctx, options)
	if err == nil {
		c.spdyOnly.Store(true)
	}
	return err
}

// sink takes what is written until it is closed, or full.
type sink struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	closed bool
	full   bool
	// overflow is called once it is full: a stream that can't be written waits for its end nevertheless.
	overflow func()
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buffer.Len()+len(p) > answerLimit {
		s.full = true
		s.overflow()
	}
	if s.closed || s.full {
		return 0, errors.New("nobody reads on")
	}
	if s.buffer.Available() < len(p) { // what a growing buffer leaves behind would keep its bytes
		old := s.buffer.Bytes()
		grown := bytes.NewBuffer(make([]byte, 0, 2*(cap(old)+len(p))))
		grown.Write(old)
		clear(old)
		s.buffer = *grown
	}
	return s.buffer.Write(p)
}

func (s *sink) close() (written []byte, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.buffer.Bytes(), s.full
}
