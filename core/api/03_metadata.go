package api

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// notComputed is what Kafka sends for authorized operations that nobody asked for.
const notComputed = math.MinInt32

// autoCreateTimeout bounds how long a Metadata request waits for the topics it creates.
const autoCreateTimeout = 5 * time.Second

// metadata answers Metadata (key 3), v0 to v12.
//
//	v0   an empty list of topics means all; from v1 a null one
//	v4   allow_auto_topic_creation
//	v10  topic ids (KIP-516), v12 asks by them
//
// A partition without a leader is reported with leader -1 and its last epoch.
func (a *API) metadata(ctx context.Context, s *Session, req *kmsg.MetadataRequest) (*kmsg.MetadataResponse, error) {
	var throttle int32
	if a.cfg.AutoCreateTopics && (req.Version < 4 || req.AllowAutoTopicCreation) {
		throttle = a.autoCreate(ctx, req)
	}
	img := a.images.Current()
	resp := kmsg.NewPtrMetadataResponse()
	resp.ThrottleMillis = throttle
	resp.ClusterID = &img.ClusterID
	resp.ControllerID = a.controllerID(img)
	resp.AuthorizedOperations = notComputed
	for _, b := range aliveBrokers(img) {
		if e, ok := endpointFor(b, s.Listener); ok {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: e.id, Host: e.host, Port: e.port, Rack: e.rack})
		}
	}
	if everyTopic(req) {
		for _, t := range sortedTopics(img) {
			resp.Topics = append(resp.Topics, describeTopic(img, t, s.Listener, req.Version))
		}
		return resp, nil
	}
	for _, t := range req.Topics {
		resp.Topics = append(resp.Topics, askedTopic(img, &t, s.Listener, req.Version))
	}
	return resp, nil
}

func everyTopic(req *kmsg.MetadataRequest) bool {
	return req.Topics == nil || req.Version == 0 && len(req.Topics) == 0
}

func askedTopic(img *metadata.Image, asked *kmsg.MetadataRequestTopic, listener string, version int16) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.AuthorizedOperations = notComputed
	if asked.Topic == nil {
		if t, ok := img.TopicByID(asked.TopicID); ok {
			return describeTopic(img, t, listener, version)
		}
		out.TopicID = asked.TopicID
		out.ErrorCode = int16(protocol.UnknownTopicID)
		if version < 12 {
			out.Topic = new("")
		}
		return out
	}
	if t, ok := img.Topic(*asked.Topic); ok {
		return describeTopic(img, t, listener, version)
	}
	out.Topic = asked.Topic
	out.ErrorCode = int16(protocol.UnknownTopicOrPartition)
	if metadata.ValidateTopicName(*asked.Topic) != nil {
		out.ErrorCode = int16(protocol.InvalidTopicException)
	}
	return out
}

func describeTopic(img *metadata.Image, t *metadata.Topic, listener string, version int16) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic = &t.Name
	out.TopicID = t.ID
	out.IsInternal = isInternal(t.Name)
	out.AuthorizedOperations = notComputed
	for i, p := range t.Partitions {
		part := kmsg.NewMetadataResponseTopicPartition()
		part.Partition = int32(i)
		part.Leader, part.LeaderEpoch = p.Leader, p.LeaderEpoch
		part.Replicas, part.ISR = p.Replicas, p.ISR
		part.OfflineReplicas = offline(img, p.Replicas)
		if p.Leader == metadata.NoLeader {
			part.ErrorCode = int16(protocol.LeaderNotAvailable)
		} else if _, ok := endpointOf(img, p.Leader, listener); !ok {
			part.Leader = metadata.NoLeader
			part.ErrorCode = int16(leaderUnreachable(version))
		}
		out.Partitions = append(out.Partitions, part)
	}
	return out
}

// leaderUnreachable is the error for a leader without an endpoint on the
// client's listener; clients before Metadata v6 do not know the precise one.
func leaderUnreachable(version int16) protocol.ErrorCode {
	if version >= 6 {
		return protocol.ListenerNotFound
	}
	return protocol.LeaderNotAvailable
}

func offline(img *metadata.Image, replicas []int32) []int32 {
	out := []int32{}
	for _, id := range replicas {
		if b, ok := img.Broker(id); !ok || b.Fenced {
			out = append(out, id)
		}
	}
	return out
}

func aliveBrokers(img *metadata.Image) []*metadata.Broker {
	var out []*metadata.Broker
	for b := range img.Brokers() {
		if !b.Fenced {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *metadata.Broker) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func sortedTopics(img *metadata.Image) []*metadata.Topic {
	var out []*metadata.Topic
	for t := range img.Topics() {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *metadata.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// controllerID names the active controller to clients, or -1 if it is not known
// or not alive. Clients may send it what only a controller decides, but need
// not: every broker forwards.
func (a *API) controllerID(img *metadata.Image) int32 {
	id, ok := a.controller.Leader()
	if !ok {
		return -1
	}
	if b, registered := img.Broker(id); !registered || b.Fenced {
		return -1
	}
	return id
}

// autoCreate creates the topics of req that do not exist. What goes wrong shows
// in the answer: the topic is not there, which clients take as a reason to retry.
// It returns how long the client is to wait, in milliseconds (KIP-599).
func (a *API) autoCreate(ctx context.Context, req *kmsg.MetadataRequest) (throttle int32) {
	img := a.images.Current()
	var missing []kmsg.CreateTopicsRequestTopic
	for _, t := range req.Topics {
		if t.Topic == nil || metadata.ValidateTopicName(*t.Topic) != nil {
			continue
		}
		if _, ok := img.Topic(*t.Topic); ok {
			continue
		}
		missing = append(missing, a.newTopic(*t.Topic))
	}
	if len(missing) == 0 {
		return 0
	}
	return a.createMissing(ctx, missing)
}

// createMissing has topics created once, however many requests want them.
func (a *API) createMissing(ctx context.Context, topics []kmsg.CreateTopicsRequestTopic) (throttle int32) {
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version = 7
	create.TimeoutMillis = int32(autoCreateTimeout.Milliseconds())
	for _, t := range topics {
		if _, underWay := a.creating.LoadOrStore(t.Topic, struct{}{}); underWay {
			continue
		}
		defer a.creating.Delete(t.Topic)
		create.Topics = append(create.Topics, t)
	}
	if len(create.Topics) == 0 {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, autoCreateTimeout)
	defer cancel()
	resp, err := a.controller.Do(ctx, create)
	if err != nil {
		a.log.Warn("topics not created", "topics", len(create.Topics), "error", err)
		return 0
	}
	created, ok := resp.(*kmsg.CreateTopicsResponse)
	if !ok {
		return 0
	}
	for _, t := range created.Topics {
		code := protocol.ErrorCode(t.ErrorCode)
		if code != protocol.None && code != protocol.TopicAlreadyExists {
			a.log.Warn("topic not created", "topic", t.Topic, "error", code.String(), "message", t.ErrorMessage)
		}
	}
	return created.ThrottleMillis
}
