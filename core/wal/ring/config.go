package ring

import (
	"errors"
	"fmt"
)

// Config is the size of a ring.
type Config struct {
	// SegmentBytes is the size of the largest files. Default 256 MiB.
	SegmentBytes int64
	// SizeBytes is what all files together grow to. It is a bound for files that are
	// made ahead; one that is needed at once is made all the same, so whoever fills the
	// ring has to look at Used. Default 1 GiB.
	SizeBytes int64
}

// firstBytes is the size of the first file: written in some milliseconds, and enough
// for a quiet node.
const firstBytes = 4 << 20

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{SegmentBytes: 256 << 20, SizeBytes: 1 << 30} }

// Validate returns every problem of the config at once.
func (c Config) Validate() error {
	var errs []error
	if c.SegmentBytes < blockSize {
		errs = append(errs, fmt.Errorf("a file of the commit log must have at least %d bytes, not %d", blockSize, c.SegmentBytes))
	}
	if c.SizeBytes < 2*c.SegmentBytes {
		errs = append(errs, fmt.Errorf("the commit log of %d bytes must have room for two files of %d: one is written while the other is checkpointed", c.SizeBytes, c.SegmentBytes))
	}
	return errors.Join(errs...)
}
