package consensustest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func proposal(term, seq uint64, payload string) consensus.Proposal {
	env := consensus.Envelope{ExpectedTerm: term, Sequence: seq, Payload: []byte(payload)}
	return consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: seq, Data: env.Append(nil)}
}

// admitted reads f's log up to index last and returns the payloads that count.
func admitted(t *testing.T, f *Fake, from, last uint64) []string {
	t.Helper()
	var gate consensus.Gate
	var got []string
	done := errors.New("done")
	err := f.Subscribe(t.Context(), consensus.Metadata, from, func(b consensus.Batch) error {
		for _, e := range b.Entries {
			payload, ok, err := gate.Admit(e)
			if err != nil {
				return err
			}
			if ok {
				got = append(got, string(payload))
			}
			if e.Index == last {
				return done
			}
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatalf("Subscribe: %v", err)
	}
	return got
}

func TestFakeOutcomes(t *testing.T) {
	tests := []struct {
		name     string
		fault    Fault
		proposal consensus.Proposal
		want     consensus.Outcome
		wantErr  error
		wantLog  string
	}{
		{name: "committed", proposal: proposal(3, 1, "a"), want: consensus.Committed, wantLog: "a"},
		{name: "unknown but committed", fault: UnknownCommitted, proposal: proposal(3, 1, "a"), want: consensus.Unknown, wantErr: consensus.ErrLeadershipLost, wantLog: "a"},
		{name: "unknown and lost", fault: UnknownLost, proposal: proposal(3, 1, "a"), want: consensus.Unknown, wantErr: consensus.ErrLeadershipLost},
		{name: "overloaded", fault: RejectedOverloaded, proposal: proposal(3, 1, "a"), want: consensus.Rejected, wantErr: consensus.ErrOverloaded},
		{name: "another term", proposal: proposal(2, 1, "a"), want: consensus.Rejected, wantErr: consensus.ErrTermMismatch},
		{name: "a gap", proposal: proposal(3, 2, "a"), want: consensus.Rejected, wantErr: consensus.ErrOutOfSequence},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := NewFake()
			f.Elect(3)
			if tt.fault != 0 {
				f.NextOutcome(tt.fault)
			}
			r := f.Propose(t.Context(), tt.proposal)
			if r.Outcome != tt.want || !errors.Is(r.Err, tt.wantErr) {
				t.Fatalf("got %v, %v, want %v, %v", r.Outcome, r.Err, tt.want, tt.wantErr)
			}
			f.Elect(4) // an entry of a higher term decides what is still unknown
			last := uint64(len(f.Cluster().Entries()))
			if got := strings.Join(admitted(t, f, 1, last), ","); got != tt.wantLog {
				t.Fatalf("log has %q, want %q", got, tt.wantLog)
			}
		})
	}
}

func TestFakeClusterSharesOneLog(t *testing.T) {
	c := NewFakeCluster(3)
	c.Elect(2, 5)
	if r := c.Replica(1).Propose(t.Context(), proposal(5, 1, "x")); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrNotLeader) {
		t.Fatalf("a follower's proposal: %+v", r)
	}
	if r := c.Replica(2).Propose(t.Context(), proposal(5, 1, "y")); r.Outcome != consensus.Committed || r.Index != 2 {
		t.Fatalf("the leader's proposal: %+v", r)
	}
	for id := uint64(1); id <= 3; id++ {
		if got := admitted(t, c.Replica(id), 1, 2); len(got) != 1 || got[0] != "y" {
			t.Fatalf("replica %d has %v", id, got)
		}
	}
	l, newer := c.Replica(2).LeaderFor(consensus.Metadata)
	if l.Role != consensus.LeaderReady || l.ReadyIndex != 1 || l.Term != 5 {
		t.Fatalf("leadership: %+v", l)
	}
	c.Replica(2).SetDown(true)
	<-newer
	if l, _ := c.Replica(1).LeaderFor(consensus.Metadata); l.Leader != consensus.NoLeader {
		t.Fatalf("leadership after the leader went down: %+v", l)
	}
}

func TestFakeHeldProposalIsUnknownOnceTheContextEnds(t *testing.T) {
	f := NewFake()
	f.Elect(1)
	f.Cluster().Hold()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := f.Propose(ctx, proposal(1, 1, "a")); r.Outcome != consensus.Unknown || !errors.Is(r.Err, consensus.ErrTimeout) {
		t.Fatalf("got %+v", r)
	}
	f.Cluster().Release()
	if r := f.Propose(t.Context(), proposal(1, 1, "b")); r.Outcome != consensus.Committed {
		t.Fatalf("after release: %+v", r)
	}
}

func TestFakeSnapshotAndCompaction(t *testing.T) {
	c := NewFakeCluster(2)
	c.Elect(1, 1)
	f := c.Replica(1)
	for seq := uint64(1); seq <= 4; seq++ {
		f.Propose(t.Context(), proposal(1, seq, "a"))
	}
	if err := f.Compact(3); !errors.Is(err, consensus.ErrNoSnapshot) {
		t.Fatalf("compacted without a snapshot: %v", err)
	}
	f.WantSnapshot(2)
	meta := consensus.SnapshotMeta{Index: 3, Term: 1, Format: "test"}
	if err := f.SaveSnapshot(t.Context(), consensus.Metadata, meta, strings.NewReader("state")); err != nil {
		t.Fatal(err)
	}
	if wanted, _ := f.SnapshotWanted(consensus.Metadata); wanted != 0 {
		t.Fatalf("still wanted: %d", wanted)
	}
	if err := f.SaveSnapshot(t.Context(), consensus.Metadata, meta, strings.NewReader("state")); !errors.Is(err, consensus.ErrSnapshotStale) {
		t.Fatalf("saved twice: %v", err)
	}
	for id := uint64(1); id <= 2; id++ { // the second gets the first one's
		f := c.Replica(id)
		if err := f.Compact(3); err != nil {
			t.Fatal(err)
		}
		never := func(consensus.Batch) error { return errors.New("delivered") }
		if err := f.Subscribe(t.Context(), consensus.Metadata, 3, never); !errors.Is(err, consensus.ErrCompacted) {
			t.Fatalf("subscribe below the log: %v", err)
		}
		if err := f.Subscribe(t.Context(), consensus.Metadata, 7, never); !errors.Is(err, consensus.ErrAheadOfLog) {
			t.Fatalf("subscribe beyond the log: %v", err)
		}
		m, r, err := f.Snapshot(t.Context(), consensus.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || string(data) != "state" || m.Index != 3 || m.Size != 5 {
			t.Fatalf("snapshot %+v %q %v", m, data, err)
		}
	}
}
