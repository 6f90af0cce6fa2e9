package hashicorpraft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// Options are this backend's own settings.
type Options struct {
	// LogStore is what the log is kept in: "seglog", the segment log that etcd-raft
	// uses too, or "raft-wal", the library's own companion, which can not tell
	// damage to its newest segment from a torn write. It counts for a new data
	// directory; an existing one keeps what it was made with, and is refused if
	// another one is asked for. Nothing, the default, means seglog for a new one.
	LogStore string `json:"log_store"`
	// LogSegmentBytes is the size of a log segment, which is allocated at once.
	// Default 64 MiB; smaller ones free disk sooner after a compaction.
	LogSegmentBytes int `json:"log_segment_bytes"`
	// MaxAppendEntries bounds how many entries are written with one sync, and
	// sent in one message. Default 512; 64 costs a fifth of the throughput.
	MaxAppendEntries int `json:"max_append_entries"`
}

// DefaultOptions are in effect for whatever is not set.
func DefaultOptions() Options {
	return Options{LogSegmentBytes: 64 << 20, MaxAppendEntries: 512}
}

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "log_store": {"type": "string", "enum": ["seglog", "raft-wal"], "default": "seglog",
      "description": "What the log is kept in: seglog, which etcd-raft uses too and which tells damage from a torn write, or raft-wal, the library's companion, so that two backends can be compared with storage held equal or not. A data directory keeps what it was made with."},
    "log_segment_bytes": {"type": "integer", "minimum": 1048576, "maximum": 1073741824, "default": 67108864,
      "description": "Size of a log segment, allocated at once."},
    "max_append_entries": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 512,
      "description": "How many entries are written with one sync and sent in one message, at most."}
  }
}`

// parseOptions returns the options and every problem in raw.
func parseOptions(raw json.RawMessage) (Options, []consensus.Diagnostic) {
	o := DefaultOptions()
	if len(bytes.TrimSpace(raw)) == 0 {
		return o, nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return o, []consensus.Diagnostic{{Message: "the options are not a JSON object: " + err.Error()}}
	}
	var problems []consensus.Diagnostic
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		var to *int
		var lowest, highest int
		switch key {
		case "log_store":
			if err := json.Unmarshal(keys[key], &o.LogStore); err != nil || o.LogStore != storeSegments && o.LogStore != storeRaftWAL {
				problems = append(problems, consensus.Diagnostic{Path: key, Message: fmt.Sprintf("%s is neither %q nor %q", keys[key], storeSegments, storeRaftWAL)})
			}
			continue
		case "log_segment_bytes":
			to, lowest, highest = &o.LogSegmentBytes, 1<<20, 1<<30
		case "max_append_entries":
			to, lowest, highest = &o.MaxAppendEntries, 1, 1024
		default:
			problems = append(problems, consensus.Diagnostic{Path: key, Message: "there is no such option"})
			continue
		}
		if err := json.Unmarshal(keys[key], to); err != nil || *to < lowest || *to > highest {
			problems = append(problems, consensus.Diagnostic{Path: key, Message: fmt.Sprintf("%s is not a whole number from %d to %d", keys[key], lowest, highest)})
		}
	}
	return o, problems
}

// raftConfig maps what the host asked for onto the library's settings.
//
// Heartbeats go out every HeartbeatTimeout/10, whatever Timing.Heartbeat says.
// The library's own snapshots are switched off by an interval that never ends.
// CommitTimeout is how long a follower may wait to learn of the last commit.
func raftConfig(cfg consensus.StartConfig, o Options) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = serverID(cfg.ReplicaID, cfg.BrokerID)
	c.HeartbeatTimeout = cfg.Timing.ElectionTimeout
	c.ElectionTimeout = cfg.Timing.ElectionTimeout
	c.LeaderLeaseTimeout = leaderLease(cfg.Timing)
	c.CommitTimeout = max(cfg.Timing.Heartbeat/5, time.Millisecond)
	c.MaxAppendEntries = o.MaxAppendEntries
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false
	c.SnapshotInterval = 10 * 365 * 24 * time.Hour
	c.SnapshotThreshold = 1 << 62
	c.NoLegacyTelemetry = true
	return c
}

// leaderLease is how long a leader goes on without an answer of a quorum: half of the
// election timeout, as in the library's defaults, unless the host asks for another
// one. Nothing is read by it. It is also the least that the heartbeat time-out can be
// lowered to when a leader is gone, so more would be waited for then.
func leaderLease(t consensus.Timing) time.Duration {
	if t.LeaderLease == 0 {
		return t.ElectionTimeout / 2
	}
	return min(t.LeaderLease, t.ElectionTimeout)
}
