package controller

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// nextReplicaTag is the tagged field of a refused AddRaftVoter that holds the id
// that would have been right, big endian, eight bytes.
const nextReplicaTag = 10002

// reserveReplica decides an AddRaftVoter's id of the replica: it must be one that
// nobody had, and nobody gets it again (rule M1). The replica is not added here.
func (r *round) reserveReplica(req *kmsg.AddRaftVoterRequest) *kmsg.AddRaftVoterResponse {
	resp := kmsg.NewPtrAddRaftVoterResponse()
	id, next := ReplicaOf(req.VoterID, req.VoterDirectoryID), r.delta.NextReplicaID()
	if id < next {
		resp.ErrorCode, resp.ErrorMessage = result(protocol.Errorf(protocol.DuplicateVoter, "replica id %d was used before, and ids are never used again; the next one is %d", id, next))
		SetNextReplica(&resp.UnknownTags, next)
		return resp
	}
	err := r.commit(metadata.ReplicaIDRecord{Next: id + 1})
	resp.ErrorCode, resp.ErrorMessage = result(err)
	return resp
}

// ReplicaOf returns the replica of the metadata log that Kafka's requests name by a
// node and its directory. Without a directory it is that with the node's id.
func ReplicaOf(node int32, directory [16]byte) uint64 {
	if replica, ok := protocol.ReplicaOfDirectory(directory); ok {
		return replica
	}
	return uint64(max(node, 0))
}

// SetNextReplica notes the id that would have been right in a refusal.
func SetNextReplica(tags *kmsg.Tags, next uint64) {
	tags.Set(nextReplicaTag, binary.BigEndian.AppendUint64(nil, next))
}

// NextReplica returns what SetNextReplica noted, 0 if nothing.
func NextReplica(tags *kmsg.Tags) (next uint64) {
	tags.Each(func(tag uint32, value []byte) {
		if tag == nextReplicaTag && len(value) == 8 {
			next = binary.BigEndian.Uint64(value)
		}
	})
	return next
}
