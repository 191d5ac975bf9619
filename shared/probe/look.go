package probe

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/secretx/secretx/shared/peek"
	"github.com/secretx/secretx/shared/probe/envelope"
	"github.com/secretx/secretx/shared/probe/inside"
	"github.com/secretx/secretx/shared/secret"
)

// MaxRequest bounds the request of a look, marshalled.
const MaxRequest = envelope.MaxRequest

// Look is a job that looks into containers.
type Look struct {
	stream
	reveal bool
}

// Inside is what a look says of one of its containers: Seen, or Unseen with the reason.
type Inside struct {
	Index  int
	Unseen string
	Seen   peek.Seen
}

// NewLook prepares a job that does what the request says; digests are under the nonce.
func NewLook(request inside.Request, nonce []byte) (*Look, error) {
	body, err := request.Marshal()
	count := len(request.Containers)
	switch {
	case err != nil:
		return nil, err
	case count < 1 || count > MaxCount:
		return nil, fmt.Errorf("a probe looks into 1 to %d containers, not %d", MaxCount, count)
	case len(body) > MaxRequest:
		return nil, fmt.Errorf("a request of %d bytes is too long", len(body))
	case len(nonce) == 0:
		return nil, errors.New("a look needs a nonce")
	}
	key, err := envelope.GenerateKey()
	if err != nil {
		return nil, err
	}
	job := envelope.Job{Run: rand.Text(), Mode: envelope.Look, Count: count, Key: key.PublicKey().Bytes(), Nonce: nonce, Request: body}
	return &Look{stream: stream{job: job, reader: envelope.NewReader(job, key)}, reveal: request.Reveal}, nil
}

// Read takes the job's log and hands over what is said of each container, as it arrives; for its
// errors see Run.Read.
func (l *Look) Read(log io.Reader, each func(Inside) error) error {
	return l.reader.Read(log, func(record envelope.Record) error {
		answer, err := inside.ParseAnswer(record.Body)
		clear(record.Body)
		if err != nil {
			return err
		}
		return each(Inside{Index: record.Index, Unseen: answer.Unseen, Seen: l.seen(answer)})
	})
}

func (l *Look) seen(answer inside.Answer) peek.Seen {
	if answer.Unseen != "" {
		return peek.Seen{}
	}
	seen := peek.Seen{Files: map[string]peek.FileSeen{}, Env: map[string]peek.Content{}, EnvUnseen: answer.EnvUnseen}
	for _, f := range answer.Files {
		seen.Files[f.Path] = peek.FileSeen{
			Unseen: f.Unseen, Stat: f.Stat, Mode: f.Mode, UID: f.UID, GID: f.GID, Content: l.content(f.Content),
		}
	}
	for _, v := range answer.Variables {
		if v.Unseen != "" {
			seen.EnvUnseen = v.Name + ": " + v.Unseen
			continue
		}
		seen.Env[v.Name] = l.content(v.Content)
	}
	return seen
}

func (l *Look) content(c inside.Content) peek.Content {
	var seen peek.Content
	copy(seen.Digest[:], c.Digest)
	if l.reveal && c.Digest != nil && !c.Withheld {
		seen.Value = secret.NewValue(c.Value)
	}
	return seen
}
