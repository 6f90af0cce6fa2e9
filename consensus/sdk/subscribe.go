package sdk

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

const (
	defaultBatchBytes = 1 << 20
	maxBatchBytes     = 4 << 20
	// progressEvery is how often a subscriber that gets no entries hears of a
	// commit index that moves.
	progressEvery = 500 * time.Millisecond
)

// Subscribe implements the service. It reads the log when the stream has room
// and holds nothing in memory; a host that does not read is waited for.
func (s *Server) Subscribe(req *consensuspb.SubscribeRequest, stream consensuspb.Consensus_SubscribeServer) error {
	g, err := s.group(req.GetGroupId())
	if err == nil {
		err = s.deliver(g, req, stream)
	}
	if err != nil {
		err = fmt.Errorf("subscribe to group %d from %d: %w", req.GetGroupId(), req.GetFromIndex(), err)
	}
	return s.callError(err)
}

func (s *Server) deliver(g *group, req *consensuspb.SubscribeRequest, stream consensuspb.Consensus_SubscribeServer) error {
	from, progress := req.GetFromIndex(), progress{}
	if from == 0 {
		return fmt.Errorf("%w: indexes start at 1", consensus.ErrInvalidArgument)
	}
	for {
		entries, commit, next, err := g.log.Read(from, batchBytes(req.GetMaxBatchBytes()))
		switch {
		case errors.Is(err, consensus.ErrCompacted):
			return s.ending(g, s.sendSnapshotItem(g, stream))
		case err != nil:
			return s.ending(g, err)
		case len(entries) > 0 || progress.due(commit):
			if err := stream.Send(batchItem(consensus.Batch{Entries: entries, Commit: commit})); err != nil {
				return err
			}
			progress.sent(commit)
			if n := len(entries); n > 0 {
				from = entries[n-1].Index + 1
				g.delivered.Store(from - 1)
				continue
			}
		}
		if next == nil {
			return fmt.Errorf("the backend returned neither entries nor a channel to wait on")
		}
		if err := s.await(g, stream, next, progress.wait(commit)); err != nil {
			return err
		}
	}
}

func batchBytes(asked uint32) int {
	if asked == 0 {
		return defaultBatchBytes
	}
	return int(min(asked, maxBatchBytes))
}

func batchItem(b consensus.Batch) *consensuspb.SubscribeResponse {
	return &consensuspb.SubscribeResponse{Item: &consensuspb.SubscribeResponse_Batch{Batch: wire.BatchToProto(b)}}
}

// sendSnapshotItem tells the host to fetch the snapshot; the stream ends after it.
func (s *Server) sendSnapshotItem(g *group, stream consensuspb.Consensus_SubscribeServer) error {
	m, r, err := g.log.Snapshot(stream.Context())
	if err != nil {
		return fmt.Errorf("the log was compacted, but its snapshot cannot be opened: %w", err)
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	return stream.Send(&consensuspb.SubscribeResponse{
		Item: &consensuspb.SubscribeResponse_Snapshot{Snapshot: wire.SnapshotMetaToProto(g.id, m)},
	})
}

// await returns nil when there may be more to read or timeout has passed (0 =
// never), and an error when the stream must end.
func (s *Server) await(g *group, stream consensuspb.Consensus_SubscribeServer, next <-chan struct{}, timeout time.Duration) error {
	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-next:
		return nil
	case <-expired:
		return nil
	case <-g.closed:
		return consensus.ErrGroupNotFound
	case <-s.stopping:
		return consensus.ErrShuttingDown
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

// progress decides when a commit index alone is worth a message.
type progress struct {
	commit uint64
	at     time.Time
}

func (p *progress) sent(commit uint64) { *p = progress{commit: commit, at: time.Now()} }

func (p *progress) due(commit uint64) bool {
	return commit != p.commit && time.Since(p.at) >= progressEvery
}

// wait returns how long until commit is due, or 0 if it was sent.
func (p *progress) wait(commit uint64) time.Duration {
	if commit == p.commit {
		return 0
	}
	return max(progressEvery-time.Since(p.at), time.Millisecond)
}
