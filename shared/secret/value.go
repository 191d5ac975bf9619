package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// Redacted is what every printer shows in place of a value.
const Redacted = "[redacted]"

// errNotForText is returned where a Value would have to be read from text.
var errNotForText = errors.New("a secret value is never read from a document")

// Value holds the bytes of one key of one secret, and is the only type that does.
//
// It prints as Redacted under every verb of fmt, in slog, JSON and YAML. The bytes stand behind a
// function because fmt and most dumpers walk through unexported fields, slices and pointers, but
// can't look into a closure; for the same reason a Value can't be compared with == and is compared
// in constant time by Equal. The zero Value is one that is not known.
type Value struct {
	bytes func() []byte
}

// NewValue takes ownership of b, which the caller must not change afterwards. A nil b is an empty,
// known value.
func NewValue(b []byte) Value {
	return Value{bytes: func() []byte { return b }}
}

// Known tells whether the value has been read at all.
func (v Value) Known() bool { return v.bytes != nil }

// Reveal gives the bytes themselves, not a copy: nil when the value is not known. Every call of it
// is a place where a value leaves the care of this type, so there are few.
func (v Value) Reveal() []byte {
	if v.bytes == nil {
		return nil
	}
	return v.bytes()
}

// Len is the number of bytes, 0 when not known.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal compares two known values in constant time for their length; an unknown one equals nothing.
func (v Value) Equal(w Value) bool {
	return v.Known() && w.Known() && subtle.ConstantTimeCompare(v.Reveal(), w.Reveal()) == 1
}

// Clear overwrites the bytes. Copies of the Value share them.
func (v Value) Clear() { clear(v.Reveal()) }

// Digest is HMAC-SHA-256 of the value under nonce: what proves equality without showing anything,
// as long as the nonce is fresh and the digest stays in memory.
func (v Value) Digest(nonce []byte) Digest {
	mac := hmac.New(sha256.New, nonce)
	mac.Write(v.Reveal())
	return Digest(mac.Sum(nil))
}

// Digest is a keyed digest of a value: 32 bytes.
type Digest [sha256.Size]byte

// Equal compares in constant time.
func (d Digest) Equal(e Digest) bool { return hmac.Equal(d[:], e[:]) }

// Format implements fmt.Formatter for every verb.
func (Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(Redacted)) }

// String implements fmt.Stringer, for those who don't ask fmt.
func (Value) String() string { return Redacted }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements encoding.TextMarshaler; JSON and YAML encoders use it too.
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// UnmarshalText refuses: a document never carries a value.
func (*Value) UnmarshalText([]byte) error { return errNotForText }

// GobEncode refuses: gob would be a way out in the clear.
func (Value) GobEncode() ([]byte, error) { return nil, errNotForText }
