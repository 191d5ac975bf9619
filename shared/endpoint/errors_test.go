package endpoint

import (
	"context"
	"errors"
	"testing"
)

// What a time limit was is said; that somebody stopped it stays recognisable, whatever the cause.
func TestEnded(t *testing.T) {
	limit := errors.New("not done within 1ns (--timeout)")
	late, cancel := context.WithTimeoutCause(t.Context(), 0, limit)
	defer cancel()
	<-late.Done()
	if got := Ended(late); got != limit {
		t.Errorf("of a limit: %v", got)
	}
	stopped, stop := context.WithCancelCause(t.Context())
	stop(limit)
	if got := Ended(stopped); !errors.Is(got, context.Canceled) {
		t.Errorf("of a stop: %v", got)
	}
}
