package replica

import (
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
)

// settings is what a topic's configuration says to its replicas. It is
// comparable, to see if an image changed it.
type settings struct {
	minISR          int
	maxMessageBytes int
	deletes         bool // cleanup.policy
	retention       time.Duration
	retentionBytes  int64
	log             wal.Config
}

// maxMillis is the longest a time.Duration can hold.
const maxMillis = int64(1<<63-1) / int64(time.Millisecond)

func millis(n int64) time.Duration { return time.Duration(min(n, maxMillis)) * time.Millisecond }

// settingsOf returns a topic's settings in an image.
func (m *Manager) settingsOf(img *metadata.Image, topic string) settings {
	c := img.TopicConfig(topic, m.cfg.TopicDefaults)
	s := settings{
		minISR:          c.MinISR(),
		maxMessageBytes: c.MaxMessageBytes(),
		deletes:         c.Deletes(),
		retention:       millis(c.RetentionMillis()),
		retentionBytes:  c.RetentionBytes(),
		log:             m.cfg.Log,
	}
	s.log.SegmentBytes = c.SegmentBytes()
	s.log.SegmentAge = millis(c.SegmentMillis())
	s.log.IndexIntervalBytes = c.IndexIntervalBytes()
	s.log.LogAppendTime = c.LogAppendTime()
	return s
}

// retentionPolicy is what may be deleted: nothing at or above the high watermark.
func (s settings) retentionPolicy(highWatermark int64) wal.RetentionPolicy {
	return wal.RetentionPolicy{MaxAge: s.retention, MaxBytes: s.retentionBytes, UpTo: highWatermark}
}
