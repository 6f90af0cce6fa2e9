package sdk

import (
	"errors"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// Propose implements the service. This goroutine sends, another one receives,
// so that neither side's reading waits for its writing.
func (s *Server) Propose(stream consensuspb.Consensus_ProposeServer) error {
	if s.currentState() != consensuspb.HealthResponse_STATE_RUNNING {
		return wire.ToStatus(fmt.Errorf("propose: %w: the backend is not running", consensus.ErrUnavailable))
	}
	// What an earlier stream has brought must have been accepted or dropped before
	// positions are told (rule P5), so streams follow each other.
	select {
	case s.proposing <- struct{}{}:
	case <-s.stopping:
		return wire.ToStatus(consensus.ErrShuttingDown)
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	w := &window{limits: s.description.Limits, wake: make(chan struct{}, 1)}
	if err := stream.Send(s.firstWindow()); err != nil {
		<-s.proposing
		return err
	}
	received := make(chan error, 1)
	go func() {
		err := s.receiveProposals(stream, w)
		<-s.proposing
		received <- err
	}()
	for {
		select {
		case <-w.wake:
			if err := w.sendAll(stream.Send); err != nil {
				return err
			}
		case err := <-received:
			return err
		case <-s.stopping:
			return wire.ToStatus(consensus.ErrShuttingDown)
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// firstWindow tells the limits, and how far each group that is led has got.
func (s *Server) firstWindow() *consensuspb.ProposeResponse {
	l := s.description.Limits
	msg := &consensuspb.Window{MaxInflightProposals: l.MaxInflightProposals, MaxInflightBytes: l.MaxInflightBytes}
	groups, _ := s.openGroups()
	for _, g := range groups {
		lead, _ := g.log.Leadership()
		if lead.Role == consensus.Leader || lead.Role == consensus.LeaderReady {
			msg.Positions = append(msg.Positions, &consensuspb.SequencePosition{
				GroupId: uint64(g.id), Term: lead.Term, LastSequence: g.sequence.position(lead.Term),
			})
		}
	}
	return &consensuspb.ProposeResponse{Result: &consensuspb.ProposeResponse_Window{Window: msg}}
}

func (s *Server) receiveProposals(stream consensuspb.Consensus_ProposeServer, w *window) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		if stream.Context().Err() != nil {
			return stream.Context().Err() // the host has given the stream up
		}
		if !s.propose(wire.ProposalFromProto(req), w) {
			return status.Error(codes.ResourceExhausted, "the answers to proposals are not read")
		}
	}
}

// propose hands p to its group, or rejects it. It returns false if too many
// answers wait to be read.
func (s *Server) propose(p consensus.Proposal, w *window) bool {
	if uint64(len(p.Data)) > s.description.Limits.MaxProposalBytes {
		return w.reject(p, fmt.Errorf("%w: %d bytes", consensus.ErrTooLarge, len(p.Data)))
	}
	g, err := s.group(uint64(p.Group))
	if err != nil {
		return w.reject(p, err)
	}
	if !w.reserve(p) {
		return w.reject(p, consensus.ErrOverloaded)
	}
	var answered atomic.Bool
	g.propose(p, func(r consensus.Result) {
		if answered.Swap(true) {
			return // a backend that answers twice must not upset the window
		}
		if errors.Is(r.Err, consensus.ErrStorageFailed) {
			s.fail(consensus.ExitStorage, r.Err)
		}
		w.answer(p, r, true)
	})
	return true
}

// propose checks leadership, term and sequence, and hands p to the backend.
func (g *group) propose(p consensus.Proposal, done func(consensus.Result)) {
	g.order.Lock()
	defer g.order.Unlock()
	if err := g.mayPropose(p); err != nil {
		done(consensus.Result{Outcome: consensus.Rejected, Err: err})
		return
	}
	run, ok := g.sequence.accept(p.Term, p.Sequence)
	if !ok {
		done(consensus.Result{Outcome: consensus.Rejected, Err: fmt.Errorf("%w: got %d, the last one was %d",
			consensus.ErrOutOfSequence, p.Sequence, g.sequence.position(p.Term))})
		return
	}
	g.log.Propose(p.Term, p.Data, func(r consensus.Result) {
		g.sequence.decided(p.Term, p.Sequence, run, r.Outcome == consensus.Rejected)
		done(r)
	})
}

func (g *group) mayPropose(p consensus.Proposal) error {
	switch l, _ := g.log.Leadership(); {
	case l.Role != consensus.Leader && l.Role != consensus.LeaderReady:
		return fmt.Errorf("%w: it is a %s in term %d", consensus.ErrNotLeader, l.Role, l.Term)
	case l.Term != p.Term:
		return fmt.Errorf("%w: term %d, the proposal expects %d", consensus.ErrTermMismatch, l.Term, p.Term)
	case l.Role == consensus.Leader:
		return consensus.ErrLeaderNotReady
	default:
		return nil
	}
}
