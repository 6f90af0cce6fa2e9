package api

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quorate/quorate/protocol"
)

// The epochs of a fetch that belongs to no session yet, or to none any more (KIP-227).
const (
	initialSessionEpoch = 0
	finalSessionEpoch   = -1
)

// sessionIdle is the time after which a session may make room for another one.
// Kafka: 2 minutes, fixed.
const sessionIdle = 2 * time.Minute

// maxSessionPartitions bounds the partitions of all sessions together. Each takes about
// 200 bytes.
const maxSessionPartitions = 100_000

// fetchSessions remembers what readers asked for, so that they need to send only what
// changes and are sent only what changed (KIP-227). There are so many places; who gets
// none is served all the same, by whole requests.
type fetchSessions struct {
	slots int
	now   func() time.Time

	mu         sync.Mutex
	byID       map[int32]*fetchSession
	partitions int // of all sessions
}

func newFetchSessions(slots int) *fetchSessions {
	return &fetchSessions{slots: slots, now: time.Now, byID: map[int32]*fetchSession{}}
}

// begin returns what a request asks for. The session is nil if there is none; a session
// without an id is one that end may make.
func (s *fetchSessions) begin(kind Kind, req *protocol.FetchRequest) (*fetchSession, []protocol.FetchTopic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case req.Version < 7 || req.SessionID == 0 && req.SessionEpoch == finalSessionEpoch:
		return nil, req.Topics, nil
	case req.SessionEpoch == initialSessionEpoch || req.SessionEpoch == finalSessionEpoch:
		s.remove(s.byID[req.SessionID]) // a whole request ends the session it names
		if req.SessionEpoch == finalSessionEpoch {
			return nil, req.Topics, nil
		}
		return newFetchSession(kind, req), req.Topics, nil
	}
	return s.resume(kind, req)
}

// resume brings a session up to date with a request. s.mu is held.
func (s *fetchSessions) resume(kind Kind, req *protocol.FetchRequest) (*fetchSession, []protocol.FetchTopic, error) {
	session := s.byID[req.SessionID]
	switch {
	case session == nil || session.kind != kind:
		return nil, nil, protocol.Errorf(protocol.FetchSessionIDNotFound, "no fetch session %d", req.SessionID)
	case session.epoch != req.SessionEpoch:
		return nil, nil, protocol.Errorf(protocol.InvalidFetchSessionEpoch, "epoch %d of fetch session %d, it is %d", req.SessionEpoch, req.SessionID, session.epoch)
	case session.byTopicID != usesTopicIDs(req.Version):
		return nil, nil, protocol.Errorf(protocol.FetchSessionTopicIDError, "fetch session %d names topics in another way than version %d", req.SessionID, req.Version)
	}
	s.partitions -= len(session.byKey)
	session.update(req)
	s.partitions += len(session.byKey)
	if len(session.byKey) == 0 || s.partitions > maxSessionPartitions {
		topics := session.topics()
		s.remove(session)
		return nil, topics, nil // as if it had been a whole request without a session
	}
	session.epoch = nextSessionEpoch(session.epoch)
	session.used = s.now()
	return session, session.topics(), nil
}

// end makes the session if begin proposed one and there is room, leaves out of the
// answer what did not change, and puts the session's id into it.
func (s *fetchSessions) end(session *fetchSession, resp *protocol.FetchResponse) {
	if session == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := session.id == 0
	if whole && !s.add(session) {
		return
	}
	resp.SessionID = session.id
	session.answered(resp, whole)
}

// add gives a session a place and an id. s.mu is held.
func (s *fetchSessions) add(session *fetchSession) bool {
	if len(session.byKey) == 0 || s.partitions+len(session.byKey) > maxSessionPartitions {
		return false
	}
	if len(s.byID) >= s.slots {
		oldest := s.evictable(session.kind)
		if oldest == nil {
			return false
		}
		s.remove(oldest)
	}
	for session.id == 0 || s.byID[session.id] != nil {
		session.id = rand.Int32N(math.MaxInt32) + 1
	}
	session.epoch, session.used = nextSessionEpoch(initialSessionEpoch), s.now()
	s.byID[session.id] = session
	s.partitions += len(session.byKey)
	return true
}

// evictable returns the session that was used the longest ago, if it may go: it is
// idle, or a consumer's and a follower wants its place.
func (s *fetchSessions) evictable(kind Kind) *fetchSession {
	var oldest *fetchSession
	for _, other := range s.byID {
		idle := s.now().Sub(other.used) > sessionIdle
		if (idle || kind == Cluster && other.kind == Client) && (oldest == nil || other.used.Before(oldest.used)) {
			oldest = other
		}
	}
	return oldest
}

// remove forgets a session, which may be nil. s.mu is held.
func (s *fetchSessions) remove(session *fetchSession) {
	if session == nil || s.byID[session.id] != session {
		return
	}
	delete(s.byID, session.id)
	s.partitions -= len(session.byKey)
}

// nextSessionEpoch counts from 1, and from there again after the largest.
func nextSessionEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// usesTopicIDs tells if a version of Fetch names topics by id (KIP-516).
func usesTopicIDs(version int16) bool { return version >= 13 }
