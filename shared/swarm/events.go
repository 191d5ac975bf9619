package swarm

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/secretx/secretx/shared/endpoint"
)

const (
	// streamFor is how long one stream of events is followed. A connection that died without a word would
	// never end by itself.
	streamFor = 2 * time.Minute
	// streamGrace is how much later than it was asked to a stream may end.
	streamGrace = 10 * time.Second
	// overlap is how far each stream reaches back: the engine answers before it has begun to listen to itself.
	overlap = 2 * time.Second
	// longestPause is the most that is waited before an engine is tried again.
	longestPause = 5 * time.Second
)

// Watch implements endpoint.Watcher by the engine's event stream, which tells of all secrets.
func (e *Endpoint) Watch(ctx context.Context, _ []string, each func(endpoint.Change), failed func(error)) {
	const op = "watch secrets"
	var since time.Time // of the engine's clock; zero when something may have been missed
	pause := pauses[0]
	for ctx.Err() == nil {
		until, err := e.stream(ctx, since, func(c endpoint.Change) {
			pause = pauses[0]
			each(c)
		})
		if since = until; err == nil || ctx.Err() != nil {
			continue
		}
		failed(e.fail(ctx, op, "", err))
		if sleep(ctx, pause) == nil {
			pause = min(2*pause, longestPause)
		}
	}
}

// errSilent ends a stream that should have ended by itself.
var errSilent = errors.New("the event stream ended without a word")

// stream reads one stream of events. It gives the moment up to which nothing was missed, zero with an error.
func (e *Endpoint) stream(ctx context.Context, since time.Time, each func(endpoint.Change)) (time.Time, error) {
	var none time.Time
	g, err := e.connect(ctx)
	if err != nil {
		return none, err
	}
	now := g.now()
	missed := since.IsZero()
	if missed {
		since = now
	}
	until := now.Add(streamFor)
	ctx, cancel := context.WithTimeoutCause(ctx, streamFor+streamGrace, errSilent)
	defer cancel()
	messages, failures := g.api.Events(ctx, events.ListOptions{
		Since: stamp(since.Add(-overlap)), Until: stamp(until), Filters: filters.NewArgs(filters.Arg("type", string(events.SecretEventType))),
	})
	select {
	case err := <-failures:
		return none, err
	default: // it has answered
	}
	if missed {
		each(endpoint.Change{})
	}
	for {
		select {
		case m := <-messages:
			each(changeOf(m))
		case err := <-failures:
			switch {
			case errors.Is(err, io.EOF) && !g.now().Before(until.Add(-time.Second)):
				return until, nil
			case ctx.Err() != nil:
				return none, context.Cause(ctx)
			}
			return none, err
		}
	}
}

// changeOf is what an event tells. What was removed has no ID any more, and what was updated is not what it was,
// also for one who knows it by its ID alone.
func changeOf(m events.Message) endpoint.Change {
	c := endpoint.Change{Name: m.Actor.Attributes["name"]}
	if m.Action != events.ActionRemove {
		c.UID = m.Actor.ID
	}
	if m.Action == events.ActionUpdate {
		c.Version = "after " + strconv.FormatInt(m.TimeNano, 10)
	}
	return c
}

// stamp is a time as the engine takes it.
func stamp(t time.Time) string {
	return strconv.FormatInt(t.Unix(), 10) + "." + strconv.Itoa(1e9 + t.Nanosecond())[1:]
}
