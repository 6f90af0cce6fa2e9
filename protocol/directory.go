package protocol

import "encoding/binary"

// directoryMark begins every directory id that stands for a replica. Kafka's own
// reserved ids have zeros there.
var directoryMark = [8]byte{'q', 'u', 'o', 'r', 'a', 't', 'e', 1}

// DirectoryID is what Kafka's protocol calls the disk of a replica of the metadata
// log (KIP-853). Kafka draws it at random; here it is the replica's id, which is
// never used again either.
func DirectoryID(replica uint64) [16]byte {
	var id [16]byte
	copy(id[:], directoryMark[:])
	binary.BigEndian.PutUint64(id[8:], replica)
	return id
}

// ReplicaOfDirectory is the reverse of DirectoryID; ok is false for an id that
// stands for no replica, such as none.
func ReplicaOfDirectory(id [16]byte) (replica uint64, ok bool) {
	if [8]byte(id[:8]) != directoryMark {
		return 0, false
	}
	replica = binary.BigEndian.Uint64(id[8:])
	return replica, replica != 0
}
