package controller

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

func TestPayloadsSplitBetweenSteps(t *testing.T) {
	r := testRound(metadata.Empty(), func(c *Config) { c.MaxPartitionsPerRequest = maxPartitionsPerRequest })
	value := string(make([]byte, 200<<10))
	config := metadata.ConfigResource{Type: metadata.BrokerResource}
	for range 6 { // 1.2 MB in steps of 200 kB
		from := len(r.steps)
		if err := r.commit(metadata.ConfigRecord{Resource: config, Name: "a", Value: &value}); err != nil {
			t.Fatal(err)
		}
		r.replies = append(r.replies, reply{from: from, to: len(r.steps)}, reply{from: len(r.steps), to: len(r.steps)})
	}
	payloads, err := r.payloads()
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]int
	for _, p := range r.replies {
		got = append(got, [2]int{p.from, p.to})
	}
	want := [][2]int{{0, 1}, {1, 1}, {0, 1}, {1, 1}, {1, 2}, {2, 2}, {1, 2}, {2, 2}, {2, 3}, {3, 3}, {2, 3}, {3, 3}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("replies (-want +got):\n%s", d)
	}
	for _, p := range payloads {
		if len(p) > maxProposalBytes {
			t.Errorf("a proposal of %d bytes", len(p))
		}
	}
	if err := r.commit(metadata.ConfigRecord{Resource: config, Name: "a", Value: new(string(make([]byte, maxProposalBytes)))}); protocol.CodeOf(err) != protocol.PolicyViolation {
		t.Errorf("a step that is too large: %v", err)
	}
}

func TestAnswersStandOnProposals(t *testing.T) {
	const exists = protocol.TopicAlreadyExists
	tests := []struct {
		name   string
		flight flight
		want   []protocol.ErrorCode // of the answers, or else of their only topic
	}{
		{"committed", flight{indexes: []uint64{9}}, []protocol.ErrorCode{protocol.InvalidTopicException, protocol.None, protocol.None, exists}},
		// The last is refused only because the second creates the topic.
		{"lost", flight{err: errLost}, []protocol.ErrorCode{protocol.InvalidTopicException, protocol.NotController, protocol.NotController, protocol.NotController}},
		{"unknown", flight{err: metadata.ErrForgotten}, []protocol.ErrorCode{protocol.InvalidTopicException, protocol.RequestTimedOut, protocol.RequestTimedOut, protocol.NotController}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := testRound(image(t, brokerRecords(1)...))
			var asks []*ask
			for _, name := range []string{"..", "a", "b", "a"} {
				asks = append(asks, &ask{answer: make(chan answer, 1), req: createRequest(name)})
			}
			if rest := r.decideAll(asks); rest != nil {
				t.Fatalf("%d are left", len(rest))
			}
			if _, err := r.payloads(); err != nil {
				t.Fatal(err)
			}
			r.answer(tt.flight, 7)
			for n, a := range asks {
				got := <-a.answer
				verdict := protocol.CodeOf(got.err)
				if got.err == nil {
					verdict = code(got.resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
				}
				if verdict != tt.want[n] || got.err == nil && (got.index == 9) != (n > 0) {
					t.Errorf("answer %d: %v at %d, want %v", n, verdict, got.index, tt.want[n])
				}
			}
		})
	}
}

func TestSleepingControllerFencesNobody(t *testing.T) {
	img := image(t, brokerRecords(3)...)
	r := testRound(img)
	r.t.live.hear(2, epoch0)
	r.t.live.contacts[3] = contact{heard: epoch0, refused: true}
	r.t.noticeSleep(epoch0)
	later := epoch0.Add(r.cfg.SessionTimeout / 2)
	if r.t.noticeSleep(later); !r.t.live.anyExpired(img, later) {
		t.Error("a turn of the loop that is in time begins sessions anew")
	}
	later = later.Add(time.Minute)
	if r.t.noticeSleep(later); r.t.live.anyExpired(img, later) {
		t.Error("somebody is fenced because the controller slept")
	}
}

func TestLargestTopicFitsIntoAProposal(t *testing.T) {
	var records []metadata.Record
	for id := range int32(7) {
		records = append(records, metadata.RegisterBrokerRecord{ID: 1<<30 + id, Epoch: int64(id + 1)})
	}
	r := testRound(image(t, records...), func(c *Config) { c.MaxPartitionsPerRequest = maxPartitionsPerRequest })
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "large", NumPartitions: maxPartitionsPerRequest, ReplicationFactor: 7}}
	if got := r.createTopics(req).Topics[0]; got.ErrorCode != 0 {
		t.Fatalf("%v %s", code(got.ErrorCode), *got.ErrorMessage)
	}
}
