package group

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
)

// member is one member of a group. It belongs to the shard's goroutine.
type member struct {
	// What is in the log, of the protocols only the one that was chosen.
	id                               string
	instance                         *string // of a static member (KIP-345)
	clientID, clientHost             string
	rebalanceTimeout, sessionTimeout time.Duration
	protocols                        []protocolMetadata // in order of preference
	assignment                       []byte
	order                            uint64 // in which members came; leaders are chosen by it

	// What is not.
	fresh   bool // waits for its first rebalance; it may time out while it waits
	join    *joinReply
	sync    *syncReply
	session *coordinator.Timer
}

// protocolMetadata is a way of assigning that a member supports, and what it
// tells the leader about itself for it.
type protocolMetadata struct {
	name     string
	metadata []byte
}

// joinReply is a JoinGroup that waits for the rebalance to end.
type joinReply struct {
	version int16
	to      coordinator.Reply[*kmsg.JoinGroupResponse]
}

// syncReply is a SyncGroup that waits for the leader's.
type syncReply struct {
	version int16
	to      coordinator.Reply[*kmsg.SyncGroupResponse]
}

// maxIDPrefix bounds what of a client's id goes into the member id, which has to
// fit into a string of the protocol.
const maxIDPrefix = 255

func newMemberID(client ClientInfo, instance *string) string {
	prefix := client.ID
	if instance != nil {
		prefix = *instance
	}
	return prefix[:min(len(prefix), maxIDPrefix)] + "-" + uuid.NewString()
}

// update takes over what a JoinGroup says about the member.
func (m *member) update(req *kmsg.JoinGroupRequest, client ClientInfo) {
	m.clientID, m.clientHost = client.ID, client.Host
	m.sessionTimeout = time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	m.rebalanceTimeout = time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond
	if req.RebalanceTimeoutMillis < 0 { // v0 has none
		m.rebalanceTimeout = m.sessionTimeout
	}
	m.protocols = protocolsOf(req)
}

// protocolsOf copies the protocols out of the request.
func protocolsOf(req *kmsg.JoinGroupRequest) []protocolMetadata {
	protocols := make([]protocolMetadata, len(req.Protocols))
	for i, p := range req.Protocols {
		protocols[i] = protocolMetadata{name: p.Name, metadata: slices.Clone(p.Metadata)}
	}
	return protocols
}

func protocolBytes(req *kmsg.JoinGroupRequest) int {
	n := 0
	for _, p := range req.Protocols {
		n += len(p.Name) + len(p.Metadata)
	}
	return n
}

// matches reports whether the request would change what the leader knows.
func (m *member) matches(req *kmsg.JoinGroupRequest) bool {
	if len(m.protocols) != len(req.Protocols) {
		return false
	}
	for i, p := range req.Protocols {
		if m.protocols[i].name != p.Name || string(m.protocols[i].metadata) != string(p.Metadata) {
			return false
		}
	}
	return true
}

func (m *member) supports(protocol string) bool {
	return slices.ContainsFunc(m.protocols, func(p protocolMetadata) bool { return p.name == protocol })
}

func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.name == protocol {
			return p.metadata
		}
	}
	return nil
}
