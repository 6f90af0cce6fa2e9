package wal

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quorate/quorate/core/wal/ring"
)

// Config is what a log is opened with. It may differ from topic to topic.
type Config struct {
	// SegmentBytes is the size at which a new segment is begun; one batch that is
	// larger gets a segment of its own. Default 1 GiB. Kafka: segment.bytes.
	SegmentBytes int64
	// SegmentAge is the age at which a new segment is begun although the old one is
	// not full, so that retention can delete it. Default 7 days; 0 means never.
	// Kafka: segment.ms.
	SegmentAge time.Duration
	// SegmentJitter is by how much at most SegmentAge is shortened, differently for each
	// segment, so that logs that were made together do not roll together. Default 0.
	// Kafka: segment.jitter.ms.
	SegmentJitter time.Duration
	// SegmentIndexBytes is the size of the offset index at which a new segment is begun.
	// Default 10 MiB. Kafka: segment.index.bytes.
	SegmentIndexBytes int
	// IndexIntervalBytes is how many bytes of batches lie between two entries of the
	// offset index. Default 4096. Kafka: index.interval.bytes.
	IndexIntervalBytes int
	// MaxBatchBytes is the largest batch a log is expected to hold, header included:
	// recovery takes a longer one for damage. Default 100 MiB, which is far above
	// max.message.bytes on purpose: that may be lowered while old batches stay.
	MaxBatchBytes int
	// ProducerExpiry is how long the state of a producer that writes nothing is kept.
	// Default 24 hours. Kafka: producer.id.expiration.ms.
	ProducerExpiry time.Duration
	// MaxProducers bounds how many producers' state is kept; above it those that wrote
	// nothing for the longest are forgotten. Default 100000, about 40 MB.
	MaxProducers int
	// Sync is when an append may be acknowledged. Default SyncAlways. Changing it to a
	// stricter mode syncs the log.
	Sync SyncMode
	// LogAppendTime gives every batch that is appended as leader the broker's time.
	// Default false. Kafka: message.timestamp.type.
	LogAppendTime bool
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		SegmentBytes:       1 << 30,
		SegmentAge:         7 * 24 * time.Hour,
		SegmentIndexBytes:  10 << 20,
		IndexIntervalBytes: 4096,
		MaxBatchBytes:      100 << 20,
		ProducerExpiry:     24 * time.Hour,
		MaxProducers:       100_000,
	}
}

// Validate returns every problem of the config at once.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.SegmentBytes > 0 && c.SegmentBytes <= math.MaxInt32, "segment bytes must be between 1 and %d, not %d", math.MaxInt32, c.SegmentBytes)
	check(c.SegmentAge >= 0, "segment age must not be negative, not %v", c.SegmentAge)
	check(c.SegmentJitter >= 0, "segment jitter must not be negative, not %v", c.SegmentJitter)
	check(c.SegmentIndexBytes > 0, "segment index bytes must be at least 1, not %d", c.SegmentIndexBytes)
	check(c.IndexIntervalBytes > 0, "index interval must be at least one byte, not %d", c.IndexIntervalBytes)
	check(c.MaxBatchBytes > 0, "max batch bytes must be at least 1, not %d", c.MaxBatchBytes)
	check(c.MaxBatchBytes <= ring.MaxPayload, "max batch bytes must be at most %d, not %d", ring.MaxPayload, c.MaxBatchBytes)
	check(c.Sync <= SyncOS, "sync mode %d is unknown", c.Sync)
	check(c.ProducerExpiry > 0, "producer expiry must be above 0, not %v", c.ProducerExpiry)
	check(c.MaxProducers > 0, "max producers must be at least 1, not %d", c.MaxProducers)
	return errors.Join(errs...)
}
