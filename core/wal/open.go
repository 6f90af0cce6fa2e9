package wal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/filecache"
)

// Option changes how Open works.
type Option func(*options)

type options struct {
	fsys    FS
	now     func() time.Time
	topicID *[16]byte

	committer *Committer
	partition int32
	onDurable func()
	files     *filecache.Cache
}

// WithTopicID makes Open write partition.metadata for a new log, and refuse a
// directory of another topic id with ErrTopicID.
func WithTopicID(id [16]byte) Option { return func(o *options) { o.topicID = &id } }

// WithCommitter makes appends durable through c, which recovers the log after a
// crash too. Only with WithTopicID.
func WithCommitter(c *Committer, partition int32) Option {
	return func(o *options) { o.committer, o.partition = c, partition }
}

// WithOnDurable has f called after Durable has moved through a Committer, or the log
// has failed with it; soon, not within the round. f may block: that delays the
// callbacks of others, and no append.
func WithOnDurable(f func()) Option { return func(o *options) { o.onDurable = f } }

// WithFiles bounds how many files the logs that share c keep open. Without it a log
// keeps those open that it has used.
func WithFiles(c *filecache.Cache) Option { return func(o *options) { o.files = c } }

// WithFS replaces the operating system's file system, for tests.
func WithFS(fsys FS) Option { return func(o *options) { o.fsys = fsys } }

// WithClock replaces time.Now, for tests.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// Open opens the log in dir, or creates it there. The directory must be used by
// nobody else. If the log was not closed cleanly, Open reads all of it, cuts what
// a crash left unfinished off its end, and makes durable what is there: after Open
// Durable is End.
//
// Errors: *CorruptError if something is damaged that had been on stable storage,
// with the files unchanged; ErrTopicID; what the disk says.
func Open(dir string, cfg Config, log *slog.Logger, opts ...Option) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("log config: %w", err)
	}
	o := options{fsys: disk.OS{}, now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	l := &Log{
		dir: dir, fsys: o.fsys, files: o.files, log: log, now: o.now, maxBatch: cfg.MaxBatchBytes,
		cfg: cfg, producers: newProducers(cfg), redoTxns: noRedo(),
		committer: o.committer, onDurable: o.onDurable,
	}
	name := fnv.New64a()
	_, _ = name.Write([]byte(dir)) // a hash never fails
	l.seed = name.Sum64()
	l.mode.Store(uint32(cfg.Sync))
	if o.committer != nil {
		if o.topicID == nil {
			return nil, fmt.Errorf("open log %s: a log with a committer needs a topic id", dir)
		}
		l.owner = Owner{*o.topicID, o.partition}
	}
	if err := l.open(o.topicID); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	if l.committer != nil {
		if err := l.committer.attach(l, l.pointNow()); err != nil {
			return nil, errors.Join(fmt.Errorf("open log %s: %w", dir, err), closeAll(l.view.Load().segments))
		}
	}
	return l, nil
}

// open brings l into being from what is in its directory.
func (l *Log) open(topicID *[16]byte) error {
	if err := l.fsys.MkdirAll(l.dir); err != nil {
		return err
	}
	if err := l.checkTopicID(topicID); err != nil {
		return err
	}
	if err := l.recoverSwaps(); err != nil {
		return err
	}
	names, err := l.fsys.ReadDir(l.dir)
	if err != nil {
		return err
	}
	bases, err := l.sweep(names)
	if err != nil {
		return err
	}
	if l.checkpoint, err = readCheckpoint(l.fsys, l.dir); err != nil {
		return err
	}
	l.gaps.Store(l.checkpoint.gaps)
	l.point = noPoint
	if l.committer != nil {
		l.point, _ = l.committer.pointOf(l.owner)
	}
	epochs, err := readEpochs(l.fsys, l.dir)
	if err != nil {
		return err
	}
	l.epochs.publish(epochs)
	l.epochs.dirty.Store(false)

	if len(bases) == 0 {
		return l.create()
	}
	if bases[0] > l.checkpoint.start {
		return &CorruptError{
			File:   offsetName(l.dir, l.checkpoint.start, logSuffix),
			Reason: fmt.Sprintf("records from offset %d on should be there, the first file begins at %d", l.checkpoint.start, bases[0]),
		}
	}
	return l.recover(bases)
}

// checkTopicID compares the topic id with the directory's, or writes it.
func (l *Log) checkTopicID(want *[16]byte) error {
	if want == nil {
		return nil
	}
	have, ok, err := readTopicID(l.fsys, l.dir)
	switch {
	case err != nil:
		return err
	case ok && !bytes.Equal(have[:], want[:]):
		return fmt.Errorf("%w: %x, not %x; move it away", ErrTopicID, have, *want)
	case ok:
		return nil
	}
	if err := l.beginAnew(); err != nil {
		return err
	}
	return disk.ReplaceFile(l.fsys, l.path(metadataFile), encodeTopicID(*want))
}

// sweep removes what was left half done and returns the bases of the segments,
// ascending. It notes the producer snapshots and the transaction indexes.
func (l *Log) sweep(names []string) (bases []int64, err error) {
	for _, name := range names {
		if base, ok := parseOffsetName(name, logSuffix); ok {
			bases = append(bases, base)
		}
		if offset, ok := parseOffsetName(name, snapshotSuffix); ok {
			l.snapshots = append(l.snapshots, offset)
		}
		if base, ok := parseOffsetName(name, txnIndexSuffix); ok {
			l.redoTxns.files = append(l.redoTxns.files, base)
		}
	}
	slices.Sort(bases)
	slices.Sort(l.snapshots)
	for _, name := range names {
		if !leftOver(name, bases) {
			continue
		}
		if err := disk.RemoveIfThere(l.fsys, l.path(name)); err != nil {
			return nil, err
		}
	}
	return bases, nil
}

// leftOver tells if a file is of no use: temporary, marked for deletion, of a compaction that did not
// get far enough (those that did are complete by now), or an
// index whose segment is gone.
func leftOver(name string, bases []int64) bool {
	for _, suffix := range []string{tmpSuffix, deletedSuffix, cleanedSuffix, swapSuffix} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		if base, ok := parseOffsetName(name, suffix); ok {
			_, there := slices.BinarySearch(bases, base)
			return !there
		}
	}
	return false
}

// create makes the first segment of an empty log, which begins at its start.
func (l *Log) create() error {
	start := l.checkpoint.start
	if known := l.knownEnd(); known > start {
		return &CorruptError{
			File:   offsetName(l.dir, start, logSuffix),
			Reason: fmt.Sprintf("records up to offset %d were on stable storage and no file is there", known),
		}
	}
	if err := l.removeSnapshots(func(int64) bool { return true }); err != nil {
		return err
	}
	if err := disk.RemoveIfThere(l.fsys, l.path(cleanFile)); err != nil {
		return err
	}
	s, err := createSegment(l.fsys, l.files, l.dir, start)
	if err != nil {
		return err
	}
	l.view.Store(&view{[]*segment{s}})
	l.epochs.truncateEnd(start)
	l.publishBounds(start, start)
	l.undecided.reset(nil)
	// The directory's own name, then the segment's in it.
	return errors.Join(l.fsys.SyncDir(filepath.Dir(l.dir)), l.fsys.SyncDir(l.dir))
}

// publishBounds sets start and end of a log that was just opened: all is durable.
func (l *Log) publishBounds(start, end int64) {
	l.start.Store(start)
	l.end.Store(end)
	l.durable.Store(end)
	l.flushed = end
	l.fence = max(l.fence, l.epochs.latest())
}

// removeSegmentFiles removes a segment: first its .log under another name, so
// that half of it is never taken for the whole.
func (l *Log) removeSegmentFiles(base int64) error {
	name := offsetName(l.dir, base, logSuffix)
	if err := l.fsys.Rename(name, name+deletedSuffix); err != nil && !isNotExist(err) {
		return err
	}
	return errors.Join(
		disk.RemoveIfThere(l.fsys, name+deletedSuffix),
		disk.RemoveIfThere(l.fsys, offsetName(l.dir, base, indexSuffix)),
		disk.RemoveIfThere(l.fsys, offsetName(l.dir, base, timeIndexSuffix)),
		disk.RemoveIfThere(l.fsys, offsetName(l.dir, base, txnIndexSuffix)),
	)
}
