package seglog

import (
	"fmt"
	"os"
)

// full tells whether a batch of size bytes belongs into a new segment. One that
// fits nowhere goes into a segment that has nothing but its head.
func (l *Log) full(size int64) bool {
	return l.end+size+recordHeader > l.cfg.SegmentBytes && l.end > l.head
}

// roll ends the active segment and begins the next one.
func (l *Log) roll() error {
	if err := l.write([]record{{kind: kindEnd}}); err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	return l.begin(l.active.sequence + 1)
}

// begin makes a new active segment. Its header and base records are durable
// before its name is, and its name before anything is appended to it.
func (l *Log) begin(sequence uint64) error {
	spare, err := l.spares.take(l)
	if err != nil {
		return err
	}
	s := &segment{sequence: sequence, name: segmentName(sequence), file: spare.file}
	b := appendSegmentHeader(nil, sequence)
	l.mu.RLock()
	for _, g := range l.groups {
		r := baseRecord(g)
		b = appendRecord(b, sequence, &r)
	}
	l.mu.RUnlock()
	head := int64(len(b))
	b = append(b, terminator...)
	size, err := s.file.Size()
	if err != nil {
		return fmt.Errorf("size of %s: %w", spare.name, err)
	}
	if _, err := s.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write head of %s: %w", s.name, err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync head of %s: %w", s.name, err)
	}
	if err := l.fs.Rename(l.path(spare.name), l.path(s.name)); err != nil {
		return fmt.Errorf("name segment: %w", err)
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	l.active, l.head, l.end, l.synced, l.filled = s, head, head, head, max(size, int64(len(b)))
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	return nil
}

// release gives up the oldest segments in which no live entry is left. It runs
// after a sync: what made the entries dead is durable.
func (l *Log) release() error {
	for {
		s := l.releasable()
		if s == nil {
			return nil
		}
		if err := l.spares.put(l, s); err != nil {
			return err
		}
	}
}

// releasable takes the oldest segment off the list if nothing needs it.
func (l *Log) releasable() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) < 2 {
		return nil
	}
	s := l.segments[0]
	if s.live > 0 || s.readers.Load() > 0 {
		return nil
	}
	l.segments = append([]*segment(nil), l.segments[1:]...)
	return s
}

func createFlags() int { return os.O_RDWR | os.O_CREATE | os.O_TRUNC }
