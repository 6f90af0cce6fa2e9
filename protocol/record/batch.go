package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
)

// Sizes in bytes of a v2 batch's parts.
const (
	// HeaderSize is the whole header: a batch without records is as long as this.
	HeaderSize = 61
	// LogOverhead is the part of the header that Length does not count: the base
	// offset and the length field itself.
	LogOverhead = 12
)

// Values that stand for "none" in a batch.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
	NoLeaderEpoch   int32 = -1
)

// Positions of the fields in the header.
const (
	baseOffsetAt      = 0
	lengthAt          = 8
	leaderEpochAt     = 12
	magicAt           = 16
	crcAt             = 17
	attributesAt      = 21
	lastOffsetDeltaAt = 23
	firstTimestampAt  = 27
	maxTimestampAt    = 35
	producerIDAt      = 43
	producerEpochAt   = 51
	baseSequenceAt    = 53
	countAt           = 57
)

const magicV2 = 2

// Attribute bits.
const (
	codecMask         = 0x07
	logAppendTimeBit  = 0x08
	transactionalBit  = 0x10
	controlBit        = 0x20
	deleteHorizonBit  = 0x40
	knownAttributeSet = codecMask | logAppendTimeBit | transactionalBit | controlBit | deleteHorizonBit
)

// ErrShort says that the bytes end before the batch does: what a fetch limited
// by bytes, or a torn write, leaves at the end.
var ErrShort = errors.New("record batch is cut short")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a view over the bytes of exactly one record batch, header included.
// It owns nothing and is valid as long as the bytes are.
type Batch []byte

// BaseOffset is the offset of the first record (of the first one there ever was,
// if compaction has removed it).
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[baseOffsetAt:])) }

// Length is the length field: bytes after the length field itself.
func (b Batch) Length() int32 { return int32(binary.BigEndian.Uint32(b[lengthAt:])) }

// Size is the number of bytes of the whole batch by its length field.
func (b Batch) Size() int { return int(b.Length()) + LogOverhead }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[leaderEpochAt:])) }

// Magic is the format version: 2 for everything this package reads.
func (b Batch) Magic() int8 { return int8(b[magicAt]) }

// CRC is the stored CRC-32C of everything from the attributes to the end.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[crcAt:]) }

// Attributes is the bit set: codec, timestamp type, transactional, control.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[attributesAt:])) }

// LastOffsetDelta is the last offset minus the base offset.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[lastOffsetDeltaAt:])) }

// FirstTimestamp is what the records' timestamp deltas count from, in milliseconds.
func (b Batch) FirstTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[firstTimestampAt:])) }

// MaxTimestamp is the largest timestamp of the records, in milliseconds, or NoTimestamp.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[maxTimestampAt:])) }

// ProducerID is the idempotent producer's id, or NoProducerID.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[producerIDAt:])) }

// ProducerEpoch is the producer's epoch, or NoProducerEpoch.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[producerEpochAt:])) }

// BaseSequence is the sequence number of the first record, or NoSequence.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[baseSequenceAt:])) }

// Count is the number of records by the header.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[countAt:])) }

// LastOffset is the offset of the last record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// LastSequence is the sequence number of the last record, or NoSequence.
func (b Batch) LastSequence() int32 {
	first := b.BaseSequence()
	if first == NoSequence {
		return NoSequence
	}
	return AddSequence(first, b.LastOffsetDelta())
}

// HasProducerID tells if an idempotent producer made the batch.
func (b Batch) HasProducerID() bool { return b.ProducerID() != NoProducerID }

// IsControl tells if the batch holds a control record (a transaction marker).
func (b Batch) IsControl() bool { return b.Attributes()&controlBit != 0 }

// IsTransactional tells if the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&transactionalBit != 0 }

// IsLogAppendTime tells if MaxTimestamp is the broker's time and holds for every record.
func (b Batch) IsLogAppendTime() bool { return b.Attributes()&logAppendTimeBit != 0 }

// Codec is how the records are compressed.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & codecMask) }

// Payload is the records' bytes, compressed or not.
func (b Batch) Payload() []byte { return b[HeaderSize:] }

// SetBaseOffset writes the base offset. The CRC does not cover it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[baseOffsetAt:], uint64(offset))
}

// SetLeaderEpoch writes the partition leader epoch. The CRC does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(epoch))
}

// SetLogAppendTime gives every record of the batch the broker's time, in
// milliseconds, and makes the CRC right again, which reads the whole batch.
func (b Batch) SetLogAppendTime(millis int64) {
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(b.Attributes())|logAppendTimeBit)
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(millis))
	b.sign()
}

// SetMaxTimestamp corrects what the header says is the largest timestamp, in
// milliseconds, and makes the CRC right again.
func (b Batch) SetMaxTimestamp(millis int64) {
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(millis))
	b.sign()
}

// sign computes the CRC and stores it.
func (b Batch) sign() {
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], castagnoli))
}

// CheckCRC tells if the stored CRC is the one of the bytes.
func (b Batch) CheckCRC() bool { return crc32.Checksum(b[attributesAt:], castagnoli) == b.CRC() }

// Next cuts the first batch off b. It reads the length only: ErrShort if b ends
// before the batch does, another error if the length is less than a header.
// An empty b gives a nil batch and no error.
func Next(b []byte) (batch Batch, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, nil
	}
	if len(b) < LogOverhead {
		return nil, b, ErrShort
	}
	size := int64(Batch(b).Length()) + LogOverhead
	if size < HeaderSize {
		return nil, b, fmt.Errorf("record batch of %d bytes is smaller than its header of %d", size, HeaderSize)
	}
	if size > int64(len(b)) {
		return nil, b, ErrShort
	}
	return Batch(b[:size:size]), b[size:], nil
}

// Split yields the batches of b one after the other. At the first one that
// cannot be cut off it yields the error of [Next] and ends.
func Split(b []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(b) > 0 {
			batch, rest, err := Next(b)
			if !yield(batch, err) || err != nil {
				return
			}
			b = rest
		}
	}
}

// AddSequence is sequence + n, wrapped around from math.MaxInt32 to 0 as
// producers count.
func AddSequence(sequence, n int32) int32 {
	if sequence > math.MaxInt32-n {
		return n - (math.MaxInt32 - sequence) - 1
	}
	return sequence + n
}
