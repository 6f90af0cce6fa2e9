package wal

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"path/filepath"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/ring"
	"github.com/quorate/quorate/protocol/record"
)

// DumpCommitLog prints the commit log in dir: its checkpoint with the recovery points,
// and the frames of each file, those that a start after a crash would write again
// marked as needed. It only reads.
func DumpCommitLog(w io.Writer, dir string, opts DumpOptions) error {
	return dumpCommitLog(disk.OS{}, w, dir, opts)
}

func dumpCommitLog(fsys FS, w io.Writer, dir string, opts DumpOptions) error {
	d := &dumper{fsys: fsys, dir: dir, w: bufio.NewWriter(w), opts: opts}
	in, err := ring.Inspect(fsys, dir, d.commitCheckpoint, func(f ring.Inspected) error {
		d.frame(f)
		return nil
	})
	if err != nil {
		return errors.Join(err, d.w.Flush())
	}
	if in.Damage != nil {
		d.problem("%w", in.Damage)
	}
	return d.finish()
}

// commitCheckpoint prints the checkpoint, and where the recovery of each log begins.
func (d *dumper) commitCheckpoint(in ring.Inspection) {
	d.file("checkpoint", "")
	c := in.Checkpoint
	d.line("commitCheckpoint", "", "sequence", c.Sequence, "lsn", c.LSN, "durableLsn", c.Durable, "endLsn", in.End)
	points, err := decodePoints(c.State)
	if err != nil {
		d.problem("%s: %w", filepath.Join(d.dir, "checkpoint"), err)
		return
	}
	for _, o := range sortedOwners(points) {
		p := points[o]
		d.line("recoveryPoint", "", "topicId", base64.RawURLEncoding.EncodeToString(o.TopicID[:]), "partition", o.Partition,
			"segment", p.segment, "position", p.position, "offset", p.offset, "indexEntries", p.offsets, "timeIndexEntries", p.times, "durableOffset", p.known)
	}
}

// frame prints one frame.
func (d *dumper) frame(f ring.Inspected) {
	if name := filepath.Base(f.File); d.at != name {
		d.file(name, "")
	}
	kind := "barrier"
	switch {
	case f.Padding:
		kind = "padding"
	case f.Type == ring.Batches:
		kind = "batches"
	}
	pairs := []any{
		"type", kind, "position", f.At, "size", ring.HeaderSize + len(f.Payload), "sequence", f.Sequence,
		"lsn", f.LSN, "durableLsn", f.Durable, "needed", f.Needed,
	}
	if !f.Padding {
		pairs = append(pairs, "topicId", base64.RawURLEncoding.EncodeToString(f.Owner.ID[:]), "partition", f.Owner.Part)
	}
	if f.Type == ring.Batches {
		first, last := int64(-1), int64(-1)
		for b, err := range record.Split(f.Payload) {
			if err != nil {
				break // Whole says so
			}
			if first < 0 {
				first = b.BaseOffset()
			}
			last = b.LastOffset()
		}
		pairs = append(pairs, "segment", f.Base, "segmentPosition", f.Position, "baseOffset", first, "lastOffset", last, "isvalid", f.Whole)
	}
	d.line("frame", "", pairs...)
	if !f.Whole && f.Needed {
		d.problem("%s: byte %d: a batch of the frame does not have its CRC", f.File, f.At)
	}
}
