package ring

import (
	"errors"
	"fmt"
	"os"
)

// zeros is what pads and new files are made of. Nobody writes to it.
var zeros [1 << 20]byte

// Commit writes the frames of a round, and makes them durable. An error is final.
// One goroutine at a time.
func (r *Ring) Commit(round *Round) error {
	round.filling.Wait()
	if len(round.headers) == 0 {
		return nil
	}
	size := round.size
	padding := int(-size & (blockSize - 1))
	if padding > 0 && padding < HeaderSize {
		padding += blockSize
	}
	size += int64(padding)
	f, err := r.fileFor(size)
	if err != nil {
		return err
	}
	p := place{sequence: f.sequence, lsn: r.lsn, durable: r.lsn}
	for _, h := range round.headers {
		seal(h, p)
		p.lsn += uint64(HeaderSize + lengthOf(h))
	}
	r.pieces = append(r.pieces[:0], round.chunks...)
	if padding > 0 {
		r.pieces = append(r.pieces, padFrame(padding, p), zeros[:padding-HeaderSize])
	}
	_, err = f.WritevAt(r.pieces, r.pos)
	clear(r.pieces)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	r.pos += size
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lsn += uint64(size)
	f.size = max(f.size, r.pos)
	return nil
}

func padFrame(n int, p place) []byte {
	h := make([]byte, HeaderSize)
	encodeFrame(h, &Frame{Type: pad, Payload: zeros[:n-HeaderSize]}, 0)
	seal(h, p)
	return h
}

// fileFor is the file with room for size bytes at pos: the current one or another,
// whole, that no replay needs.
func (r *Ring) fileFor(size int64) (*file, error) {
	if r.current != nil && r.pos+size <= r.current.size {
		return r.current, nil
	}
	if r.current != nil && r.pos == 0 {
		return r.current, nil // larger than any file: it grows
	}
	f := r.free()
	if f == nil {
		var err error
		if f, err = r.make(0); err != nil {
			return nil, err
		}
		r.log.Debug("commit log grows without having been prepared", "file", f.name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.sequence, f.start = r.next, r.lsn
	f.size = max(f.size, min(r.cfg.SegmentBytes, max(firstBytes, r.largest)))
	r.largest = max(r.largest, f.size)
	r.next++
	r.current, r.pos = f, 0
	return f, nil
}

// free is the largest free file, nil if there is none.
func (r *Ring) free() (best *file) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		if f.sequence == 0 && (best == nil || f.size > best.size) {
			best = f
		}
	}
	return best
}

// Prepare makes a file ahead and writes it with zeros, if the current one is well
// begun, no other is free, and SizeBytes allow one. May run beside Commit, not beside
// itself.
func (r *Ring) Prepare() error {
	size := r.wanted()
	if size == 0 {
		return nil
	}
	_, err := r.make(size)
	return err
}

// wanted is the size of the file to make ahead, 0 for none.
func (r *Ring) wanted() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := min(r.cfg.SegmentBytes, max(firstBytes, 2*r.largest))
	total := size
	for _, f := range r.files {
		if f.sequence == 0 {
			return 0
		}
		total += f.size
	}
	// Not at once: a checkpoint may be about to free the file before.
	begun := r.current == nil || r.lsn-r.current.start > uint64(r.current.size/8)
	if !begun || total > r.cfg.SizeBytes {
		return 0
	}
	return size
}

// make makes a file of zeros, durably, and adds it to the free ones.
func (r *Ring) make(size int64) (*file, error) {
	r.mu.Lock()
	name := fileName(r.dir, r.numbers)
	r.numbers++
	r.mu.Unlock()
	opened, err := r.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("make file of the commit log: %w", err)
	}
	f := &file{File: opened, name: name}
	if err := errors.Join(f.fill(size), r.fsys.SyncDir(r.dir)); err != nil {
		err = errors.Join(err, f.Close(), r.fsys.Remove(name))
		return nil, fmt.Errorf("make file of the commit log: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = append(r.files, f)
	r.largest = max(r.largest, f.size)
	return f, nil
}

// fillStep is how much of a new file is synced at a time, in bytes: commits wait for
// the disk behind it.
const fillStep = 4 << 20

// fill writes a new file with zeros, durably.
func (f *file) fill(size int64) error {
	if size == 0 {
		return nil
	}
	for f.size < size {
		n := min(int64(len(zeros)), size-f.size)
		if _, err := f.WriteAt(zeros[:n], f.size); err != nil {
			return err
		}
		if f.size += n; f.size%fillStep == 0 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}
