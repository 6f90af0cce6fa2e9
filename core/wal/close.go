package wal

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/quorate/quorate/core/wal/disk"
)

// Close makes everything durable, leaves a marker that spares the next Open the
// scan, and closes the files. Of a log that has failed it only closes the files,
// and returns why it failed. A second call does nothing.
func (l *Log) Close() error {
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
	if l.marked && !l.epochs.dirty.Load() {
		if err := v.dropDamagedIndexes(); err != nil { // nothing else changed since Open
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
	m := cleanMarker{end: l.end.Load(), activeBase: v.active().base, activeSize: v.active().size.Load()}
	if err := disk.ReplaceFile(l.fsys, l.path(cleanFile), m.encode(checkpointVersion)); err != nil {
		return l.fail("close", err)
	}
	return nil
}

// Delete removes the log from disk and closes it. The directory gets another name
// first, so that a crash on the way does not leave half a log: what it leaves
// RemoveDeleted removes. Also a failed or closed log can be deleted.
func (l *Log) Delete() error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if !l.closed.Swap(true) {
		err = closeAll(l.view.Load().segments)
		l.leaveCommitter()
	}
	gone := l.dir + deletedSuffix
	return errors.Join(err, l.fsys.RemoveAll(gone), l.deleteDir(gone))
}

func (l *Log) deleteDir(gone string) error {
	if err := l.fsys.Rename(l.dir, gone); err != nil {
		if isNotExist(err) {
			return nil
		}
		return err
	}
	if err := l.fsys.SyncDir(filepath.Dir(l.dir)); err != nil {
		return err
	}
	return l.fsys.RemoveAll(gone)
}

// RemoveDeleted removes what a Delete left in dataDir that a crash interrupted.
// Call it before any log in dataDir is opened.
func RemoveDeleted(dataDir string) error { return removeDeleted(disk.OS{}, dataDir) }

func removeDeleted(fsys FS, dataDir string) error {
	names, err := fsys.ReadDir(dataDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, deletedSuffix) {
			err = errors.Join(err, fsys.RemoveAll(filepath.Join(dataDir, name)))
		}
	}
	return err
}
