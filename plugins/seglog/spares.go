package seglog

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// spares are the files that become segments: used ones and new ones that were
// filled with zeros ahead of time.
type spares struct {
	mu      sync.Mutex
	ready   []spare
	next    uint64
	wanted  chan struct{} // 1-deep
	cancel  context.CancelFunc
	stopped sync.WaitGroup
}

type spare struct {
	name string
	file File
}

func (s *spares) newName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return fmt.Sprintf("%s%08d", sparePrefix, s.next)
}

// adopt opens what a former process left, and removes what cannot be used: at
// most Spares files of at least the size of a segment stay.
func (s *spares) adopt(l *Log, names []string) error {
	for _, name := range names {
		if !strings.HasPrefix(name, sparePrefix) {
			continue
		}
		var n uint64
		if _, err := fmt.Sscanf(name, sparePrefix+"%d", &n); err == nil {
			s.next = max(s.next, n)
		}
		f, err := l.fs.OpenFile(l.path(name), os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("open spare: %w", err)
		}
		size, err := f.Size()
		if err == nil && size >= l.cfg.SegmentBytes && len(s.ready) < l.cfg.Spares {
			s.ready = append(s.ready, spare{name, f})
			continue
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("close spare: %w", err)
		}
		if err := l.fs.Remove(l.path(name)); err != nil {
			return fmt.Errorf("remove spare: %w", err)
		}
	}
	return nil
}

// take returns a spare, made on the spot if none is ready.
func (s *spares) take(l *Log) (spare, error) {
	s.mu.Lock()
	if n := len(s.ready); n > 0 {
		sp := s.ready[n-1]
		s.ready = s.ready[:n-1]
		s.mu.Unlock()
		s.want()
		return sp, nil
	}
	s.mu.Unlock()
	s.want()
	name := s.newName()
	f, err := l.fs.OpenFile(l.path(name), createFlags(), 0o600)
	if err != nil {
		return spare{}, fmt.Errorf("create segment: %w", err)
	}
	return spare{name, f}, nil
}

// put makes a spare of a segment that is not needed any more, or removes it.
// Its old name is durably gone before the file can be written again.
func (s *spares) put(l *Log, seg *segment) error {
	s.mu.Lock()
	keep := len(s.ready) < l.cfg.Spares
	s.mu.Unlock()
	name := s.newName()
	if !keep {
		if err := seg.file.Close(); err != nil {
			return fmt.Errorf("close %s: %w", seg.name, err)
		}
		if err := l.fs.Remove(l.path(seg.name)); err != nil {
			return fmt.Errorf("remove segment: %w", err)
		}
	} else if err := l.fs.Rename(l.path(seg.name), l.path(name)); err != nil {
		return fmt.Errorf("rename segment to spare: %w", err)
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if keep {
		s.mu.Lock()
		s.ready = append(s.ready, spare{name, seg.file})
		s.mu.Unlock()
	}
	return nil
}

// start fills spares in the background, at the pace of the configuration.
func (s *spares) start(l *Log) {
	if l.cfg.Spares == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.stopped.Go(func() {
		for s.await(ctx) {
			if err := s.fill(ctx, l); err != nil && ctx.Err() == nil {
				l.log.Warn("prepare segment file", "error", err)
			}
		}
	})
	s.want()
}

func (s *spares) want() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

func (s *spares) await(ctx context.Context) bool {
	select {
	case <-s.wanted:
		return true
	case <-ctx.Done():
		return false
	}
}

// fill makes one spare if one is missing.
func (s *spares) fill(ctx context.Context, l *Log) error {
	s.mu.Lock()
	enough := len(s.ready) >= l.cfg.Spares
	s.mu.Unlock()
	if enough {
		return nil
	}
	name := s.newName()
	f, err := l.fs.OpenFile(l.path(name), createFlags(), 0o600)
	if err != nil {
		return err
	}
	if err := zeroFill(ctx, l.cfg, f); err != nil {
		return fmt.Errorf("%w (%w)", err, discard(l, name, f))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, spare{name, f})
	return nil
}

func zeroFill(ctx context.Context, cfg Config, f File) error {
	zeros := make([]byte, cfg.FillStep)
	pause := time.NewTimer(cfg.FillPause)
	defer pause.Stop()
	for off := int64(0); off < cfg.SegmentBytes; off += int64(len(zeros)) {
		n := min(int64(len(zeros)), cfg.SegmentBytes-off)
		if _, err := f.WriteAt(zeros[:n], off); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		pause.Reset(cfg.FillPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func discard(l *Log, name string, f File) error {
	if err := f.Close(); err != nil {
		return err
	}
	return l.fs.Remove(l.path(name))
}

// stop ends the filling and closes the spares; they are adopted at the next Open.
func (s *spares) stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.stopped.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range s.ready {
		_ = sp.file.Close() // nothing in it is needed
	}
	s.ready = nil
}
