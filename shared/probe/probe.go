// Package probe reads what a Swarm doesn't give back, the values of secrets and what stands in
// containers: it says what a job in the Swarm is told, and reads what the job writes into its log. Running
// the job is package swarm's. It imports secret, peek, envelope, inside and the standard library, and
// knows no Docker.
//
// Each run has a key pair of its own that never leaves memory; what the log keeps of it can't be
// read by anybody once the run is over. See package envelope for the promises.
package probe

import (
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/secret"
)

// MaxCount bounds the secrets of one run.
const MaxCount = envelope.MaxCount

// Directory is where the job expects its secrets, each under the name that File gives.
const Directory = envelope.Directory

// File is the name of the file with the secret of the given index.
func File(index int) string { return envelope.File(index) }

// Why a secret could not be read although the job could; for errors.Is.
var (
	ErrUnreadable = errors.New("the probe found no readable file for it")
	ErrTooLong    = fmt.Errorf("it has more than %d bytes, which is more than a Swarm allows", envelope.MaxBody)
)

// ErrIncomplete says that a log ended too early. Read may be called again with the same log from
// its start, and goes on where it was.
var ErrIncomplete = envelope.ErrIncomplete

// Result is what a run says of one of its secrets: Value in a run for values, Digest in one for
// digests, or Err.
type Result struct {
	Index  int
	Value  secret.Value
	Digest secret.Digest
	Err    error
}

// stream is one job and what came of its log. It is not safe for concurrent use.
type stream struct {
	job    envelope.Job
	reader *envelope.Reader
}

// Run is a job that reads secrets.
type Run struct{ stream }

// NewRun prepares a job that reads count secrets: their values, or, with a nonce, their digests
// under it.
func NewRun(count int, nonce []byte) (*Run, error) {
	if count < 1 || count > MaxCount {
		return nil, fmt.Errorf("a probe reads 1 to %d secrets, not %d", MaxCount, count)
	}
	key, err := envelope.GenerateKey()
	if err != nil {
		return nil, err
	}
	return newRun(count, nonce, key, rand.Text()), nil
}

func newRun(count int, nonce []byte, key hpke.PrivateKey, id string) *Run {
	job := envelope.Job{Run: id, Mode: envelope.Values, Count: count, Key: key.PublicKey().Bytes(), Nonce: nonce}
	if len(nonce) > 0 {
		job.Mode = envelope.Digests
	}
	return &Run{stream{job: job, reader: envelope.NewReader(job, key)}}
}

// ID is random, and public.
func (r *stream) ID() string { return r.job.Run }

// Args are the arguments of the helper; all of them may be public.
func (r *stream) Args() []string { return r.job.Args() }

// Done tells whether all results came.
func (r *stream) Done() bool { return r.reader.Done() }

// Next is the index of the first result that is still to come.
func (r *stream) Next() int { return r.reader.Next() }

// Progress grows with each line that was taken from the log.
func (r *stream) Progress() int { return r.reader.Lines() }

// Read takes the job's log and hands results over in the order of their indexes, as they arrive. It
// returns nil as soon as all came, ErrIncomplete when the log ends before, and whatever each or the
// log fails with.
func (r *Run) Read(log io.Reader, each func(Result) error) error {
	return r.reader.Read(log, func(record envelope.Record) error {
		result := Result{Index: record.Index}
		switch {
		case record.Kind == envelope.Unreadable:
			result.Err = ErrUnreadable
		case record.Kind == envelope.TooLong:
			result.Err = ErrTooLong
		case r.job.Mode == envelope.Digests:
			copy(result.Digest[:], record.Body)
		default:
			result.Value = secret.NewValue(record.Body)
		}
		return each(result)
	})
}

// ExitText says what an exit code of the helper means.
func ExitText(code int) string {
	switch code {
	case envelope.ExitArgs:
		return "the helper didn't understand its arguments"
	case envelope.ExitVersion:
		return "the helper is of another version than secretx"
	case envelope.ExitWrite:
		return "the helper could not write its answer"
	}
	return fmt.Sprintf("the helper ended with exit code %d", code)
}
