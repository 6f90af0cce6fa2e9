package hashicorpraft

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// firstIndex is where the log of a new group has its first members.
const firstIndex = 1

// openGroup recovers the group's log and snapshot and starts the library on them.
func openGroup(b *backend, spec consensus.GroupSpec) (*group, error) {
	g := newGroup(b, spec)
	if err := g.recover(); err != nil {
		return nil, errors.Join(err, g.closeFiles())
	}
	if err := g.launch(); err != nil {
		return nil, errors.Join(err, g.closeFiles())
	}
	return g, nil
}

func (g *group) recover() error {
	logDir := filepath.Join(g.dir, logFolder)
	_, err := os.Stat(logDir)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case err != nil && g.spec.Mode == consensus.OpenRecover:
		return fmt.Errorf("%w: there is no data to recover in %s", consensus.ErrGroupNotFound, g.dir)
	}
	if err := errors.Join(os.MkdirAll(logDir, 0o700), syncDir(g.dir), syncDir(g.b.cfg.DataDir)); err != nil {
		return err
	}
	w, err := g.b.openLog(g.dir, g.b.options)
	if err != nil {
		return err
	}
	g.store = &store{wal: w, fatal: g.b.fatal}
	if g.snapshots, err = openSnapshots(filepath.Join(g.dir, "snapshots")); err != nil {
		return fmt.Errorf("%w: recover the snapshot: %w", consensus.ErrStorageFailed, err)
	}
	g.snapshots.installed, g.snapshots.received = g.installed, g.turned
	if s := g.snapshots.newest; s.Index > 0 {
		if err := g.store.cover(s.Index, s.Term, configuration{s.Configuration, s.ConfigurationIndex}); err != nil {
			return err
		}
		g.commit = s.Index
	}
	if err := errors.Join(g.store.recoverMembers(), g.store.recoverMark()); err != nil {
		return err
	}
	if err := g.bootstrap(); err != nil {
		return err
	}
	return g.checkSelf()
}

// checkSelf refuses to be known by another broker's id: the library would not
// find itself among the members.
func (g *group) checkSelf() error {
	server, known := serverOf(g.store.configuration().Configuration, g.b.cfg.ReplicaID)
	if known && server.ID != g.self {
		return fmt.Errorf("%w: the members have replica %s, this one is %s", consensus.ErrDataIncompatible, server.ID, g.self)
	}
	return nil
}

// bootstrap writes the first entry, the members, into an empty log. The
// library's own way would be stuck after a crash between its two writes.
func (g *group) bootstrap() error {
	last, err := g.store.LastIndex()
	if err != nil || last > 0 || g.snapshots.newest.Index > 0 {
		return err
	}
	switch g.spec.Mode {
	case consensus.OpenRecover:
		return fmt.Errorf("%w: the log in %s is empty", consensus.ErrGroupNotFound, g.dir)
	case consensus.OpenJoin:
		return nil
	}
	var c raft.Configuration
	for _, m := range g.spec.Members {
		if m.ReplicaID == consensus.NoLeader || m.Role != consensus.Voter {
			return fmt.Errorf("%w: a first member must be a voter with an id: %+v", consensus.ErrInvalidArgument, m)
		}
		address := m.Address
		if m.ReplicaID == g.b.cfg.ReplicaID {
			address = g.b.streams.Addr().String()
		}
		c.Servers = append(c.Servers, raft.Server{ID: serverID(m.ReplicaID, m.BrokerID), Address: raft.ServerAddress(address)})
	}
	if len(c.Servers) == 0 {
		return fmt.Errorf("%w: a new group needs members", consensus.ErrInvalidArgument)
	}
	return g.store.StoreLog(&raft.Log{Index: firstIndex, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)})
}

// launch starts the library and what goes with it.
func (g *group) launch() error {
	log := logger{to: slog.Default().With("component", "raft", "consensus_group", uint64(g.spec.ID))}
	book := g.addresses()
	layer := g.b.streams.open(book.owner, g.suspect)
	g.transport = &transport{peers: g.peers, layer: layer, NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: book, Logger: log, Stream: layer, MaxPool: 3,
		Timeout: rpcTimeout(g.b.cfg.Timing), MsgpackUseNewTimeFormat: true,
	})}
	cfg := raftConfig(g.b.cfg, g.b.options)
	cfg.Logger = log
	r, err := raft.NewRaft(cfg, counter{g.advance}, g.store, g.store, g.snapshots, g.transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", errors.Join(err, g.transport.Close()))
	}
	g.raft, g.timing = r, r.ReloadableConfig()
	r.RegisterObserver(raft.NewObserver(g.observed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation:
			return true
		}
		return false
	}))
	g.look()
	g.running.Go(g.watch)
	g.running.Go(g.pulse)
	g.running.Go(g.submit)
	g.running.Go(g.succeed)
	go g.complete() // may be stuck in a future that is never answered; see close
	return nil
}
