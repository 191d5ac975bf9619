package secret

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// FingerprintKeySize is the length of an installation key in bytes.
const FingerprintKeySize = 32

// FingerprintKey is an installation key. It makes the fingerprints that stand in the marks of
// mirrors: without it they tell nothing about a value, not even whether two are equal, because the
// mirror and the key name go into each. Values and keys are held by the same type.
type FingerprintKey struct {
	key Value
	id  string
}

// NewFingerprintKey makes a random key.
func NewFingerprintKey() FingerprintKey {
	b := make([]byte, FingerprintKeySize)
	_, _ = rand.Read(b) // never fails
	k, _ := ParseFingerprintKey(NewValue(b))
	return k
}

// ParseFingerprintKey takes the 32 bytes of a key as they are kept in its Secret or file.
func ParseFingerprintKey(v Value) (FingerprintKey, error) {
	if v.Len() != FingerprintKeySize {
		return FingerprintKey{}, fmt.Errorf("a fingerprint key has %d bytes, this one has %d", FingerprintKeySize, v.Len())
	}
	mac := hmac.New(sha256.New, v.Reveal())
	mac.Write([]byte("secretx fingerprint key id"))
	return FingerprintKey{key: v, id: base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:6])}, nil
}

// Known tells whether there is a key at all.
func (k FingerprintKey) Known() bool { return k.key.Known() }

// Value gives the key for storing it.
func (k FingerprintKey) Value() Value { return k.key }

// Fingerprint is the claim about the value of one key of one mirror. The endpoint is the identity
// of where the mirror stands.
func (k FingerprintKey) Fingerprint(endpoint, mirror, key string, v Value) string {
	mac := hmac.New(sha256.New, k.key.Reveal())
	for _, field := range []string{"secretx fingerprint 1", endpoint, mirror, key} {
		fmt.Fprintf(mac, "%d:%s", len(field), field) // lengths, so that no two lists of fields run together
	}
	mac.Write(v.Reveal())
	return "1." + k.id + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// Judges tells whether the fingerprint was made with this key, so that comparing says something.
func (k FingerprintKey) Judges(fingerprint string) bool {
	return k.Known() && strings.HasPrefix(fingerprint, "1."+k.id+".")
}

// Matches compares a fingerprint with that of a known value.
func (k FingerprintKey) Matches(fingerprint, endpoint, mirror, key string, v Value) bool {
	return v.Known() && hmac.Equal([]byte(fingerprint), []byte(k.Fingerprint(endpoint, mirror, key, v)))
}
