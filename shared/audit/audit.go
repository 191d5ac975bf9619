// Package audit writes what was done as JSON lines, a line for each object that was written and for each
// failure. No value is ever in one: what it is given has none that could be printed. It imports watch and
// the standard library.
package audit

import (
	"context"
	"io"
	"log/slog"

	"github.com/secretx/secretx/shared/watch"
)

// Log is an audit log.
type Log struct{ lines *slog.Logger }

// New makes a log that writes to out.
func New(out io.Writer) *Log { return &Log{slog.New(slog.NewJSONHandler(out, nil))} }

// Record writes the line of an event.
func (l *Log) Record(e watch.Event) {
	fields := []any{slog.String("from", e.From.Name), slog.String("to", e.To.Name)}
	if e.Mirror != "" {
		fields = append(fields, slog.String("secretMirror", e.Mirror))
	}
	failed := e.Err
	if e.Kind == watch.Write {
		o := e.Outcome
		fields = append(fields, slog.Any("origins", o.Item.Origins), slog.String("mirror", o.Item.Name), slog.String("state", string(o.Item.State)),
			slog.String("action", string(o.Item.Action)), slog.String("result", string(o.Result)))
		failed = o.Err
	}
	if e.Kind == watch.Left {
		item := e.Outcome.Item
		fields = append(fields, slog.Any("origins", item.Origins), slog.String("mirror", item.Name), slog.String("state", string(item.State)), slog.String("reason", item.Reason))
	}
	if e.Took > 0 {
		fields = append(fields, slog.Float64("seconds", e.Took.Seconds()))
	}
	if e.Kind == watch.Compared {
		fields = append(fields, slog.Any("states", e.Items))
	}
	level := slog.LevelInfo
	if e.Kind == watch.Left {
		level = slog.LevelWarn
	}
	if failed != nil {
		level = slog.LevelWarn
		fields = append(fields, slog.String("error", failed.Error()))
	}
	l.lines.Log(context.Background(), level, string(e.Kind), fields...)
}
