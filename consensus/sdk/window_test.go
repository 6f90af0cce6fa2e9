package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// noBackend describes itself and can do nothing else.
type noBackend struct{}

func (noBackend) Describe() consensus.Description {
	return consensus.Description{Backend: "none", Limits: consensus.Limits{MaxInflightProposals: 4}}
}
func (noBackend) Validate(json.RawMessage) []consensus.Diagnostic    { return nil }
func (noBackend) Start(context.Context, consensus.StartConfig) error { return nil }
func (noBackend) BoundPeerAddress() string                           { return "" }
func (noBackend) Stop(context.Context) error                         { return nil }
func (noBackend) OpenGroup(context.Context, consensus.GroupSpec) (consensus.Group, error) {
	return nil, errors.New("no groups")
}

// TestUnreadAnswersAreBounded: a host that floods and does not read loses its
// stream, not our memory.
func TestUnreadAnswersAreBounded(t *testing.T) {
	s := NewServer(noBackend{})
	w := &window{limits: s.description.Limits, wake: make(chan struct{}, 1)}
	flooded := 0
	for n := uint64(1); s.propose(consensus.Proposal{Group: 9, Sequence: n}, w); n++ {
		if flooded++; flooded > 1000 {
			t.Fatal("answers pile up without a bound")
		}
	}
	sent := 0
	if err := w.sendAll(func(*consensuspb.ProposeResponse) error { sent++; return nil }); err != nil || sent != flooded {
		t.Errorf("%d answers were sent, want %d; %v", sent, flooded, err)
	}
	if !s.propose(consensus.Proposal{Group: 9}, w) {
		t.Error("a host that reads again is refused")
	}
}

func TestWindow(t *testing.T) {
	w := &window{limits: consensus.Limits{MaxInflightProposals: 2, MaxInflightBytes: 10}, wake: make(chan struct{}, 1)}
	five, six := consensus.Proposal{Data: make([]byte, 5)}, consensus.Proposal{Data: make([]byte, 6)}
	if !w.reserve(five) || w.reserve(six) || !w.reserve(five) || w.reserve(consensus.Proposal{}) {
		t.Error("the window takes too much or too little")
	}
	for _, p := range []consensus.Proposal{six, five} { // one was refused, the other one taken
		w.answer(p, consensus.Result{}, len(p.Data) == 5)
	}
	if w.reserve(consensus.Proposal{}) {
		t.Error("there is room for more before the answer is sent")
	}
	if err := w.sendAll(func(*consensuspb.ProposeResponse) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if !w.reserve(five) || w.reserve(consensus.Proposal{}) {
		t.Error("an answer that was sent gives too much room or too little")
	}
}

func TestLimitsAreCompleted(t *testing.T) {
	l := completeLimits(consensus.Limits{MaxProposalBytes: 1 << 40})
	if l.MaxProposalBytes >= maxMessageBytes || l.MaxInflightBytes < l.MaxProposalBytes || l.MaxInflightProposals == 0 || l.MaxGroups == 0 {
		t.Errorf("got %+v", l)
	}
}

func TestLease(t *testing.T) {
	s := NewServer(noBackend{})
	after := func(d time.Duration) bool { return s.silentFor(s.born.Add(d), 1) }
	if after(time.Hour) {
		t.Error("a lease that was not asked for ran out")
	}
	s.lease = 10 * time.Second
	s.lastCall.Store(int64(time.Minute))
	if after(time.Minute+9*time.Second) || !after(time.Minute+11*time.Second) {
		t.Error("the lease does not run from the last call")
	}
}
