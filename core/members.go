package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
)

const (
	// membersEvery is how often the membership of the metadata log is asked for.
	membersEvery = time.Second
	// membersRetry is the pause after the backend did not answer, and the least
	// between two questions.
	membersRetry = 50 * time.Millisecond
)

// members knows which broker has which replica of the metadata log. A replica's
// broker never changes, so what was known once stays right; only the broker of a
// replica that is new may not be known yet.
type members struct {
	client  consensus.Client
	log     *slog.Logger
	brokers atomic.Pointer[map[uint64]int32]
	missing chan struct{} // of one: somebody asked for a replica that is not known
}

func newMembers(client consensus.Client, log *slog.Logger) *members {
	m := &members{client: client, log: log.With("component", "members"), missing: make(chan struct{}, 1)}
	m.brokers.Store(&map[uint64]int32{})
	return m
}

// broker returns the broker of a replica.
func (m *members) broker(replica uint64) (id int32, ok bool) {
	if id, ok = (*m.brokers.Load())[replica]; !ok {
		select {
		case m.missing <- struct{}{}:
		default: // it is being looked for
		}
	}
	return id, ok
}

// Run keeps the membership until ctx ends, and then returns nil; or until this
// replica has been removed.
func (m *members) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		lead, changed := m.client.LeaderFor(consensus.Metadata)
		if lead.Role == consensus.Removed {
			return ErrRemoved
		}
		pause := membersEvery
		if err := m.ask(ctx); err != nil {
			m.log.Debug("membership is not known", "error", err)
			pause = membersRetry
		}
		m.rest(ctx, pause, changed)
	}
	return nil
}

// ErrRemoved is for the operator of a node that may not go on.
var ErrRemoved = errors.New("this node's replica of the metadata log was removed from the cluster: if the node is to come back, empty its data directory and start it with cluster/join: true")

func (m *members) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, membersEvery)
	defer cancel()
	now, err := m.client.Members(ctx, consensus.Metadata)
	if err != nil {
		return fmt.Errorf("ask for the members: %w", err)
	}
	old := *m.brokers.Load()
	next := make(map[uint64]int32, len(old))
	for _, list := range [][]consensus.Member{now.Members, now.Outgoing} {
		for _, member := range list {
			next[member.ReplicaID] = member.BrokerID
		}
	}
	if len(next) > 0 { // a replica that joins knows of none at first
		m.brokers.Store(&next)
	}
	return nil
}

// rest waits for d, for a change of leadership, or until somebody misses a replica,
// but for membersRetry at least.
func (m *members) rest(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	least, most := time.NewTimer(min(d, membersRetry)), time.NewTimer(d)
	defer least.Stop()
	defer most.Stop()
	select {
	case <-changed:
		return
	case <-ctx.Done():
		return
	case <-least.C:
	}
	select {
	case <-m.missing:
	case <-changed:
	case <-most.C:
	case <-ctx.Done():
	}
}
