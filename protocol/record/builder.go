package record

import (
	"encoding/binary"
	"math"
)

// Builder makes one uncompressed batch: the broker's own records, for instance of
// internal topics. The zero value is not ready; use [NewBuilder]. Not for
// concurrent use.
type Builder struct {
	b        []byte
	count    int32
	first    int64
	max      int64
	attrs    int16
	producer int64
	epoch    int16
	sequence int32
	body     []byte // scratch for one record
}

// NewBuilder returns an empty Builder, without a producer.
func NewBuilder() *Builder {
	b := &Builder{}
	b.Reset()
	return b
}

// Reset empties the Builder and keeps its memory, so bytes that Bytes gave out
// are overwritten by what is added next. It forgets the producer too.
func (b *Builder) Reset() {
	*b = Builder{
		b: append(b.b[:0], make([]byte, HeaderSize)...), body: b.body[:0],
		max: NoTimestamp, producer: NoProducerID, epoch: NoProducerEpoch, sequence: NoSequence,
	}
}

// SetProducer makes the batch one of an idempotent producer.
func (b *Builder) SetProducer(id int64, epoch int16, baseSequence int32) {
	b.producer, b.epoch, b.sequence = id, epoch, baseSequence
}

// SetTransactional makes the batch part of its producer's transaction.
func (b *Builder) SetTransactional() { b.attrs |= transactionalBit }

// SetControl makes the batch a control batch.
func (b *Builder) SetControl() { b.attrs |= controlBit }

// Add appends a record and copies what it is given. nil key and value are Kafka's null.
func (b *Builder) Add(timestampMillis int64, key, value []byte, headers ...Header) {
	if b.count == 0 {
		b.first = timestampMillis
	}
	b.max = max(b.max, timestampMillis)
	r := appendBody(b.body[:0], Record{Key: key, Value: value, Headers: headers}, timestampMillis-b.first, int64(b.count))
	b.b = binary.AppendVarint(b.b, int64(len(r)))
	b.b = append(b.b, r...)
	b.body = r
	b.count++
}

// Count is how many records were added.
func (b *Builder) Count() int { return int(b.count) }

// Len is the size of the batch so far, in bytes, header included.
func (b *Builder) Len() int { return len(b.b) }

// Bytes returns the batch, with base offset 0 and no leader epoch. It is the
// Builder's own memory: valid until the next Add or Reset. Without records it is nil.
func (b *Builder) Bytes() []byte {
	if b.count == 0 || len(b.b) > math.MaxInt32 {
		return nil
	}
	h := b.b[:HeaderSize]
	binary.BigEndian.PutUint32(h[lengthAt:], uint32(len(b.b)-LogOverhead))
	Batch(h).SetBaseOffset(0)
	Batch(h).SetLeaderEpoch(NoLeaderEpoch)
	h[magicAt] = magicV2
	binary.BigEndian.PutUint16(h[attributesAt:], uint16(b.attrs))
	binary.BigEndian.PutUint32(h[lastOffsetDeltaAt:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[firstTimestampAt:], uint64(b.first))
	binary.BigEndian.PutUint64(h[maxTimestampAt:], uint64(b.max))
	binary.BigEndian.PutUint64(h[producerIDAt:], uint64(b.producer))
	binary.BigEndian.PutUint16(h[producerEpochAt:], uint16(b.epoch))
	binary.BigEndian.PutUint32(h[baseSequenceAt:], uint32(b.sequence))
	binary.BigEndian.PutUint32(h[countAt:], uint32(b.count))
	Batch(b.b).sign()
	return b.b
}

// appendBody appends a record without its length in front.
func appendBody(dst []byte, r Record, timestampDelta, offsetDelta int64) []byte {
	dst = append(dst, 0) // attributes
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

// appendNullable appends v with its length in front, -1 for nil.
func appendNullable(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	b = binary.AppendVarint(b, int64(len(v)))
	return append(b, v...)
}
