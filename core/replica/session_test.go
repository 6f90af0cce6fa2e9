package replica

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// leaderSession is a fetch session as core/api keeps it, with another heart.
type leaderSession struct {
	c     *cluster
	from  [2]int32 // follower and leader
	id    int32
	epoch int32

	mu    sync.Mutex
	order []partitionKey
	asks  map[partitionKey]kmsg.FetchRequestTopicPartition
	told  map[partitionKey][2]int64 // high watermark and start
}

// sessionOf returns the session of a request, a new one if it begins one or has none;
// nil if it is not known. whole tells if the answer has to name everything.
func (p peersOf) sessionOf(to *node, req *kmsg.FetchRequest) (s *leaderSession, whole bool) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if req.SessionEpoch > 0 {
		s = p.c.sessions[req.SessionID]
		if s == nil || s.from != [2]int32{p.id, to.id} || s.epoch != req.SessionEpoch {
			return nil, false
		}
		s.epoch++
		return s, false
	}
	s = &leaderSession{
		c: p.c, from: [2]int32{p.id, to.id}, epoch: 1,
		asks: map[partitionKey]kmsg.FetchRequestTopicPartition{}, told: map[partitionKey][2]int64{},
	}
	if req.SessionEpoch == 0 {
		delete(p.c.sessions, req.SessionID)
		p.c.lastSession++
		s.id = p.c.lastSession
		p.c.sessions[s.id] = s
	}
	return s, true
}

// forgetSessions is what a leader does that needs the room.
func (c *cluster) forgetSessions() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = map[int32]*leaderSession{}
}

// named counts how often partitions are named, in fetches and in their answers.
func (s *leaderSession) named(key partitionKey) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.names[s.id] == nil {
		s.c.names[s.id] = map[partitionKey]int{}
	}
	s.c.names[s.id][key]++
}

// namings returns what every session has counted so far.
func (c *cluster) namings() map[int32]map[partitionKey]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[int32]map[partitionKey]int, len(c.names))
	for id, of := range c.names {
		all[id] = maps.Clone(of)
	}
	return all
}

// update takes what a request says.
func (s *leaderSession) update(req *kmsg.FetchRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range req.Topics {
		for _, part := range t.Partitions {
			key := partitionKey{t.TopicID, part.Partition}
			if _, known := s.asks[key]; !known {
				s.order = append(s.order, key)
			}
			s.asks[key] = part
			s.named(key)
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, partition := range t.Partitions {
			delete(s.asks, partitionKey{t.TopicID, partition})
			delete(s.told, partitionKey{t.TopicID, partition})
			s.named(partitionKey{t.TopicID, partition})
		}
	}
}

// whole is the request that says all that the session knows.
func (s *leaderSession) whole(req *kmsg.FetchRequest) *kmsg.FetchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := *req
	all.Topics = nil
	for _, key := range s.order {
		part, ok := s.asks[key]
		if !ok {
			continue
		}
		if told, ok := s.told[key]; ok {
			pos := position{known: told[0]}
			pos.durable, _ = followerTag(&part)
			part.UnknownTags = kmsg.Tags{}
			part.UnknownTags.Set(protocol.FollowerTag, pos.tag())
		}
		t := kmsg.NewFetchRequestTopic()
		t.TopicID, t.Partitions = key.topic, []kmsg.FetchRequestTopicPartition{part}
		all.Topics = append(all.Topics, t)
	}
	return &all
}

// answered leaves out of an answer what is no news.
func (s *leaderSession) answered(resp *kmsg.FetchResponse, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	resp.SessionID = s.id
	topics := resp.Topics[:0]
	for _, t := range resp.Topics {
		part := t.Partitions[0]
		key, now := partitionKey{t.TopicID, part.Partition}, [2]int64{part.HighWatermark, part.LogStartOffset}
		before, known := s.told[key]
		if whole || !known || before != now || part.ErrorCode != 0 || len(part.RecordBatches) > 0 || part.DivergingEpoch.EndOffset >= 0 {
			topics = append(topics, t)
			s.named(key)
		}
		s.told[key] = now
	}
	resp.Topics = topics
}

func TestIdlePartitionsAreNotNamed(t *testing.T) {
	c := testCluster(t, 2, func(cfg *Config) { cfg.FetchMaxWait = 20 * time.Millisecond })
	const idle = 30
	for i := range byte(idle) {
		c.topic(fmt.Sprintf("idle-%d", i), 10+i, []int32{1, 2})
	}
	topic := c.topic("orders", 1, []int32{1, 2})
	c.mustProduce(c.on(1, topic), AcksAll, "a")
	c.awaitMark(2, topic, 1)
	before := c.namings()
	const records = 20
	for i := range records {
		a := c.mustProduce(c.on(1, topic), AcksAll, fmt.Sprint(i))
		c.awaitMark(2, topic, a.End)
	}
	// A fetch of a session that was given up may have been under way, and a partition may
	// have paused, because the follower knew of it before its leader: some namings belong
	// to the beginning, but none to a record.
	carried, begun := 0, 0
	for id, of := range c.namings() {
		if before[id] == nil {
			begun++
		}
		for key, n := range of {
			switch {
			case key.topic == topic:
				carried += n - before[id][key]
			case n-before[id][key] > records/4:
				t.Errorf("session %d: %d records of another partition, and %v is named %d times", id, records, key, n-before[id][key])
			}
		}
	}
	if carried < records {
		t.Errorf("%d records were replicated one by one, and their partition is named %d times", records, carried)
	}
	if begun > records/4 {
		t.Errorf("%d sessions were begun for %d records", begun, records)
	}
}

func TestSessionThatIsGoneBeginsAnew(t *testing.T) {
	c := testCluster(t, 2, nil)
	topic := c.topic("orders", 1, []int32{1, 2})
	for i := range 5 {
		c.forgetSessions()
		a := c.mustProduce(c.on(1, topic), AcksAll, fmt.Sprint(i))
		c.awaitMark(2, topic, a.End)
	}
}

func TestSession(t *testing.T) {
	m, p, imgs := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1, 2}})
	imgs.replay(t, metadata.PartitionChangeRecord{TopicID: p.key.topic, Leader: new(int32(2))})
	m.OnImage(nil, imgs.img)
	at := func(offset, durable, known int64) map[*Partition]position {
		return map[*Partition]position{p: {leader: 2, epoch: 1, offset: offset, durable: durable, known: known}}
	}
	ok := func(id int32) *kmsg.FetchResponse { return &kmsg.FetchResponse{SessionID: id} }
	tests := []struct {
		name                   string
		do                     func(*session)
		positions              map[*Partition]position
		id, epoch              int32
		partitions, forgetting int
	}{
		{name: "the first names all", positions: at(1, 1, 1), partitions: 1},
		{name: "the next what has changed", do: func(s *session) { s.answered(ok(7)) }, positions: at(1, 1, 1), id: 7, epoch: 1},
		{name: "the high watermark the leader knows", do: func(s *session) { s.answered(ok(7)) }, positions: at(1, 1, 2), id: 7, epoch: 2},
		{name: "not what is durable", do: func(s *session) { s.answered(ok(7)) }, positions: at(1, 0, 2), id: 7, epoch: 3, partitions: 1},
		{name: "nor the end", do: func(s *session) { s.answered(ok(7)) }, positions: at(2, 0, 2), id: 7, epoch: 4, partitions: 1},
		{name: "what pauses is forgotten", do: func(s *session) { s.answered(ok(7)) }, id: 7, epoch: 5, forgetting: 1},
		{name: "once", do: func(s *session) { s.answered(ok(7)) }, id: 7, epoch: 6},
		{name: "and comes back", do: func(s *session) { s.answered(ok(7)) }, positions: at(2, 0, 2), id: 7, epoch: 7, partitions: 1},
		{name: "after a failure all is named", do: (*session).lost, positions: at(2, 0, 2), id: 7, partitions: 1},
		{name: "epochs begin again", do: func(s *session) { s.answered(ok(8)); s.epoch = math.MaxInt32; s.answered(ok(8)) }, positions: at(2, 0, 2), id: 8, epoch: 1},
		{name: "a leader that keeps none", do: func(s *session) { s.answered(ok(0)) }, positions: at(2, 0, 2), partitions: 1},
	}
	s := &session{}
	for _, tt := range tests {
		if tt.do != nil {
			tt.do(s)
		}
		req := kmsg.NewPtrFetchRequest()
		s.fill(req, tt.positions, 0, 1)
		if req.SessionID != tt.id || req.SessionEpoch != tt.epoch || len(req.Topics) != tt.partitions || len(req.ForgottenTopics) != tt.forgetting {
			t.Errorf("%s: session %d epoch %d, %d partitions, %d forgotten; want %d, %d, %d, %d", tt.name,
				req.SessionID, req.SessionEpoch, len(req.Topics), len(req.ForgottenTopics), tt.id, tt.epoch, tt.partitions, tt.forgetting)
		}
	}
	over := protocol.Errorf(protocol.FetchSessionIDNotFound, "no such session")
	if s.sessionOver(over) {
		t.Error("a whole request that fails for its session is asked again at once")
	}
	s.answered(ok(9))
	if !s.sessionOver(over) || s.sessionOver(errors.New("connection reset")) {
		t.Error("a session that is over is not told from a failure")
	}
}
