package etcdraft

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

func TestOptions(t *testing.T) {
	tests := []struct {
		name, raw string
		want      []string // paths of the problems
	}{
		{"none", ``, nil},
		{"null", `null`, nil},
		{"empty", `{}`, nil},
		{"all good", `{"log_segment_bytes": 1048576, "peer_queue_length": 64}`, nil},
		{"no object", `[1]`, []string{""}},
		{
			"every problem", `{"log_segment_bytes": 1, "peer_queue_length": "x", "max_inflight_msgs": null, "nonsense": 1}`,
			[]string{"log_segment_bytes", "max_inflight_msgs", "peer_queue_length", "nonsense"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range New().Validate(json.RawMessage(tt.raw)) {
				got = append(got, p.Path)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("problems at %q, want %q", got, tt.want)
			}
		})
	}
	defaults := map[string]int64{}
	for _, f := range optionFields {
		o := DefaultOptions()
		defaults[f.name] = *f.at(&o)
	}
	raw, err := json.Marshal(defaults)
	if err != nil || len(New().Validate(raw)) > 0 {
		t.Errorf("the defaults do not pass: %v", New().Validate(raw))
	}
}

func TestTimingKeepsTicksFine(t *testing.T) {
	tests := []struct {
		in                  consensus.Timing
		heartbeat, election int
		tick                time.Duration
	}{
		{consensus.Timing{}, 5, 50, 10 * time.Millisecond},
		{consensus.Timing{Heartbeat: 30 * time.Millisecond, ElectionTimeout: 300 * time.Millisecond}, 5, 50, 6 * time.Millisecond},
		{consensus.Timing{Heartbeat: 100 * time.Millisecond, ElectionTimeout: 200 * time.Millisecond}, 5, 10, 20 * time.Millisecond},
	}
	for _, tt := range tests {
		got, err := newTiming(tt.in)
		if err != nil || got.heartbeatTicks != tt.heartbeat || got.electionTicks != tt.election || got.tick != tt.tick {
			t.Errorf("%+v: got %+v, %v", tt.in, got, err)
		}
	}
	if _, err := newTiming(consensus.Timing{Heartbeat: time.Second, ElectionTimeout: time.Second}); err == nil {
		t.Error("an election timeout of one heartbeat was taken")
	}
}

func TestProposalsGetTheOutcomeOfTheirOwnEntry(t *testing.T) {
	entry := func(index, term uint64, data string) *raftpb.Entry {
		return &raftpb.Entry{Index: new(index), Term: new(term), Type: raftpb.EntryNormal.Enum(), Data: []byte(data)}
	}
	tests := []struct {
		name     string
		appended []*raftpb.Entry
		commits  []*raftpb.Entry
		want     []consensus.Outcome
		index    []uint64
	}{{
		name:     "in order, raft's own entries in between",
		appended: []*raftpb.Entry{entry(4, 3, ""), entry(5, 3, "\x01a"), entry(6, 3, "\x01b")},
		commits:  []*raftpb.Entry{entry(4, 3, ""), entry(5, 3, "\x01a"), entry(6, 3, "\x01b")},
		want:     []consensus.Outcome{consensus.Committed, consensus.Committed}, index: []uint64{5, 6},
	}, {
		name:     "another leader's entry at the index",
		appended: []*raftpb.Entry{entry(5, 3, "\x01a"), entry(6, 3, "\x01b")},
		commits:  []*raftpb.Entry{entry(5, 3, "\x01a"), entry(6, 4, "\x01z")},
		want:     []consensus.Outcome{consensus.Committed, consensus.Unknown}, index: []uint64{5, 0},
	}, {
		name:     "entries of another term are not the proposals",
		appended: []*raftpb.Entry{entry(5, 4, "\x01z")},
		commits:  []*raftpb.Entry{entry(5, 4, "\x01z")},
		want:     []consensus.Outcome{consensus.Unknown, consensus.Unknown}, index: []uint64{0, 0},
	}, {
		name:     "appended, and no more is known",
		appended: []*raftpb.Entry{entry(5, 3, "\x01a")},
		want:     []consensus.Outcome{consensus.Unknown, consensus.Unknown}, index: []uint64{0, 0},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := make([][]consensus.Result, 2)
			p := proposals{term: 3, waiting: make(map[uint64]proposal)}
			for i := range got {
				p.fifo = append(p.fifo, proposal{term: 3, done: func(r consensus.Result) { got[i] = append(got[i], r) }})
			}
			p.locate(tt.appended)
			for _, e := range tt.commits {
				p.commit(e)
			}
			p.abandon(consensus.ErrLeadershipLost)
			p.abandon(consensus.ErrLeadershipLost)
			for i, results := range got {
				if len(results) != 1 || results[0].Outcome != tt.want[i] || results[0].Index != tt.index[i] {
					t.Errorf("proposal %d: %+v, want one %v at %d", i, results, tt.want[i], tt.index[i])
				}
			}
		})
	}
}

func TestHistoryKnowsTheConfigurationAtAnIndex(t *testing.T) {
	h := history{{Index: 0}}
	h.add(config{Index: 10})
	h.add(config{Index: 20})
	for at, want := range map[uint64]uint64{1: 0, 9: 0, 10: 10, 19: 10, 20: 20, 99: 20} {
		if got := h.at(at).Index; got != want {
			t.Errorf("at %d: %d, want %d", at, got, want)
		}
	}
	h.forget(15)
	if got := h.at(16).Index; got != 10 || len(h) != 2 {
		t.Errorf("after forgetting: %d of %d", got, len(h))
	}
}

func FuzzReadFrame(f *testing.F) {
	good, err := appendFrame(nil, 7, bigMessage(2, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{255, 255, 255, 127, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		group, m, _, err := readFrame(bytes.NewReader(b), nil)
		if err != nil {
			return
		}
		again, err := appendFrame(nil, group, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := readFrame(bytes.NewReader(again), nil); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzStep gives raft what passes the checks of the transport and the loop.
func FuzzStep(f *testing.F) {
	body, err := appendFrame(nil, 1, heartbeat(2, 1, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body[frameHeader+8:])
	body, err = appendFrame(nil, 1, bigMessage(2, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body[frameHeader+8:])
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil || checkMessage(m, 2, 1) != nil {
			return
		}
		storage := raft.NewMemoryStorage()
		if err := storage.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			Index: new(uint64(3)), Term: new(uint64(1)), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}},
		}}); err != nil {
			t.Fatal(err)
		}
		b3 := &Backend{cfg: consensus.StartConfig{ReplicaID: 1}, options: DefaultOptions(), timing: timing{heartbeatTicks: 1, electionTicks: 10}}
		node, err := raft.NewRawNode(b3.raftConfig(storage, 0, log))
		if err != nil {
			t.Fatal(err)
		}
		g := &group{node: node, log: log, lastIndex: 3, oddPeers: time.Now()}
		g.stepMessage(m, time.Now())
		for node.HasReady() {
			node.Ready()
		}
	})
}

func FuzzReadSnapshotHead(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00{}"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = readSnapshotHead(bytes.NewReader(b), 2, 1)
	})
}
