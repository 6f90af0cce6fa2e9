package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Records are the record batches of one partition in a response: bytes in memory,
// or a part of a file. Whoever has them calls Release once.
type Records interface {
	Size() int
	// ReadAt reads from position at of the records, not of the file.
	io.ReaderAt
	Release()
}

// Bytes are Records in memory.
type Bytes []byte

// Size implements Records.
func (b Bytes) Size() int { return len(b) }

// ReadAt implements Records.
func (b Bytes) ReadAt(p []byte, at int64) (int, error) {
	n := copy(p, b[min(at, int64(len(b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Release implements Records.
func (Bytes) Release() {}

// FetchResponse is a Fetch response, version 4 to 18.
type FetchResponse struct {
	Version        int16
	ThrottleMillis int32
	ErrorCode      int16
	SessionID      int32
	Topics         []FetchedTopic
	Brokers        []FetchBroker // v16
}

// FetchedTopic is one topic of a FetchResponse: by name up to v12, then by id.
type FetchedTopic struct {
	Name       string
	ID         [16]byte
	Partitions []FetchedPartition
}

// FetchedPartition is one partition of a FetchResponse.
type FetchedPartition struct {
	Partition                           int32
	ErrorCode                           int16
	HighWatermark, LastStable, LogStart int64
	// DivergingEpoch and DivergingEnd are -1, or where the follower's log leaves the
	// leader's (KIP-595).
	DivergingEpoch int32
	DivergingEnd   int64
	// Leader and LeaderEpoch are -1, or whom to ask instead (KIP-951).
	Leader, LeaderEpoch int32
	// Aborted is nil for readers of uncommitted records.
	Aborted []AbortedTransaction
	Records Records // nil: none
}

// AbortedTransaction is a transaction whose records a reader of committed ones skips:
// those of the producer from First on, up to its next marker.
type AbortedTransaction struct{ ProducerID, First int64 }

// FetchBroker is where a leader is reached.
type FetchBroker struct {
	ID   int32
	Host string
	Port int32
	Rack *string
}

// NewFetchedPartition returns an answer without records and offsets.
func NewFetchedPartition(partition int32, code int16) FetchedPartition {
	return FetchedPartition{
		Partition: partition, ErrorCode: code,
		HighWatermark: -1, LastStable: -1, LogStart: -1,
		DivergingEpoch: -1, DivergingEnd: -1, Leader: -1, LeaderEpoch: -1,
	}
}

// Key is 1.
func (*FetchResponse) Key() int16 { return 1 }

// SetVersion sets the version to encode.
func (r *FetchResponse) SetVersion(version int16) { r.Version = version }

// IsFlexible tells if the version has tagged fields.
func (r *FetchResponse) IsFlexible() bool { return r.Version >= flexibleFetch }

// Release lets go of all records.
func (r *FetchResponse) Release() {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			if p.Records != nil {
				p.Records.Release()
				p.Records = nil
			}
		}
	}
}

// RecordsSize is the bytes of all records.
func (r *FetchResponse) RecordsSize() (n int) {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			if records := r.Topics[i].Partitions[j].Records; records != nil {
				n += records.Size()
			}
		}
	}
	return n
}

// Insert says that records belong into an encoded response at a position.
type Insert struct {
	At      int
	Records Records
}

// AppendFetchResponse appends a whole response, its length first, without the
// records: where they belong is appended to inserts.
func AppendFetchResponse(dst []byte, inserts []Insert, correlationID int32, r *FetchResponse) ([]byte, []Insert, error) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if r.IsFlexible() {
		dst = append(dst, 0) // no tags
	}
	e := fetchEncoder{dst: dst, inserts: inserts, version: r.Version, flexible: r.IsFlexible()}
	e.response(r)
	size := len(e.dst) - start - 4 + e.records
	if size > math.MaxInt32 {
		return dst, inserts, fmt.Errorf("a fetch response of %d bytes does not fit into a frame", size)
	}
	binary.BigEndian.PutUint32(e.dst[start:], uint32(size))
	return e.dst, e.inserts, nil
}

// fetchEncoder appends a response.
type fetchEncoder struct {
	dst      []byte
	inserts  []Insert
	records  int // bytes
	version  int16
	flexible bool
}

func (e *fetchEncoder) int16(v int16) { e.dst = binary.BigEndian.AppendUint16(e.dst, uint16(v)) }
func (e *fetchEncoder) int32(v int32) { e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(v)) }
func (e *fetchEncoder) int64(v int64) { e.dst = binary.BigEndian.AppendUint64(e.dst, uint64(v)) }
func (e *fetchEncoder) uvarint(v int) { e.dst = binary.AppendUvarint(e.dst, uint64(v)) }

// length appends the length of an array or of bytes.
func (e *fetchEncoder) length(n int) {
	if e.flexible {
		e.uvarint(n + 1)
	} else {
		e.int32(int32(n))
	}
}

func (e *fetchEncoder) string(s string) {
	if e.flexible {
		e.uvarint(len(s) + 1)
	} else {
		e.int16(int16(len(s))) // topic names are short
	}
	e.dst = append(e.dst, s...)
}

func (e *fetchEncoder) noTags() {
	if e.flexible {
		e.dst = append(e.dst, 0)
	}
}

func (e *fetchEncoder) response(r *FetchResponse) {
	e.int32(r.ThrottleMillis)
	if e.version >= 7 {
		e.int16(r.ErrorCode)
		e.int32(r.SessionID)
	}
	e.length(len(r.Topics))
	for i := range r.Topics {
		t := &r.Topics[i]
		if e.version >= 13 {
			e.dst = append(e.dst, t.ID[:]...)
		} else {
			e.string(t.Name)
		}
		e.length(len(t.Partitions))
		for j := range t.Partitions {
			e.partition(&t.Partitions[j])
		}
		e.noTags()
	}
	if e.flexible {
		e.brokers(r.Brokers)
	}
}

func (e *fetchEncoder) partition(p *FetchedPartition) {
	e.int32(p.Partition)
	e.int16(p.ErrorCode)
	e.int64(p.HighWatermark)
	e.int64(p.LastStable)
	if e.version >= 5 {
		e.int64(p.LogStart)
	}
	e.aborted(p.Aborted)
	if e.version >= 11 {
		e.int32(-1) // preferred read replica
	}
	size := 0
	if p.Records != nil {
		size = p.Records.Size()
	}
	e.length(size)
	if size > 0 {
		e.inserts = append(e.inserts, Insert{len(e.dst), p.Records})
		e.records += size
	}
	if e.flexible {
		e.partitionTags(p)
	}
}

func (e *fetchEncoder) aborted(all []AbortedTransaction) {
	if all == nil {
		e.length(-1)
		return
	}
	e.length(len(all))
	for _, a := range all {
		e.int64(a.ProducerID)
		e.int64(a.First)
		e.noTags()
	}
}

func (e *fetchEncoder) partitionTags(p *FetchedPartition) {
	diverges, moved := p.DivergingEpoch != -1 || p.DivergingEnd != -1, p.Leader != -1 || p.LeaderEpoch != -1
	tags := 0
	for _, there := range []bool{diverges, moved} {
		if there {
			tags++
		}
	}
	e.uvarint(tags)
	if diverges {
		e.dst = append(e.dst, 0, 13) // tag, size
		e.int32(p.DivergingEpoch)
		e.int64(p.DivergingEnd)
		e.noTags()
	}
	if moved {
		e.dst = append(e.dst, 1, 9)
		e.int32(p.Leader)
		e.int32(p.LeaderEpoch)
		e.noTags()
	}
}

// brokers appends the tags of the response.
func (e *fetchEncoder) brokers(brokers []FetchBroker) {
	if len(brokers) == 0 {
		e.noTags()
		return
	}
	field := fetchEncoder{version: e.version, flexible: true}
	field.length(len(brokers))
	for _, b := range brokers {
		field.int32(b.ID)
		field.string(b.Host)
		field.int32(b.Port)
		if b.Rack == nil {
			field.uvarint(0)
		} else {
			field.string(*b.Rack)
		}
		field.noTags()
	}
	e.dst = append(e.dst, 1, 0) // one tag, the first
	e.uvarint(len(field.dst))
	e.dst = append(e.dst, field.dst...)
}
