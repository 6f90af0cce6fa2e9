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

// window counts what is undecided on one stream and queues the answers.
type window struct {
	limits consensus.Limits
	wake   chan struct{} // cap 1: answers wait

	mu        sync.Mutex
	proposals uint32
	bytes     uint64
	answers   []*consensuspb.ProposeResponse
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

func (w *window) release(p consensus.Proposal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proposals--
	w.bytes -= uint64(len(p.Data))
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
	w.answer(p, consensus.Result{Outcome: consensus.Rejected, Err: err})
	return true
}

// answer queues r and never blocks. Besides rejections there are never more
// answers than the window has room for proposals.
func (w *window) answer(p consensus.Proposal, r consensus.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, &consensuspb.ProposeResponse{
		GroupId: uint64(p.Group), Term: p.Term, Sequence: p.Sequence,
		Result: &consensuspb.ProposeResponse_Outcome{Outcome: wire.ResultToProto(r)},
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
		if err := send(a); err != nil {
			return err
		}
	}
	return nil
}
