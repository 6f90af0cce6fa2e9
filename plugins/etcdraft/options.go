package etcdraft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/quorate/quorate/consensus"
)

// Options are the backend's own settings, the keys of StartConfig.Options.
type Options struct {
	// LogSegmentBytes is the size of a file of the log; two to three are on disk
	// beyond what the log's retention needs. Default 64 MiB.
	LogSegmentBytes int64
	// LogCacheBytes is how much of the newest entries stays in memory. Default 16 MiB.
	LogCacheBytes int64
	// MaxMessageBytes bounds the entries in one message to a peer; a single entry
	// may be larger. Default 1 MiB.
	MaxMessageBytes int64
	// MaxInflightMsgs is how many appends may be on their way to one peer. Default 256.
	MaxInflightMsgs int64
	// MaxInflightBytes is how many bytes of entries may be. Default 64 MiB.
	MaxInflightBytes int64
	// MaxUncommittedBytes bounds what a leader appends without a quorum.
	// Proposals beyond it are rejected. Default 64 MiB.
	MaxUncommittedBytes int64
	// PeerQueueLength is how many messages wait for one peer's connection. What
	// does not fit is dropped: raft sends again. Default 2048.
	PeerQueueLength int64
}

// DefaultOptions returns the settings that apply where none are given.
func DefaultOptions() Options {
	return Options{
		LogSegmentBytes:     64 << 20,
		LogCacheBytes:       16 << 20,
		MaxMessageBytes:     1 << 20,
		MaxInflightMsgs:     256,
		MaxInflightBytes:    64 << 20,
		MaxUncommittedBytes: 64 << 20,
		PeerQueueLength:     2048,
	}
}

type optionField struct {
	name      string
	about     string
	low, high int64
	at        func(*Options) *int64
}

var optionFields = []optionField{
	{"log_segment_bytes", "size of a file of the log", 1 << 20, 1 << 30, func(o *Options) *int64 { return &o.LogSegmentBytes }},
	{"log_cache_bytes", "newest entries kept in memory", 0, 4 << 30, func(o *Options) *int64 { return &o.LogCacheBytes }},
	{"max_message_bytes", "entries in one message to a peer", 4 << 10, 4 << 20, func(o *Options) *int64 { return &o.MaxMessageBytes }},
	{"max_inflight_msgs", "appends on their way to one peer", 1, 65536, func(o *Options) *int64 { return &o.MaxInflightMsgs }},
	{"max_inflight_bytes", "bytes of entries on their way to one peer", 4 << 20, 1 << 30, func(o *Options) *int64 { return &o.MaxInflightBytes }},
	{"max_uncommitted_bytes", "bytes appended without a quorum", 4 << 20, 1 << 30, func(o *Options) *int64 { return &o.MaxUncommittedBytes }},
	{"peer_queue_length", "messages waiting for one peer's connection", 64, 65536, func(o *Options) *int64 { return &o.PeerQueueLength }},
}

// parseOptions returns the options and every problem of raw.
func parseOptions(raw json.RawMessage) (Options, []consensus.Diagnostic) {
	options := DefaultOptions()
	if len(bytes.TrimSpace(raw)) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return options, nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return options, []consensus.Diagnostic{{Message: fmt.Sprintf("not a JSON object: %v", err)}}
	}
	var problems []consensus.Diagnostic
	for _, f := range optionFields {
		value, ok := given[f.name]
		delete(given, f.name)
		if !ok {
			continue
		}
		if problem := f.set(&options, value); problem != "" {
			problems = append(problems, consensus.Diagnostic{Path: f.name, Message: problem})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		problems = append(problems, consensus.Diagnostic{Path: name, Message: "no such option"})
	}
	return options, problems
}

// optionsError joins problems, nil without any.
func optionsError(problems []consensus.Diagnostic) error {
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%w: options/%s: %s", consensus.ErrInvalidArgument, p.Path, p.Message))
	}
	return errors.Join(errs...)
}

func (f optionField) set(o *Options, value json.RawMessage) (problem string) {
	var n int64
	if err := json.Unmarshal(value, &n); err != nil || bytes.Equal(value, []byte("null")) {
		return fmt.Sprintf("want an integer, got %.40s", value)
	}
	if n < f.low || n > f.high {
		return fmt.Sprintf("must be between %d and %d, got %d", f.low, f.high, n)
	}
	*f.at(o) = n
	return ""
}

// optionsSchema is the JSON Schema of the options.
func optionsSchema() json.RawMessage {
	type property struct {
		Type        string `json:"type"`
		Description string `json:"description"`
		Minimum     int64  `json:"minimum"`
		Maximum     int64  `json:"maximum"`
		Default     int64  `json:"default"`
	}
	defaults := DefaultOptions()
	properties := make(map[string]property)
	for _, f := range optionFields {
		properties[f.name] = property{"integer", f.about, f.low, f.high, *f.at(&defaults)}
	}
	schema, err := json.Marshal(map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"type":                 "object",
		"additionalProperties": false,
		"properties":           properties,
	})
	if err != nil {
		panic(err) // strings and integers only
	}
	return schema
}
