package protocol

import (
	"bufio"
	"unsafe"
)

// FetchRequest is a Fetch request, version 4 to 18. What a version does not have
// holds what means "unknown" in later ones.
type FetchRequest struct {
	Version      int16
	ReplicaID    int32 // -1: a consumer
	ReplicaEpoch int64 // of the replica's registration; -1: unknown (KIP-903)

	MaxWaitMillis, MinBytes, MaxBytes int32

	Isolation               int8
	SessionID, SessionEpoch int32 // 0 and -1: no session (KIP-227)
	Topics                  []FetchTopic
	Forgotten               []ForgottenTopic
	Rack                    string

	memory, limit int // bytes of the lists so far, and that they may have
}

// Memory is what the request takes, in bytes.
func (r *FetchRequest) Memory() int { return int(unsafe.Sizeof(*r)) + r.memory }

// FetchTopic is one topic of a FetchRequest: by name up to v12, then by id.
type FetchTopic struct {
	Name       string
	ID         [16]byte
	Partitions []FetchPartition
}

// FetchPartition is one partition of a FetchRequest.
type FetchPartition struct {
	Partition          int32
	CurrentLeaderEpoch int32 // -1: unknown
	LastFetchedEpoch   int32 // -1: unknown
	MaxBytes           int32
	Offset, LogStart   int64
	// DurableEnd is the end of what a follower that is a broker of Quorate has on
	// stable storage, at most Offset; -1: it did not say.
	DurableEnd int64
	// KnownMark is the high watermark that such a follower was told last; -1: none, or
	// it did not say.
	KnownMark int64
}

// FollowerTag is the tag of a partition's DurableEnd and KnownMark, an int64 each. Kafka
// has no such field: brokers of Quorate say it to each other, and nobody else reads it.
const FollowerTag = 10000

// ForgottenTopic is partitions that leave a session.
type ForgottenTopic struct {
	Name       string
	ID         [16]byte
	Partitions []int32
}

// flexibleFetch is the first version of Fetch with tagged fields.
const flexibleFetch = 12

// DecodeFetch reads a request whose body is in memory. It keeps none of it.
func DecodeFetch(version int16, src []byte) (*FetchRequest, error) {
	return decodeFetch(version, &body{src: src})
}

// FetchWeight is the memory in bytes that a decoded request of size bytes may take.
// What honest clients send stays below: every topic that they name has a partition.
func FetchWeight(size int) int { return 5*size + 256 }

// StreamFetch reads a request of which size bytes are still to come. The result
// takes at most FetchWeight, or there is none.
func StreamFetch(version int16, in *bufio.Reader, size int) (*FetchRequest, error) {
	return decodeFetch(version, &body{in: in, left: size})
}

func decodeFetch(version int16, b *body) (*FetchRequest, error) {
	r := &FetchRequest{Version: version, ReplicaID: -1, ReplicaEpoch: -1, MaxBytes: 1<<31 - 1, SessionEpoch: -1}
	r.limit = FetchWeight(b.rest())
	flexible := version >= flexibleFetch
	if version <= 14 {
		r.ReplicaID = b.int32()
	}
	r.MaxWaitMillis, r.MinBytes = b.int32(), b.int32()
	if version >= 3 {
		r.MaxBytes = b.int32()
	}
	if version >= 4 {
		r.Isolation = b.int8()
	}
	if version >= 7 {
		r.SessionID, r.SessionEpoch = b.int32(), b.int32()
	}
	r.readTopics(b, flexible)
	if version >= 7 {
		r.readForgotten(b, flexible)
	}
	if version >= 11 {
		r.Rack = b.string(flexible)
	}
	if flexible {
		b.tags(r.tag)
	}
	if b.err == nil {
		b.skip(b.rest()) // a longer body is a later client's
	}
	return r, b.error("Fetch", version)
}

// tag reads what is tagged at the end of the request: the replica, from v15 on. The
// cluster's id (tag 0) is of no use here.
func (r *FetchRequest) tag(tag uint32, field *body) {
	if tag == 1 && r.Version >= 15 {
		r.ReplicaID, r.ReplicaEpoch = field.int32(), field.int64()
		field.tags(nil)
	}
}

// leastPartition is the fewest bytes that a partition takes in a version.
func leastPartition(version int16) int {
	least := 16
	if version >= 5 {
		least += 8
	}
	if version >= 9 {
		least += 4
	}
	if version >= flexibleFetch {
		least += 5
	}
	return least
}

// list reads the length of a list whose elements take at least so many bytes there
// and exactly so many in memory.
func list[T any](r *FetchRequest, b *body, flexible bool, least int) []T {
	n := b.count(flexible, least)
	if n == 0 {
		return nil
	}
	var element T
	if r.memory += n * int(unsafe.Sizeof(element)); r.memory > r.limit {
		b.refuse(errTooDense)
		return nil
	}
	return make([]T, n)
}

func (r *FetchRequest) readTopics(b *body, flexible bool) {
	least := leastPartition(r.Version)
	r.Topics = list[FetchTopic](r, b, flexible, 2)
	for i := range r.Topics {
		t := &r.Topics[i]
		t.Name, t.ID = r.readTopicName(b, flexible)
		t.Partitions = list[FetchPartition](r, b, flexible, least)
		for j := range t.Partitions {
			r.readPartition(b, &t.Partitions[j], flexible)
		}
		if flexible {
			b.tags(nil)
		}
		if b.err != nil {
			return
		}
	}
}

func (r *FetchRequest) readTopicName(b *body, flexible bool) (name string, id [16]byte) {
	if r.Version >= 13 {
		return "", b.uuid()
	}
	name = b.string(flexible)
	r.memory += len(name)
	return name, id
}

func (r *FetchRequest) readPartition(b *body, p *FetchPartition, flexible bool) {
	p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStart = -1, -1, -1
	p.DurableEnd, p.KnownMark = -1, -1
	p.Partition = b.int32()
	if r.Version >= 9 {
		p.CurrentLeaderEpoch = b.int32()
	}
	p.Offset = b.int64()
	if r.Version >= 12 {
		p.LastFetchedEpoch = b.int32()
	}
	if r.Version >= 5 {
		p.LogStart = b.int64()
	}
	p.MaxBytes = b.int32()
	if flexible {
		b.tags(func(tag uint32, field *body) {
			if tag == FollowerTag {
				p.DurableEnd, p.KnownMark = field.int64(), field.int64()
			}
		})
	}
}

func (r *FetchRequest) readForgotten(b *body, flexible bool) {
	r.Forgotten = list[ForgottenTopic](r, b, flexible, 2)
	for i := range r.Forgotten {
		t := &r.Forgotten[i]
		t.Name, t.ID = r.readTopicName(b, flexible)
		t.Partitions = list[int32](r, b, flexible, 4)
		for j := range t.Partitions {
			t.Partitions[j] = b.int32()
		}
		if flexible {
			b.tags(nil)
		}
		if b.err != nil {
			return
		}
	}
}
