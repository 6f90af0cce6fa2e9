package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// minRecordSize is the smallest record: a length and six fields of one byte.
const minRecordSize = 7

// ErrMalformed says that the records of a batch are not what its header or their
// own lengths say. Decompression errors wrap it too.
var ErrMalformed = errors.New("malformed records")

// Record is one record of a batch. Key, Value and header values alias the batch,
// or the buffer it was decompressed into; nil is Kafka's null.
type Record struct {
	Offset    int64
	Timestamp int64 // milliseconds; the batch's, if that has LogAppendTime
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is one of a record's headers.
type Header struct {
	Key   string
	Value []byte // nil is null
}

// Records yields the records of the batch in order of their offsets. It
// decompresses within limits, reads no more records than the header counts, and
// allocates per record only if that has headers. At the first record that is
// malformed it yields an error that wraps ErrMalformed and ends.
func (b Batch) Records(limits DecompressLimits) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		payload, err := Decompress(b.Codec(), b.Payload(), limits)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for i := range b.Count() {
			var r Record
			r, payload, err = b.nextRecord(payload)
			if err != nil {
				yield(Record{}, fmt.Errorf("record %d of %d at base offset %d: %w", i+1, b.Count(), b.BaseOffset(), err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if len(payload) > 0 {
			yield(Record{}, fmt.Errorf("%w: %d bytes follow the last record at base offset %d", ErrMalformed, len(payload), b.BaseOffset()))
		}
	}
}

// nextRecord cuts the first record off payload.
func (b Batch) nextRecord(payload []byte) (r Record, rest []byte, err error) {
	p := parser{b: payload}
	length := p.varint()
	if p.failed || length < minRecordSize-1 || length > int64(len(p.b)) {
		return r, nil, fmt.Errorf("%w: length %d, %d bytes left", ErrMalformed, length, len(p.b))
	}
	rest = p.b[length:]
	p.b = p.b[:length:length]
	p.bytes(1) // attributes: none defined
	timestampDelta := p.varint()
	offsetDelta := p.varint()
	r.Key = p.nullable()
	r.Value = p.nullable()
	r.Headers = p.headers()
	if p.failed || len(p.b) > 0 {
		return Record{}, nil, fmt.Errorf("%w: fields do not fill the length of %d", ErrMalformed, length)
	}
	if offsetDelta < 0 || offsetDelta > int64(b.LastOffsetDelta()) {
		return Record{}, nil, fmt.Errorf("%w: offset delta %d of %d", ErrMalformed, offsetDelta, b.LastOffsetDelta())
	}
	r.Offset = b.BaseOffset() + offsetDelta
	r.Timestamp = b.FirstTimestamp() + timestampDelta
	if b.IsLogAppendTime() {
		r.Timestamp = b.MaxTimestamp()
	}
	return r, rest, nil
}

// parser takes fields off the front of b; after the first that does not fit it
// has failed and gives zeros.
type parser struct {
	b      []byte
	failed bool
}

// varint takes a zigzag varint.
func (p *parser) varint() int64 {
	v, n := binary.Varint(p.b)
	if n <= 0 {
		p.failed, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

// bytes takes n bytes.
func (p *parser) bytes(n int64) []byte {
	if n < 0 || n > int64(len(p.b)) {
		p.failed, p.b = true, nil
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

// nullable takes bytes with a length in front, -1 for null.
func (p *parser) nullable() []byte {
	n := p.varint()
	if n == -1 {
		return nil
	}
	return p.bytes(n)
}

// headers takes the headers. Each takes two bytes at least, which bounds what a
// count that lies can allocate.
func (p *parser) headers() []Header {
	n := p.varint()
	if n < 0 || n > int64(len(p.b)/2) {
		p.failed, p.b = true, nil
		return nil
	}
	if n == 0 {
		return nil
	}
	headers := make([]Header, n)
	for i := range headers {
		headers[i].Key = string(p.bytes(p.varint()))
		headers[i].Value = p.nullable()
	}
	return headers
}
