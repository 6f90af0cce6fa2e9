package hashicorpraft

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// addressBook is where members are. As long as they are the first ones, what
// the host says now goes before what the log says; once they were changed, the
// log is right: the host's list may be of the day on which it was written.
type addressBook struct {
	store *store
	self  raft.Server
	host  map[raft.ServerID]raft.ServerAddress
}

var _ raft.ServerAddressProvider = addressBook{}

func (g *group) addresses() addressBook {
	book := addressBook{
		store: g.store, self: raft.Server{ID: g.self, Address: raft.ServerAddress(g.b.streams.Addr().String())},
		host: map[raft.ServerID]raft.ServerAddress{},
	}
	for _, m := range g.spec.Members {
		if m.Address != "" {
			book.host[serverID(m.ReplicaID, m.BrokerID)] = raft.ServerAddress(m.Address)
		}
	}
	return book
}

// ServerAddr implements raft.ServerAddressProvider.
func (a addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	current := a.store.configuration()
	if id == a.self.ID {
		return a.self.Address, nil
	}
	if address, ok := a.host[id]; ok && current.index <= firstIndex {
		return address, nil
	}
	for _, s := range current.Servers {
		if s.ID == id {
			return s.Address, nil
		}
	}
	return "", fmt.Errorf("replica %s is no member", id)
}

// owner returns the replica that is at address, or NoLeader.
func (a addressBook) owner(address raft.ServerAddress) uint64 {
	for _, s := range a.store.configuration().Servers {
		if at, err := a.ServerAddr(s.ID); err == nil && at == address {
			return replicaID(s.ID)
		}
	}
	return consensus.NoLeader
}
