package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/core/wal/ring"
	"github.com/quorate/quorate/protocol/record"
)

// recover writes the committed frames into the partition logs, makes those durable,
// and begins a new run of the ring. Everything may be done twice.
func (c *Committer) recover(resolve func(Owner) (string, bool)) error {
	points, err := decodePoints(c.ring.State())
	if err != nil {
		return &ring.DamageError{File: filepath.Join(c.cfg.Dir, "checkpoint"), Reason: err.Error()}
	}
	barriers, floors, frames := map[ring.Owner]int{}, map[ring.Owner]floor{}, 0
	err = c.ring.Replay(c.cfg.UnsafeTruncate, func(f ring.Frame) error {
		frames++
		switch {
		case f.Type == ring.Barrier && f.Base > 0:
			floors[f.Owner] = floor{frames, f.Base} // the last one says the most
		case f.Type == ring.Barrier:
			barriers[f.Owner] = frames
			delete(floors, f.Owner) // a segment that was compacted may be the active one again
			delete(points, ownerOf(f.Owner))
		}
		return nil
	})
	if err != nil {
		return err
	}
	r := &redo{fsys: c.fsys, resolve: resolve, points: points, logs: map[ring.Owner]*redoLog{}}
	n := 0
	err = c.ring.Replay(c.cfg.UnsafeTruncate, func(f ring.Frame) error {
		n++
		if f.Type != ring.Batches || n < barriers[f.Owner] || floors[f.Owner].ends(n, f.Base) {
			return nil
		}
		return r.frame(f)
	})
	if err = errors.Join(err, r.finish()); err != nil {
		return err
	}
	r.dropGone()
	if frames > 0 {
		c.log.Info("replayed commit log", "dir", c.cfg.Dir, "frames", frames, "written", r.written, "logs", len(r.logs))
	}
	if err := c.ring.Begin(encodePoints(points)); err != nil {
		return err
	}
	c.points = points
	return nil
}

// floor is a barrier for the segments below a base.
type floor struct {
	frame int // which one it is
	base  int64
}

// ends tells if the n-th frame, of the segment at base, is not redone.
func (f floor) ends(n int, base int64) bool { return n < f.frame && base < f.base }

func ownerOf(o ring.Owner) Owner { return Owner{TopicID: o.ID, Partition: o.Part} }

// redo writes frames into segments.
type redo struct {
	fsys    FS
	resolve func(Owner) (string, bool)
	points  map[Owner]point
	logs    map[ring.Owner]*redoLog
	written int // frames
}

// redoLog is one log that frames are written to; its dir is empty if there is none.
type redoLog struct {
	dir     string
	start   int64 // first offset that can be read
	point   point
	segment int64 // base of the open one
	file    File  // nil: none
}

// frame writes the batches of one frame where they were written before. What a
// checkpoint says to be on stable storage stays as it is.
func (r *redo) frame(f ring.Frame) error {
	l, err := r.logOf(f.Owner)
	if err != nil || l.dir == "" {
		return err
	}
	last := int64(-1)
	for b, err := range record.Split(f.Payload) {
		if err != nil {
			return fmt.Errorf("commit log of %s: %w", l.dir, err)
		}
		last = b.LastOffset()
	}
	if l.point.segment > f.Base || l.point.segment == f.Base && l.point.position >= int64(f.Position)+int64(len(f.Payload)) {
		return nil
	}
	if err := r.open(l, f.Base, last); err != nil || l.file == nil {
		return err
	}
	if _, err := l.file.WriteAt(f.Payload, int64(f.Position)); err != nil {
		return fmt.Errorf("redo %s: %w", offsetName(l.dir, f.Base, logSuffix), err)
	}
	l.point.known = max(l.point.known, last+1)
	r.written++
	return nil
}

// logOf returns the log of an owner, and looks for it the first time.
func (r *redo) logOf(o ring.Owner) (*redoLog, error) {
	if l := r.logs[o]; l != nil {
		return l, nil
	}
	l := &redoLog{point: noPoint}
	r.logs[o] = l
	dir, ok := r.resolve(ownerOf(o))
	if !ok {
		return l, nil
	}
	if id, ok, err := readTopicID(r.fsys, dir); err != nil {
		return l, err
	} else if !ok || id != o.ID {
		return l, nil // moved away or replaced while the node was down
	}
	if p, ok := r.points[ownerOf(o)]; ok {
		l.point = p
	}
	c, err := readCheckpoint(r.fsys, dir)
	l.dir, l.start = dir, c.start
	return l, err
}

// open makes the segment at base the log's open one. One that is not there is made,
// unless all of it lies before the start: then it was deleted.
func (r *redo) open(l *redoLog, base, last int64) error {
	if l.file != nil && l.segment == base {
		return nil
	}
	if err := l.settle(); err != nil {
		return err
	}
	name := offsetName(l.dir, base, logSuffix)
	f, err := r.fsys.OpenFile(name, os.O_RDWR)
	if isNotExist(err) {
		if last < l.start {
			return nil
		}
		f, err = r.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE)
	}
	if err != nil {
		return fmt.Errorf("redo: %w", err)
	}
	l.file, l.segment = f, base
	return nil
}

// settle makes the open segment durable and closes it.
func (l *redoLog) settle() error {
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return joinClose(f.Sync(), f)
}

// finish makes durable what was written.
func (r *redo) finish() error {
	var errs []error
	for o, l := range r.logs {
		if l.dir == "" {
			continue
		}
		// The directory too: a segment that was there may have been made by the process
		// that died, and never been synced.
		errs = append(errs, l.settle(), r.fsys.SyncDir(l.dir))
		r.points[ownerOf(o)] = l.point
	}
	return errors.Join(errs...)
}

// dropGone forgets the points of logs that are not there any more, so that one that
// is made again in their place begins without.
func (r *redo) dropGone() {
	for o := range r.points {
		dir, ok := r.resolve(o)
		if ok {
			id, found, err := readTopicID(r.fsys, dir)
			ok = err == nil && found && id == o.TopicID
		}
		if !ok {
			delete(r.points, o)
		}
	}
}
