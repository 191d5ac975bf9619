package envelope

import (
	"crypto/hpke"
	"encoding/base64"
	"io"
)

// Writer is the probe's end. It remembers the first error and returns it from each later call.
type Writer struct {
	out      io.Writer
	job      Job
	sender   *hpke.Sender
	sequence int // of the next line
	frame    [FrameSize]byte
	filled   int
	line     []byte
	err      error
}

// NewWriter begins the answer to a job. Each line is one Write to out.
func NewWriter(out io.Writer, job Job) (*Writer, error) {
	key, err := kem().NewPublicKey(job.Key)
	if err != nil {
		return nil, ErrArgs
	}
	encapsulated, sender, err := hpke.NewSender(key, kdf(), aead(), job.info())
	if err != nil {
		return nil, err
	}
	w := &Writer{out: out, job: job, sender: sender}
	w.writeLine(encapsulated)
	return w, w.err
}

// Record answers for one secret or container. The caller goes through the indexes in order and leaves none out;
// the body is empty unless the kind is Body.
func (w *Writer) Record(index int, kind Kind, body []byte) error {
	var header [headerSize]byte
	header[0] = byte(kind)
	putUint32(header[1:], index)
	putUint32(header[5:], len(body))
	w.write(header[:])
	w.write(body)
	return w.err
}

// Close says that all records came, and pads.
func (w *Writer) Close() error {
	_ = w.Record(w.job.Count, end, nil)
	w.flush()
	for frames := padme(w.sequence - 1); w.sequence-1 < frames && w.err == nil; {
		w.filled = FrameSize // of zeros
		w.flush()
	}
	return w.err
}

func (w *Writer) write(b []byte) {
	for len(b) > 0 && w.err == nil {
		n := copy(w.frame[w.filled:], b)
		w.filled += n
		b = b[n:]
		if w.filled == FrameSize {
			w.flush()
		}
	}
}

// flush seals what is in the frame, the rest of it zeros.
func (w *Writer) flush() {
	if w.filled == 0 || w.err != nil {
		return
	}
	sealed, err := w.sender.Seal([]byte(w.job.prefix(w.sequence)), w.frame[:])
	clear(w.frame[:])
	w.filled = 0
	if err != nil {
		w.err = err
		return
	}
	w.writeLine(sealed)
}

func (w *Writer) writeLine(payload []byte) {
	w.line = append(w.line[:0], w.job.prefix(w.sequence)...)
	w.line = base64.RawStdEncoding.AppendEncode(w.line, payload)
	w.line = append(w.line, '\n')
	w.sequence++
	_, w.err = w.out.Write(w.line)
}
