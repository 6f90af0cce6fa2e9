package hashicorpraft

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

func serverID(replica uint64) raft.ServerID {
	return raft.ServerID(strconv.FormatUint(replica, 10))
}

// replicaID is 0, which is nobody, for what serverID did not make.
func replicaID(id raft.ServerID) uint64 {
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return consensus.NoLeader
	}
	return n
}

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
	logDir := filepath.Join(g.dir, "log")
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
	w, err := g.b.openLog(logDir, g.b.options.LogSegmentBytes)
	if err != nil {
		return fmt.Errorf("%w: open the log: %w", consensus.ErrStorageFailed, err)
	}
	g.store = &store{wal: w, fatal: g.b.fatal}
	if g.snapshots, err = openSnapshots(filepath.Join(g.dir, "snapshots")); err != nil {
		return fmt.Errorf("%w: recover the snapshot: %w", consensus.ErrStorageFailed, err)
	}
	g.snapshots.installed = g.installed
	if s := g.snapshots.newest; s.Index > 0 {
		if err := g.store.cover(s.Index, s.Term); err != nil {
			return err
		}
		g.commit = s.Index
	}
	return g.bootstrap()
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
		c.Servers = append(c.Servers, raft.Server{ID: serverID(m.ReplicaID), Address: raft.ServerAddress(address)})
	}
	if len(c.Servers) == 0 {
		return fmt.Errorf("%w: a new group needs members", consensus.ErrInvalidArgument)
	}
	return g.store.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)})
}

// launch starts the library and what goes with it.
func (g *group) launch() error {
	log := logger{to: slog.Default().With("component", "raft", "consensus_group", uint64(g.spec.ID))}
	timing := g.b.cfg.Timing
	g.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: g.addresses(), Logger: log, Stream: g.b.streams, MaxPool: 3,
		Timeout: max(2*time.Second, 4*timing.ElectionTimeout), MsgpackUseNewTimeFormat: true,
	})
	cfg := raftConfig(g.b.cfg, g.b.options)
	cfg.Logger = log
	r, err := raft.NewRaft(cfg, counter{g.advance}, g.store, g.store, g.snapshots, g.transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", errors.Join(err, g.transport.Close()))
	}
	g.raft = r
	r.RegisterObserver(raft.NewObserver(g.observed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation:
			return true
		}
		return false
	}))
	g.look()
	g.running.Go(g.watch)
	g.running.Go(g.submit)
	go g.complete() // may be stuck in a future that is never answered; see close
	return nil
}

// addressBook is where the host says that members are now; it goes before what
// the log says.
type addressBook map[raft.ServerID]raft.ServerAddress

// ServerAddr implements raft.ServerAddressProvider.
func (a addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if addr, ok := a[id]; ok {
		return addr, nil
	}
	return "", fmt.Errorf("replica %s has no address in the configuration", id)
}

func (g *group) addresses() raft.ServerAddressProvider {
	book := addressBook{}
	for _, m := range g.spec.Members {
		if m.Address != "" {
			book[serverID(m.ReplicaID)] = raft.ServerAddress(m.Address)
		}
	}
	if len(book) == 0 {
		return nil
	}
	return book
}
