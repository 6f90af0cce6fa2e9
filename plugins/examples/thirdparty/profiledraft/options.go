package profiledraft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quorate/quorate/consensus"
)

// schema is what `quorate plugin info` and `quorate config validate` show.
var schema = json.RawMessage(`{
  "type": "object",
  "properties": {
    "profile": {
      "type": "string",
      "enum": ["lan", "small", "wan"],
      "default": "lan",
      "description": "what to save: nothing (lan), memory (small) or round trips (wan)"
    }
  },
  "additionalProperties": false
}`)

// profiles are the settings of etcd-raft that each profile stands for.
var profiles = map[string]map[string]int{
	"lan":   {},
	"small": {"log_segment_bytes": 8 << 20, "log_cache_bytes": 1 << 20, "max_inflight_bytes": 8 << 20, "peer_queue_length": 256},
	"wan":   {"max_message_bytes": 4 << 20, "max_inflight_msgs": 4096, "max_inflight_bytes": 256 << 20},
}

// translate returns etcd-raft's settings for options, or every problem of them.
func translate(options json.RawMessage) (json.RawMessage, []consensus.Diagnostic) {
	given := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(options)) > 0 {
		if err := json.Unmarshal(options, &given); err != nil {
			return nil, []consensus.Diagnostic{{Message: fmt.Sprintf("not a JSON object: %v", err)}}
		}
	}
	var problems []consensus.Diagnostic
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if key != "profile" {
			problems = append(problems, consensus.Diagnostic{Path: key, Message: "there is no such option; there is profile"})
		}
	}
	profile := "lan"
	if raw, ok := given["profile"]; ok {
		if err := json.Unmarshal(raw, &profile); err != nil {
			return nil, append(problems, consensus.Diagnostic{Path: "profile", Message: "must be a string"})
		}
	}
	settings, ok := profiles[profile]
	if !ok {
		names := strings.Join(slices.Sorted(maps.Keys(profiles)), ", ")
		problems = append(problems, consensus.Diagnostic{Path: "profile", Message: fmt.Sprintf("%q is none of %s", profile, names)})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	translated, err := json.Marshal(settings)
	if err != nil {
		return nil, []consensus.Diagnostic{{Path: "profile", Message: err.Error()}}
	}
	return translated, nil
}
