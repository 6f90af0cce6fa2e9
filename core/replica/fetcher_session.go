package replica

import (
	"maps"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
)

// session is a follower's side of a fetch session (KIP-227): what its leader knows by
// now, so that a fetch names only the partitions whose position has changed, and its
// answer only those with news. It belongs to a fetcher's goroutine.
type session struct {
	id    int32 // 0: there is none
	epoch int32 // of the next request; 0: it names every partition, and begins a session
	told  map[*Partition]position
}

// fill writes positions into a request, or what of them the leader does not know.
// turn says which partition comes first in a request that names all.
func (s *session) fill(req *kmsg.FetchRequest, positions map[*Partition]position, turn int, maxBytes int32) {
	req.SessionID, req.SessionEpoch = s.id, s.epoch
	if s.epoch == 0 {
		s.told = maps.Clone(positions)
		addParts(req, sorted(positions, turn), positions, maxBytes)
		return
	}
	changed := map[*Partition]position{}
	for p, pos := range positions {
		if before, ok := s.told[p]; !ok || p.moved(before, pos) {
			changed[p], s.told[p] = pos, pos
		}
	}
	if len(changed) > 0 {
		addParts(req, sorted(changed, 0), changed, maxBytes)
	}
	if len(s.told) > len(positions) {
		s.forget(req, positions)
	}
}

// moved tells if the leader has to hear of a position. How much is durable is of no
// account to it where a topic trusts the page cache.
func (p *Partition) moved(before, now position) bool {
	l := p.leadership.Load()
	if l == nil || l.settings.log.Sync != wal.SyncAlways {
		before.durable = now.durable
	}
	before.known = now.known // the leader knows what it has said
	return before != now
}

// forget takes the partitions that are not fetched any more, or pause, out of the
// session: one with an error would end every long poll at once.
func (s *session) forget(req *kmsg.FetchRequest, positions map[*Partition]position) {
	byTopic := map[[16]byte]int{}
	for p := range s.told {
		if _, ok := positions[p]; ok {
			continue
		}
		delete(s.told, p)
		i, known := byTopic[p.key.topic]
		if !known {
			t := kmsg.NewFetchRequestForgottenTopic()
			t.Topic, t.TopicID = p.topic, p.key.topic
			i = len(req.ForgottenTopics)
			req.ForgottenTopics, byTopic[p.key.topic] = append(req.ForgottenTopics, t), i
		}
		req.ForgottenTopics[i].Partitions = append(req.ForgottenTopics[i].Partitions, p.key.partition)
	}
}

// answered takes what the leader said about the session. One that gives none is asked
// by whole requests.
func (s *session) answered(resp *kmsg.FetchResponse) {
	switch {
	case resp.SessionID == 0:
		*s = session{}
	case s.epoch == math.MaxInt32:
		s.id, s.epoch = resp.SessionID, 1
	default:
		s.id, s.epoch = resp.SessionID, s.epoch+1
	}
}

// lost makes the next request a whole one: nobody knows what became of the last. It
// names the old session, so that the leader ends it.
func (s *session) lost() { s.epoch, s.told = 0, nil }

// sessionOver tells if a leader refused a request because of its session, which it may
// have dropped to make room.
func (s *session) sessionOver(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.FetchSessionIDNotFound, protocol.InvalidFetchSessionEpoch, protocol.FetchSessionTopicIDError:
		return s.epoch != 0 // of a whole request it would be no reason
	}
	return false
}
