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
	api   *API
	req   *kmsg.ProduceRequest
	resp  *kmsg.ProduceResponse
	waits []produceWait
	hints leaderHints
}

// produceWait is a partition that was appended to and is not acknowledged yet.
type produceWait struct {
	topic, partition int // in resp
	p                *replica.Partition
	appended         replica.Appended
}

// beginProduce answers Produce (key 0), v3 to v12.
//
// The append happens here, in request order; the answer waits for
// acknowledgements, so that a produce that is waiting for its followers does not
// stop the next one from being appended.
//
//	acks  0    no answer; an error closes the connection, as the client's only sign
//	acks  1    on this broker's disk
//	acks -1    on the disks of the whole ISR, at least min.insync.replicas
//	v8    which records were wrong (KIP-467)
//	v10   who leads, with NOT_LEADER_OR_FOLLOWER (KIP-951)
func beginProduce(_ context.Context, a *API, s *Session, r *Request) Answer {
	req, ok := r.Body.(*kmsg.ProduceRequest)
	if !ok {
		return func(context.Context) (kmsg.Response, error) {
			return nil, fmt.Errorf("request of key %d decoded as %T", r.Key, r.Body)
		}
	}
	pr := &production{api: a, req: req, resp: kmsg.NewPtrProduceResponse()}
	pr.resp.Version = r.Version
	img := a.images.Current()
	pr.hints = leaderHints{img: img, listener: s.Listener}
	refused := produceRefused(req, r.Version)
	for ti := range req.Topics {
		pr.appendTopic(img, ti, refused)
	}
	if req.Acks == 0 {
		return pr.unacknowledged
	}
	return pr.answer
}

// produceRefused returns why no partition of the request may be appended to.
func produceRefused(req *kmsg.ProduceRequest, version int16) error {
	switch {
	case version < 3:
		return protocol.Errorf(protocol.UnsupportedVersion, "produce v%d is not served; use v3 or later", version)
	case req.Acks < -1 || req.Acks > 1:
		return protocol.Errorf(protocol.InvalidRequiredAcks, "acks is %d; use -1 (all), 0 or 1", req.Acks)
	case req.TransactionID != nil:
		return protocol.Errorf(protocol.InvalidRequest, "transactions are not served by this version")
	}
	return nil
}

func (pr *production) appendTopic(img *metadata.Image, ti int, refused error) {
	in := &pr.req.Topics[ti]
	out := kmsg.NewProduceResponseTopic()
	out.Topic = in.Topic
	topic, known := img.Topic(in.Topic)
	for pi := range in.Partitions {
		part := kmsg.NewProduceResponseTopicPartition()
		part.Partition = in.Partitions[pi].Partition
		err := refused
		if err == nil {
			err = produceTopicRefused(in.Topic, known)
		}
		if err == nil {
			err = pr.appendPartition(topic, &in.Partitions[pi], &part, ti, pi)
		}
		if err != nil {
			pr.fail(&part, in.Topic, err)
		}
		out.Partitions = append(out.Partitions, part)
	}
	pr.resp.Topics = append(pr.resp.Topics, out)
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

func (pr *production) appendPartition(topic *metadata.Topic, in *kmsg.ProduceRequestTopicPartition, out *kmsg.ProduceResponseTopicPartition, ti, pi int) error {
	p, err := pr.api.replicas.Partition(topic.ID, in.Partition)
	if err != nil {
		return pr.api.notHere(topic, in.Partition, err)
	}
	appended, err := p.Append(in.Records, pr.req.Acks, replica.AppendOptions{})
	if err != nil {
		return err
	}
	out.BaseOffset = appended.First
	out.LogStartOffset = appended.LogStart
	out.LogAppendTime = -1
	pr.waits = append(pr.waits, produceWait{ti, pi, p, appended})
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
func (pr *production) answer(ctx context.Context) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, pr.timeout())
	defer cancel()
	for _, w := range pr.waits {
		if err := w.p.AwaitAcks(ctx, w.appended, pr.req.Acks); err != nil {
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
func (pr *production) unacknowledged(context.Context) (kmsg.Response, error) {
	for _, t := range pr.resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("produce without acknowledgement to %s-%d: %s", t.Topic, p.Partition, protocol.ErrorCode(p.ErrorCode))
			}
		}
	}
	return nil, nil
}

func (pr *production) timeout() time.Duration {
	if pr.req.TimeoutMillis <= 0 {
		return pr.api.cfg.RequestTimeout
	}
	return time.Duration(pr.req.TimeoutMillis) * time.Millisecond
}
