package wal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
)

// goneSuffix ends the name of a directory that waits to be removed:
// "topic-partition.<32 hex digits>-delete", as in Kafka.
const goneSuffix = "-delete"

// straySuffix ends the name of what was set aside, as in Kafka.
const straySuffix = "-stray"

// maxName is how long a file's name may be, in bytes.
const maxName = 255

// GoneName is the name under which a partition's directory waits to be removed. It is
// another one each time.
func GoneName(dir string) string { return suffixed(dir, goneSuffix) }

// StrayName is the name under which a partition's directory is kept that is not known
// to belong to nobody. Nothing removes or reads it. It is another one each time.
func StrayName(dir string) string { return suffixed(dir, straySuffix) }

// suffixed returns a name that no directory has, short enough for a file system.
func suffixed(dir, suffix string) string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	end := "." + hex.EncodeToString(id[:]) + suffix
	name := filepath.Base(dir)
	return filepath.Join(filepath.Dir(dir), name[:min(len(name), maxName-len(end))]+end)
}

// Delete closes the log and gives its directory another name, durably: from then on the
// log is gone, and another one may be made in its place. [RemoveDeleted] removes the
// files. Also a failed or closed log can be deleted.
func (l *Log) Delete() error {
	if err := l.Discard(); err != nil {
		return err
	}
	return l.fsys.SyncDir(filepath.Dir(l.dir))
}

// Discard is Delete, but a power cut may bring the log back until the caller has synced
// the directory that holds it.
func (l *Log) Discard() error {
	defer l.endCleaning()()
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if !l.closed.Swap(true) {
		err = closeAll(l.view.Load().segments)
		l.leaveCommitter()
	}
	if rerr := l.fsys.Rename(l.dir, GoneName(l.dir)); !isNotExist(rerr) {
		err = errors.Join(err, rerr)
	}
	return err
}

// RemoveDeleted removes the files of the logs in dataDir that were deleted, also those
// that a crash left. It stops early, without an error, when ctx ends.
func RemoveDeleted(ctx context.Context, fsys FS, dataDir string) error {
	names, err := fsys.ReadDir(dataDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if isGone(name) && ctx.Err() == nil {
			err = errors.Join(err, fsys.RemoveAll(filepath.Join(dataDir, name)))
		}
	}
	return err
}

// isGone tells if a directory waits to be removed. The second name is that of an
// earlier version.
func isGone(name string) bool {
	return strings.HasSuffix(name, goneSuffix) && strings.Contains(name, ".") || strings.HasSuffix(name, deletedSuffix)
}
