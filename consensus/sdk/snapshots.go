package sdk

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// SaveSnapshot implements the service. The backend reads the content as it
// arrives; a wrong size or checksum reaches it as an error before the end.
func (s *Server) SaveSnapshot(stream consensuspb.Consensus_SaveSnapshotServer) error {
	resp, err := s.saveSnapshot(stream)
	if err != nil {
		return s.callError(fmt.Errorf("save snapshot: %w", err))
	}
	return stream.SendAndClose(resp)
}

func (s *Server) saveSnapshot(stream consensuspb.Consensus_SaveSnapshotServer) (*consensuspb.SaveSnapshotResponse, error) {
	r, err := wire.ReceiveSnapshot(stream.Recv)
	if err != nil {
		return nil, err
	}
	g, err := s.group(uint64(r.Group()))
	if err != nil {
		return nil, err
	}
	if err := g.log.SaveSnapshot(stream.Context(), r.Meta(), r); err != nil {
		return nil, s.ending(g, err)
	}
	st := g.log.Status()
	return &consensuspb.SaveSnapshotResponse{StoredIndex: r.Meta().Index, FirstIndex: st.FirstIndex}, nil
}

// FetchSnapshot implements the service.
func (s *Server) FetchSnapshot(req *consensuspb.FetchSnapshotRequest, stream consensuspb.Consensus_FetchSnapshotServer) error {
	if err := s.fetchSnapshot(req, stream); err != nil {
		return s.callError(fmt.Errorf("fetch snapshot of group %d: %w", req.GetGroupId(), err))
	}
	return nil
}

func (s *Server) fetchSnapshot(req *consensuspb.FetchSnapshotRequest, stream consensuspb.Consensus_FetchSnapshotServer) (err error) {
	g, err := s.group(req.GetGroupId())
	if err != nil {
		return err
	}
	m, r, err := g.log.Snapshot(stream.Context())
	if err != nil {
		return s.ending(g, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if m.Index < req.GetMinIndex() {
		return fmt.Errorf("%w that reaches %d: the newest is at %d", consensus.ErrNoSnapshot, req.GetMinIndex(), m.Index)
	}
	return wire.SendSnapshot(g.id, m, r, stream.Send)
}
