package ring

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/quorate/quorate/core/wal/disk"
)

// Inspected is a frame as it lies in a file.
type Inspected struct {
	Frame
	File     string
	At       int64  // position in File, in bytes
	Sequence uint64 // of the file
	LSN      uint64
	Durable  uint64 // everything before this LSN was durable when the frame was written
	Padding  bool   // it only fills up a round
	Whole    bool   // its batches have their CRCs
	Needed   bool   // a replay gives it
}

// Checkpoint is what says where a replay begins.
type Checkpoint struct {
	Sequence uint64 // of the first file that is needed
	LSN      uint64 // where it begins
	Durable  uint64 // everything before was durable
	State    []byte // the owner's
}

// Inspection is what Inspect found besides frames.
type Inspection struct {
	Checkpoint Checkpoint
	End        uint64 // LSN behind the last frame that a replay gives
	Damage     error  // nil, or the *DamageError that an Open or a Replay would give
}

// Inspect reads the ring in dir without changing anything. It calls begin with what it
// found, then visit with the frames of every file, each from its beginning to the first that does not belong to
// the others. Files that are written meanwhile may look damaged. The error is the
// disk's or visit's.
func Inspect(fsys disk.FS, dir string, begin func(Inspection), visit func(Inspected) error) (Inspection, error) {
	var in Inspection
	r := &Ring{fsys: fsys, dir: dir, cfg: DefaultConfig(), log: slog.New(slog.DiscardHandler)}
	defer func() { _ = r.closeFiles() }() // they were only read
	if err := r.openFilesAs(os.O_RDONLY); err != nil {
		return in, err
	}
	damage := r.openCheckpoint(false)
	if damage == nil {
		c := r.replay
		in.Checkpoint = Checkpoint{Sequence: c.sequence, LSN: c.lsn, Durable: c.durable, State: c.state}
		damage = r.Replay(false, func(Frame) error { return nil })
	}
	in.End = r.lsn
	if err := asDamage(damage, &in); err != nil {
		return in, err
	}
	begin(in)
	for _, f := range r.inOrder() {
		if err := r.inspect(f, in, visit); err != nil {
			return in, err
		}
	}
	return in, nil
}

// asDamage notes damage; everything else it returns.
func asDamage(err error, in *Inspection) error {
	if _, ok := errors.AsType[*DamageError](err); ok {
		in.Damage = err
		return nil
	}
	return err
}

// inOrder is the files as they were written, free ones first.
func (r *Ring) inOrder() []*file {
	sequences := map[*file]uint64{}
	for _, f := range r.files {
		if d, ok, err := f.headerAt(0); err == nil && ok {
			sequences[f] = d.sequence
		}
	}
	files := slices.Clone(r.files)
	slices.SortFunc(files, func(a, b *file) int {
		return cmp.Or(cmp.Compare(sequences[a], sequences[b]), cmp.Compare(a.name, b.name))
	})
	return files
}

func (r *Ring) inspect(f *file, in Inspection, visit func(Inspected) error) error {
	d, ok, err := f.headerAt(0)
	if err != nil || !ok {
		return err
	}
	rd := &reader{file: f, limit: ^uint64(0), at: place{sequence: d.sequence, lsn: d.lsn}}
	for {
		at, lsn := rd.pos, rd.at.lsn
		fr, ok, err := rd.next()
		if err != nil || !ok {
			return err
		}
		h, err := rd.bytes(at, HeaderSize)
		if err != nil {
			return err
		}
		hd, ok := decodeHeader(h)
		if !ok {
			return fmt.Errorf("read %s: byte %d has changed", filepath.Base(f.name), at)
		}
		if err := visit(Inspected{
			Frame: fr, File: f.name, At: at, Sequence: d.sequence, LSN: lsn, Durable: hd.durable, Padding: fr.Type == pad,
			Whole: whole(fr.Type, fr.Payload), Needed: in.Damage == nil && lsn >= in.Checkpoint.LSN && lsn < in.End && d.sequence >= in.Checkpoint.Sequence,
		}); err != nil {
			return err
		}
	}
}
