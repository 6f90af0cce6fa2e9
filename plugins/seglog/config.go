package seglog

import (
	"errors"
	"fmt"
	"time"
)

// Config has the settings of a Log.
type Config struct {
	// SegmentBytes is the size at which a segment is closed and the next one is
	// begun; a batch that is larger makes a segment larger. Default 64 MiB.
	SegmentBytes int64
	// CacheBytes is how much entry data, the newest of all groups, is kept in
	// memory. Default 16 MiB.
	CacheBytes int64
	// MaxRecordBytes bounds one record, when it is written and when it is read
	// back. Default 32 MiB.
	MaxRecordBytes int
	// Spares is how many segment files are kept ready: used ones, or new ones
	// filled with zeros in the background. Overwriting is twice as fast as
	// extending. 0 prepares none. Default 1.
	Spares int
	// FillStep and FillPause pace the filling of a new spare, which would slow
	// the syncs of the log otherwise. Default 1 MiB, 10 ms.
	FillStep  int
	FillPause time.Duration
}

// DefaultConfig returns the settings for production.
func DefaultConfig() Config {
	return Config{
		SegmentBytes:   64 << 20,
		CacheBytes:     16 << 20,
		MaxRecordBytes: 32 << 20,
		Spares:         1,
		FillStep:       1 << 20,
		FillPause:      10 * time.Millisecond,
	}
}

// Validate returns all problems of c, joined.
func (c Config) Validate() error {
	var errs []error
	between := func(name string, v, low, high int64) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s is %d, must be between %d and %d", name, v, low, high))
		}
	}
	between("segment bytes", c.SegmentBytes, 1<<10, 1<<30)
	between("cache bytes", c.CacheBytes, 0, 1<<40)
	between("max record bytes", int64(c.MaxRecordBytes), 256, 1<<28)
	between("spares", int64(c.Spares), 0, 16)
	between("fill step", int64(c.FillStep), 4<<10, 64<<20)
	between("fill pause", int64(c.FillPause), 0, int64(time.Minute))
	return errors.Join(errs...)
}
