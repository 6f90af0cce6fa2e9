package record

import (
	"errors"

	"github.com/quorate/quorate/protocol"
)

// Limits is what Validate accepts.
type Limits struct {
	// MaxBatchBytes is the largest batch, header included: Kafka's
	// max.message.bytes. 0 means no limit.
	MaxBatchBytes int
	// SingleBatch refuses more than one batch, as Kafka does for Produce v3 and later.
	SingleBatch bool
	// AllowControl accepts control batches (transaction markers): from other
	// brokers, never from clients.
	AllowControl bool
	// AllowCompacted accepts batches that lack some of their records, or all of them:
	// what a compaction leaves. From other brokers, never from clients.
	AllowCompacted bool
}

// Validate checks the batches of a records field: that each is whole, of magic 2,
// within the limits, has the CRC of its bytes, and a header whose numbers agree
// with each other. It reads no record and decompresses nothing.
//
// Errors are *protocol.Error: CORRUPT_MESSAGE if bytes were damaged or lengths
// lie, UNSUPPORTED_FOR_MESSAGE_FORMAT for magic 0 and 1, MESSAGE_TOO_LARGE above
// MaxBatchBytes, INVALID_RECORD for a batch that is whole but says what it may
// not, UNSUPPORTED_COMPRESSION_TYPE for a codec that does not exist.
func Validate(b []byte, limits Limits) error {
	if len(b) == 0 {
		return protocol.Errorf(protocol.InvalidRecord, "there must be at least one record batch")
	}
	for n := 0; len(b) > 0; n++ {
		if n > 0 && limits.SingleBatch {
			return protocol.Errorf(protocol.InvalidRecord, "there must be exactly one record batch for a partition")
		}
		rest, err := validateNext(b, limits)
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// validateNext validates the first batch of b and returns what follows it.
func validateNext(b []byte, limits Limits) (rest []byte, err error) {
	// Old formats have the magic at the same place but a shorter header, so this
	// comes before their length is judged by the new one.
	if len(b) > magicAt && b[magicAt] < magicV2 {
		return nil, protocol.Errorf(protocol.UnsupportedForMessageFormat,
			"record batches must be of format v2, not of magic %d: use a client of Kafka 0.11 or later", b[magicAt])
	}
	batch, rest, err := Next(b)
	switch {
	case errors.Is(err, ErrShort):
		return nil, protocol.Errorf(protocol.CorruptMessage, "record batch ends after %d bytes, before its own length", len(b))
	case err != nil:
		return nil, protocol.Errorf(protocol.CorruptMessage, "%v", err)
	case batch.Magic() != magicV2:
		return nil, protocol.Errorf(protocol.CorruptMessage, "record batch has an unknown magic %d", batch.Magic())
	case limits.MaxBatchBytes > 0 && len(batch) > limits.MaxBatchBytes:
		return nil, protocol.Errorf(protocol.MessageTooLarge,
			"record batch of %d bytes is larger than max.message.bytes, %d", len(batch), limits.MaxBatchBytes)
	case !batch.CheckCRC():
		return nil, protocol.Errorf(protocol.CorruptMessage, "record batch does not match its CRC")
	}
	return rest, validateHeader(batch, limits)
}

// validateHeader checks that the numbers of a whole batch agree with each other.
func validateHeader(b Batch, limits Limits) error {
	count, delta := b.Count(), b.LastOffsetDelta()
	switch {
	case count < 0 || count == 0 && !limits.AllowCompacted:
		return protocol.Errorf(protocol.InvalidRecord, "record batch says it has %d records", count)
	case delta < 0:
		return protocol.Errorf(protocol.InvalidRecord, "record batch has last offset delta %d", delta)
	case int64(delta)+1 != int64(count) && (!limits.AllowCompacted || count > delta):
		return protocol.Errorf(protocol.InvalidRecord, "record batch says it has %d records and last offset delta %d", count, delta)
	case b.Codec() > Zstd:
		return protocol.Errorf(protocol.UnsupportedCompressionType, "record batch says it is compressed with codec %d", b.Codec())
	case b.Codec() == None && int64(count)*minRecordSize > int64(len(b)-HeaderSize):
		return protocol.Errorf(protocol.InvalidRecord, "%d records do not fit into %d bytes", count, len(b)-HeaderSize)
	case int64(count)*minRecordSize > int64(DefaultDecompressLimits().MaxBytes):
		return protocol.Errorf(protocol.InvalidRecord, "%d records would be larger than anybody decompresses", count)
	case b.IsControl() && !limits.AllowControl:
		return protocol.Errorf(protocol.InvalidRecord, "clients may not write control records")
	case b.ProducerID() < NoProducerID:
		return protocol.Errorf(protocol.InvalidRecord, "record batch has the producer id %d", b.ProducerID())
	case b.HasProducerID():
		return validateProducer(b)
	case b.IsTransactional():
		return protocol.Errorf(protocol.InvalidRecord, "transactional record batch has no producer id")
	}
	return nil
}

// validateProducer checks the fields of a batch with a producer id.
func validateProducer(b Batch) error {
	switch {
	case b.ProducerEpoch() < 0:
		return protocol.Errorf(protocol.InvalidRecord, "record batch of producer %d has epoch %d", b.ProducerID(), b.ProducerEpoch())
	case b.BaseSequence() < 0 && !b.IsControl():
		return protocol.Errorf(protocol.InvalidRecord, "record batch of producer %d has base sequence %d", b.ProducerID(), b.BaseSequence())
	}
	return nil
}
