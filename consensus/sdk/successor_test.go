package sdk

import (
	"testing"

	"github.com/quorate/quorate/consensus"
)

// ledGroup is a group that only knows who is in it.
type ledGroup struct {
	consensus.Group
	members []consensus.Member
	peers   []consensus.PeerStatus
}

func (g ledGroup) Leadership() (consensus.Leadership, <-chan struct{}) {
	return consensus.Leadership{Leader: 1, Role: consensus.LeaderReady}, nil
}
func (g ledGroup) Members() consensus.Membership { return consensus.Membership{Members: g.members} }
func (g ledGroup) Status() consensus.Status      { return consensus.Status{Peers: g.peers} }

func TestSuccessor(t *testing.T) {
	voter := func(id uint64) consensus.Member { return consensus.Member{ReplicaID: id, Role: consensus.Voter} }
	learner := consensus.Member{ReplicaID: 4, Role: consensus.LearnerMember}
	at := func(id, match uint64) consensus.PeerStatus { return consensus.PeerStatus{ReplicaID: id, Match: match} }
	tests := []struct {
		name string
		g    ledGroup
		want uint64
	}{
		{"alone", ledGroup{members: []consensus.Member{voter(1)}}, consensus.NoLeader},
		{"only a learner", ledGroup{members: []consensus.Member{voter(1), learner}, peers: []consensus.PeerStatus{at(4, 9)}}, consensus.NoLeader},
		{"the furthest voter", ledGroup{
			members: []consensus.Member{voter(1), voter(2), voter(3), learner},
			peers:   []consensus.PeerStatus{at(2, 5), at(3, 8), at(4, 9)},
		}, 3},
		{"no peers reported", ledGroup{members: []consensus.Member{voter(1), voter(2)}}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := successor(tt.g); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}
