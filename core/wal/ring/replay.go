package ring

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
)

// Replay calls visit with every frame that was committed since the last checkpoint,
// in order. Payloads are valid until visit returns; an error of visit ends it. The
// first call reads the payloads with their CRCs and finds the end; those after it give
// the same frames.
//
// The last Commit before a crash may be there in part, and its blocks may have
// reached the disk in any order: the first frame that is not valid ends the log, and
// a valid one behind it proves nothing by itself. But every frame says up to where the
// log was durable when it was written. If one says so of the frame that is not valid,
// it had been committed: that is a *DamageError, or with unsafe a loud end of the log.
func (r *Ring) Replay(unsafe bool, visit func(Frame) error) error {
	end, limit := r.replay.lsn, uint64(math.MaxUint64)
	if r.replayed {
		limit = r.lsn
	}
	f, err := r.fileAt(r.replay.sequence, end)
	if err != nil {
		return err
	}
	var last *reader
	for f != nil && end < limit {
		last = &reader{file: f, verify: !r.replayed, limit: limit, at: place{sequence: f.sequence, lsn: end}}
		if err := last.all(visit); err != nil {
			return err
		}
		end = last.at.lsn
		if f, err = r.fileAt(last.at.sequence+1, end); err != nil {
			return err
		}
	}
	if r.replayed {
		return nil
	}
	err = r.judge(end, last)
	damaged, ok := errors.AsType[*DamageError](err)
	if ok && unsafe {
		r.log.Error("ending the commit log at a damaged place as was asked for; acknowledged records may be lost", "error", damaged)
		err = nil
	}
	r.lsn, r.replayed = end, err == nil
	return err
}

// fileAt is the file of that number if its first frame is valid and lies at lsn.
func (r *Ring) fileAt(sequence, lsn uint64) (*file, error) {
	for _, f := range r.files {
		d, ok, err := f.headerAt(0)
		if err != nil {
			return nil, err
		}
		if ok && d.sequence == sequence && d.lsn == lsn {
			f.sequence, f.start = sequence, lsn
			return f, nil
		}
	}
	return nil, nil
}

// judge tells if the log ends at LSN end because nothing more was committed. last is
// the reader of the last file, at that place; nil if not even the first file is there.
func (r *Ring) judge(end uint64, last *reader) error {
	if err := r.checkRuns(); err != nil {
		return err
	}
	damage := &DamageError{File: filepath.Join(r.dir, checkpointName)}
	if last != nil {
		damage.File, damage.Offset = last.file.name, last.pos
	}
	if r.replay.durable > end {
		damage.Reason = fmt.Sprintf("the frame there cannot be read, but the checkpoint says that LSN %d, behind it, was durable", r.replay.durable)
		return damage
	}
	for _, f := range r.files {
		from := int64(0)
		if last != nil && f == last.file {
			from = last.pos + 1
		}
		at, lsn, found, err := f.proof(from, r.replay.sequence, end)
		if err != nil {
			return err
		}
		if found {
			if begins := at - int64(lsn-end); begins >= 0 {
				damage.File, damage.Offset = f.name, begins // it is in the same file
			}
			damage.Reason = fmt.Sprintf("the frame there cannot be read, but one at byte %d of %s says that it was durable", at, f.name)
			return damage
		}
	}
	return nil
}

// checkRuns wants no file of a later run than the checkpoint: each run begins by writing
// one. Whatever such a file has was committed, and nothing tells where it ends.
func (r *Ring) checkRuns() error {
	var latest string
	for _, f := range r.files {
		d, ok, err := f.headerAt(0)
		if err != nil {
			return err
		}
		if ok && runOf(d.sequence) > max(r.newest, runOf(r.replay.sequence)) {
			r.newest, latest = runOf(d.sequence), f.name
		}
	}
	if latest == "" {
		return nil
	}
	return &DamageError{
		File:   filepath.Join(r.dir, checkpointName),
		Reason: fmt.Sprintf("it is of run %d, and %s was written in run %d: it is an older one, or of another node", runOf(r.replay.sequence), latest, r.newest),
	}
}

// proof looks behind position from for a frame, of the first file or a later one,
// that was written when everything up to beyond end was durable, and returns where
// it is. A file that begins
// with a valid frame of before has nothing new in it: its first block is the first
// to be written again.
func (f *file) proof(from int64, first, end uint64) (at int64, lsn uint64, found bool, err error) {
	proves := func(d header) bool {
		return d.sequence >= first && runOf(d.sequence) == runOf(first) && d.durable > end
	}
	if from == 0 {
		d, ok, err := f.headerAt(0)
		if err != nil || ok {
			return 0, d.lsn, ok && proves(d), err
		}
	}
	for at = (from + blockSize - 1) &^ (blockSize - 1); at < f.size; at += blockSize {
		d, ok, err := f.headerIf(at, proves)
		if err != nil || ok {
			return at, d.lsn, ok, err
		}
	}
	return 0, 0, false, nil
}

// headerAt reads the header at a position; ok is false if it is not valid. The
// payload's own CRCs are not looked at.
func (f *file) headerAt(at int64) (d header, ok bool, err error) {
	return f.headerIf(at, func(header) bool { return true })
}

// headerIf is headerAt for headers that are wanted; others are not valid.
func (f *file) headerIf(at int64, wanted func(header) bool) (d header, ok bool, err error) {
	var h [HeaderSize]byte
	if at+HeaderSize > f.size {
		return d, false, nil
	}
	if err := f.read(h[:], at); err != nil {
		return d, false, err
	}
	if d, ok = decodeHeader(h[:]); !ok || at+HeaderSize+int64(d.length) > f.size || !wanted(d) {
		return d, false, nil
	}
	payload := make([]byte, d.length)
	if err := f.read(payload, at+HeaderSize); err != nil {
		return d, false, err
	}
	return d, d.valid(h[:], payload), nil
}

func (f *file) read(b []byte, at int64) error {
	if n, err := f.ReadAt(b, at); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	return nil
}

// readChunk is how much a reader reads at once, in bytes.
const readChunk = 1 << 20

// reader reads the frames of one file, in order.
type reader struct {
	file   *file
	verify bool
	limit  uint64 // LSN where the log ends
	pos    int64  // of the next frame
	at     place  // sequence and LSN that it must have

	buf   []byte // bytes of the file from bufAt
	bufAt int64
	mem   []byte
}

// all visits the frames up to the first that is not valid.
func (r *reader) all(visit func(Frame) error) error {
	for {
		f, ok, err := r.next()
		if err != nil || !ok {
			return err
		}
		if f.Type == pad {
			continue
		}
		if err := visit(f); err != nil {
			return err
		}
	}
}

// next returns the frame at pos and moves behind it; ok is false if it is not valid.
func (r *reader) next() (f Frame, ok bool, err error) {
	if r.pos+HeaderSize > r.file.size || r.at.lsn >= r.limit {
		return f, false, nil
	}
	h, err := r.bytes(r.pos, HeaderSize)
	if err != nil {
		return f, false, err
	}
	d, ok := decodeHeader(h)
	n := HeaderSize + d.length
	if !ok || d.sequence != r.at.sequence || d.lsn != r.at.lsn || r.pos+int64(n) > r.file.size {
		return f, false, nil
	}
	b, err := r.bytes(r.pos, n)
	if err != nil {
		return f, false, err
	}
	f, payload := d.frame, b[HeaderSize:]
	if !d.valid(b[:HeaderSize], payload) || r.verify && !whole(f.Type, payload) {
		return f, false, nil
	}
	f.Payload = payload
	r.pos += int64(n)
	r.at.lsn += uint64(n)
	return f, true, nil
}

// bytes returns n bytes of the file, from the buffer if they are there.
func (r *reader) bytes(at int64, n int) ([]byte, error) {
	if off := at - r.bufAt; off >= 0 && off+int64(n) <= int64(len(r.buf)) {
		return r.buf[off : off+int64(n)], nil
	}
	want := int(min(max(int64(n), readChunk), r.file.size-at))
	if cap(r.mem) < want {
		r.mem = make([]byte, want)
	}
	r.buf, r.bufAt = nil, at
	if err := r.file.read(r.mem[:want], at); err != nil {
		return nil, err
	}
	r.buf = r.mem[:want]
	return r.buf[:n], nil
}
