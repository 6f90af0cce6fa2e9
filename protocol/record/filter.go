package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Filter says what stays of a batch when a log is compacted.
type Filter struct {
	// Keep tells whether a record stays. It may not hold on to it.
	Keep func(Record) bool
	// DeleteHorizon, in milliseconds since 1970, is given to a batch that has no
	// horizon and keeps a tombstone (a record without a value): the time from
	// which tombstones need not stay (KIP-534).
	DeleteHorizon int64
	// KeepEmpty keeps the header of a batch of which no record stays: the last
	// one of a producer, whose sequence number would be forgotten.
	KeepEmpty bool
}

// DeleteHorizon is when the batch's tombstones may go, in milliseconds since
// 1970, if a compaction has said so.
func (b Batch) DeleteHorizon() (millis int64, ok bool) {
	return b.FirstTimestamp(), b.Attributes()&deleteHorizonBit != 0
}

// Filter appends to dst what stays of the batch, and tells how many records do:
// the batch's own bytes if that is all of them, nothing if it is none. Offsets and
// timestamps of records do not change, nor does the range of offsets that the
// header covers, the producer or the codec. It decompresses within limits. On an
// error, which wraps ErrMalformed if the records cannot be read, dst is as it was.
func (b Batch) Filter(dst []byte, f Filter, limits DecompressLimits) (out []byte, kept int32, err error) {
	r := rewrite{base: b.FirstTimestamp(), attributes: b.Attributes(), max: NoTimestamp}
	var tombstones bool
	for record, err := range b.Records(limits) {
		if err != nil {
			return dst, 0, err
		}
		if f.Keep(record) {
			tombstones = tombstones || record.Value == nil
			r.kept = append(r.kept, record)
		}
	}
	_, horizon := b.DeleteHorizon()
	mark := tombstones && !horizon
	switch {
	case len(r.kept) == 0 && f.KeepEmpty:
		r.attributes &^= codecMask | deleteHorizonBit
		r.base, r.max = NoTimestamp, b.MaxTimestamp()
	case len(r.kept) == 0:
		return dst, 0, nil
	case len(r.kept) == int(b.Count()) && !mark:
		return append(dst, b...), b.Count(), nil
	case mark:
		r.attributes |= deleteHorizonBit
		r.base = f.DeleteHorizon
	case !horizon:
		r.base = r.kept[0].Timestamp
	}
	out, err = r.appendTo(dst, b)
	if err != nil {
		return dst, 0, err
	}
	return out, int32(len(r.kept)), nil
}

// rewrite makes a batch out of some of another's records.
type rewrite struct {
	kept       []Record
	attributes int16
	base, max  int64 // timestamps, in milliseconds
}

func (r *rewrite) appendTo(dst []byte, from Batch) ([]byte, error) {
	at := len(dst)
	dst = append(dst, from[:HeaderSize]...)
	if len(r.kept) > 0 {
		var err error
		if dst, err = Compress(dst, from.Codec(), r.payload(from)); err != nil {
			return nil, fmt.Errorf("compress with %s: %w", from.Codec(), err)
		}
	}
	b := Batch(dst[at:])
	if len(b) > math.MaxInt32 {
		return nil, errors.New("batch of more than 2 GiB")
	}
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(b)-LogOverhead))
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(r.attributes))
	binary.BigEndian.PutUint64(b[firstTimestampAt:], uint64(r.base))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(r.max))
	binary.BigEndian.PutUint32(b[countAt:], uint32(len(r.kept)))
	b.sign()
	return dst, nil
}

// payload serialises the records, and finds their largest timestamp.
func (r *rewrite) payload(from Batch) (payload []byte) {
	var body []byte
	for _, record := range r.kept {
		r.max = max(r.max, record.Timestamp)
		body = appendBody(body[:0], record, record.Timestamp-r.base, record.Offset-from.BaseOffset())
		payload = binary.AppendVarint(payload, int64(len(body)))
		payload = append(payload, body...)
	}
	return payload
}
