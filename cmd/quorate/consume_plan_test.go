package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestParseOffset(t *testing.T) {
	tests := []struct {
		text string
		want position
		// where it begins in a partition that has offsets 10 up to 20
		begins int64
	}{
		{"start", position{}, 10},
		{"beginning", position{}, 10},
		{"earliest", position{}, 10},
		{"end", position{fromEnd: true}, 20},
		{"latest", position{fromEnd: true}, 20},
		{"0", position{}, 10},
		{"9", position{n: 9}, 10},
		{"10", position{n: 10}, 10},
		{"15", position{n: 15}, 15},
		{"20", position{n: 20}, 20},
		{"999", position{n: 999}, 20},
		{"-1", position{fromEnd: true, n: 1}, 19},
		{"-10", position{fromEnd: true, n: 10}, 10},
		{"-11", position{fromEnd: true, n: 11}, 10},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := parseOffset(tt.text)
			if err != nil || got != tt.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, tt.want)
			}
			if begins := got.in(10, 20); begins != tt.begins {
				t.Errorf("begins at %d, want %d", begins, tt.begins)
			}
		})
	}
	for _, bad := range []string{"", "yesterday", "1.5", "--1", "99999999999999999999"} {
		if got, err := parseOffset(bad); exitCode(err, discard{}) != exitUsage {
			t.Errorf("%q: got %+v, %v, want an error of usage", bad, got, err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestRemaining(t *testing.T) {
	left := remaining{"a": {0: 2, 1: 1}, "b": {}}
	steps := []struct {
		topic     string
		partition int32
		offset    int64
		before    bool // the end
		empty     bool // afterwards
	}{
		{"a", 0, 0, true, false},
		{"a", 1, 0, true, false},
		{"a", 1, 1, false, false}, // came after the end was asked for
		{"a", 0, 1, true, true},
		{"c", 0, 0, false, true},
	}
	for _, s := range steps {
		if got := left.read(&kgo.Record{Topic: s.topic, Partition: s.partition, Offset: s.offset}); got != s.before {
			t.Errorf("%s-%d offset %d: before the end %v, want %v", s.topic, s.partition, s.offset, got, s.before)
		}
		if got := left.empty(); got != s.empty {
			t.Errorf("after %s-%d offset %d: empty %v, want %v", s.topic, s.partition, s.offset, got, s.empty)
		}
	}
	// Compaction and transactions leave gaps: the last record may be missing.
	gap := remaining{"a": {0: 5}}
	if gap.read(&kgo.Record{Topic: "a", Offset: 7}) || !gap.empty() {
		t.Errorf("a record beyond the end: %v is left", gap)
	}
}

func TestPlan(t *testing.T) {
	offsets := func(of ...int64) kadm.ListedOffsets {
		list := kadm.ListedOffsets{"a": {}}
		for p, at := range of {
			list["a"][int32(p)] = kadm.ListedOffset{Topic: "a", Partition: int32(p), Offset: at}
		}
		return list
	}
	failed := offsets(0, 0, 0)
	failed["a"][1] = kadm.ListedOffset{Topic: "a", Partition: 1, Err: kerr.LeaderNotAvailable}
	topic := kadm.TopicDetail{Topic: "a", Partitions: kadm.PartitionDetails{0: {}, 1: {}, 2: {}}}
	starts := offsets(0, 5, 0)
	ends := offsets(3, 9, 0)
	tests := []struct {
		name    string
		wanted  []int32
		at      position
		ends    kadm.ListedOffsets
		want    remaining
		wantErr string
	}{
		{"all from the start", nil, position{}, ends, remaining{"a": {0: 3, 1: 9}}, ""},
		{"one partition", []int32{1}, position{}, ends, remaining{"a": {1: 9}}, ""},
		{"from the end there is nothing", nil, position{fromEnd: true}, ends, remaining{"a": {}}, ""},
		{"beyond the end of some", nil, position{n: 4}, ends, remaining{"a": {1: 9}}, ""},
		{"no such partition", []int32{0, 3}, position{}, ends, nil, "topic a has no partition 3, only 0 to 2"},
		{"no offset", nil, position{}, offsets(3, 9), nil, "a-2: no broker told its offsets"},
		{"no leader", []int32{1}, position{}, failed, nil, "a-1: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plan{assignment: map[string]map[int32]kgo.Offset{}, left: remaining{}}
			err := p.add(topic, tt.wanted, tt.at, starts, tt.ends)
			if tt.wantErr != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.wantErr) {
					t.Errorf("got %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, p.left); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			want := len(topic.Partitions)
			if len(tt.wanted) > 0 {
				want = len(tt.wanted)
			}
			if got := len(p.assignment["a"]); got != want {
				t.Errorf("%d partitions are assigned, want %d", got, want)
			}
		})
	}
}
