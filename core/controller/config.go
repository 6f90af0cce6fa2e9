package controller

import (
	"fmt"
	"time"

	"github.com/quorate/quorate/core/metadata"
)

// Config is the settings of a Controller and of a Registration.
type Config struct {
	// BrokerID is this broker's id.
	BrokerID int32
	// Incarnation is that of this process. A Registration makes one if it is zero; a
	// Controller then has to wait for the end of its own broker's former session.
	Incarnation metadata.UUID
	// ClusterID names the cluster; a metadata log that belongs to another one is
	// refused.
	ClusterID string

	// HeartbeatInterval is the time between a broker's heartbeats
	// (broker.heartbeat.interval.ms). Default 150 ms.
	HeartbeatInterval time.Duration
	// SessionTimeout is how long after its last heartbeat a broker is fenced
	// (broker.session.timeout.ms). Default 1.5 s.
	SessionTimeout time.Duration
	// ProbeAfter is how long after its last heartbeat a broker's cluster listener
	// is dialled: if nobody listens there, the broker is fenced at once. Default 250 ms.
	ProbeAfter time.Duration

	// NumPartitions of a topic whose creator did not say (num.partitions). Default 1.
	NumPartitions int32
	// DefaultReplicationFactor of a topic whose creator did not say
	// (default.replication.factor). Default 1.
	DefaultReplicationFactor int16
	// Defaults are the broker's settings that topics inherit, by broker names.
	Defaults metadata.BrokerDefaults

	// MaxPartitionsPerRequest bounds what one topic may ask for at once, so that
	// it fits into one proposal. Default 2000.
	MaxPartitionsPerRequest int
}

// DefaultConfig returns the defaults; BrokerID and ClusterID must be set.
func DefaultConfig() Config {
	return Config{
		HeartbeatInterval:        150 * time.Millisecond,
		SessionTimeout:           1500 * time.Millisecond,
		ProbeAfter:               250 * time.Millisecond,
		NumPartitions:            1,
		DefaultReplicationFactor: 1,
		MaxPartitionsPerRequest:  2000,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.BrokerID < 0:
		return fmt.Errorf("broker id %d is negative", c.BrokerID)
	case c.ClusterID == "":
		return fmt.Errorf("the cluster id is empty")
	case c.HeartbeatInterval <= 0:
		return fmt.Errorf("heartbeat interval %v is not positive", c.HeartbeatInterval)
	case c.ProbeAfter < c.HeartbeatInterval:
		return fmt.Errorf("probe after %v is shorter than the heartbeat interval %v", c.ProbeAfter, c.HeartbeatInterval)
	case c.SessionTimeout < 2*c.HeartbeatInterval:
		return fmt.Errorf("session timeout %v is shorter than two heartbeat intervals of %v", c.SessionTimeout, c.HeartbeatInterval)
	case c.NumPartitions < 1 || int(c.NumPartitions) > c.MaxPartitionsPerRequest:
		return fmt.Errorf("%d partitions by default, want 1 to %d", c.NumPartitions, c.MaxPartitionsPerRequest)
	case c.DefaultReplicationFactor < 1:
		return fmt.Errorf("replication factor %d by default", c.DefaultReplicationFactor)
	case c.MaxPartitionsPerRequest > maxPartitionsPerRequest:
		return fmt.Errorf("at most %d partitions fit into one proposal, not %d", maxPartitionsPerRequest, c.MaxPartitionsPerRequest)
	}
	return nil
}

// maxPartitionsPerRequest keeps one topic under maxProposalBytes.
const maxPartitionsPerRequest = 4000
