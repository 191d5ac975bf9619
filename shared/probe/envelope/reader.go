package envelope

import (
	"bufio"
	"bytes"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
)

// Errors of a Reader.
var (
	// ErrIncomplete: the log ended before the record end. Another Read of the same log, from its
	// start, goes on where this one stopped.
	ErrIncomplete = errors.New("the log ends before all of it came")
	// ErrDamaged: a line of this run is not what the probe wrote. There is no going on.
	ErrDamaged = errors.New("the log was changed on its way")
)

// Record is the answer for one secret or container.
type Record struct {
	Index int
	Kind  Kind   // Body, Unreadable or TooLong
	Body  []byte // of the caller from now on
}

// Reader is secretx's end. It takes lines in the order they were written in, passes over those that
// are not of its run and those that it has seen before, and fails for good when one that it needs
// is missing or damaged.
type Reader struct {
	job       Job
	key       hpke.PrivateKey
	recipient *hpke.Recipient
	sequence  int    // of the next line
	payload   []byte // of the last line, sealed
	header    [headerSize]byte
	filled    int    // bytes of the header
	body      []byte // of the current record, capacity is its length
	index     int    // of the next record
	done      bool
	err       error
}

// NewReader reads what the probe answers to the job, whose Key belongs to key.
func NewReader(job Job, key hpke.PrivateKey) *Reader { return &Reader{job: job, key: key} }

// Done tells whether all came.
func (r *Reader) Done() bool { return r.done }

// Next is the index of the record that is still to come first; all before it were handed over.
func (r *Reader) Next() int { return r.index }

// Lines is the number of lines that were taken so far, to see whether there is progress.
func (r *Reader) Lines() int { return r.sequence }

// maxLine is longer than any line of ours.
const maxLine = 16 << 10

// Read takes lines from a log and hands records over as they are complete, until all came: it
// doesn't wait for the log to end then. An error of each or of the log is returned as it is; after one of
// the log or ErrIncomplete it may be called again with the same log from its start.
func (r *Reader) Read(log io.Reader, each func(Record) error) error {
	lines := bufio.NewReaderSize(log, maxLine)
	long := false // in a line that is too long to be ours
	for !r.done && r.err == nil {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = true
		case errors.Is(err, io.EOF): // what came without a newline may have been cut
			return ErrIncomplete
		case err != nil:
			return err
		case long:
			long = false
		default:
			r.err = r.line(bytes.TrimSuffix(line, []byte{'\n'}), each)
		}
	}
	if r.err != nil {
		clear(r.body)
	}
	return r.err
}

func (r *Reader) line(line []byte, each func(Record) error) error {
	rest, ours := bytes.CutPrefix(line, []byte(magic+" "+r.job.Run+" "))
	if !ours {
		return nil
	}
	digits, encoded, _ := bytes.Cut(rest, []byte{' '})
	sequence, err := strconv.Atoi(string(digits))
	switch {
	case err != nil || sequence > r.sequence:
		return ErrDamaged
	case sequence < r.sequence:
		return nil // seen before: the log is read from its start again
	}
	payload, err := base64.RawStdEncoding.Strict().AppendDecode(r.payload[:0], encoded)
	if err != nil {
		return ErrDamaged
	}
	r.payload = payload
	if sequence == 0 {
		r.recipient, err = hpke.NewRecipient(payload, r.key, kdf(), aead(), r.job.info())
		if err != nil {
			return ErrDamaged
		}
		r.sequence++
		return nil
	}
	frame, err := r.recipient.Open([]byte(r.job.prefix(sequence)), payload)
	if err != nil || len(frame) != FrameSize {
		return ErrDamaged
	}
	r.sequence++
	defer clear(frame)
	return r.take(frame, each)
}

// take goes through the records in the next piece of the stream. The piece is genuine, so what is
// wrong in it the probe did wrong.
func (r *Reader) take(stream []byte, each func(Record) error) error {
	for len(stream) > 0 && !r.done {
		if r.filled < headerSize {
			n := copy(r.header[r.filled:], stream)
			r.filled += n
			stream = stream[n:]
			if r.filled < headerSize {
				return nil
			}
			if err := r.begin(); err != nil || r.done {
				return err
			}
		}
		n := min(cap(r.body)-len(r.body), len(stream))
		r.body = append(r.body, stream[:n]...)
		stream = stream[n:]
		if len(r.body) < cap(r.body) {
			return nil
		}
		record := Record{Index: r.index, Kind: Kind(r.header[0]), Body: r.body}
		r.filled, r.body = 0, nil
		r.index++
		if err := each(record); err != nil {
			return err
		}
	}
	return nil
}

// begin judges a complete header.
func (r *Reader) begin() error {
	kind, index, length := Kind(r.header[0]), getUint32(r.header[1:]), getUint32(r.header[5:])
	switch {
	case index != int64(r.index) || length > r.job.maxBody():
		return ErrDamaged
	case kind == end && r.index == r.job.Count && length == 0:
		r.done = true
		return nil
	case r.index >= r.job.Count:
		return ErrDamaged
	case kind == Body && r.job.Mode == Digests && length != digestSize:
		return ErrDamaged
	case (kind == Unreadable || kind == TooLong) && length != 0:
		return ErrDamaged
	case kind != Body && kind != Unreadable && kind != TooLong:
		return ErrDamaged
	}
	r.body = make([]byte, 0, length)
	return nil
}

const digestSize = 32
