package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/protocol"
)

// Quorum is the replicas of the metadata log, whatever backend keeps it.
type Quorum interface {
	// Leads tells whether this broker's replica leads.
	Leads() bool
	// AskLeader sends req to the broker whose replica leads.
	AskLeader(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	Status(ctx context.Context) (consensus.Status, error)
	Members(ctx context.Context) (consensus.Membership, error)
	ChangeMembers(ctx context.Context, expectConfigIndex uint64, changes []consensus.Change) (consensus.Membership, error)
}

// byLeader has the broker that leads the metadata log answer req: here, with f,
// or there. A request from another broker is not passed on again.
func byLeader[Resp kmsg.Response](ctx context.Context, a *API, s *Session, req kmsg.Request, f func(context.Context) (Resp, error)) (resp Resp, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	if a.quorum.Leads() {
		return f(ctx)
	}
	if s.Kind == Cluster {
		return resp, protocol.Errorf(protocol.NotLeaderOrFollower, "broker %d does not lead the metadata log", a.cfg.BrokerID)
	}
	answer, err := a.quorum.AskLeader(ctx, req)
	if err != nil {
		return resp, err
	}
	resp, ok := answer.(Resp)
	if !ok {
		return resp, errors.New("the leader of the metadata log answered another request")
	}
	return resp, nil
}

// quorumErrors are the contract's errors in Kafka's words.
var quorumErrors = []struct {
	err  error
	code protocol.ErrorCode
}{
	{consensus.ErrNotLeader, protocol.NotLeaderOrFollower},
	{consensus.ErrUnavailable, protocol.NotLeaderOrFollower},
	{consensus.ErrUnsupported, protocol.UnsupportedVersion},
	{consensus.ErrStaleConfig, protocol.RequestTimedOut}, // retriable: somebody was faster
	{consensus.ErrConfigPending, protocol.RequestTimedOut},
	{consensus.ErrTimeout, protocol.RequestTimedOut},
	{consensus.ErrLeadershipLost, protocol.RequestTimedOut},
	{consensus.ErrNoQuorum, protocol.RequestTimedOut},
	{consensus.ErrInvalidArgument, protocol.InvalidRequest},
}

// quorumError returns err as clients may see it.
func quorumError(err error) error {
	for _, e := range quorumErrors {
		if errors.Is(err, e.err) {
			return protocol.Errorf(e.code, "%v", err)
		}
	}
	return err
}
