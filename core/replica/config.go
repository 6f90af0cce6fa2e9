package replica

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/core/wal/disk"
)

// Config is the settings of a Manager.
type Config struct {
	// BrokerID is this broker's node.id.
	BrokerID int32
	// DataDir holds the partitions' directories; log.dirs in Kafka, which may have many.
	DataDir string
	// Log is how logs are opened. Its SegmentBytes, SegmentAge, SegmentJitter,
	// SegmentIndexBytes, IndexIntervalBytes, LogAppendTime and Sync are ignored: each
	// topic's configuration has them.
	Log wal.Config

	// SkipRecordCheck stores what producers send by its header and CRC alone: faster,
	// but one that is broken can then store a batch that no consumer can read. Default false.
	SkipRecordCheck bool

	// Commit is the commit log that makes appends durable. Its Dir is "wal" in DataDir
	// if it is empty.
	Commit wal.CommitConfig

	// FS holds the logs; nil: the operating system's. For tests.
	FS wal.FS

	// ReplicaLagTimeMax is how long a follower may be behind before it leaves the
	// ISR. Default 10 s. Kafka: replica.lag.time.max.ms.
	ReplicaLagTimeMax time.Duration
	// FetchMaxWait is how long a leader may hold a follower's fetch without new data.
	// Default 500 ms. Kafka: replica.fetch.wait.max.ms.
	FetchMaxWait time.Duration
	// FetchTimeout is how long beyond FetchMaxWait a follower waits for an answer.
	// Default 5 s.
	FetchTimeout time.Duration
	// FetchMinBytes is how much a leader waits for. Default 1. Kafka: replica.fetch.min.bytes.
	FetchMinBytes int
	// FetchMaxBytes bounds an answer to a follower. Default 10 MiB. Kafka:
	// replica.fetch.response.max.bytes.
	FetchMaxBytes int
	// FetchPartitionMaxBytes bounds one partition of it. Default 1 MiB. Kafka:
	// replica.fetch.max.bytes.
	FetchPartitionMaxBytes int
	// BackoffMin and BackoffMax bound the pause after a failed fetch; it doubles with
	// each failure and is spread at random. Defaults 20 ms and 1 s. Kafka:
	// replica.fetch.backoff.ms.
	BackoffMin, BackoffMax time.Duration

	// TopicDefaults are the broker's settings for topics that do not have their own,
	// by Kafka's broker names: "min.insync.replicas", "message.max.bytes",
	// "log.retention.ms". Default: Kafka's.
	TopicDefaults metadata.BrokerDefaults
	// RetentionInterval is how often retention is looked at. Default 5 minutes.
	// Kafka: log.retention.check.interval.ms.
	RetentionInterval time.Duration
	// CheckpointInterval is how often high watermarks are written to disk. Default 5 s.
	// Kafka: replica.high.watermark.checkpoint.interval.ms.
	CheckpointInterval time.Duration
	// SyncParallel is how many logs are synced to disk, or opened, at a time. Default
	// 16. Raise it on disks that like deep queues.
	SyncParallel int
	// CleanerThreads is how many logs are compacted at a time. Default 1. Kafka:
	// log.cleaner.threads.
	CleanerThreads int
	// CleanerBufferBytes is the memory for the keys of all of them, 24 bytes a key; a log
	// takes no more than it has offsets. Default 128 MiB. Kafka:
	// log.cleaner.dedupe.buffer.size.
	CleanerBufferBytes int
	// CleanerBytesPerSecond bounds what they read and write together; 0: no limit, the
	// default. Kafka: log.cleaner.io.max.bytes.per.second.
	CleanerBytesPerSecond int64
	// CleanerBackoff is how often logs are looked at. Default 15 s. Kafka:
	// log.cleaner.backoff.ms.
	CleanerBackoff time.Duration
	// MaxOpenFiles is how many files of partitions are kept open. Default 0: half of
	// what the process may open (RLIMIT_NOFILE).
	MaxOpenFiles int
}

// DefaultConfig returns the defaults. BrokerID and DataDir have none.
func DefaultConfig() Config {
	return Config{
		Log:                    wal.DefaultConfig(),
		Commit:                 wal.DefaultCommitConfig(),
		ReplicaLagTimeMax:      10 * time.Second,
		FetchMaxWait:           500 * time.Millisecond,
		FetchTimeout:           5 * time.Second,
		FetchMinBytes:          1,
		FetchMaxBytes:          10 << 20,
		FetchPartitionMaxBytes: 1 << 20,
		BackoffMin:             20 * time.Millisecond,
		BackoffMax:             time.Second,
		RetentionInterval:      5 * time.Minute,
		CheckpointInterval:     5 * time.Second,
		CleanerThreads:         1,
		CleanerBufferBytes:     128 << 20,
		CleanerBackoff:         15 * time.Second,
		SyncParallel:           16,
	}
}

// silentAfter is how long a follower that lives and fetches may not be heard of: its
// fetches are held for FetchMaxWait, and answered.
func (c Config) silentAfter() time.Duration { return min(c.ReplicaLagTimeMax, 2*c.FetchMaxWait) }

// fs is what logs are opened on.
func (c Config) fs() wal.FS {
	if c.FS == nil {
		return disk.OS{}
	}
	return c.FS
}

// commit is the commit log's settings with its directory.
func (c Config) commit() wal.CommitConfig {
	if c.Commit.Dir == "" {
		c.Commit.Dir = filepath.Join(c.DataDir, "wal")
	}
	return c.Commit
}

// Validate returns every problem of the settings at once.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.BrokerID >= 0, "broker id is %d; it must not be negative", c.BrokerID)
	check(c.DataDir != "", "data directory is empty")
	if err := c.Log.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := c.commit().Validate(); err != nil {
		errs = append(errs, err)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"replica lag time", c.ReplicaLagTimeMax},
		{"fetch max wait", c.FetchMaxWait},
		{"fetch timeout", c.FetchTimeout},
		{"minimum fetch back-off", c.BackoffMin},
		{"retention interval", c.RetentionInterval},
		{"checkpoint interval", c.CheckpointInterval},
		{"cleaner back-off", c.CleanerBackoff},
	} {
		check(d.value > 0, "%s is %s; it must be positive", d.name, d.value)
	}
	check(c.CleanerBytesPerSecond >= 0, "cleaner bytes per second are %d; they must not be negative", c.CleanerBytesPerSecond)
	check(c.MaxOpenFiles >= 0, "open files are %d at most; it must not be negative", c.MaxOpenFiles)
	check(c.BackoffMax >= c.BackoffMin, "maximum fetch back-off %s is below the minimum %s", c.BackoffMax, c.BackoffMin)
	for _, n := range []struct {
		name  string
		value int
	}{
		{"fetch min bytes", c.FetchMinBytes},
		{"fetch max bytes", c.FetchMaxBytes},
		{"fetch partition max bytes", c.FetchPartitionMaxBytes},
		{"sync parallelism", c.SyncParallel},
		{"cleaner threads", c.CleanerThreads},
		{"cleaner buffer", c.CleanerBufferBytes},
	} {
		check(n.value > 0, "%s is %d; it must be positive", n.name, n.value)
	}
	return errors.Join(errs...)
}
