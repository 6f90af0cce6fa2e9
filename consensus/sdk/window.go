package sdk

import (
	"sync"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// unreadAnswers bounds the rejections that wait for a host which does not read,
// as a multiple of the window. Beyond it the stream is broken: a host that keeps
// to the window never gets there.
const unreadAnswers = 4

// window counts what is on its way on one stream, until it is answered and the
// answer is sent: so there are never more answers to what was taken than it has
// room for, also if the host does not read.
type window struct {
	limits consensus.Limits
	wake   chan struct{} // cap 1: answers wait

	mu        sync.Mutex
	proposals uint32
	bytes     uint64
	answers   []answer
}

// answer is one that waits to be sent.
type answer struct {
	response *consensuspb.ProposeResponse
	taken    bool // it gives room in the window when it is sent
	bytes    int  // how much
}

func (w *window) reserve(p consensus.Proposal) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proposals >= w.limits.MaxInflightProposals || w.bytes+uint64(len(p.Data)) > w.limits.MaxInflightBytes {
		return false
	}
	w.proposals++
	w.bytes += uint64(len(p.Data))
	return true
}

// reject answers p, which takes no part of the window. It returns false if the
// host does not read its answers.
func (w *window) reject(p consensus.Proposal, err error) bool {
	w.mu.Lock()
	unread := len(w.answers)
	w.mu.Unlock()
	if unread > unreadAnswers*int(w.limits.MaxInflightProposals) {
		return false
	}
	w.answer(p, consensus.Result{Outcome: consensus.Rejected, Err: err}, false)
	return true
}

// answer queues r and never blocks. taken tells that reserve took p.
func (w *window) answer(p consensus.Proposal, r consensus.Result, taken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, answer{
		taken: taken, bytes: len(p.Data),
		response: &consensuspb.ProposeResponse{
			GroupId: uint64(p.Group), Term: p.Term, Sequence: p.Sequence,
			Result: &consensuspb.ProposeResponse_Outcome{Outcome: wire.ResultToProto(r)},
		},
	})
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// sendAll sends what is queued. Only one goroutine calls it.
func (w *window) sendAll(send func(*consensuspb.ProposeResponse) error) error {
	w.mu.Lock()
	answers := w.answers
	w.answers = nil
	w.mu.Unlock()
	for _, a := range answers {
		w.release(a) // before the host may know: it sends more when it has read this
		if err := send(a.response); err != nil {
			return err
		}
	}
	return nil
}

func (w *window) release(a answer) {
	if !a.taken {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proposals--
	w.bytes -= uint64(a.bytes)
}
