package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// windowWait is how long a plugin may take to open the stream of proposals.
const windowWait = 5 * time.Second

// session is the use of one connection to a started backend: the two streams
// that are always open, and the calls. It ends, as a whole, with the first of
// its streams; the proposals that are undecided then are unknown.
type session struct {
	rpc      consensuspb.ConsensusClient
	client   *client
	proposer *proposer
	ctx      context.Context // ends with the session
	cancel   context.CancelFunc
	done     chan struct{} // closed when it has ended and is detached
	err      error         // why; valid once done is closed
}

// openSession opens the streams over conn and attaches the session to c. ctx
// bounds the opening; the session lasts until end is called or a stream breaks.
func openSession(ctx context.Context, conn grpc.ClientConnInterface, c *client) (*session, error) {
	s := &session{rpc: consensuspb.NewConsensusClient(conn), client: c, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	proposals, events, err := s.open(ctx)
	if err != nil {
		s.cancel()
		return nil, err
	}
	c.attach(s)
	go s.run(proposals, events)
	return s, nil
}

func (s *session) open(ctx context.Context) (consensuspb.Consensus_ProposeClient, consensuspb.Consensus_WatchEventsClient, error) {
	ctx, cancel := context.WithTimeout(ctx, windowWait)
	defer cancel()
	defer context.AfterFunc(ctx, s.cancel)() // a stream has no deadline of its own until it is open
	proposals, err := s.rpc.Propose(s.ctx)
	if err != nil {
		return nil, nil, callError(ctx, "open the stream of proposals", err)
	}
	first, err := proposals.Recv()
	if err != nil {
		return nil, nil, callError(ctx, "open the stream of proposals", err)
	}
	if first.GetWindow() == nil {
		return nil, nil, errors.New("open the stream of proposals: the first message is not a window")
	}
	events, err := s.rpc.WatchEvents(s.ctx, &consensuspb.WatchEventsRequest{})
	if err != nil {
		return nil, nil, callError(ctx, "watch events", err)
	}
	s.proposer = newProposer(first.GetWindow(), s.client.Describe().Limits, s.client.commits)
	return proposals, events, nil
}

// run serves the streams until the first of them breaks.
func (s *session) run(proposals consensuspb.Consensus_ProposeClient, events consensuspb.Consensus_WatchEventsClient) {
	broken := make(chan error, 3)
	var wg sync.WaitGroup
	wg.Go(func() { broken <- s.proposer.send(s.ctx, proposals) })
	wg.Go(func() { broken <- s.proposer.receive(proposals) })
	wg.Go(func() { broken <- s.watch(events) })
	s.err = <-broken
	s.cancel()
	s.proposer.close()
	wg.Wait()
	s.client.detach(s)
	close(s.done)
}

// end ends the session and waits until it is detached.
func (s *session) end() {
	s.cancel()
	<-s.done
}

func (s *session) watch(events consensuspb.Consensus_WatchEventsClient) error {
	for {
		e, err := events.Recv()
		if err != nil {
			return fmt.Errorf("watch events: %w", wire.FromStatus(err))
		}
		s.client.onEvent(e)
	}
}

func (s *session) saveSnapshot(ctx context.Context, g consensus.GroupID, m consensus.SnapshotMeta, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a reader that fails must not leave half a stream behind
	stream, err := s.rpc.SaveSnapshot(ctx)
	if err != nil {
		return callError(ctx, "save snapshot", err)
	}
	// On io.EOF the plugin has answered already, and CloseAndRecv tells what.
	if err := wire.SendSnapshot(g, m, r, stream.Send); err != nil && !errors.Is(err, io.EOF) {
		return callError(ctx, "save snapshot", err)
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return callError(ctx, "save snapshot", err)
	}
	return nil
}

func (s *session) snapshot(ctx context.Context, g consensus.GroupID) (consensus.SnapshotMeta, io.ReadCloser, error) {
	streamCtx, cancel := context.WithCancel(ctx)
	stream, err := s.rpc.FetchSnapshot(streamCtx, &consensuspb.FetchSnapshotRequest{GroupId: uint64(g)})
	if err != nil {
		cancel()
		return consensus.SnapshotMeta{}, nil, callError(ctx, "fetch snapshot", err)
	}
	r, err := wire.ReceiveSnapshot(func() (*consensuspb.SnapshotPart, error) {
		part, err := stream.Recv()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, callError(ctx, "fetch snapshot", err)
		}
		return part, err
	})
	if err != nil {
		cancel()
		return consensus.SnapshotMeta{}, nil, err
	}
	return r.Meta(), &fetchedSnapshot{Reader: r, cancel: cancel}, nil
}

// fetchedSnapshot reads a snapshot from its stream; Close ends the stream.
type fetchedSnapshot struct {
	io.Reader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (f *fetchedSnapshot) Close() error {
	f.cancel()
	return nil
}
