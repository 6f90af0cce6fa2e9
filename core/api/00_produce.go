package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// production is one produce request between its append and its answer.
type production struct {
	api     *API
	acks    int16
	timeout time.Duration
	refused error // why no partition of the request may be appended to
	resp    *kmsg.ProduceResponse
	waits   []produceWait
	hints   leaderHints
}

// produceWait is a partition that was appended to and is not acknowledged yet.
type produceWait struct {
	topic, partition int // in resp
	p                *replica.Partition
	appended         replica.Appended
}

// beginProduce answers Produce (key 0), v3 to v12.
//
// The append happens here, in request order and while the request is still arriving;
// the answer waits for acknowledgements, so that a produce that is waiting for its
// followers does not stop the next one from being appended.
//
//	acks  0    no answer; an error closes the connection, as the client's only sign
//	acks  1    on this broker's disk
//	acks -1    on the disks of the whole ISR, at least min.insync.replicas
//	v8    which records were wrong (KIP-467)
//	v10   who leads, with NOT_LEADER_OR_FOLLOWER (KIP-951)
func beginProduce(_ context.Context, a *API, s *Session, r *Request) Answer {
	req := r.Produce
	if req == nil {
		return func(context.Context) (protocol.Response, error) {
			return nil, fmt.Errorf("request of key %d decoded as %T", r.Key, r.Body)
		}
	}
	pr := &production{api: a, acks: req.Acks, timeout: a.cfg.RequestTimeout, resp: kmsg.NewPtrProduceResponse()}
	if req.TimeoutMillis > 0 {
		pr.timeout = time.Duration(req.TimeoutMillis) * time.Millisecond
	}
	pr.resp.Version = r.Version
	pr.refused = produceRefused(req)
	pr.hints = leaderHints{img: a.images.Current(), listener: s.Listener}
	pr.append(req)
	if req.Acks == 0 {
		return pr.unacknowledged
	}
	return pr.answer
}

// produceRefused returns why no partition of the request may be appended to.
func produceRefused(req *protocol.ProduceRequest) error {
	switch {
	case req.Version < 3:
		return protocol.Errorf(protocol.UnsupportedVersion, "produce v%d is not served; use v3 or later", req.Version)
	case req.Acks < -1 || req.Acks > 1:
		return protocol.Errorf(protocol.InvalidRequiredAcks, "acks is %d; use -1 (all), 0 or 1", req.Acks)
	case req.TransactionID != nil:
		return protocol.Errorf(protocol.InvalidRequest, "transactions are not served by this version")
	}
	return nil
}

// append appends what the request has for every partition, one after the other. Of a
// request that ends early the server closes the connection; what came is appended.
func (pr *production) append(req *protocol.ProduceRequest) {
	var topic *metadata.Topic
	var known bool
	for {
		in, err := req.Next()
		if err != nil {
			return // the end, or the server finds out the same
		}
		if in.NewTopic {
			topic, known = pr.hints.img.Topic(in.Topic)
			out := kmsg.NewProduceResponseTopic()
			out.Topic = in.Topic
			pr.resp.Topics = append(pr.resp.Topics, out)
		}
		out := &pr.resp.Topics[len(pr.resp.Topics)-1]
		part := kmsg.NewProduceResponseTopicPartition()
		part.Partition = in.Partition
		err = pr.refused
		if err == nil {
			err = produceTopicRefused(in.Topic, known)
		}
		if err == nil {
			err = pr.appendPartition(req, topic, in, &part)
		}
		if req.Err() != nil {
			return // the records did not come
		}
		if err != nil {
			pr.fail(&part, in.Topic, err)
		}
		out.Partitions = append(out.Partitions, part)
	}
}

// produceTopicRefused returns why clients may not produce to a topic. A record in
// an internal topic that its coordinator cannot read would keep it from loading.
func produceTopicRefused(topic string, known bool) error {
	switch {
	case isInternal(topic):
		return protocol.Errorf(protocol.InvalidTopicException, "%s is the broker's own topic; clients do not produce to it", topic)
	case !known:
		return protocol.Errorf(protocol.UnknownTopicOrPartition, "no topic %q", topic)
	}
	return nil
}

// appendPartition reads the records of a partition and appends them. Those that are
// too large are not even read.
func (pr *production) appendPartition(req *protocol.ProduceRequest, topic *metadata.Topic, in *protocol.ProducePartition, out *kmsg.ProduceResponseTopicPartition) error {
	p, err := pr.api.replicas.Partition(topic.ID, in.Partition)
	if err != nil {
		return pr.api.notHere(topic, in.Partition, err)
	}
	if err := p.CheckSize(in.Size); err != nil {
		return err
	}
	records, err := req.Records()
	if err != nil {
		return err
	}
	appended, err := p.Append(records, pr.acks, replica.AppendOptions{})
	if err != nil {
		return err
	}
	out.BaseOffset = appended.First
	out.LogStartOffset = appended.LogStart
	out.LogAppendTime = -1
	t := len(pr.resp.Topics) - 1
	pr.waits = append(pr.waits, produceWait{t, len(pr.resp.Topics[t].Partitions), p, appended})
	return nil
}

// fail writes an error into a partition's answer, with who leads it if that is
// what the client has to know.
func (pr *production) fail(out *kmsg.ProduceResponseTopicPartition, topic string, err error) {
	code := protocol.CodeOf(err)
	if code == protocol.UnknownServerError {
		pr.api.log.Error("produce failed", "topic", topic, "partition", out.Partition, "error", err)
	}
	out.ErrorCode = int16(code)
	out.ErrorMessage = protocol.MessageOf(err)
	if records, ok := errors.AsType[*record.RejectedError](err); ok {
		for _, r := range records.Records {
			out.ErrorRecords = append(out.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: r.Index, ErrorMessage: &r.Reason})
		}
	}
	out.BaseOffset, out.LogStartOffset, out.LogAppendTime = -1, -1, -1
	if code == protocol.NotLeaderOrFollower {
		out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = pr.hints.leader(topic, out.Partition)
	}
}

// answer waits for the acknowledgements of every partition.
func (pr *production) answer(ctx context.Context) (protocol.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, pr.timeout)
	defer cancel()
	for _, w := range pr.waits {
		if err := w.p.AwaitAcks(ctx, w.appended, pr.acks); err != nil {
			// The image may have moved on while this was waiting.
			pr.hints.img = pr.api.images.Current()
			t := &pr.resp.Topics[w.topic]
			pr.fail(&t.Partitions[w.partition], t.Topic, err)
		}
	}
	for _, b := range pr.hints.endpoints() {
		pr.resp.Brokers = append(pr.resp.Brokers, kmsg.ProduceResponseBroker{NodeID: b.id, Host: b.host, Port: b.port, Rack: b.rack})
	}
	return pr.resp, nil
}

// unacknowledged sends nothing. An error is worth a closed connection: it is all
// that an acks=0 producer can notice.
func (pr *production) unacknowledged(context.Context) (protocol.Response, error) {
	for _, t := range pr.resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("produce without acknowledgement to %s-%d: %s", t.Topic, p.Partition, protocol.ErrorCode(p.ErrorCode))
			}
		}
	}
	return nil, nil
}
