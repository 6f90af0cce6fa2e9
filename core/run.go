package core

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/consensus"
)

// Run serves until ctx ends, then leaves the cluster in order: leaderships move
// away, clients are let go, logs are closed. An error means that the broker
// could not go on; its data is safe, but it must not be used further without a
// restart.
//
// Listen comes first. ready, which may be nil, is called once clients are served.
func (b *Broker) Run(ctx context.Context, ready func()) error {
	// The rooms outlive ctx, so that there is a broker left to leave with.
	rooms, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, rooms := errgroup.WithContext(rooms)
	registration := b.registration.Load()
	run := func(f func(context.Context) error) {
		g.Go(func() error { return f(rooms) })
	}
	run(b.members.Run)
	run(b.images.Run)
	run(b.replicas.Run)
	run(b.groups.Run)
	run(b.controller.Run)
	run(registration.Run)
	if b.cluster != nil && b.cfg.ReplicaID != 0 {
		run(b.outcast().run)
	}
	if b.cfg.Learner != nil {
		run(b.learner().run)
	}
	if b.cluster != nil {
		run(b.cluster.Run)
	}
	if b.admin != nil {
		run(b.admin.Run)
	}
	clients, hangUp := context.WithCancel(rooms)
	defer hangUp()
	g.Go(func() error { return b.serveClients(clients, ready) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			b.leave(rooms)
			hangUp()
			stop()
		case <-rooms.Done():
		}
		return nil
	})
	err := g.Wait()
	b.pool.Close()
	return err
}

// serveClients takes connections once the controller has let this broker in:
// before that it would answer from metadata that may be old.
func (b *Broker) serveClients(ctx context.Context, ready func()) error {
	if !b.awaitEntry(ctx) {
		return nil
	}
	for _, l := range b.cfg.Listeners {
		b.log.Info("serving clients", "component", "broker", "listener", l.Name, "address", b.clients.Addr(l.Name).String())
	}
	if ready != nil {
		ready()
	}
	return b.clients.Run(ctx)
}

func (b *Broker) awaitEntry(ctx context.Context) bool {
	registration := b.registration.Load()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for registration.Fenced() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

func (b *Broker) outcast() *outcast {
	return &outcast{
		self:       Newcomer{BrokerID: b.cfg.BrokerID, ClusterID: b.cfg.ClusterID, Peers: b.cfg.Peers, TLS: b.cfg.ClusterClientTLS},
		replica:    b.cfg.ReplicaID,
		leadership: func() (consensus.Leadership, <-chan struct{}) { return b.consensus.LeaderFor(consensus.Metadata) },
		log:        b.log,
	}
}

func (b *Broker) learner() *learner {
	return &learner{
		self:    consensus.Member{ReplicaID: b.cfg.ReplicaID, BrokerID: b.cfg.BrokerID, Address: b.cfg.Learner.Address},
		cluster: b.cfg.ClusterID,
		leads:   quorum{b.consensus, b.leader, b.pool}.AskLeader,
		fenced:  b.registration.Load().Fenced,
		settled: b.cfg.Learner.Settled,
		log:     b.log.With("component", "learner"),
	}
}

// hasOthers tells whether there is a broker to leave leaderships to.
func (b *Broker) hasOthers() bool {
	for peer := range b.images.Current().Brokers() {
		if peer.ID != b.cfg.BrokerID {
			return true
		}
	}
	return false
}

// leave has this broker's leaderships moved to others, if there are others.
func (b *Broker) leave(ctx context.Context) {
	if !b.hasOthers() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.LeaveTimeout)
	defer cancel()
	if err := b.registration.Load().Leave(ctx); err != nil {
		b.log.Warn("left without handing over", "component", "broker", "error", err)
	}
}
