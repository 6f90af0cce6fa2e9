package host

import (
	"context"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// timeoutOf returns how long ctx leaves a call, in milliseconds; 0 = for ever.
func timeoutOf(ctx context.Context) uint32 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(wire.Millis(time.Until(deadline)), 1)
}

// ChangeMembers implements consensus.Client.
func (c *client) ChangeMembers(ctx context.Context, g consensus.GroupID, expectConfigIndex uint64, changes []consensus.Change) (consensus.Membership, error) {
	s, err := c.current()
	if err != nil {
		return consensus.Membership{}, err
	}
	resp, err := s.rpc.ChangeMembership(ctx, &consensuspb.ChangeMembershipRequest{
		GroupId: uint64(g), ExpectedConfigIndex: expectConfigIndex, Changes: wire.ChangesToProto(changes), TimeoutMs: timeoutOf(ctx),
	})
	if err != nil {
		return consensus.Membership{}, callError(ctx, "change members", err)
	}
	return wire.MembershipFromProto(resp.GetMembership()), nil
}

// TransferLeadership implements consensus.Client.
func (c *client) TransferLeadership(ctx context.Context, g consensus.GroupID, to uint64) error {
	s, err := c.current()
	if err != nil {
		return err
	}
	req := &consensuspb.TransferLeadershipRequest{GroupId: uint64(g), TargetReplicaId: to, TimeoutMs: timeoutOf(ctx)}
	if _, err := s.rpc.TransferLeadership(ctx, req); err != nil {
		return callError(ctx, "transfer leadership", err)
	}
	return nil
}

// Metrics implements consensus.Client.
func (c *client) Metrics(ctx context.Context) ([]consensus.Metric, error) {
	s, err := c.current()
	if err != nil {
		return nil, err
	}
	resp, err := s.rpc.GetMetrics(ctx, &consensuspb.GetMetricsRequest{})
	if err != nil {
		return nil, callError(ctx, "get metrics", err)
	}
	return wire.MetricsFromProto(resp.GetMetrics()), nil
}

// ReloadPeerTLS implements consensus.Client.
func (c *client) ReloadPeerTLS(ctx context.Context, tls consensus.PeerTLS) error {
	c.peerTLS.Store(&tls)
	s, err := c.current()
	if err != nil {
		return err
	}
	if _, err := s.rpc.ReloadPeerTLS(ctx, &consensuspb.ReloadPeerTLSRequest{Tls: wire.PeerTLSToProto(&tls)}); err != nil {
		return callError(ctx, "reload peer TLS", err)
	}
	return nil
}

// withPeerTLS returns start with the newest certificates there are.
func (c *client) withPeerTLS(start consensus.StartConfig) consensus.StartConfig {
	if tls := c.peerTLS.Load(); tls != nil {
		start.Peer.TLS = tls
	}
	return start
}
