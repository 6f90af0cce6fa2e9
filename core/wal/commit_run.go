package wal

import (
	"context"
	"errors"
	"time"
)

// start runs rounds, maintenance and callbacks until Close.
func (c *Committer) start() {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	for _, run := range []func(context.Context){c.runRounds, c.runFiles, c.runCheckpoints, c.runWriteBack, c.runNotifier} {
		c.running.Go(func() { run(ctx) })
	}
}

// Close checkpoints what is left and closes the files; the logs must be closed. One
// that was closed cleanly leaves nothing to replay.
func (c *Committer) Close() error {
	if c.closed.Load() {
		return nil
	}
	err := c.flush()
	if err == nil {
		err = c.checkpoint(c.ring.Current())
	}
	c.mu.Lock()
	c.closed.Store(true)
	c.wakeAll()
	c.mu.Unlock()
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
	return errors.Join(err, c.ring.Close())
}

// runRounds commits what is queued: at once, or after SyncInterval if nobody waits.
func (c *Committer) runRounds(ctx context.Context) {
	timer := time.NewTimer(c.cfg.SyncInterval)
	timer.Stop()
	armed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.soon:
			if !armed {
				timer.Reset(c.cfg.SyncInterval)
				armed = true
			}
			continue
		case <-timer.C:
		case <-c.atOnce:
		}
		timer.Stop()
		armed = false
		_ = c.flush() // an error is final, and told to every log
	}
}

// runFiles makes files ahead. That it cannot is no failure yet: a full disk shows
// when something is written.
func (c *Committer) runFiles(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wantFiles:
		}
		if err := c.ring.Prepare(); err != nil {
			c.log.Warn("cannot prepare a file of the commit log", "dir", c.cfg.Dir, "error", err)
		}
	}
}

// runCheckpoints frees files that are full: at once if half of the ring is, else not
// more often than every CheckpointInterval.
func (c *Committer) runCheckpoints(ctx context.Context) {
	timer := time.NewTimer(c.cfg.CheckpointInterval)
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.wantCheckpoint:
		}
		full, size := c.ring.Full()
		wait := c.cfg.CheckpointInterval - time.Since(last)
		if full == 0 || c.Err() != nil {
			continue
		}
		if size < c.cfg.SizeBytes/2 && wait > 0 {
			timer.Reset(wait)
			continue
		}
		_ = c.checkpoint(full) // an error is final, and told to every log
		last = time.Now()
	}
}

// runNotifier calls the logs' callbacks, each once for all rounds since the last call.
func (c *Committer) runNotifier(ctx context.Context) {
	var logs []*Log
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.moved:
		}
		logs = c.takeTold(logs[:0])
		for _, l := range logs {
			l.onDurable()
		}
		clear(logs)
	}
}

func (c *Committer) takeTold(into []*Log) []*Log {
	c.mu.Lock()
	defer c.mu.Unlock()
	into = append(into, c.tell...)
	for i, l := range c.tell {
		l.telling = false
		c.tell[i] = nil
	}
	c.tell = c.tell[:0]
	return into
}
