package swarm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/probe"
)

// logReader reads the log of a job, as often as it takes. One goroutine calls read, another one
// looks after it with the rest.
type logReader struct {
	api      client.APIClient
	work     work
	finished atomic.Bool  // the task has written all that it will
	since    atomic.Int64 // when the current wait for the log began, 0 while there is none

	mu     sync.Mutex
	cancel context.CancelFunc // of the current stream
}

// attempts is how often the whole log of a finished task is read without anything new in it.
const attempts = 3

func (l *logReader) read(ctx context.Context) error {
	for try := 0; ; try++ {
		progress, finished := l.work.progress(), l.finished.Load()
		err := l.stream(ctx, !finished)
		var broken *brokenLog
		switch {
		case err == nil, ctx.Err() != nil:
			return err
		case !errors.Is(err, probe.ErrIncomplete) && !errors.As(err, &broken):
			return err
		}
		if l.work.progress() > progress || !finished {
			try = 0
		}
		if try >= attempts {
			return err
		}
		if sleep(ctx, glance) != nil {
			return ctx.Err()
		}
	}
}

// brokenLog is an error that may be gone when the log is read again.
type brokenLog struct{ error }

func (b *brokenLog) Unwrap() error { return b.error }

// stream reads the log once, from its start.
func (l *logReader) stream(ctx context.Context, follow bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.cancel = cancel
	l.mu.Unlock()
	l.since.Store(time.Now().UnixNano())
	defer l.since.Store(0)
	body, err := l.api.ServiceLogs(ctx, l.work.spec.Name, container.LogsOptions{ShowStdout: true, Follow: follow})
	if err != nil {
		return &brokenLog{err}
	}
	defer body.Close()
	return l.work.read(&demux{in: &waiting{in: body, since: &l.since}})
}

// waits is how long the log has been waited for by now; 0 while what came is being worked on.
func (l *logReader) waits() time.Duration {
	if since := l.since.Load(); since != 0 {
		return time.Duration(time.Now().UnixNano() - since)
	}
	return 0
}

// again cuts the current stream off, so that the log is read from its start.
func (l *logReader) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}

// waiting notes since when a Read has been waiting.
type waiting struct {
	in    io.Reader
	since *atomic.Int64
}

func (w *waiting) Read(b []byte) (int, error) {
	w.since.Store(time.Now().UnixNano())
	defer w.since.Store(0)
	n, err := w.in.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &brokenLog{err}
	}
	return n, err
}

// demux takes the standard output out of a log that the engine has mixed: before each piece stand
// the number of its stream, three zeros, and its length.
type demux struct {
	in   io.Reader
	left int64 // of the current piece
}

// Streams of a log.
const (
	stdout      = 1
	systemError = 3 // what the engine has to say about the log
)

func (d *demux) Read(b []byte) (int, error) {
	for d.left == 0 {
		var header [8]byte
		if _, err := io.ReadFull(d.in, header[:]); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF // cut short, which whoever reads on will find
			}
			return 0, err
		}
		length := int64(binary.BigEndian.Uint32(header[4:]))
		switch header[0] {
		case stdout:
			d.left = length
		case systemError:
			text, _ := io.ReadAll(io.LimitReader(d.in, min(length, 1000)))
			return 0, &brokenLog{fmt.Errorf("the engine can't read the job's log: %s", oneLine(string(text)))}
		default:
			if _, err := io.CopyN(io.Discard, d.in, length); err != nil {
				return 0, err
			}
		}
	}
	n, err := d.in.Read(b[:min(int64(len(b)), d.left)])
	d.left -= int64(n)
	return n, err
}
