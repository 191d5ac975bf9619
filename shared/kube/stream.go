package kube

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
)

// unmarshaler is a pointer to an object that reads itself from protobuf.
type unmarshaler[T any] interface {
	*T
	Unmarshal([]byte) error
}

// stream lists all objects of a kind and shows each as it arrives, while the server still encodes the
// next ones. So the list is never there as a whole, neither as bytes nor as objects: of 5,000 pods, it
// takes little longer than their bytes do. The function begin is called before each attempt, when all
// that was shown earlier is void. Where wanted is not empty, the objects have no other fields.
func stream[T any, Item unmarshaler[T]](ctx context.Context, c *connection, k kind, wanted only, begin func(), each func(Item)) error {
	var a answer
	var buffer []byte
	return c.persist(ctx, &a, func(ctx context.Context) error {
		begin()
		request := c.request(http.MethodGet, k).SetHeader("Accept", runtime.ContentTypeProtobuf)
		body, err := request.MaxRetries(0).Stream(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		return items(body, func(encoded []byte) error {
			if len(wanted) > 0 {
				var ok bool
				if buffer, ok = wanted.reduce(buffer[:0], encoded); !ok {
					return errAnswer
				}
				encoded = buffer
			}
			var object T
			if Item(&object).Unmarshal(encoded) != nil {
				return errAnswer
			}
			each(&object)
			return nil
		})
	})
}

// The envelope of every protobuf answer, a runtime.Unknown, and of a list: the fields that matter.
const (
	magic        = "k8s\x00"
	envelopeRaw  = 2
	listItems    = 2
	wireVarint   = 0
	wireBytes    = 2
	largestField = 64 << 20 // an object has 3 MB at most
)

// items shows the encoded objects of a list, one after another. The bytes are valid until each returns.
func items(from io.Reader, each func([]byte) error) error {
	r := bufio.NewReaderSize(from, 64<<10)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	if string(head) != magic {
		return errAnswer
	}
	var buffer []byte
	var listed bool
	err := fields(r, -1, func(envelope uint64, size int64) error {
		if envelope != envelopeRaw {
			return skip(r, size)
		}
		listed = true
		return fields(r, size, func(field uint64, size int64) error {
			if field != listItems {
				return skip(r, size)
			}
			if size > largestField {
				return errAnswer
			}
			if int64(cap(buffer)) < size {
				buffer = make([]byte, 2*size)
			}
			if _, err := io.ReadFull(r, buffer[:size]); err != nil {
				return unexpected(err)
			}
			return each(buffer[:size])
		})
	})
	if err == nil && !listed {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fields goes through the fields of a message of that size, or to the end where it is negative. Those
// with bytes are shown, and must be read by each.
func fields(r *bufio.Reader, size int64, each func(field uint64, size int64) error) error {
	for left := size; left != 0; {
		if left < 0 {
			if _, err := r.Peek(1); errors.Is(err, io.EOF) {
				return nil
			}
		}
		tag, n, err := varint(r)
		if err != nil {
			return err
		}
		value, m, err := varint(r)
		if err != nil {
			return err
		}
		used := int64(n + m)
		switch tag & 7 {
		case wireVarint:
		case wireBytes:
			used += int64(value)
			if value > 1<<40 || left > 0 && used > left {
				return errAnswer
			}
			if err := each(tag>>3, int64(value)); err != nil {
				return err
			}
		default:
			return errAnswer
		}
		if left > 0 {
			if left -= used; left < 0 {
				return errAnswer
			}
		}
	}
	return nil
}

func varint(r *bufio.Reader) (value uint64, size int, err error) {
	for size < binary.MaxVarintLen64 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, 0, unexpected(err)
		}
		value |= uint64(b&0x7f) << (7 * size)
		size++
		if b < 0x80 {
			return value, size, nil
		}
	}
	return 0, 0, errAnswer
}

func skip(r *bufio.Reader, size int64) error {
	_, err := io.CopyN(io.Discard, r, size)
	return unexpected(err)
}

// unexpected is for an end where there must be more.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
