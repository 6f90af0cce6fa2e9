package group

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quorate/quorate/core/coordinator"
)

// Config is the group coordinator's settings. Kafka's name stands in brackets.
type Config struct {
	// MinSessionTimeout and MaxSessionTimeout bound what a member may ask for
	// [group.min.session.timeout.ms, group.max.session.timeout.ms]. Short sessions
	// notice death faster and cost heartbeats. Default 6 s and 30 min.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// InitialRebalanceDelay is how long the first rebalance of an empty group waits
	// for more members [group.initial.rebalance.delay.ms]. Default 3 s; 0 is right
	// where one consumer at a time is started, on a developer's machine.
	InitialRebalanceDelay time.Duration
	// NewMemberJoinTimeout is the session of a member that has joined and waits for
	// its first rebalance to end. Default 5 min, as in Kafka.
	NewMemberJoinTimeout time.Duration
	// MaxGroupSize is how many members a group may have, those included that only
	// got their member id [group.max.size]. Default 10000.
	MaxGroupSize int
	// MaxGroupBytes bounds what the members of a group tell their leader about
	// themselves, all together; whoever would exceed it is answered
	// GROUP_MAX_SIZE_REACHED. Default 64 MiB.
	MaxGroupBytes int
	// MaxGroups is how many groups one partition of __consumer_offsets may hold;
	// further ones are answered COORDINATOR_NOT_AVAILABLE. Default 100000.
	MaxGroups int
	// MaxOffsetMetadataBytes bounds the string that a commit may carry
	// [offset.metadata.max.bytes]. Default 4096.
	MaxOffsetMetadataBytes int
	// OffsetsRetention is how long offsets are kept after their group became empty,
	// or, without a group, after the commit [offsets.retention.minutes]. Default 7 days.
	OffsetsRetention time.Duration
	// OffsetsRetentionCheckInterval is how often it is looked for expired offsets
	// [offsets.retention.check.interval.ms]. Default 10 min.
	OffsetsRetentionCheckInterval time.Duration
	// Shard is the settings of the machinery below.
	Shard coordinator.Config
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		MinSessionTimeout:             6 * time.Second,
		MaxSessionTimeout:             30 * time.Minute,
		InitialRebalanceDelay:         3 * time.Second,
		NewMemberJoinTimeout:          5 * time.Minute,
		MaxGroupSize:                  10_000,
		MaxGroupBytes:                 64 << 20,
		MaxGroups:                     100_000,
		MaxOffsetMetadataBytes:        4096,
		OffsetsRetention:              7 * 24 * time.Hour,
		OffsetsRetentionCheckInterval: 10 * time.Minute,
		Shard:                         coordinator.DefaultConfig(),
	}
}

// Validate returns every problem at once.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.MinSessionTimeout > 0, "minimum session timeout %v: must be above 0", c.MinSessionTimeout)
	check(c.MaxSessionTimeout >= c.MinSessionTimeout, "maximum session timeout %v: must not be below the minimum %v", c.MaxSessionTimeout, c.MinSessionTimeout)
	check(c.InitialRebalanceDelay >= 0, "initial rebalance delay %v: must not be negative", c.InitialRebalanceDelay)
	check(c.NewMemberJoinTimeout > 0, "new member join timeout %v: must be above 0", c.NewMemberJoinTimeout)
	check(c.MaxGroupSize > 0, "maximum group size %d: must be above 0", c.MaxGroupSize)
	check(c.MaxGroupBytes > 0, "maximum group bytes %d: must be above 0", c.MaxGroupBytes)
	check(c.MaxGroups > 0, "maximum number of groups %d: must be above 0", c.MaxGroups)
	check(c.MaxOffsetMetadataBytes >= 0 && c.MaxOffsetMetadataBytes <= math.MaxInt16,
		"maximum offset metadata bytes %d: must be between 0 and %d", c.MaxOffsetMetadataBytes, math.MaxInt16)
	check(c.OffsetsRetention > 0, "offsets retention %v: must be above 0", c.OffsetsRetention)
	check(c.OffsetsRetentionCheckInterval > 0, "offsets retention check interval %v: must be above 0", c.OffsetsRetentionCheckInterval)
	errs = append(errs, c.Shard.Validate())
	return errors.Join(errs...)
}
