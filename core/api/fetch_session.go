package api

import (
	"slices"
	"time"

	"github.com/quorate/quorate/protocol"
)

// fetchSession is what one reader asked for. fetchSessions.mu guards it.
type fetchSession struct {
	id        int32 // 0: not kept yet
	epoch     int32 // that the next request must have
	kind      Kind
	byTopicID bool
	used      time.Time
	byKey     map[fetchKey]*sessionPartition
	order     []*sessionPartition // in which they are read; those that gave records go to the end
}

// fetchKey names a partition as the reader does: by the topic's name or its id.
type fetchKey struct {
	name      string
	id        [16]byte
	partition int32
}

// sessionPartition is what was asked for of a partition, and what was answered.
type sessionPartition struct {
	key            fetchKey
	ask            protocol.FetchPartition
	mark, logStart int64 // that the reader was told; -1: nothing, or an error
	gone           bool  // not part of the session any more
}

// newFetchSession returns the session that a whole request begins.
func newFetchSession(kind Kind, req *protocol.FetchRequest) *fetchSession {
	s := &fetchSession{kind: kind, byTopicID: usesTopicIDs(req.Version), byKey: map[fetchKey]*sessionPartition{}}
	s.update(req)
	return s
}

// update takes what a request adds, changes and forgets.
func (s *fetchSession) update(req *protocol.FetchRequest) {
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			key := fetchKey{t.Name, t.ID, p.Partition}
			known := s.byKey[key]
			if known == nil {
				known = &sessionPartition{key: key, mark: -1, logStart: -1}
				s.byKey[key] = known
				s.order = append(s.order, known)
			}
			known.ask = p
		}
	}
	forgotten := false
	for _, t := range req.Forgotten {
		for _, partition := range t.Partitions {
			key := fetchKey{t.Name, t.ID, partition}
			if known := s.byKey[key]; known != nil {
				known.gone, forgotten = true, true
				delete(s.byKey, key)
			}
		}
	}
	if forgotten {
		s.reorder(func(*sessionPartition) bool { return false })
	}
}

// reorder moves partitions to the end, and drops those that are gone.
func (s *fetchSession) reorder(last func(*sessionPartition) bool) {
	front := make([]*sessionPartition, 0, len(s.byKey))
	var back []*sessionPartition
	for _, p := range s.order {
		switch {
		case p.gone:
		case last(p):
			back = append(back, p)
		default:
			front = append(front, p)
		}
	}
	s.order = slices.Concat(front, back)
}

// topics returns what to read, in order.
func (s *fetchSession) topics() []protocol.FetchTopic {
	var topics []protocol.FetchTopic
	for _, p := range s.order {
		last := len(topics) - 1
		if last < 0 || topics[last].Name != p.key.name || topics[last].ID != p.key.id {
			topics = append(topics, protocol.FetchTopic{Name: p.key.name, ID: p.key.id})
			last++
		}
		ask := p.ask
		ask.KnownMark = max(ask.KnownMark, p.mark)
		topics[last].Partitions = append(topics[last].Partitions, ask)
	}
	return topics
}

// answered remembers what the reader is told. Unless it asked for the whole, it is
// told only what has records, an error, or other offsets than the last time.
func (s *fetchSession) answered(resp *protocol.FetchResponse, whole bool) {
	gave := map[*sessionPartition]bool{}
	topics := resp.Topics[:0]
	for _, t := range resp.Topics {
		changed := t.Partitions[:0]
		for _, p := range t.Partitions {
			known := s.byKey[fetchKey{t.Name, t.ID, p.Partition}]
			if known == nil || known.note(&p) || whole {
				changed = append(changed, p)
			}
			if known != nil && p.Records != nil {
				gave[known] = true
			}
		}
		if t.Partitions = changed; len(changed) > 0 || whole {
			topics = append(topics, t)
		}
	}
	resp.Topics = topics
	if len(gave) > 0 {
		s.reorder(func(p *sessionPartition) bool { return gave[p] })
	}
}

// note tells if an answer is news, and remembers it. After an error everything is.
func (p *sessionPartition) note(answer *protocol.FetchedPartition) bool {
	news := answer.Records != nil || answer.ErrorCode != 0 || answer.DivergingEnd != -1 ||
		answer.HighWatermark != p.mark || answer.LogStart != p.logStart
	p.mark, p.logStart = answer.HighWatermark, answer.LogStart
	if answer.ErrorCode != 0 {
		p.mark, p.logStart = -1, -1
	}
	return news
}
