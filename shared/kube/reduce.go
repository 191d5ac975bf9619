package kube

import "encoding/binary"

// only says which fields of an encoded message are worth decoding, by their numbers in protobuf. An
// empty one is for all of them.
type only map[uint64]only

// onlyReferences are the fields of a Pod that Consumers looks at: a third of its bytes, and most of
// the rest would be spent on decoding what managed it and its status.
var onlyReferences = only{
	1: {1: nil, 13: nil}, // metadata: name, ownerReferences
	2: { // spec
		1: nil, 10: nil, 15: nil, // volumes, nodeName, imagePullSecrets
		2: onlyContainer, 20: onlyContainer, // containers, initContainers
		34: {1: onlyContainer}, // ephemeralContainers
	},
	3: {1: nil}, // status: phase
}

// onlyContainer: name, env, volumeMounts, envFrom, restartPolicy.
var onlyContainer = only{1: nil, 7: nil, 9: nil, 19: nil, 24: nil}

// reduce appends a message to another slice without the fields that aren't wanted; it is false when
// that is no message.
func (o only) reduce(to, message []byte) ([]byte, bool) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		value, m := binary.Uvarint(message[max(n, 0):])
		if n <= 0 || m <= 0 {
			return nil, false
		}
		end := uint64(n + m)
		switch tag & 7 {
		case wireVarint:
		case wireBytes:
			end += value
		default:
			return nil, false
		}
		if value > uint64(len(message)) || end > uint64(len(message)) {
			return nil, false
		}
		within, wanted := o[tag>>3]
		switch {
		case !wanted:
		case within == nil || tag&7 != wireBytes:
			to = append(to, message[:end]...)
		default:
			// The length is that of the shorter message, in as many bytes as that of the longer one: a
			// varint may be longer than it has to be.
			to = append(to, message[:n+m]...)
			from := len(to)
			var ok bool
			if to, ok = within.reduce(to, message[n+m:end]); !ok {
				return nil, false
			}
			putPadded(to[from-m:from], uint64(len(to)-from))
		}
		message = message[end:]
	}
	return to, true
}

// putPadded writes a varint that fills the slice.
func putPadded(to []byte, value uint64) {
	for i := range to {
		to[i] = byte(value&0x7f) | 0x80
		value >>= 7
	}
	to[len(to)-1] &= 0x7f
}
