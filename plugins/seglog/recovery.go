package seglog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/quorate/quorate/consensus"
)

// Open recovers the log in dir, which must exist and be nobody else's, or begins
// a new one. The caller closes it.
func Open(dir string, cfg Config, fs FS, log *slog.Logger) (*Log, error) {
	l, err := open(dir, cfg, fs, log)
	if err != nil {
		return nil, err
	}
	l.spares.start(l)
	return l, nil
}

// open is Open without the filling of spares in the background.
func open(dir string, cfg Config, fs FS, log *slog.Logger) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("segment log: %w", err)
	}
	l := &Log{dir: dir, cfg: cfg, fs: fs, log: log, groups: make(map[uint64]*group)}
	l.cache.limit = cfg.CacheBytes
	l.spares.wanted = make(chan struct{}, 1)
	if err := l.recover(); err != nil {
		l.abandon()
		return nil, fmt.Errorf("segment log: %w: %w", consensus.ErrStorageFailed, err)
	}
	return l, nil
}

func (l *Log) abandon() {
	l.spares.stop()
	for _, s := range l.segments {
		_ = s.file.Close() // the error that matters is being returned
	}
}

func (l *Log) recover() error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	slices.Sort(names)
	if err := l.spares.adopt(l, names); err != nil {
		return err
	}
	if err := l.openSegments(names); err != nil {
		return err
	}
	if len(l.segments) == 0 {
		return l.begin(1)
	}
	for i, s := range l.segments {
		if err := l.replay(s, i == len(l.segments)-1); err != nil {
			return err
		}
	}
	return l.checkComplete()
}

func (l *Log) openSegments(names []string) error {
	for _, name := range names {
		sequence, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		if n := len(l.segments); n > 0 && l.segments[n-1].sequence+1 != sequence {
			return fmt.Errorf("segment %s is missing", segmentName(l.segments[n-1].sequence+1))
		}
		f, err := l.fs.OpenFile(l.path(name), os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("open segment: %w", err)
		}
		l.segments = append(l.segments, &segment{sequence: sequence, name: name, file: f})
	}
	return nil
}

// replay applies the records of one segment. The last one becomes the active
// segment, or is followed by a new one if it was ended already.
func (l *Log) replay(s *segment, last bool) error {
	b, err := readAll(s.file)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	if err := checkSegmentHeader(b, s.sequence); err != nil {
		return fmt.Errorf("damage in %s at 0: %w", s.name, err)
	}
	offset := int64(segmentHeader)
	for {
		r, n, err := decodeRecord(s.sequence, b[offset:], l.cfg.MaxRecordBytes)
		switch {
		case err != nil && last:
			return l.cutTail(s, b, offset, err)
		case err != nil:
			return fmt.Errorf("damage in %s at %d: %w", s.name, offset, err)
		case r.kind == kindEnd && last:
			return l.begin(s.sequence + 1)
		case r.kind == kindEnd:
			return nil
		}
		if err := l.apply(&r, s, offset); err != nil {
			return fmt.Errorf("damage in %s at %d: %w", s.name, offset, err)
		}
		offset += int64(n)
	}
}

// cutTail makes s the active segment, ending at offset, where there is no valid
// record. Whatever lies behind is removed for good: bytes of a torn batch must
// not become valid again once something was written before them.
func (l *Log) cutTail(s *segment, b []byte, offset int64, why error) error {
	leftovers, err := l.checkTail(s, b, offset)
	if err != nil {
		return err
	}
	filled := int64(len(b))
	if leftovers || (errors.Is(why, errBadRecord) && offset < int64(len(b))) {
		l.log.Warn("cut a torn tail off the log", "segment", s.name, "offset", offset)
		if err := s.file.Truncate(offset); err != nil {
			return fmt.Errorf("truncate %s: %w", s.name, err)
		}
		filled = offset
	}
	// What was read may not have been on stable storage before the crash.
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.name, err)
	}
	l.active, l.end, l.synced, l.filled = s, offset, offset, filled
	l.head = segmentHeader // an estimate that only costs an early roll
	return nil
}

// checkTail looks for valid records behind offset. One that says that offset was
// on stable storage before it proves that the log was damaged, not torn.
func (l *Log) checkTail(s *segment, b []byte, offset int64) (leftovers bool, err error) {
	for at := offset; at+recordHeader <= int64(len(b)); at++ {
		if k := kind(b[at+12]); k == 0 || k >= kindLimit {
			continue
		}
		r, _, err := decodeRecord(s.sequence, b[at:], l.cfg.MaxRecordBytes)
		if err == nil && int64(r.synced) > offset {
			return true, fmt.Errorf("damage in %s at %d: a valid record follows at %d", s.name, offset, at)
		}
		leftovers = leftovers || err == nil
	}
	return leftovers, nil
}

// checkComplete fails if an entry is missing that no record has dropped.
func (l *Log) checkComplete() error {
	for _, g := range l.groups {
		if index := g.missing(); index != 0 {
			return fmt.Errorf("damage in %s at 0: entry %d of group %d is in no segment", l.segments[0].name, index, g.id)
		}
	}
	return nil
}

func readAll(f File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}
