package wal

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/core/wal/ring"
)

// How a log and the committer of its data directory work together.

// framing tells if appends go through the commit log.
func (l *Log) framing() bool {
	return l.committer != nil && SyncMode(l.mode.Load()) != SyncOS
}

// lockForAppend waits for room in the commit log and locks mu; unlock gives both back.
func (l *Log) lockForAppend(n int) (unlock func(), err error) {
	if l.framing() {
		if err := l.committer.admit(n); err != nil {
			return nil, err
		}
	} else {
		n = 0
	}
	l.mu.Lock()
	l.admitted = n
	unlock = l.unlockAfterAppend
	if err := l.Err(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (l *Log) unlockAfterAppend() {
	rest := l.admitted
	l.admitted = 0
	l.mu.Unlock()
	if rest != 0 {
		l.committer.release(rest)
	}
}

// commit queues a run that was written at a position of s. The caller holds mu.
func (l *Log) commit(s *segment, at int64, run []byte, end int64) {
	if !l.framing() {
		return
	}
	l.admitted -= len(run) // below 0 if the mode has changed meanwhile: then release takes more
	l.committer.add(l, ring.Frame{
		Type: ring.Batches, Owner: l.owner.ring(), Base: s.base, Position: uint32(at), Payload: run,
	}, end)
}

// awaitCommit is Sync through the commit log.
func (l *Log) awaitCommit(ctx context.Context, end int64) error {
	for {
		round := l.committer.nextRound()
		if l.durable.Load() >= end {
			return nil
		}
		if err := l.Err(); err != nil {
			return err
		}
		if e := l.end.Load(); e < end {
			return fmt.Errorf("%w: sync up to %d, the log ends at %d", ErrOffsetOutOfRange, end, e)
		}
		l.committer.kick(l.committer.atOnce)
		select {
		case <-round:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// uncommit is called before anything but appends changes files that frames name. The
// files are made durable, then it is made durable that no frame of before is redone:
// from then on they may change as they did without a commit log. The caller holds
// roundMu and mu.
func (l *Log) uncommit() error {
	if l.committer == nil {
		return nil
	}
	if err := l.syncLocked(); err != nil {
		return err
	}
	return l.committer.barrier(l)
}

// beginAnew makes sure that nothing of a log that was here before comes back into
// one that is created: before partition.metadata is there, for without it nothing is
// redone.
func (l *Log) beginAnew() error {
	if l.committer == nil {
		return nil
	}
	if _, known := l.committer.pointOf(l.owner); !known {
		return nil
	}
	return l.committer.barrier(l)
}

func (l *Log) leaveCommitter() {
	if l.committer != nil {
		l.committer.detach(l)
	}
}

// pointNow is where recovery begins if nothing is appended any more. Nobody else has
// the log, or the caller holds roundMu and mu and has synced the files.
func (l *Log) pointNow() point {
	s := l.view.Load().active()
	end := l.end.Load()
	return point{
		segment: s.base, position: s.size.Load(), offset: end, known: end,
		offsets: int(s.offsets.synced.Load()), times: int(s.times.synced.Load()),
	}
}

// checkpointFiles makes everything before the present end durable in the log's own
// files, and tells the committer where recovery begins now. The error is final, or
// ErrClosed.
func (l *Log) checkpointFiles() error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	v, p, err := l.capture()
	if err != nil {
		return err
	}
	if l.snapped.offset == p.offset {
		if err := l.syncSnapshot(p.offset); err != nil {
			return l.fail("sync producer snapshot", err)
		}
	}
	if err := l.syncBefore(v); err != nil {
		return err
	}
	active := v.active()
	if err := active.file.Sync(); err != nil {
		return l.fail("sync", err)
	}
	if err := active.txns.sync(); err != nil { // recovery makes anew only what lies behind the point
		return l.fail("sync transaction index", err)
	}
	for _, x := range []*index{active.offsets, active.times} {
		if err := x.syncFlushed(); err != nil {
			return l.fail("sync index", err)
		}
	}
	p.offsets = min(p.offsets, int(active.offsets.synced.Load()))
	p.times = min(p.times, int(active.times.synced.Load()))
	l.flushed = p.offset
	l.raiseDurable(p.offset)
	l.committer.setPoint(l, p)
	return nil
}

// snapshotBytes is how much a segment grows until the producers' state is written
// again: what recovery reads the headers of.
const snapshotBytes = 32 << 20

// snapped is the last producer snapshot within a segment.
type snapped struct {
	base     int64 // of the segment
	position int64 // bytes
	offset   int64 // of the snapshot
}

// capture returns the view and the point at its end.
func (l *Log) capture() (*view, point, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.failure.Load(); f != nil {
		return nil, point{}, f.err // also of one that was closed: it never was synced
	}
	if err := l.Err(); err != nil {
		return nil, point{}, err
	}
	v := l.view.Load()
	s := v.active()
	if err := l.snapshotWithin(s); err != nil {
		return nil, point{}, l.fail("write producer snapshot", err)
	}
	p := l.pointNow()
	p.offsets, p.times = s.offsets.tail.Load().flushed, s.times.tail.Load().flushed
	return v, p, nil
}

// snapshotWithin writes the producers' state if the active segment has grown much
// since it was written, and removes the one before that is within the segment too.
// The caller makes it durable with the directory; until then its CRC judges it.
func (l *Log) snapshotWithin(s *segment) error {
	old := l.snapped
	if old.base != s.base {
		l.snapped = snapped{base: s.base, offset: s.base}
	}
	size, end := s.size.Load(), l.end.Load()
	if size-l.snapped.position >= snapshotBytes {
		if err := l.takeSnapshot(end, false); err != nil {
			return err
		}
		l.dirDirty.Store(true)
		l.snapped = snapped{base: s.base, position: size, offset: end}
	}
	if old.offset == old.base || old == l.snapped {
		return nil
	}
	return l.removeSnapshots(func(offset int64) bool { return offset == old.offset })
}
