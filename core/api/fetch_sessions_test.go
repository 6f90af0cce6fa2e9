package api

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quorate/quorate/protocol"
)

// ask is a request for partitions of one topic, each from an offset.
func ask(id, epoch int32, offsets map[int32]int64, forget ...int32) *protocol.FetchRequest {
	req := &protocol.FetchRequest{Version: 12, SessionID: id, SessionEpoch: epoch}
	if len(offsets) > 0 {
		t := protocol.FetchTopic{Name: "orders"}
		for partition, offset := range offsets {
			t.Partitions = append(t.Partitions, protocol.FetchPartition{Partition: partition, Offset: offset})
		}
		req.Topics = append(req.Topics, t)
	}
	if len(forget) > 0 {
		req.Forgotten = append(req.Forgotten, protocol.ForgottenTopic{Name: "orders", Partitions: forget})
	}
	return req
}

// offsetsIn is what topics ask for.
func offsetsIn(topics []protocol.FetchTopic) map[int32]int64 {
	out := map[int32]int64{}
	for _, t := range topics {
		for _, p := range t.Partitions {
			out[p.Partition] = p.Offset
		}
	}
	return out
}

// answerAll answers every partition with a high watermark.
func answerAll(topics []protocol.FetchTopic, mark func(partition int32) int64) *protocol.FetchResponse {
	resp := &protocol.FetchResponse{}
	for _, t := range topics {
		out := protocol.FetchedTopic{Name: t.Name, ID: t.ID}
		for _, p := range t.Partitions {
			part := protocol.NewFetchedPartition(p.Partition, 0)
			part.HighWatermark = mark(p.Partition)
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func marksIn(resp *protocol.FetchResponse) map[int32]int64 {
	out := map[int32]int64{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out[p.Partition] = p.HighWatermark
		}
	}
	return out
}

// exchange is a request and its answer.
func exchange(t *testing.T, s *fetchSessions, req *protocol.FetchRequest, mark int64) (*protocol.FetchResponse, map[int32]int64) {
	t.Helper()
	session, topics, err := s.begin(Client, req)
	if err != nil {
		t.Fatal(err)
	}
	resp := answerAll(topics, func(int32) int64 { return mark })
	s.end(session, resp)
	return resp, offsetsIn(topics)
}

// open begins a session over partitions 0 and 1.
func open(t *testing.T, s *fetchSessions) int32 {
	t.Helper()
	resp, _ := exchange(t, s, ask(0, initialSessionEpoch, map[int32]int64{0: 10, 1: 20}), 100)
	if resp.SessionID == 0 || len(marksIn(resp)) != 2 {
		t.Fatalf("session %d with %v", resp.SessionID, marksIn(resp))
	}
	return resp.SessionID
}

func TestFetchSession(t *testing.T) {
	s := newFetchSessions(10)
	id := open(t, s)
	steps := []struct {
		name      string
		req       *protocol.FetchRequest
		mark      int64
		wantAsked map[int32]int64
		wantTold  map[int32]int64
	}{
		{"nothing changed", ask(id, 1, nil), 100, map[int32]int64{0: 10, 1: 20}, map[int32]int64{}},
		{"the marks moved", ask(id, 2, nil), 101, map[int32]int64{0: 10, 1: 20}, map[int32]int64{0: 101, 1: 101}},
		{"one offset moved", ask(id, 3, map[int32]int64{1: 25}), 101, map[int32]int64{0: 10, 1: 25}, map[int32]int64{}},
		{"a partition more", ask(id, 4, map[int32]int64{7: 1}), 101, map[int32]int64{0: 10, 1: 25, 7: 1}, map[int32]int64{7: 101}},
		{"a partition less", ask(id, 5, nil, 0), 102, map[int32]int64{1: 25, 7: 1}, map[int32]int64{1: 102, 7: 102}},
		{"one that was forgotten comes back", ask(id, 6, map[int32]int64{0: 3}), 102, map[int32]int64{0: 3, 1: 25, 7: 1}, map[int32]int64{0: 102}},
	}
	for _, step := range steps {
		resp, asked := exchange(t, s, step.req, step.mark)
		if !maps.Equal(asked, step.wantAsked) || !maps.Equal(marksIn(resp), step.wantTold) || resp.SessionID != id {
			t.Errorf("%s: asked %v, told %v, session %d; want %v, %v, %d", step.name, asked, marksIn(resp), resp.SessionID, step.wantAsked, step.wantTold, id)
		}
	}
	// All forgotten: the session is over, and the answer says so.
	if resp, _ := exchange(t, s, ask(id, 7, nil, 0, 1, 7), 1); resp.SessionID != 0 || len(s.byID) != 0 || s.partitions != 0 {
		t.Errorf("session %d of %d, %d partitions", resp.SessionID, len(s.byID), s.partitions)
	}
}

func TestFetchSessionRefused(t *testing.T) {
	s := newFetchSessions(10)
	id := open(t, s)
	withIDs := ask(id, 1, nil)
	withIDs.Version = 13
	for _, tt := range []struct {
		name string
		kind Kind
		req  *protocol.FetchRequest
		want protocol.ErrorCode
	}{
		{"another id", Client, ask(id+1, 1, nil), protocol.FetchSessionIDNotFound},
		{"another kind of reader", Cluster, ask(id, 1, nil), protocol.FetchSessionIDNotFound},
		{"an old epoch", Client, ask(id, 0+5, nil), protocol.InvalidFetchSessionEpoch},
		{"topic ids in a session of names", Client, withIDs, protocol.FetchSessionTopicIDError},
	} {
		if _, _, err := s.begin(tt.kind, tt.req); protocol.CodeOf(err) != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, asked := exchange(t, s, ask(id, 1, nil), 100); len(asked) != 2 {
		t.Errorf("the session suffered: %v", asked)
	}
	// A whole request ends the session that it names.
	if resp, _ := exchange(t, s, ask(id, finalSessionEpoch, map[int32]int64{0: 1}), 1); resp.SessionID != 0 || len(s.byID) != 0 {
		t.Errorf("session %d, %d are left", resp.SessionID, len(s.byID))
	}
}

// TestFetchSessionErrors: a partition with an error is told every time, and what comes
// after the error is news.
func TestFetchSessionErrors(t *testing.T) {
	s := newFetchSessions(10)
	id := open(t, s)
	for epoch, code := range []int16{0, 6, 6, 0, 0} {
		session, topics, err := s.begin(Client, ask(id, int32(epoch+1), nil))
		if err != nil {
			t.Fatal(err)
		}
		resp := answerAll(topics, func(int32) int64 { return 100 })
		resp.Topics[0].Partitions[0].ErrorCode = code
		s.end(session, resp)
		if want := []int{0, 1, 1, 1, 0}[epoch]; len(marksIn(resp)) != want {
			t.Errorf("answer %d: told of %v, want %d partitions", epoch, marksIn(resp), want)
		}
	}
}

// TestFetchSessionOrder: who gave records is read last the next time.
func TestFetchSessionOrder(t *testing.T) {
	s := newFetchSessions(10)
	req := ask(0, initialSessionEpoch, nil)
	req.Topics = []protocol.FetchTopic{{Name: "orders", Partitions: []protocol.FetchPartition{{Partition: 0}, {Partition: 1}, {Partition: 2}}}}
	session, topics, err := s.begin(Client, req)
	if err != nil {
		t.Fatal(err)
	}
	resp := answerAll(topics, func(int32) int64 { return 1 })
	resp.Topics[0].Partitions[0].Records = protocol.Bytes("x")
	s.end(session, resp)
	_, topics, err = s.begin(Client, ask(resp.SessionID, 1, nil))
	if got := fmt.Sprint(topics[0].Partitions[0].Partition, topics[0].Partitions[1].Partition, topics[0].Partitions[2].Partition); err != nil || got != "1 2 0" {
		t.Errorf("order %s, %v", got, err)
	}
}

func TestFetchSessionSlots(t *testing.T) {
	now := time.Now()
	s := newFetchSessions(2)
	s.now = func() time.Time { return now }
	first := open(t, s)
	now = now.Add(time.Second)
	second := open(t, s)
	if resp, _ := exchange(t, s, ask(0, initialSessionEpoch, map[int32]int64{0: 1}), 1); resp.SessionID != 0 || len(marksIn(resp)) != 1 {
		t.Errorf("a third session was made: %d, %v", resp.SessionID, marksIn(resp))
	}
	now = now.Add(sessionIdle + time.Millisecond)
	exchange(t, s, ask(first, 1, nil), 1) // is not idle any more
	if resp, _ := exchange(t, s, ask(0, initialSessionEpoch, map[int32]int64{0: 1}), 1); resp.SessionID == 0 {
		t.Error("an idle session did not make room")
	}
	if s.byID[first] == nil || s.byID[second] != nil {
		t.Error("the wrong session made room")
	}
	// A follower's session takes the place of a consumer's, idle or not.
	session, _, err := s.begin(Cluster, ask(0, initialSessionEpoch, map[int32]int64{0: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if s.end(session, answerAll(nil, nil)); session.id == 0 || len(s.byID) != 2 {
		t.Errorf("session %d of %d", session.id, len(s.byID))
	}
}

// TestFetchSessionPartitions: the partitions of all sessions are bounded.
func TestFetchSessionPartitions(t *testing.T) {
	s := newFetchSessions(10)
	many := map[int32]int64{}
	for i := range int32(maxSessionPartitions) {
		many[i] = 0
	}
	big, _ := exchange(t, s, ask(0, initialSessionEpoch, many), 1)
	if big.SessionID == 0 {
		t.Fatal("as many as are allowed were refused")
	}
	if resp, _ := exchange(t, s, ask(0, initialSessionEpoch, map[int32]int64{0: 1}), 1); resp.SessionID != 0 {
		t.Error("one more was taken")
	}
	// A session that grows too large ends, and its reader is answered whole.
	if resp, asked := exchange(t, s, ask(big.SessionID, 1, map[int32]int64{maxSessionPartitions: 0}), 1); resp.SessionID != 0 || len(asked) != maxSessionPartitions+1 || s.partitions != 0 {
		t.Errorf("session %d, %d asked, %d are counted", resp.SessionID, len(asked), s.partitions)
	}
}

// TestFetchSessionModel: whatever a reader changes and whatever happens, it knows from
// the answers what it would know from whole ones.
func TestFetchSessionModel(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newFetchSessions(3)
		wanted, truth, known := map[int32]int64{}, map[int32]int64{}, map[int32]int64{}
		var id, epoch int32
		for step := range 200 {
			for p := range int32(6) {
				if random.IntN(3) == 0 {
					truth[p]++
				}
			}
			changes, forget := map[int32]int64{}, []int32(nil)
			for p := range int32(6) {
				switch _, have := wanted[p]; {
				case random.IntN(8) == 0:
					changes[p] = random.Int64()
					wanted[p] = changes[p]
				case have && random.IntN(10) == 0:
					delete(wanted, p)
					delete(known, p)
					forget = append(forget, p)
				}
			}
			if id == 0 || random.IntN(20) == 0 {
				changes, forget, epoch = maps.Clone(wanted), nil, initialSessionEpoch
			}
			session, topics, err := s.begin(Client, ask(id, epoch, changes, forget...))
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			if asked := offsetsIn(topics); !maps.Equal(asked, wanted) {
				t.Fatalf("seed %d, step %d: asked %v, want %v", seed, step, asked, wanted)
			}
			resp := answerAll(topics, func(p int32) int64 { return truth[p] })
			s.end(session, resp)
			maps.Copy(known, marksIn(resp))
			for p := range wanted {
				if known[p] != truth[p] {
					t.Fatalf("seed %d, step %d: partition %d is believed to be at %d, is at %d", seed, step, p, known[p], truth[p])
				}
			}
			if id = resp.SessionID; id == 0 {
				epoch = initialSessionEpoch
			} else {
				epoch = nextSessionEpoch(epoch)
			}
		}
	}
}

// A session knows what a follower was told, so that the follower need not say it again.
func TestSessionKnowsTheMark(t *testing.T) {
	s := newFetchSessions(1)
	session, _, err := s.begin(Cluster, &protocol.FetchRequest{Version: 17, SessionEpoch: initialSessionEpoch, Topics: []protocol.FetchTopic{
		{ID: [16]byte{1}, Partitions: []protocol.FetchPartition{{Partition: 0, KnownMark: 3}, {Partition: 1, KnownMark: 9}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	zero, one := protocol.NewFetchedPartition(0, 0), protocol.NewFetchedPartition(1, 0)
	zero.HighWatermark, one.HighWatermark = 5, 7
	resp := &protocol.FetchResponse{Topics: []protocol.FetchedTopic{{ID: [16]byte{1}, Partitions: []protocol.FetchedPartition{zero, one}}}}
	s.end(session, resp)
	_, topics, err := s.begin(Cluster, &protocol.FetchRequest{Version: 17, SessionID: resp.SessionID, SessionEpoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p := topics[0].Partitions; p[0].KnownMark != 5 || p[1].KnownMark != 9 {
		t.Errorf("known high watermarks are %d and %d, want 5 and 9", p[0].KnownMark, p[1].KnownMark)
	}
}
