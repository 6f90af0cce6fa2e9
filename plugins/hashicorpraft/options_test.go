package hashicorpraft

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// A leader goes on without its quorum for no longer than its followers wait, and for
// half of that by default, which is what a leader that is gone costs; the library takes every timing that the host may ask for.
func TestLeaderLease(t *testing.T) {
	const election = 200 * time.Millisecond
	for _, test := range []struct {
		name        string
		asked, want time.Duration
	}{
		{"nothing was asked for", 0, election / 2},
		{"less", 50 * time.Millisecond, 50 * time.Millisecond},
		{"more than it may be", time.Second, election},
	} {
		cfg := consensus.StartConfig{ReplicaID: 1, Timing: consensus.Timing{Heartbeat: 20 * time.Millisecond, ElectionTimeout: election, LeaderLease: test.asked}}
		c := raftConfig(cfg, DefaultOptions())
		if c.LeaderLeaseTimeout != test.want {
			t.Errorf("%s: a lease of %s, want %s", test.name, c.LeaderLeaseTimeout, test.want)
		}
		if err := raft.ValidateConfig(c); err != nil {
			t.Errorf("%s: the library refuses: %v", test.name, err)
		}
	}
}
