package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/controller"
	"github.com/quorate/quorate/protocol"
)

// leaderOf answers as the leader of a metadata log with these members does, and
// notes what it was asked for.
type leaderOf struct {
	members []consensus.Member
	refuse  int // so many requests to promote
	asked   []string
}

func (l *leaderOf) request(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	switch req := req.(type) {
	case *kmsg.DescribeQuorumRequest:
		return l.describe(), nil
	case *kmsg.AddRaftVoterRequest:
		id := controller.ReplicaOf(req.VoterID, req.VoterDirectoryID)
		l.asked = append(l.asked, fmt.Sprintf("promote %d at %s:%d", id, req.Listeners[0].Host, req.Listeners[0].Port))
		resp := kmsg.NewPtrAddRaftVoterResponse()
		if l.refuse > 0 {
			l.refuse--
			resp.ErrorCode = int16(protocol.RequestTimedOut)
			return resp, nil
		}
		at := slices.IndexFunc(l.members, func(m consensus.Member) bool { return m.ReplicaID == id })
		l.members[at].Role = consensus.Voter
		return resp, nil
	case *kmsg.RemoveRaftVoterRequest:
		id := controller.ReplicaOf(req.VoterID, req.VoterDirectoryID)
		l.asked = append(l.asked, fmt.Sprintf("remove %d", id))
		l.members = slices.DeleteFunc(l.members, func(m consensus.Member) bool { return m.ReplicaID == id })
		return kmsg.NewPtrRemoveRaftVoterResponse(), nil
	}
	return nil, errors.New("what is that")
}

func (l *leaderOf) describe() *kmsg.DescribeQuorumResponse {
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	for _, m := range l.members {
		s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		s.ReplicaID, s.ReplicaDirectoryID = m.BrokerID, protocol.DirectoryID(m.ReplicaID)
		if m.Role == consensus.Voter {
			p.CurrentVoters = append(p.CurrentVoters, s)
		} else {
			p.Observers = append(p.Observers, s)
		}
	}
	resp := kmsg.NewPtrDescribeQuorumResponse()
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Partitions = append(topic.Partitions, p)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

func voters(ids ...uint64) (out []consensus.Member) {
	for _, id := range ids {
		out = append(out, consensus.Member{ReplicaID: id, BrokerID: int32(id), Role: consensus.Voter})
	}
	return out
}

func TestLearner(t *testing.T) {
	learner7 := consensus.Member{ReplicaID: 7, BrokerID: 1, Role: consensus.LearnerMember}
	voter7 := learner7
	voter7.Role = consensus.Voter
	tests := []struct {
		name    string
		members []consensus.Member
		refuse  int
		want    []string
	}{
		{name: "is promoted", members: append(voters(2, 3), learner7), want: []string{"promote 7 at node1:7101"}},
		{name: "until it is granted", members: append(voters(2, 3), learner7), refuse: 2, want: []string{"promote 7 at node1:7101", "promote 7 at node1:7101", "promote 7 at node1:7101"}},
		{name: "is a voter already", members: append(voters(2, 3), voter7)},
		{name: "takes the place of its former replica", members: append(voters(1, 2, 3), learner7), want: []string{"promote 7 at node1:7101", "remove 1"}},
		{name: "the sixth stays a learner", members: append(voters(2, 3, 4, 5, 6), learner7)},
		{name: "one of five that comes back is a voter again", members: append(voters(1, 2, 3, 4, 5), learner7), want: []string{"promote 7 at node1:7101", "remove 1"}},
		{name: "a former replica goes, too, if it stays a learner", members: append(voters(2, 3, 4, 5, 6), learner7, consensus.Member{ReplicaID: 1, BrokerID: 1, Role: consensus.LearnerMember}), want: []string{"remove 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leader := &leaderOf{members: slices.Clone(tt.members), refuse: tt.refuse}
				settled, fenced := 0, 3
				l := &learner{
					self:    consensus.Member{ReplicaID: 7, BrokerID: 1, Address: "node1:7101"},
					cluster: "test", leads: leader.request,
					fenced:  func() bool { fenced--; return fenced >= 0 },
					settled: func() error { settled++; return nil },
					log:     slog.New(slog.DiscardHandler),
				}
				if err := l.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(leader.asked, tt.want) || settled != 1 {
					t.Errorf("asked for %q, settled %d times, want %q, once", leader.asked, settled, tt.want)
				}
			})
		})
	}
}

// A replica that is no member waits: nobody may take it for settled.
func TestLearnerWithoutPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader := &leaderOf{members: voters(2, 3)}
		ctx, stop := context.WithTimeout(t.Context(), 20*learnerPause)
		defer stop()
		l := &learner{
			self: consensus.Member{ReplicaID: 7, BrokerID: 1, Address: "node1:7101"}, leads: leader.request,
			fenced:  func() bool { return false },
			settled: func() error { t.Error("settled"); return nil },
			log:     slog.New(slog.DiscardHandler),
		}
		if err := l.run(ctx); err != nil || len(leader.asked) > 0 {
			t.Errorf("got %v, asked for %q", err, leader.asked)
		}
	})
}
