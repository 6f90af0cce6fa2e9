package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/core/wal/ring"
)

// SyncMode says when an append may be acknowledged.
type SyncMode uint8

// The modes, strictest first.
const (
	// SyncAlways: once it is on stable storage.
	SyncAlways SyncMode = iota
	// SyncInterval: at once; it is made durable soon after, through the commit log.
	SyncInterval
	// SyncOS: at once; it is made durable when the kernel likes, or somebody calls Sync.
	SyncOS
)

// CommitConfig is the settings of a Committer.
type CommitConfig struct {
	// Dir is the commit log's directory. On slow disks it may be on one of its own.
	Dir string
	// SegmentBytes is the size of its largest files. Default 256 MiB.
	SegmentBytes int64
	// SizeBytes is what it grows to; when that is used up, appends wait until logs
	// were synced. It bounds what a start after a crash has to replay. Default 1 GiB.
	SizeBytes int64
	// SyncInterval and SyncIntervalBytes are how long and how many bytes logs of
	// SyncInterval wait for a round. Defaults 100 ms and 16 MiB.
	SyncInterval      time.Duration
	SyncIntervalBytes int64
	// QueueBytes bounds the copies that wait for the disk; appends beyond wait.
	// Default 64 MiB.
	QueueBytes int64
	// CheckpointInterval is the shortest time between two checkpoints, unless half of
	// SizeBytes is used. Default 5 s. Kafka: log.flush.offset.checkpoint.interval.ms.
	CheckpointInterval time.Duration
	// SyncParallel is how many logs a checkpoint syncs at a time. Default 8.
	SyncParallel int
	// UnsafeTruncate ends the commit log at a damaged place instead of refusing it.
	// What was acknowledged behind is then lost, unless other replicas have it.
	UnsafeTruncate bool
}

// DefaultCommitConfig returns the defaults; Dir has none.
func DefaultCommitConfig() CommitConfig {
	r := ring.DefaultConfig()
	return CommitConfig{
		SegmentBytes:       r.SegmentBytes,
		SizeBytes:          r.SizeBytes,
		SyncInterval:       100 * time.Millisecond,
		SyncIntervalBytes:  16 << 20,
		QueueBytes:         64 << 20,
		CheckpointInterval: 5 * time.Second,
		SyncParallel:       8,
	}
}

func (c CommitConfig) ring() ring.Config {
	return ring.Config{SegmentBytes: c.SegmentBytes, SizeBytes: c.SizeBytes}
}

// Validate returns every problem of the config at once.
func (c CommitConfig) Validate() error {
	errs := []error{c.ring().Validate()}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Dir != "", "directory of the commit log is empty")
	check(c.SyncInterval > 0, "sync interval must be above 0, not %v", c.SyncInterval)
	check(c.SyncIntervalBytes > 0, "sync interval must be at least one byte, not %d", c.SyncIntervalBytes)
	check(c.QueueBytes > 0, "queue of the commit log must have at least one byte, not %d", c.QueueBytes)
	check(c.CheckpointInterval > 0, "checkpoint interval must be above 0, not %v", c.CheckpointInterval)
	check(c.SyncParallel > 0, "at least one log must be synced at a time, not %d", c.SyncParallel)
	return errors.Join(errs...)
}
