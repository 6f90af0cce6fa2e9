package seglog

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
)

// ErrInvalid is wrapped by the error of an Append that does not fit the log; nothing
// was written.
var ErrInvalid = errors.New("does not fit the log")

// Write is what one group has to say in a batch. Its parts take effect in the
// order of the fields.
type Write struct {
	Group    uint64
	Mark     *Mark
	Truncate uint64  // drop the entries from this index on; 0 = none
	Entries  []Entry // dense; the first one may replace others, which truncates
	State    *State
	Delete   bool // forget the group
}

// Log is a segment log. See the package comment.
type Log struct {
	dir string
	cfg Config
	fs  FS
	log *slog.Logger

	syncStart atomic.Int64 // unix nanoseconds, 0 = no sync in progress
	appended  atomic.Int64 // bytes since Open
	syncs     atomic.Int64
	latencies latencies

	writeMu sync.Mutex // one writer; taken before mu
	failed  error
	closed  bool
	active  *segment
	head    int64 // of active; up to the end of the base records
	end     int64 // of active
	synced  int64 // of active; what is before it is on stable storage
	filled  int64 // of active: its size
	buf     []byte
	spares  spares

	mu       sync.RWMutex
	segments []*segment // ascending, the last one is active
	groups   map[uint64]*group
	cache    cache
}

// Append writes the batch and, with sync, makes it and everything before it
// durable. Without sync it may be lost in a crash, but nothing behind it
// survives then. An error other than ErrInvalid is final.
func (l *Log) Append(sync bool, batch ...Write) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	records, size, err := l.records(batch)
	if err != nil {
		return err
	}
	if err := l.append(sync, records, size); err != nil {
		return l.fail(err)
	}
	return nil
}

func (l *Log) append(sync bool, records []record, size int64) error {
	if len(records) > 0 {
		if l.full(size) {
			if err := l.roll(); err != nil {
				return err
			}
		}
		if err := l.write(records); err != nil {
			return err
		}
	}
	if !sync {
		return nil
	}
	if err := l.sync(); err != nil {
		return err
	}
	return l.release()
}

// usable returns why nothing can be written any more, or nil. The caller holds
// writeMu.
func (l *Log) usable() error {
	if l.failed != nil {
		return l.failed
	}
	if l.closed {
		return fmt.Errorf("segment log: %w", consensus.ErrShuttingDown)
	}
	return nil
}

func (l *Log) fail(err error) error {
	l.failed = fmt.Errorf("segment log: %w: %w", consensus.ErrStorageFailed, err)
	return l.failed
}

// write puts records at the end of the active segment and then takes them into
// memory. The caller holds writeMu.
func (l *Log) write(records []record) error {
	l.buf = l.buf[:0]
	for i := range records {
		records[i].synced = uint32(l.synced)
		l.buf = appendRecord(l.buf, l.active.sequence, &records[i])
	}
	l.buf = append(l.buf, terminator...)
	l.appended.Add(int64(len(l.buf)))
	l.fillAhead()
	if _, err := l.active.file.WriteAt(l.buf, l.end); err != nil {
		return fmt.Errorf("write %s at %d: %w", l.active.name, l.end, err)
	}
	if cap(l.buf) > 4<<20 {
		l.buf = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range records {
		if err := l.apply(&records[i], l.active, l.end); err != nil {
			return err
		}
		l.remember(&records[i])
		l.end += records[i].size()
	}
	return nil
}

// growStep is how much an active segment grows at a time that was not filled ahead,
// as the first one of a log is not.
const growStep = 256 << 10

// fillAhead adds zeros to the buffer if the write behind end makes the file larger,
// so that the next ones do not: a sync has to write the file's new size and its new
// blocks to the journal of the file system, and waits for whoever else uses that.
func (l *Log) fillAhead() {
	end := l.end + int64(len(l.buf))
	if end <= l.filled {
		return
	}
	l.filled = max(end, min((end/growStep+1)*growStep, l.cfg.SegmentBytes))
	l.buf = append(l.buf, make([]byte, l.filled-end)...)
}

// apply takes one record into memory. The caller holds mu or is alone.
func (l *Log) apply(r *record, s *segment, offset int64) error {
	if r.kind == kindEnd {
		return nil
	}
	g := l.groups[r.group]
	if r.kind == kindDelete {
		if g != nil {
			g.drop(g.entries)
			delete(l.groups, r.group)
		}
		return nil
	}
	if g == nil {
		g = &group{id: r.group}
		l.groups[r.group] = g
	}
	if err := g.apply(r, s, offset); err != nil {
		return fmt.Errorf("group %d: %w", r.group, err)
	}
	return nil
}

func (l *Log) sync() error {
	start := time.Now()
	l.syncStart.Store(start.UnixNano())
	defer l.syncStart.Store(0)
	if err := l.active.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", l.active.name, err)
	}
	now := time.Now()
	l.latencies.add(now, now.Sub(start))
	l.syncs.Add(1)
	l.synced = l.end
	return nil
}

// SyncAge returns how long the sync in progress has taken, 0 without one. It
// takes no lock.
func (l *Log) SyncAge() time.Duration {
	start := l.syncStart.Load()
	if start == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, start)), 0)
}

// Counters returns the bytes written and the syncs made since Open.
func (l *Log) Counters() (bytes, syncs int64) { return l.appended.Load(), l.syncs.Load() }

// Close syncs and closes the log.
func (l *Log) Close() error {
	l.spares.stop()
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	if l.failed == nil {
		if err := l.sync(); err != nil {
			errs = append(errs, l.fail(err))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}
