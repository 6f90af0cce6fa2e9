package api

import (
	"context"
	"fmt"
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// consumer is the replica id of a fetch that is not a replica's.
const consumer = -1

// maxFetchWait bounds a long poll, whatever the client asks for.
const maxFetchWait = 5 * time.Minute

// beginFetch answers Fetch (key 1), v4 to v17.
//
// It waits until min_bytes are there over all partitions, or max_wait has
// passed, or a partition has an error. The first batch comes whole even above
// max_bytes (KIP-74). With isolation_level 1 it ends at the last stable offset, and has the
// aborted transactions among the records.
//
// Replicas fetch on the cluster listener only; a client that claims to be one
// is refused.
//
//	v7   sessions (KIP-227); id 0 in the answer is "none", as in Kafka
//	v12  DivergingEpoch for replicas (KIP-595)
//	v13  topic ids (KIP-516)
//	v16  the endpoints of leaders (KIP-951)
func beginFetch(_ context.Context, a *API, s *Session, r *Request) Answer {
	kind, listener := s.Kind, s.Listener
	return func(ctx context.Context) (protocol.Response, error) {
		if r.Fetch == nil {
			return nil, fmt.Errorf("request of key %d decoded as %T", r.Key, r.Body)
		}
		return a.fetch(ctx, kind, listener, r.Fetch), nil
	}
}

func (a *API) fetch(ctx context.Context, kind Kind, listener string, req *protocol.FetchRequest) *protocol.FetchResponse {
	if err := fetchRefused(kind, req); err != nil {
		return refusedFetch(req, err)
	}
	session, topics, err := a.sessions.begin(kind, req)
	if err != nil {
		return refusedFetch(req, err)
	}
	img := a.images.Current()
	f := fetching{api: a, img: img, req: req, topics: topics, resp: &protocol.FetchResponse{}, hints: leaderHints{img: img, listener: listener}}
	if kind == Cluster {
		f.reader = &replica.Follower{ID: req.ReplicaID, Epoch: req.ReplicaEpoch}
	}
	f.plan()
	f.answer(a.replicas.Fetch(ctx, replica.FetchPlan{
		Parts:    f.parts,
		MinBytes: f.minBytes(),
		MaxBytes: min(int(req.MaxBytes), a.cfg.MaxFetchBytes),
		MaxWait:  min(time.Duration(max(req.MaxWaitMillis, 0))*time.Millisecond, maxFetchWait),
		Replica:  kind == Cluster,
	}))
	a.sessions.end(session, f.resp)
	return f.resp
}

// fetchRefused returns why the whole request is refused.
func fetchRefused(kind Kind, req *protocol.FetchRequest) error {
	isReplica := req.ReplicaID != consumer
	if isReplica && kind != Cluster {
		return protocol.Errorf(protocol.ClusterAuthorizationFailed, "replica %d may fetch on the cluster listener only", req.ReplicaID)
	}
	if !isReplica && kind == Cluster {
		return protocol.Errorf(protocol.ClusterAuthorizationFailed, "consumers fetch on a client listener")
	}
	return nil
}

// refusedFetch puts an error where the version has a place for it: before v7
// only partitions have one.
func refusedFetch(req *protocol.FetchRequest, err error) *protocol.FetchResponse {
	code := int16(protocol.CodeOf(err))
	resp := &protocol.FetchResponse{ErrorCode: code}
	if req.Version >= 7 {
		return resp
	}
	for _, t := range req.Topics {
		out := protocol.FetchedTopic{Name: t.Name}
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, protocol.NewFetchedPartition(p.Partition, code))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// fetching is one fetch request on its way through the partitions.
type fetching struct {
	api    *API
	img    *metadata.Image
	req    *protocol.FetchRequest
	topics []protocol.FetchTopic // that are asked for: of the request, or of its session
	reader *replica.Follower     // nil: a consumer
	resp   *protocol.FetchResponse
	hints  leaderHints
	parts  []replica.FetchPart
	places []place // of parts, in resp
	failed bool
}

type place struct{ topic, partition int }

// plan resolves every topic and partition that is asked for. Those that are not
// here have their error written already.
func (f *fetching) plan() {
	f.resp.Topics = make([]protocol.FetchedTopic, len(f.topics))
	for ti := range f.topics {
		in, out := &f.topics[ti], &f.resp.Topics[ti]
		out.Name, out.ID = in.Name, in.ID
		out.Partitions = make([]protocol.FetchedPartition, len(in.Partitions))
		topic, err := f.topic(in)
		code := int16(protocol.CodeOf(err))
		f.failed = f.failed || err != nil
		for pi := range in.Partitions {
			p := &in.Partitions[pi]
			out.Partitions[pi] = protocol.NewFetchedPartition(p.Partition, code)
			if err != nil {
				continue
			}
			f.parts = append(f.parts, replica.FetchPart{TopicID: topic.ID, Partition: p.Partition, ReadRequest: f.read(p)})
			f.places = append(f.places, place{ti, pi})
		}
	}
}

func (f *fetching) topic(in *protocol.FetchTopic) (*metadata.Topic, error) {
	if f.req.Version >= 13 {
		if t, ok := f.img.TopicByID(in.ID); ok {
			return t, nil
		}
		return nil, protocol.Errorf(protocol.UnknownTopicID, "no topic with this id")
	}
	if t, ok := f.img.Topic(in.Name); ok {
		return t, nil
	}
	return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "no topic %q", in.Name)
}

func (f *fetching) read(p *protocol.FetchPartition) replica.ReadRequest {
	return replica.ReadRequest{
		Offset:             p.Offset,
		MaxBytes:           int(max(p.MaxBytes, 0)),
		CurrentLeaderEpoch: p.CurrentLeaderEpoch,
		LastFetchedEpoch:   p.LastFetchedEpoch,
		DurableEnd:         p.DurableEnd,
		KnownMark:          p.KnownMark,
		LogStart:           p.LogStart,
		Replica:            f.reader,
		Isolation:          replica.Isolation(f.req.Isolation),
	}
}

// minBytes is 0 when something failed already: an error is answered at once.
func (f *fetching) minBytes() int {
	if f.failed {
		return 0
	}
	return int(max(f.req.MinBytes, 0))
}

func (f *fetching) answer(results []replica.FetchResult) {
	for i := range results {
		at := f.places[i]
		t := &f.resp.Topics[at.topic]
		f.fill(t, &t.Partitions[at.partition], &results[i])
	}
	for _, b := range f.hints.endpoints() {
		f.resp.Brokers = append(f.resp.Brokers, protocol.FetchBroker{ID: b.id, Host: b.host, Port: b.port, Rack: b.rack})
	}
}

func (f *fetching) fill(t *protocol.FetchedTopic, out *protocol.FetchedPartition, r *replica.FetchResult) {
	if r.Records != nil {
		out.Records = r.Records
	}
	if r.Err != nil {
		f.fail(t, out, r.Err)
		if out.ErrorCode == int16(protocol.OffsetOutOfRange) {
			out.LogStart = r.LogStart // where a follower that was away for long starts over
		}
		return
	}
	if r.Aborted != nil {
		out.Aborted = make([]protocol.AbortedTransaction, len(r.Aborted))
		for i, a := range r.Aborted {
			out.Aborted[i] = protocol.AbortedTransaction{ProducerID: a.ProducerID, First: a.First}
		}
	}
	out.HighWatermark, out.LastStable, out.LogStart = r.HighWatermark, r.LastStable, r.LogStart
	if d := r.Diverging; d != nil {
		out.DivergingEpoch, out.DivergingEnd = d.Epoch, d.EndOffset
	}
}

func (f *fetching) fail(t *protocol.FetchedTopic, out *protocol.FetchedPartition, err error) {
	topic := t.Name
	if known, ok := f.img.TopicByID(t.ID); ok {
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
		out.Leader, out.LeaderEpoch = f.hints.leader(topic, out.Partition)
	}
}
