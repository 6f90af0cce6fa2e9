package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/filecache"
)

// Log is one partition's log. See the package comment.
//
// Locks: a sync round, and everything that takes something away from the log,
// holds roundMu; what changes the end of the log holds mu. roundMu comes first.
// Readers hold neither.
type Log struct {
	dir      string
	fsys     FS
	files    *filecache.Cache // nil: no limit
	log      *slog.Logger
	now      func() time.Time
	maxBatch int    // bytes
	seed     uint64 // of segments' jitter: other logs have another

	committer *Committer // nil: each log is synced by itself
	owner     Owner
	onDurable func() // nil, or called after Durable has moved
	mode      atomic.Uint32

	// Of the committer's mutex.
	framesIn   uint64 // the last file of the commit log with a frame
	dirtySince uint64 // the first one with a frame that no checkpoint covers; 0: none
	telling    bool   // onDurable is about to be called

	mu        sync.Mutex
	cfg       Config
	fence     int32 // appends of an older leader epoch are refused
	producers *producers
	snapshots []int64 // offsets of the producer snapshots on disk, ascending
	marked    bool    // the clean-shutdown marker is there
	admitted  int     // bytes that the append under way may queue
	snapped   snapped // the last snapshot within a segment
	redoTxns  redoTxns

	roundMu    sync.Mutex
	checkpoint checkpoint
	point      point // where recovery began
	flushed    int64 // the files are on stable storage up to here
	shrinks    int   // how often the log became shorter
	commits    commits

	cleanMu  sync.Mutex // held by a compaction; before the others
	cleanEnd cleanEnd   // by which Close and Delete have it give up

	marks   marks
	gaps    atomic.Bool // checkpoint.gaps
	view    atomic.Pointer[view]
	start   atomic.Int64
	end     atomic.Int64
	durable atomic.Int64
	epochs  epochCache

	undecided undecided
	dirDirty  atomic.Bool // a new segment's names are not yet on stable storage
	closed    atomic.Bool
	failure   atomic.Pointer[failure]
}

// view is the list of segments, ascending, never empty. It never changes: whoever
// takes files away or shortens them publishes another one first.
type view struct{ segments []*segment }

func (v *view) active() *segment { return v.segments[len(v.segments)-1] }

// with returns the view and s behind it.
func (v *view) with(s *segment) *view {
	return &view{append(slices.Clip(v.segments), s)}
}

// covering is the index of the segment where offset lies if it is there.
func (v *view) covering(offset int64) int {
	i, found := slices.BinarySearchFunc(v.segments, offset, func(s *segment, o int64) int {
		switch {
		case s.base < o:
			return -1
		case s.base > o:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return max(i, 0)
}

// failure is the first error of the disk.
type failure struct{ err error }

// fail makes err final and returns it.
func (l *Log) fail(doing string, err error) error {
	f := &failure{fmt.Errorf("%w: %s: %w", ErrFailed, doing, err)}
	if l.failure.CompareAndSwap(nil, f) {
		l.log.Error("log has failed and takes no more writes", "dir", l.dir, "doing", doing, "error", err)
	}
	return l.failure.Load().err
}

// failAs makes an error final that is not the log's own.
func (l *Log) failAs(err error) { l.failure.CompareAndSwap(nil, &failure{err}) }

// Err is nil, or why the log takes no more writes: ErrFailed or ErrClosed.
func (l *Log) Err() error {
	if l.closed.Load() {
		return ErrClosed
	}
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// Start is the first offset that can be read.
func (l *Log) Start() int64 { return l.start.Load() }

// End is the offset that the next record gets.
func (l *Log) End() int64 { return l.end.Load() }

// Durable is the offset before which everything is on stable storage. It never
// goes back, except by Truncate and Reset.
func (l *Log) Durable() int64 { return l.durable.Load() }

// Safe is the offset before which appends may be acknowledged: Durable, or End if
// the log's sync mode trusts the page cache. It goes back as Durable does.
func (l *Log) Safe() int64 {
	if SyncMode(l.mode.Load()) == SyncAlways {
		return l.durable.Load()
	}
	return l.end.Load()
}

// raiseDurable moves the durable end forward.
func (l *Log) raiseDurable(end int64) {
	for {
		d := l.durable.Load()
		if d >= end || l.durable.CompareAndSwap(d, end) {
			return
		}
	}
}

// Size is the size of all segments, in bytes.
func (l *Log) Size() int64 {
	var size int64
	for _, s := range l.view.Load().segments {
		size += s.size.Load()
	}
	return size
}

// ActiveBase is the first offset of the segment that is appended to.
func (l *Log) ActiveBase() int64 { return l.view.Load().active().base }

// SetEpoch refuses appends of leaders before epoch from now on: none that it
// races with gets through. It never goes back.
func (l *Log) SetEpoch(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fence = max(l.fence, epoch)
}

// StartEpoch is what a new leader calls before it appends: SetEpoch, and epoch
// begins at End. The entry is durable before any record of the epoch is.
func (l *Log) StartEpoch(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	if epoch < l.fence {
		return fmt.Errorf("%w: %d, the log has seen %d", ErrFencedEpoch, epoch, l.fence)
	}
	l.fence = epoch
	l.epochs.assign(epoch, l.end.Load())
	return nil
}

// LatestEpoch is the newest leader epoch that began, or -1.
func (l *Log) LatestEpoch() int32 { return l.epochs.latest() }

// EpochAt is the leader epoch of the record at offset, or -1 if none is known.
func (l *Log) EpochAt(offset int64) int32 { return l.epochs.at(offset) }

// EndOffsetForEpoch returns the largest epoch that is not above the one asked, and
// the offset where the next epoch begins: End for the latest. An epoch below all
// that are known is answered itself, with the first offset that has a known one.
// ok is false if the epoch asked is above the latest. (KIP-101, KIP-279).
func (l *Log) EndOffsetForEpoch(epoch int32) (largestEpoch int32, end int64, ok bool) {
	return l.epochs.endOf(epoch, l.end.Load())
}

// Producer is the state of one idempotent producer.
type Producer struct {
	ID               int64
	Epoch            int16
	LastSequence     int32 // -1 if it has written nothing in this epoch
	LastOffset       int64 // of its last batch, or -1
	LastTimestamp    int64 // of its last batch, milliseconds
	CoordinatorEpoch int32 // -1
	CurrentTxnFirst  int64 // first offset of its open transaction, or -1
}

// Producers is the state of all producers that are remembered, by id.
func (l *Log) Producers() []Producer {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Producer, 0, len(l.producers.known))
	for _, p := range l.producers.sorted() {
		all = append(all, Producer{
			ID: p.id, Epoch: p.epoch, LastSequence: p.lastSequence(), LastOffset: p.lastOffset(),
			LastTimestamp: p.timestamp, CoordinatorEpoch: p.coordinatorEpoch, CurrentTxnFirst: p.txnFirst,
		})
	}
	return all
}

// Reconfigure changes the config of an open log. MaxBatchBytes stays as opened.
func (l *Log) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("log config: %w", err)
	}
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if cfg.Sync < l.cfg.Sync {
		// From here on the commit log has every append; what came before has to be durable.
		if err := l.syncLocked(); err != nil {
			return err
		}
	}
	l.cfg = cfg
	l.mode.Store(uint32(cfg.Sync))
	l.producers.max, l.producers.expiry = cfg.MaxProducers, cfg.ProducerExpiry
	return nil
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

// saveCheckpoint makes c durable. The caller holds roundMu.
func (l *Log) saveCheckpoint(c checkpoint) error {
	if c == l.checkpoint {
		return nil
	}
	if err := disk.ReplaceFile(l.fsys, l.path(checkpointFile), c.encode(checkpointVersion)); err != nil {
		return err
	}
	l.checkpoint = c
	return nil
}

// saveEpochs makes the epochs durable if they are not. The caller holds roundMu.
func (l *Log) saveEpochs() error {
	if !l.epochs.dirty.Swap(false) {
		return nil
	}
	return disk.ReplaceFile(l.fsys, l.path(epochsFile), encodeEpochs(l.epochs.all()))
}

// unmark removes the clean-shutdown marker: the log changes. Its removal need not
// be durable unless the log gets shorter. The caller holds mu.
func (l *Log) unmark() error {
	if !l.marked {
		return nil
	}
	l.marked = false
	return disk.RemoveIfThere(l.fsys, l.path(cleanFile))
}

// isClosed tells if err came because files were closed meanwhile.
func isClosed(err error) bool { return errors.Is(err, errFileClosed) }
