package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

var members = []consensus.Member{
	{ReplicaID: 1, BrokerID: 11, Address: "a:1", Role: consensus.Voter},
	{ReplicaID: 2, BrokerID: 12, Address: "b:1", Role: consensus.LearnerMember},
	{ReplicaID: 3, BrokerID: 13, Address: "c:1", Role: consensus.WitnessMember},
}

// over sends m through its bytes, as the network does.
func over[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	back, ok := m.ProtoReflect().New().Interface().(M)
	if !ok {
		t.Fatal("not the same type")
	}
	if err := proto.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	return back
}

func same[T any](t *testing.T, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%T changed on its way (-before +after):\n%s", want, d)
	}
}

// TestRoundTrip sends every value of the contract, fully set, there and back.
func TestRoundTrip(t *testing.T) {
	d := consensus.Description{
		PeerProtocol: 3,
		Backend:      "b", Version: "1.2", ContractMinor: 3,
		Capabilities: []consensus.Capability{consensus.CapMultiGroup, consensus.CapGroupQuiesce},
		Limits:       consensus.Limits{MaxGroups: 1, MaxMembers: 2, MaxProposalBytes: 3, MaxInflightProposals: 4, MaxInflightBytes: 5},
		ConfigSchema: json.RawMessage(`{}`),
	}
	same(t, d, DescriptionFromProto(over(t, DescriptionToProto(d))))

	ds := []consensus.Diagnostic{{Path: "a/b", Message: "bad"}, {Path: "c", Message: "odd", Warning: true}}
	same(t, ds, DiagnosticsFromProto(DiagnosticsToProto(ds)))

	start := consensus.StartConfig{
		ClusterID: "c", ReplicaID: 1 << 60, BrokerID: -1, DataDir: "/d", Options: json.RawMessage(`{"x":1}`),
		Peer: consensus.PeerEndpoint{Listen: "l", Advertise: "a", TLS: &consensus.PeerTLS{
			CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key"), ServerName: "s", AllowedSANs: []string{"x", "y"},
		}},
		Timing:    consensus.Timing{Heartbeat: time.Millisecond, ElectionTimeout: time.Second, LeaderLease: time.Minute},
		SessionID: "s", HostLease: 10 * time.Second, Required: []consensus.Capability{consensus.CapPreVote},
	}
	same(t, start, StartFromProto(over(t, StartToProto(start))))
	same(t, consensus.StartConfig{}, StartFromProto(over(t, StartToProto(consensus.StartConfig{}))))

	spec := consensus.GroupSpec{
		ID: 7, Name: "n", Mode: consensus.OpenRecover, Members: members,
		Tuning: consensus.GroupTuning{RetainEntries: 1, RetainBytes: 2, SnapshotRequestEntries: 3, SnapshotRequestBytes: 4},
	}
	same(t, spec, GroupSpecFromProto(over(t, GroupSpecToProto(spec))))

	m := consensus.Membership{Members: members, Outgoing: members[:1], ConfigIndex: 9, Pending: true}
	same(t, m, MembershipFromProto(over(t, MembershipToProto(m))))

	changes := []consensus.Change{{Op: consensus.AddLearner, Member: members[0]}, {Op: consensus.SetAddress, Member: members[1]}}
	same(t, changes, ChangesFromProto(ChangesToProto(changes)))

	for role := consensus.Follower; role <= consensus.Removed; role++ {
		l := consensus.Leadership{Term: 5, Leader: 2, Role: role, ReadyIndex: 3}
		same(t, l, LeadershipFromProto(over(t, LeadershipToProto(1, l, m))))
	}

	st := consensus.Status{
		Leadership: consensus.Leadership{Term: 1, Role: consensus.Leader}, FirstIndex: 1, LastIndex: 2, CommitIndex: 3, SnapshotIndex: 4,
		LogBytes: 5, Committed: 6, Rejected: 7, UnknownTotal: 8, LeaderChanges: 9,
		Peers: []consensus.PeerStatus{{ReplicaID: 1, Match: 2, Next: 3, InflightMessages: 4, QueueLength: 5, Dropped: 6, LastContact: 7 * time.Millisecond, State: "s"}},
	}
	same(t, st, StatusFromProto(over(t, StatusToProto(1, st, m))))

	p := consensus.Proposal{Group: 1, Term: 2, Sequence: 3, Data: []byte("d")}
	same(t, p, ProposalFromProto(over(t, ProposalToProto(p))))

	b := consensus.Batch{Entries: []consensus.Entry{{Index: 1, Term: 2, Internal: true}, {Index: 2, Term: 2, Data: []byte("x")}}, Commit: 9}
	same(t, b, BatchFromProto(over(t, BatchToProto(b))))

	s := consensus.SnapshotMeta{Index: 1, Term: 2, Format: "f", Size: 3}
	same(t, s, SnapshotMetaFromProto(over(t, SnapshotMetaToProto(1, s))))
}

func TestLeadershipNamesTheLeader(t *testing.T) {
	m := consensus.Membership{Members: members}
	if l := LeadershipToProto(1, consensus.Leadership{Leader: 2}, m); l.GetLeaderBrokerId() != 12 || l.GetLeaderAddress() != "b:1" {
		t.Errorf("known leader: got %v", l)
	}
	if l := LeadershipToProto(1, consensus.Leadership{}, m); l.GetLeaderBrokerId() != -1 || l.GetLeaderAddress() != "" {
		t.Errorf("unknown leader: got %v", l)
	}
}

// TestUnknownEnums: what a newer peer may send must come out harmless (rule V2).
func TestUnknownEnums(t *testing.T) {
	if l := LeadershipFromProto(&consensuspb.Leadership{Role: 99}); l.Role != consensus.Follower {
		t.Errorf("role: got %s", l.Role)
	}
	if r := ResultFromProto(&consensuspb.Result{Outcome: 99, Index: 5}); r.Outcome != consensus.Unknown || r.Index != 0 {
		t.Errorf("outcome: got %+v", r)
	}
	b := BatchFromProto(&consensuspb.EntryBatch{Entries: []*consensuspb.Entry{{Index: 1, Kind: 99, Data: []byte("x")}}})
	if !b.Entries[0].Internal || b.Entries[0].Data != nil {
		t.Errorf("entry kind: got %+v", b.Entries[0])
	}
	if err := ErrorFromProto(&consensuspb.Error{Code: 99, Message: "new"}); err == nil || err.Error() != "new" {
		t.Errorf("error code: got %v", err)
	}
}

func TestResults(t *testing.T) {
	for _, r := range []consensus.Result{
		{Outcome: consensus.Committed, Index: 4},
		{Outcome: consensus.Rejected, Err: consensus.ErrNotLeader},
		{Outcome: consensus.Unknown, Err: consensus.ErrLeadershipLost},
	} {
		got := ResultFromProto(over(t, ResultToProto(r)))
		if got.Outcome != r.Outcome || got.Index != r.Index || !errors.Is(got.Err, r.Err) || (r.Err == nil) != (got.Err == nil) {
			t.Errorf("got %+v, want %+v", got, r)
		}
	}
}

// TestErrors sends every sentinel, wrapped, both in-band and as a call's error.
func TestErrors(t *testing.T) {
	seen := map[consensuspb.ErrorCode]bool{}
	for _, s := range sentinels {
		wrapped := fmt.Errorf("group 1: %w", s.err)
		want := s.err
		if errors.Is(s.err, context.DeadlineExceeded) {
			want = consensus.ErrTimeout
		} else if seen[s.code] {
			t.Errorf("code %s is used twice", s.code)
		}
		seen[s.code] = true
		inBand := ErrorFromProto(over(t, ErrorToProto(wrapped)))
		inCall := FromStatus(ToStatus(wrapped))
		for _, got := range []error{inBand, inCall} {
			if !errors.Is(got, want) || got.Error() != wrapped.Error() {
				t.Errorf("%v: got %v", s.err, got)
			}
		}
	}
	for code := range consensuspb.ErrorCode_name {
		c := consensuspb.ErrorCode(code)
		if !seen[c] && c != consensuspb.ErrorCode_ERROR_CODE_UNSPECIFIED && c != consensuspb.ErrorCode_ERROR_CODE_INTERNAL {
			t.Errorf("code %s has no sentinel", c)
		}
	}
	if e := ErrorToProto(consensus.ErrOverloaded); e.GetRetryAfterMs() == 0 {
		t.Error("overloaded without a time to retry after")
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil || ErrorToProto(nil) != nil || ErrorFromProto(nil) != nil {
		t.Error("nil does not stay nil")
	}
}

func TestErrorsOfGRPC(t *testing.T) {
	for code, want := range map[codes.Code]error{
		codes.Unavailable:      consensus.ErrUnavailable,
		codes.Canceled:         consensus.ErrUnavailable,
		codes.DeadlineExceeded: consensus.ErrTimeout,
		codes.Unimplemented:    consensus.ErrUnsupported,
	} {
		if err := FromStatus(status.Error(code, "x")); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", code, err, want)
		}
	}
}

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]uint32{
		-1: 0, 0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Second: 1000, 1 << 62: 1<<32 - 1,
	} {
		if got := Millis(d); got != want {
			t.Errorf("Millis(%d) = %d, want %d", d, got, want)
		}
	}
}
