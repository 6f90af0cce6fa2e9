package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// consumer is the replica id of a fetch that is not a replica's.
const consumer = -1

// maxFetchWait bounds a long poll, whatever the client asks for.
const maxFetchWait = 5 * time.Minute

// fetch answers Fetch (key 1), v4 to v17.
//
// It waits until min_bytes are there over all partitions, or max_wait has
// passed, or a partition has an error. The first batch comes whole even above
// max_bytes (KIP-74). Sessions (KIP-227) are not kept: a client that asks for
// one gets session id 0, which is Kafka's answer for "none", and sends whole
// requests from then on.
//
// Replicas fetch on the cluster listener only; a client that claims to be one
// is refused.
//
//	v12  DivergingEpoch for replicas (KIP-595)
//	v13  topic ids (KIP-516)
//	v16  the endpoints of leaders (KIP-951)
func (a *API) fetch(ctx context.Context, s *Session, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	resp := kmsg.NewPtrFetchResponse()
	if err := fetchRefused(s, req); err != nil {
		return refusedFetch(req, resp, err), nil
	}
	img := a.images.Current()
	f := fetching{api: a, img: img, req: req, resp: resp, hints: leaderHints{img: img, listener: s.Listener}}
	f.plan(s.Kind == Cluster)
	f.answer(a.replicas.Fetch(ctx, replica.FetchPlan{
		Parts:    f.parts,
		MinBytes: f.minBytes(),
		MaxBytes: min(int(req.MaxBytes), a.cfg.MaxFetchBytes),
		MaxWait:  min(time.Duration(max(req.MaxWaitMillis, 0))*time.Millisecond, maxFetchWait),
		Replica:  s.Kind == Cluster,
	}))
	return resp, nil
}

// fetchRefused returns why the whole request is refused.
func fetchRefused(s *Session, req *kmsg.FetchRequest) error {
	id, isReplica := replicaOf(req)
	if isReplica && s.Kind != Cluster {
		return protocol.Errorf(protocol.ClusterAuthorizationFailed, "replica %d may fetch on the cluster listener only", id)
	}
	if !isReplica && s.Kind == Cluster {
		return protocol.Errorf(protocol.ClusterAuthorizationFailed, "consumers fetch on a client listener")
	}
	if req.SessionID != 0 {
		return protocol.Errorf(protocol.FetchSessionIDNotFound, "no fetch session %d", req.SessionID)
	}
	return nil
}

func replicaOf(req *kmsg.FetchRequest) (id int32, isReplica bool) {
	id = req.ReplicaID
	if req.Version >= 15 {
		id = req.ReplicaState.ID
	}
	return id, id != consumer
}

// refusedFetch puts an error where the version has a place for it: before v7
// only partitions have one.
func refusedFetch(req *kmsg.FetchRequest, resp *kmsg.FetchResponse, err error) *kmsg.FetchResponse {
	code := int16(protocol.CodeOf(err))
	resp.ErrorCode = code
	if req.Version >= 7 {
		return resp
	}
	for _, t := range req.Topics {
		out := kmsg.NewFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, fetchError(p.Partition, code))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func fetchError(partition int32, code int16) kmsg.FetchResponseTopicPartition {
	out := kmsg.NewFetchResponseTopicPartition()
	out.Partition, out.ErrorCode = partition, code
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = -1, -1, -1
	out.RecordBatches = []byte{}
	return out
}

// fetching is one fetch request on its way through the partitions.
type fetching struct {
	api    *API
	img    *metadata.Image
	req    *kmsg.FetchRequest
	resp   *kmsg.FetchResponse
	hints  leaderHints
	parts  []replica.FetchPart
	places []place // of parts, in resp
	failed bool
}

type place struct{ topic, partition int }

// plan resolves every topic and partition that is asked for. Those that are not
// here have their error written already.
func (f *fetching) plan(isReplica bool) {
	for ti := range f.req.Topics {
		in := &f.req.Topics[ti]
		out := kmsg.NewFetchResponseTopic()
		out.Topic, out.TopicID = in.Topic, in.TopicID
		topic, err := f.topic(in)
		for pi := range in.Partitions {
			p := &in.Partitions[pi]
			if err != nil {
				out.Partitions = append(out.Partitions, fetchError(p.Partition, int16(protocol.CodeOf(err))))
				f.failed = true
				continue
			}
			out.Partitions = append(out.Partitions, fetchError(p.Partition, 0))
			f.parts = append(f.parts, replica.FetchPart{TopicID: topic.ID, Partition: p.Partition, ReadRequest: f.read(p, isReplica)})
			f.places = append(f.places, place{ti, pi})
		}
		f.resp.Topics = append(f.resp.Topics, out)
	}
}

func (f *fetching) topic(in *kmsg.FetchRequestTopic) (*metadata.Topic, error) {
	if f.req.Version >= 13 {
		if t, ok := f.img.TopicByID(in.TopicID); ok {
			return t, nil
		}
		return nil, protocol.Errorf(protocol.UnknownTopicID, "no topic with this id")
	}
	if t, ok := f.img.Topic(in.Topic); ok {
		return t, nil
	}
	return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "no topic %q", in.Topic)
}

func (f *fetching) read(p *kmsg.FetchRequestTopicPartition, isReplica bool) replica.ReadRequest {
	r := replica.ReadRequest{
		Offset:             p.FetchOffset,
		MaxBytes:           int(max(p.PartitionMaxBytes, 0)),
		CurrentLeaderEpoch: -1,
		LastFetchedEpoch:   -1,
		Isolation:          replica.Isolation(f.req.IsolationLevel),
	}
	if f.req.Version >= 9 {
		r.CurrentLeaderEpoch = p.CurrentLeaderEpoch
	}
	if f.req.Version >= 12 {
		r.LastFetchedEpoch = p.LastFetchedEpoch
	}
	if isReplica {
		id, _ := replicaOf(f.req)
		r.Replica = &replica.Follower{ID: id, Epoch: f.req.ReplicaState.Epoch}
	}
	return r
}

// minBytes is 0 when something failed already: an error is answered at once.
func (f *fetching) minBytes() int {
	if f.failed {
		return 0
	}
	return int(max(f.req.MinBytes, 0))
}

func (f *fetching) answer(results []replica.FetchResult) {
	for i, r := range results {
		at := f.places[i]
		t := &f.resp.Topics[at.topic]
		f.fill(t, &t.Partitions[at.partition], r)
	}
	for _, b := range f.hints.endpoints() {
		f.resp.Brokers = append(f.resp.Brokers, kmsg.FetchResponseBroker{NodeID: b.id, Host: b.host, Port: b.port, Rack: b.rack})
	}
}

func (f *fetching) fill(t *kmsg.FetchResponseTopic, out *kmsg.FetchResponseTopicPartition, r replica.FetchResult) {
	if r.Err != nil {
		f.fail(t, out, r.Err)
		if out.ErrorCode == int16(protocol.OffsetOutOfRange) {
			out.LogStartOffset = r.LogStart // where a follower that was away for long starts over
		}
		return
	}
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = r.HighWatermark, r.LastStable, r.LogStart
	if d := r.Diverging; d != nil {
		out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = d.Epoch, d.EndOffset
	}
	if r.Records != nil {
		out.RecordBatches = r.Records
	}
}

func (f *fetching) fail(t *kmsg.FetchResponseTopic, out *kmsg.FetchResponseTopicPartition, err error) {
	topic := t.Topic
	if known, ok := f.img.TopicByID(t.TopicID); ok {
		topic = known.Name
	}
	code := protocol.CodeOf(err)
	if code == protocol.UnknownTopicOrPartition {
		if known, ok := f.img.Topic(topic); ok {
			code = protocol.CodeOf(f.api.notHere(known, out.Partition, err))
		}
	}
	if code == protocol.UnknownServerError {
		f.api.log.Error("fetch failed", "topic", topic, "partition", out.Partition, "error", err)
	}
	out.ErrorCode = int16(code)
	if code == protocol.NotLeaderOrFollower || code == protocol.FencedLeaderEpoch {
		out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = f.hints.leader(topic, out.Partition)
	}
}
