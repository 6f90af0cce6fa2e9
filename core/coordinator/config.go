package coordinator

import (
	"errors"
	"fmt"
	"time"
)

// Config is the settings of every shard of a topic.
type Config struct {
	// MailboxLength is how many events may wait for a shard. An event that finds the
	// mailbox full is answered COORDINATOR_NOT_AVAILABLE, which clients retry.
	// Default 1024.
	MailboxLength int
	// MaxParked is how many turns may wait for their batch to be committed; above
	// it the shard takes no events until the partition has caught up. Default 8192.
	MaxParked int
	// MaxBatchBytes is the size a batch is closed at. A turn that alone writes more
	// is still sent and judged by the partition (max.message.bytes). Default 512 KiB.
	MaxBatchBytes int
	// WriteTimeout is how long an answer waits for its records to be committed
	// [offsets.commit.timeout.ms]; after it the client is told to retry. Default 5 s.
	WriteTimeout time.Duration
	// LoadBytes is how much of the log is read at a time while loading. Default 1 MiB.
	LoadBytes int
	// LoadBackoff is the pause before loading is tried again after it failed. Default 1 s.
	LoadBackoff time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MailboxLength: 1024,
		MaxParked:     8192,
		MaxBatchBytes: 512 << 10,
		WriteTimeout:  5 * time.Second,
		LoadBytes:     1 << 20,
		LoadBackoff:   time.Second,
	}
}

// Validate returns every problem at once.
func (c Config) Validate() error {
	var errs []error
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"mailbox length", int64(c.MailboxLength)},
		{"maximum of parked turns", int64(c.MaxParked)},
		{"maximum batch bytes", int64(c.MaxBatchBytes)},
		{"write timeout", int64(c.WriteTimeout)},
		{"load bytes", int64(c.LoadBytes)},
		{"load back-off", int64(c.LoadBackoff)},
	} {
		if n.value <= 0 {
			errs = append(errs, fmt.Errorf("coordinator %s %d: must be above 0", n.name, n.value))
		}
	}
	return errors.Join(errs...)
}
