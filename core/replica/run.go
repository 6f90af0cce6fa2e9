package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// adoptInterval is how often Run looks if this broker has been registered: the
// image with the registration comes before the broker knows its epoch.
const adoptInterval = 20 * time.Millisecond

// Run syncs logs, fetches from leaders, changes ISRs, checkpoints high watermarks,
// compacts logs and deletes what retention allows, until ctx ends; then it closes every log. An
// error means that this broker's storage can no longer be trusted. Run once.
func (m *Manager) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	m.syncs.run(gctx, g, m.cfg.SyncParallel)
	for range m.cfg.CleanerThreads {
		g.Go(func() error { return m.runCleaner(gctx) })
	}
	for _, run := range []func(context.Context) error{
		m.awaitFailure,
		m.runFetchers,
		m.runISR,
		m.runRetention,
		m.runTrims,
		m.runCheckpoints,
		m.runFlush,
		m.runAdoption,
		m.runRemoval,
	} {
		g.Go(func() error { return run(gctx) })
	}
	err := g.Wait()
	return errors.Join(err, m.close())
}

// Ready is closed once the partitions of the first image of this registration are
// open: from then on this broker can lead.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// runAdoption applies the current image as soon as it turns out that it is of
// this registration, although it was published before that was known.
func (m *Manager) runAdoption(ctx context.Context) error {
	tick := time.NewTicker(adoptInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if m.adopt() {
			close(m.ready)
			return nil
		}
	}
}

func (m *Manager) adopt() (done bool) {
	m.take()
	defer m.give()
	if !m.adopted {
		m.bringInLine(m.images.Current())
	}
	return m.adopted
}

// runCheckpoints writes the high watermarks from time to time.
func (m *Manager) runCheckpoints(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.CheckpointInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := m.checkpoint(); err != nil {
			return err
		}
	}
}

// runRetention deletes old segments from time to time, and forgets producers, also those
// of topics that are only compacted.
func (m *Manager) runRetention(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.RetentionInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, p := range *m.partitions.Load() {
			if ctx.Err() == nil {
				p.wal.ExpireProducers()
				p.retain(ctx)
			}
		}
	}
}

// retain deletes what the topic's configuration lets go.
func (p *Partition) retain(ctx context.Context) {
	l := p.leadership.Load()
	if l == nil || !l.settings.deletes || p.failure.Load() != nil {
		return
	}
	deleted, err := p.wal.Retain(ctx, l.settings.retentionPolicy(p.highWatermark.Load()))
	if err != nil && ctx.Err() == nil {
		_ = p.logError("delete old segments of", err) // it is the partition's from here on
		return
	}
	if deleted > 0 {
		p.log.Info("deleted old segments", "segments", deleted, "start", p.wal.Start())
	}
}

// close writes the last checkpoint and closes every log. Images that come later
// are ignored.
func (m *Manager) close() error {
	m.take()
	defer m.give()
	m.closed = true
	err := m.checkpoint()
	var g errgroup.Group
	g.SetLimit(m.cfg.SyncParallel)
	for _, p := range *m.partitions.Load() {
		p.retire()
		g.Go(func() error {
			if err := p.wal.Close(); err != nil && p.failure.Load() == nil {
				return fmt.Errorf("close %s: %w", p, err)
			}
			return nil
		})
	}
	err = errors.Join(err, g.Wait())
	if m.committer == nil {
		return err
	}
	if cerr := m.committer.Close(); !m.storage.Load() {
		err = errors.Join(err, cerr) // else it only says again what failed
	}
	return err
}
