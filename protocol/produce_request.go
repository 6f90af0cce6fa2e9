package protocol

import (
	"bufio"
	"io"
)

// ProduceRequest is a Produce request that is read partition by partition, so that
// no more than one of them is in memory. Version 0 to 13.
//
// Call Next until io.EOF; between, Records reads what belongs to the partition or
// nothing does, and it is passed over. Finish passes over what is left.
type ProduceRequest struct {
	Version       int16
	TransactionID *string
	Acks          int16
	TimeoutMillis int32

	body       body
	read       func(n int) ([]byte, error)
	part       ProducePartition
	topics     int // still to come, the current one not counted
	partitions int // still to come in the current topic
	unread     int // of the current partition's records, in bytes
	begun      bool
	done       bool
}

// ProducePartition is one partition of a ProduceRequest.
type ProducePartition struct {
	Topic     string   // up to v12
	TopicID   [16]byte // from v13 on
	NewTopic  bool     // the first partition of its entry in the list of topics
	Partition int32
	Size      int // of the records, in bytes; -1: null
}

// flexibleProduce is the first version of Produce with tagged fields.
const flexibleProduce = 9

// DecodeProduce begins to read a request whose body is in memory. Records shares it.
func DecodeProduce(version int16, src []byte) (*ProduceRequest, error) {
	r := &ProduceRequest{Version: version, body: body{src: src}}
	return r, r.begin()
}

// StreamProduce begins to read a request of which size bytes are still to come from
// in. read takes records from there that are more than in has buffered, n bytes, into
// memory that is the request's until its next method is called; its error ends the request.
func StreamProduce(version int16, in *bufio.Reader, size int, read func(n int) ([]byte, error)) (*ProduceRequest, error) {
	r := &ProduceRequest{Version: version, body: body{in: in, left: size}, read: read}
	return r, r.begin()
}

func (r *ProduceRequest) flexible() bool { return r.Version >= flexibleProduce }

// begin reads what comes before the topics.
func (r *ProduceRequest) begin() error {
	if r.Version >= 3 {
		if id, ok := r.body.nullableString(r.flexible()); ok {
			r.TransactionID = &id
		}
	}
	r.Acks = r.body.int16()
	r.TimeoutMillis = r.body.int32()
	r.topics = r.body.count(r.flexible(), 2)
	return r.Err()
}

// Err is why the request cannot be read on, or nil.
func (r *ProduceRequest) Err() error { return r.body.error("Produce", r.Version) }

// Next moves to the next partition. The error is io.EOF, bare, after the last one.
// The partition is valid until the next call.
func (r *ProduceRequest) Next() (*ProducePartition, error) {
	r.endPartition()
	r.part.NewTopic = false
	for r.partitions == 0 && r.body.err == nil {
		if r.part.NewTopic = r.nextTopic(); !r.part.NewTopic {
			break
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if r.done {
		return nil, io.EOF
	}
	r.partitions--
	r.begun = true
	r.part.Partition = r.body.int32()
	r.part.Size = r.body.length(r.flexible())
	r.unread = max(r.part.Size, 0)
	if r.unread > r.body.rest() {
		r.body.refuse(errTruncated)
	}
	return &r.part, r.Err()
}

// endPartition passes over what is left of the current partition.
func (r *ProduceRequest) endPartition() {
	if !r.begun {
		return
	}
	r.begun = false
	r.body.skip(r.unread)
	r.unread = 0
	if r.flexible() {
		r.body.tags(nil)
		if r.partitions == 0 {
			r.body.tags(nil) // the topic's
		}
	}
}

// nextTopic reads the beginning of the next topic; after the last one it reads the
// end of the request.
func (r *ProduceRequest) nextTopic() bool {
	if r.topics == 0 {
		if !r.done && r.flexible() {
			r.body.tags(nil)
		}
		r.done = true
		return false
	}
	r.topics--
	if r.Version >= 13 {
		r.part.TopicID = r.body.uuid()
	} else {
		r.part.Topic = r.body.string(r.flexible())
	}
	if r.partitions = r.body.count(r.flexible(), 5); r.partitions == 0 && r.flexible() {
		r.body.tags(nil)
	}
	return true
}

// Records reads the records of the partition that Next returned. They may be
// overwritten, and are valid until the next call of any method. Null is nil.
func (r *ProduceRequest) Records() ([]byte, error) {
	n := r.unread
	if r.part.Size < 0 {
		return nil, r.Err()
	}
	r.unread = 0
	if r.body.in == nil || n <= r.body.in.Buffered() {
		b := r.body.take(n)
		return b, r.Err()
	}
	p, err := r.read(n)
	if err != nil {
		r.body.fail(midFrame(err))
		return nil, r.Err()
	}
	r.body.left -= n
	return p, nil
}

// Finish passes over what was not read, and tells if the request was whole.
func (r *ProduceRequest) Finish() error {
	for {
		if _, err := r.Next(); err == io.EOF { //nolint:errorlint // bare, by contract
			r.body.skip(r.body.rest()) // a longer body is a later client's
			return r.Err()
		} else if err != nil {
			return err
		}
	}
}
