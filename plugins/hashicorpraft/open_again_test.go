package hashicorpraft

import (
	"testing"

	"github.com/quorate/quorate/consensus"
)

// A group that is closed and opened again in the same process, as after a failure,
// hears its peers and is heard. The library closes its transport with itself.
func TestOpenAgain(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 3)
	stop := c.load(4)
	c.more(20)
	var members []consensus.Member
	for _, n := range c.all() {
		members = append(members, n.member)
	}
	for _, n := range c.all() {
		c.mu.Lock()
		delete(c.nodes, n.member.ReplicaID)
		c.mu.Unlock()
		n.stop()
		n.running.Wait()
		if err := n.group.Close(); err != nil {
			t.Fatal(err)
		}
		again := &node{c: c, backend: n.backend, member: n.member, state: n.state}
		again.open(consensus.OpenRecover, members...)
		c.more(20)
	}
	stop()
	c.check()
}
