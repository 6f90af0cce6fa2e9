package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
)

// OnImage brings the partitions into line with a published image. Call it for
// every image in order: it is a publisher of the metadata loader. It goes by what
// the image says and what is here, not by what changed.
func (m *Manager) OnImage(_, img *metadata.Image) {
	m.take()
	defer m.give()
	m.bringInLine(img)
}

// assignment is a replica that an image gives to this broker.
type assignment struct {
	topic    *metadata.Topic
	part     *metadata.Partition
	settings *settings
}

// bringInLine makes the partitions what img says. The caller has the turn.
func (m *Manager) bringInLine(img *metadata.Image) {
	if m.closed || m.storage.Load() || !m.current(img) {
		return
	}
	assigned := m.assigned(img)
	next := maps.Clone(*m.partitions.Load())
	events := m.remove(next, assigned) // before opening: a topic created again has the same directory
	if err := m.open(next, assigned); err != nil {
		m.fail(err)
		return
	}
	m.partitions.Store(&next)
	now := time.Now()
	by := map[int32]map[*Partition]int32{}
	for key, p := range next {
		a := assigned[key]
		if p.seen == nil || p.seen.part != a.part || *p.seen.settings != *a.settings {
			p.seen = &a
			if p.apply(leadershipOf(m.cfg.BrokerID, a.part, a.settings), now) {
				events = append(events, leadershipEvent{a.topic.Name, key.partition, a.part.Leader == m.cfg.BrokerID, a.part.LeaderEpoch})
			}
		}
		if leader := a.part.Leader; leader != metadata.NoLeader && leader != m.cfg.BrokerID {
			if by[leader] == nil {
				by[leader] = map[*Partition]int32{}
			}
			by[leader][p] = a.part.LeaderEpoch
		}
	}
	m.following.set(by)
	m.tell(events)
}

// current tells if an image is of this process's time. Those before it are
// history that a restart goes through: what they say of leaders is over, and
// topics that they do not know may have been created since.
func (m *Manager) current(img *metadata.Image) bool {
	if m.adopted {
		return true
	}
	epoch := m.brokerEpoch()
	b, ok := img.Broker(m.cfg.BrokerID)
	m.adopted = ok && epoch >= 0 && b.Epoch == epoch
	return m.adopted
}

// assigned is every replica that img gives to this broker.
func (m *Manager) assigned(img *metadata.Image) map[partitionKey]assignment {
	assigned := map[partitionKey]assignment{}
	for t := range img.Topics() {
		s := m.settingsOf(img, t.Name)
		for i, part := range t.Partitions {
			if slices.Contains(part.Replicas, m.cfg.BrokerID) {
				assigned[partitionKey{t.ID, int32(i)}] = assignment{t, part, s}
			}
		}
	}
	return assigned
}

// remove deletes the partitions that are not assigned any more.
func (m *Manager) remove(parts map[partitionKey]*Partition, assigned map[partitionKey]assignment) (events []leadershipEvent) {
	before := len(parts)
	for key, p := range parts {
		if _, ok := assigned[key]; ok {
			continue
		}
		delete(parts, key)
		if l := p.leadership.Load(); l != nil && l.mine {
			events = append(events, leadershipEvent{p.topic, key.partition, false, l.epoch})
		}
		p.log.Info("deleting replica", "end", p.wal.End())
		p.retire()
		if err := p.wal.Discard(); err != nil {
			p.fail(fmt.Errorf("delete %s: %w", p, err))
		}
	}
	if len(parts) == before {
		return nil
	}
	if err := m.cfg.fs().SyncDir(m.cfg.DataDir); err != nil {
		m.fail(fmt.Errorf("delete partitions: %w", err))
	}
	m.kickRemoval()
	return events
}

// open opens the logs of the partitions that are new here, some at a time, and
// adds them to parts.
func (m *Manager) open(parts map[partitionKey]*Partition, assigned map[partitionKey]assignment) error {
	if err := m.prepareDirectory(assigned); err != nil {
		return err
	}
	var fresh []*Partition
	for key, a := range assigned {
		if parts[key] == nil {
			fresh = append(fresh, m.newPartition(key, a))
		}
	}
	var g errgroup.Group
	g.SetLimit(m.cfg.SyncParallel)
	for _, p := range fresh {
		g.Go(func() error { return m.openLog(p, assigned[p.key]) })
	}
	if err := g.Wait(); err != nil {
		return errors.Join(err, closeAll(fresh))
	}
	if len(fresh) > 0 {
		if err := m.committer.SavePoints(); err != nil {
			return errors.Join(err, closeAll(fresh))
		}
	}
	for _, p := range fresh {
		p.restoreMark(markOf(m.marks, p))
		parts[p.key] = p
	}
	m.marks = map[checkpointKey]int64{} // a partition that comes later was not here in the last run
	return nil
}

func (m *Manager) newPartition(key partitionKey, a assignment) *Partition {
	p := &Partition{
		key:   key,
		topic: a.topic.Name,
		m:     m,
		dir:   m.partitionDir(a.topic.Name, key.partition),
	}
	p.log = slog.New((*partitionLog)(p))
	return p
}

func (m *Manager) openLog(p *Partition, a assignment) error {
	if p.topic != filepath.Base(p.topic) || strings.HasPrefix(p.topic, ".") && strings.Trim(p.topic, ".") == "" {
		return fmt.Errorf("open %s: the topic's name cannot be a directory", p)
	}
	log, err := wal.Open(p.dir, a.settings.log, p.log, wal.WithTopicID(p.key.topic), wal.WithFS(m.cfg.fs()), wal.WithFiles(m.files),
		wal.WithCommitter(m.committer, p.key.partition), wal.WithOnDurable(p.committed))
	if err != nil {
		return fmt.Errorf("open %s: %w", p, err)
	}
	p.wal = log
	return nil
}

// closeAll closes the logs that could be opened.
func closeAll(parts []*Partition) error {
	var errs []error
	for _, p := range parts {
		if p.wal != nil {
			errs = append(errs, p.wal.Close())
		}
	}
	return errors.Join(errs...)
}

// leadershipEvent is a call of an OnLeadership callback.
type leadershipEvent struct {
	topic     string
	partition int32
	leader    bool
	epoch     int32
}

// tell calls the callbacks. A partition has one event at most, except that a
// topic that was created again ends its old leadership first.
func (m *Manager) tell(events []leadershipEvent) {
	for _, e := range events {
		for _, f := range m.listeners[e.topic] {
			f(e.partition, e.leader, e.epoch)
		}
	}
}
