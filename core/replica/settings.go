package replica

import (
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol/record"
)

// settings is what a topic's configuration says to its replicas, which share it: it is
// never changed. It is comparable, to see if an image changed it.
type settings struct {
	minISR          int
	maxMessageBytes int
	deletes         bool // cleanup.policy
	compacts        bool
	timestampBefore time.Duration // how far in the past a record's time may be
	timestampAfter  time.Duration // and in the future
	retention       time.Duration
	retentionBytes  int64
	flushMessages   int64         // the log is synced after so many records
	flushAfter      time.Duration // and after so long
	log             wal.Config

	minDirtyRatio                      float64 // from which on a log is compacted
	minCompactionLag, maxCompactionLag time.Duration
	deleteRetention                    time.Duration // of tombstones
}

// maxMillis is the longest a time.Duration can hold.
const maxMillis = int64(1<<63-1) / int64(time.Millisecond)

func millis(n int64) time.Duration { return time.Duration(min(n, maxMillis)) * time.Millisecond }

// settingsOf returns a topic's settings in an image.
func (m *Manager) settingsOf(img *metadata.Image, topic string) *settings {
	c := img.TopicConfig(topic, m.cfg.TopicDefaults)
	s := &settings{
		minISR:          c.MinISR(),
		maxMessageBytes: c.MaxMessageBytes(),
		deletes:         c.Deletes(),
		compacts:        c.Compacts(),
		timestampBefore: millis(c.TimestampBeforeMaxMillis()),
		timestampAfter:  millis(c.TimestampAfterMaxMillis()),
		retention:       millis(c.RetentionMillis()),
		retentionBytes:  c.RetentionBytes(),
		log:             m.cfg.Log,
	}
	s.log.SegmentBytes = c.SegmentBytes()
	s.log.SegmentAge = millis(c.SegmentMillis())
	s.log.SegmentJitter, s.log.SegmentIndexBytes = millis(c.SegmentJitterMillis()), c.SegmentIndexBytes()
	s.log.IndexIntervalBytes = c.IndexIntervalBytes()
	s.log.LogAppendTime = c.LogAppendTime()
	s.log.Sync = syncModeOf(c)
	s.minDirtyRatio = c.MinCleanableDirtyRatio()
	s.minCompactionLag, s.maxCompactionLag = millis(c.MinCompactionLagMillis()), millis(c.MaxCompactionLagMillis())
	s.deleteRetention = millis(c.DeleteRetentionMillis())
	if s.compacts { // only sealed segments are compacted
		s.log.SegmentAge = min(s.log.SegmentAge, s.maxCompactionLag)
	}
	s.flushMessages, s.flushAfter = c.FlushMessages(), millis(c.FlushMillis())
	return s
}

// recordRules is what the records of a producer's batch must be like now. On topics
// with LogAppendTime their own time is of no account.
func (s *settings) recordRules(now time.Time) record.Rules {
	rules := record.DefaultRules()
	rules.Keyed = s.compacts
	if !s.log.LogAppendTime {
		rules.Earliest = now.UnixMilli() - s.timestampBefore.Milliseconds()
		rules.Latest = now.UnixMilli() + s.timestampAfter.Milliseconds()
	}
	return rules
}

// syncModeOf returns when appends of a topic may be acknowledged. To flush after
// every single record is Kafka's way to say always.
func syncModeOf(c metadata.TopicConfig) wal.SyncMode {
	switch mode := c.DurabilitySync(); {
	case c.FlushMessages() == 1 || c.FlushMillis() == 0:
		return wal.SyncAlways
	case mode == "os":
		return wal.SyncOS
	case mode == "interval":
		return wal.SyncInterval
	default:
		return wal.SyncAlways
	}
}

// retentionPolicy is what may be deleted: nothing at or above the high watermark.
func (s *settings) retentionPolicy(highWatermark int64) wal.RetentionPolicy {
	return wal.RetentionPolicy{MaxAge: s.retention, MaxBytes: s.retentionBytes, UpTo: highWatermark}
}
