package etcdraft

import (
	"net"
	"slices"

	"github.com/quorate/quorate/consensus"
)

// addressBook knows where the other replicas are dialled. It has up to three
// opinions of each, and the sender tries them in turn: what the group's
// configuration says, what this replica's host says, and what the replica itself
// said when it connected. The last one is all there is for a replica that joins,
// and for one that was away while its leader was added: without an answer from it
// the leader could send it nothing.
type addressBook struct {
	groups   map[uint64]groupAddresses
	visitors map[uint64]visitor
}

// groupAddresses is what one group knows.
type groupAddresses struct {
	members, hints []consensus.Member
	removed        []uint64
}

// visitor is a replica that has connected and named its address.
type visitor struct {
	address string
	conn    net.Conn
}

func newAddressBook() addressBook {
	return addressBook{groups: make(map[uint64]groupAddresses), visitors: make(map[uint64]visitor)}
}

// candidates returns the addresses of every replica to send to.
func (b *addressBook) candidates(self uint64) map[uint64][]string {
	found := make(map[uint64][]string)
	add := func(id uint64, address string) {
		if id != self && address != "" && !slices.Contains(found[id], address) {
			found[id] = append(found[id], address)
		}
	}
	for _, g := range b.groups {
		for _, m := range g.members {
			add(m.ReplicaID, m.Address)
		}
	}
	for _, g := range b.groups {
		for _, m := range g.hints {
			if len(g.members) == 0 || slices.ContainsFunc(g.members, func(o consensus.Member) bool { return o.ReplicaID == m.ReplicaID }) {
				add(m.ReplicaID, m.Address)
			}
		}
	}
	for id, v := range b.visitors {
		if !b.removed(id) {
			add(id, v.address)
		}
	}
	return found
}

// removed tells whether some group has removed a replica and no other has it.
// Nothing is sent to it any more, whatever it asks.
func (b *addressBook) removed(id uint64) bool {
	removed := false
	for _, g := range b.groups {
		if slices.ContainsFunc(g.members, func(m consensus.Member) bool { return m.ReplicaID == id }) {
			return false
		}
		removed = removed || slices.Contains(g.removed, id)
	}
	return removed
}

// setGroup takes a group's configuration, and what the host says of its members.
// Senders of replicas that nobody knows any more end once their queue is sent.
func (t *transport) setGroup(group uint64, c config, hints []consensus.Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book.groups[group] = groupAddresses{members: c.Members, hints: hints, removed: c.Removed}
	t.updatePeers()
}

func (t *transport) forgetGroup(group uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.book.groups, group)
	t.updatePeers()
}

// welcome notes what a replica that has connected says of itself. An address
// without a host is completed from the connection.
func (t *transport) welcome(id uint64, address string, conn net.Conn) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || port == "0" {
		return
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		remote, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			return
		}
		address = net.JoinHostPort(remote, port)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book.visitors[id] = visitor{address, conn}
	t.updatePeers()
}

// farewell is called when a connection that was welcome has ended.
func (t *transport) farewell(id uint64, conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.book.visitors[id].conn == conn {
		delete(t.book.visitors, id)
		t.updatePeers()
	}
}

// updatePeers starts and ends senders as the address book wants it. The caller
// holds mu.
func (t *transport) updatePeers() {
	if t.ctx.Err() != nil {
		return
	}
	old, next := *t.peers.Load(), make(map[uint64]*peer)
	for id, addresses := range t.book.candidates(t.self) {
		p := old[id]
		if p == nil {
			p = newPeer(id, t)
			p.addresses.Store(&addresses)
			t.workers.Go(func() { p.run(t.ctx) })
		}
		p.addresses.Store(&addresses)
		next[id] = p
	}
	for id, p := range old {
		if next[id] == nil {
			close(p.retired)
		}
	}
	t.peers.Store(&next)
}
