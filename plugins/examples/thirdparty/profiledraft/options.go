package profiledraft

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/options"
)

// profiles are the settings of etcd-raft that each profile stands for.
var profiles = map[string]map[string]int{
	"lan":   {},
	"small": {"log_segment_bytes": 8 << 20, "log_cache_bytes": 1 << 20, "max_inflight_bytes": 8 << 20, "peer_queue_length": 256},
	"wan":   {"max_message_bytes": 4 << 20, "max_inflight_msgs": 4096, "max_inflight_bytes": 256 << 20},
}

// settings declares the one that there is.
func settings(profile *string) *options.Set {
	s := &options.Set{}
	s.Choice(profile, "profile", "lan", slices.Sorted(maps.Keys(profiles)), "what to save: nothing (lan), memory (small) or round trips (wan)")
	return s
}

// schema is what `quorate plugin info` and `quorate config validate` show.
func schema() json.RawMessage { return settings(new(string)).Schema() }

// translate returns etcd-raft's settings for raw, or every problem of it.
func translate(raw json.RawMessage) (json.RawMessage, []consensus.Diagnostic) {
	var profile string
	if problems := settings(&profile).Read(raw); len(problems) > 0 {
		return nil, problems
	}
	translated, err := json.Marshal(profiles[profile])
	if err != nil {
		return nil, []consensus.Diagnostic{{Path: "profile", Message: err.Error()}}
	}
	return translated, nil
}
