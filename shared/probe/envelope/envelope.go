// Package envelope is what the probe writes into its log and secretx reads from it: values, sealed
// to a key that only the reader has, cut into lines that every log driver takes whole.
//
// Both ends of the line are here, because one is meaningless without the other. The probe is a
// program of its own that has to be small, so this package imports little of the standard library,
// not even fmt, and nothing else.
//
// # Stream
//
// The probe sends records, one for each secret, or for each container that it looks into, in the
// order of their indexes, then the record end, then zeros:
//
//	kind 1 byte | index 4 bytes | length 4 bytes | body
//
// The stream is cut into frames of FrameSize bytes, whatever the records in it, and each frame is
// sealed with one HPKE context (RFC 9180; MLKEM768X25519, HKDF-SHA256, AES-256-GCM), so that what
// a log keeps can't be read later either. Each sealed frame is one line:
//
//	secretx-probe/2 RUN SEQUENCE BASE64
//
// Line 0 carries the encapsulated key instead of a frame.
//
// # What can't go wrong unseen
//
// RUN, mode, number of records, nonce and request are the context's info; RUN and SEQUENCE are each frame's
// associated data, and the context counts its frames itself: a line of another run or mode, out of
// order, cut short or changed in any bit doesn't open. The index stands inside, so that a value can
// only arrive as what it was read as. The record end says that all came; without it the stream is
// incomplete, wherever it was cut.
//
// What HPKE's base mode doesn't prove is who sealed. Whoever can write into the log of the job is
// root on the node that the job runs on, and could as well change the secret itself there.
//
// # What the log shows
//
// Frames all have the same length, and their number is rounded up by Padmé (Nikitin et al., "Reducing
// Metadata Leakage from Encrypted Files", 2019), which costs at most 12 %: whoever may read service logs learns
// how much there was in all, within that, and in steps of FrameSize bytes at least. He learns nothing of a
// single value's length, unless it was read alone and is longer than a frame. Where digests are asked for, of
// secrets or of what stands in containers, nothing in the stream is as long as a value.
package envelope

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// Version is that of the protocol. Either end refuses another one, as the probe's image may be
// older or newer than secretx.
const Version = "2"

// FrameSize is the number of bytes of the stream in each line. Docker cuts lines at 16 KiB.
const FrameSize = 12000

// MaxBody bounds the body of a record, far above what a Swarm takes: 511,999 bytes. MaxLook bounds
// it where it tells of a whole container.
const (
	MaxBody = 1 << 20
	MaxLook = 16 << 20
)

// MaxCount bounds the records of one job.
const MaxCount = 1 << 16

// MaxRequest bounds the request of a job. The kernel takes up to 2 MiB of arguments, a Swarm less.
const MaxRequest = 512 << 10

// Mode is what a job answers with.
type Mode string

// The modes of a job.
const (
	Values  Mode = "values"  // the bytes
	Digests Mode = "digests" // HMAC-SHA-256 of the bytes under the job's nonce
	Look    Mode = "look"    // what stands in containers, as the request asks; digests as above
)

// Kind is what a record holds.
type Kind byte

// The kinds of records.
const (
	Body       Kind = 1 // the value, its digest, or what stands in a container
	Unreadable Kind = 2 // the file could not be read
	TooLong    Kind = 3 // the file is longer than MaxBody
	end        Kind = 4 // all records came
)

const (
	headerSize = 9
	magic      = "secretx-probe/" + Version
)

// Directory is where the job's secrets stand, each as the file that File names.
const Directory = "/run/secrets"

// File is the name of the secret with the given index, the same in every job: what the secrets are
// called is none of the probe's business.
func File(index int) string { return strconv.Itoa(index) }

// Exit codes of the probe. 2 is left to the Go runtime.
const (
	ExitDone    = 0
	ExitArgs    = 64 // the arguments make no sense
	ExitVersion = 65 // the arguments are of another version of the protocol
	ExitWrite   = 66 // the log could not be written
)

// Job is what the probe is told: all of it may be public.
type Job struct {
	Run   string // tells this job's lines from all others; random
	Mode  Mode
	Count int    // number of records
	Key   []byte // public half of the reader's key
	Nonce []byte // of the digests; empty for values
	// Request says what to look at; empty in other modes. Package inside makes it.
	Request []byte
}

// maxArg is how long an argument gets: Linux takes 128 KiB.
const maxArg = 64 << 10

// Args is the job as the arguments of the probe; the request is spread over as many as it takes.
func (j Job) Args() []string {
	args := []string{
		Version, j.Run, string(j.Mode), strconv.Itoa(j.Count),
		base64.RawURLEncoding.EncodeToString(j.Key), base64.RawURLEncoding.EncodeToString(j.Nonce),
	}
	for request := base64.RawURLEncoding.EncodeToString(j.Request); request != ""; {
		n := min(len(request), maxArg)
		args, request = append(args, request[:n]), request[n:]
	}
	return args
}

// Errors of ParseArgs.
var (
	ErrArgs    = errors.New("these are not the arguments of a job")
	ErrVersion = errors.New("the job is of another version of the protocol")
)

// ParseArgs reads what Args made. Arguments of another version are ErrVersion, anything else that
// is wrong with them is ErrArgs.
func ParseArgs(args []string) (Job, error) {
	if len(args) > 0 && args[0] != Version {
		return Job{}, ErrVersion
	}
	if len(args) < 6 || len(args) > 6 && Mode(args[2]) != Look {
		return Job{}, ErrArgs
	}
	count, badCount := strconv.Atoi(args[3])
	key, badKey := base64.RawURLEncoding.DecodeString(args[4])
	nonce, badNonce := base64.RawURLEncoding.DecodeString(args[5])
	request, badRequest := base64.RawURLEncoding.DecodeString(strings.Join(args[6:], ""))
	j := Job{Run: args[1], Mode: Mode(args[2]), Count: count, Key: key, Nonce: nonce, Request: request}
	if badCount != nil || badKey != nil || badNonce != nil || badRequest != nil || !j.valid() {
		return Job{}, ErrArgs
	}
	return j, nil
}

func (j Job) valid() bool {
	return j.Run != "" && !strings.ContainsAny(j.Run, " \n") &&
		j.Count > 0 && j.Count <= MaxCount &&
		(len(j.Nonce) > 0) == (j.Mode != Values) &&
		(len(j.Request) > 0) == (j.Mode == Look) && len(j.Request) <= MaxRequest &&
		(j.Mode == Values || j.Mode == Digests || j.Mode == Look)
}

// maxBody bounds what a record says.
func (j Job) maxBody() int64 {
	if j.Mode == Look {
		return MaxLook
	}
	return MaxBody
}

// info binds the HPKE context to the job. The key need not be in it: HPKE has it already.
func (j Job) info() []byte {
	return []byte(strings.Join([]string{
		magic, j.Run, string(j.Mode), strconv.Itoa(j.Count),
		base64.RawURLEncoding.EncodeToString(j.Nonce), base64.RawURLEncoding.EncodeToString(j.Request),
	}, " "))
}

// prefix is what comes before the base64 in the line with the given number, and the associated data
// of its frame.
func (j Job) prefix(sequence int) string {
	return magic + " " + j.Run + " " + strconv.Itoa(sequence) + " "
}

// The suite: the hybrid KEM stands as long as either of its halves does.
func kem() hpke.KEM   { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.AES256GCM() }

// GenerateKey makes the key pair of one job.
func GenerateKey() (hpke.PrivateKey, error) { return kem().GenerateKey() }

// padme rounds a number of frames up, so that it has no more significant bits than its logarithm
// has bits.
func padme(frames int) int {
	if frames < 2 {
		return frames
	}
	exponent := log2(frames)
	mask := 1<<(exponent-log2(exponent)-1) - 1
	return (frames + mask) &^ mask
}

func log2(n int) int {
	log := 0
	for ; n > 1; n >>= 1 {
		log++
	}
	return log
}

func putUint32(b []byte, n int) {
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
}

func getUint32(b []byte) int64 {
	return int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])
}
