package wal

import (
	"errors"

	"github.com/quorate/quorate/core/wal/disk"
)

// Close makes everything durable, leaves a marker that spares the next Open the
// scan, and closes the files. Of a log that has failed it only closes the files,
// and returns why it failed. A second call does nothing.
func (l *Log) Close() error {
	defer l.endCleaning()()
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return nil
	}
	err := l.seal()
	l.closed.Store(true)
	l.leaveCommitter()
	return errors.Join(err, closeAll(l.view.Load().segments))
}

// seal leaves what a clean Open needs.
func (l *Log) seal() error {
	if err := l.Err(); err != nil {
		return err
	}
	v := l.view.Load()
	if l.marked { // nothing changed since Open but epochs without records, which the next leader begins anew
		if err := v.dropDamagedIndexes(); err != nil {
			return l.fail("close", err)
		}
		return nil
	}
	if err := l.dropStraySnapshots(v); err != nil {
		return l.fail("close", err)
	}
	if err := l.syncLocked(); err != nil {
		return err
	}
	if err := l.snapshotState(v); err != nil {
		return l.fail("close", err)
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return l.fail("close", err)
	}
	if err := v.dropDamagedIndexes(); err != nil {
		return l.fail("close", err)
	}
	// It need not be durable: without it, or with half of it, the next Open reads more.
	m := cleanMarker{end: l.end.Load(), activeBase: v.active().base, activeSize: v.active().size.Load()}
	if err := disk.WriteFile(l.fsys, l.path(cleanFile), m.encode(checkpointVersion), false); err != nil {
		return l.fail("close", err)
	}
	return nil
}
