package wal

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/protocol/record"
)

// DumpOptions says what DumpDir prints.
type DumpOptions struct {
	// Records prints the records of each batch too.
	Records bool
	// Verify compares the indexes with the batches, and makes every problem part of
	// the error. Without it problems are only printed.
	Verify bool
	// Indexes prints the entries of the indexes too.
	Indexes bool
	// JSON prints an object on a line of its own for everything there is, with its kind
	// and the file it is in.
	JSON bool
}

// DumpDir prints the log in dir: what Kafka's DumpLogSegments prints of each file,
// a line for a batch. It only reads, and may be used beside a broker that writes;
// what is then half written looks damaged.
func DumpDir(w io.Writer, dir string, opts DumpOptions) error {
	return dumpDir(disk.OS{}, w, dir, opts)
}

func dumpDir(fsys FS, w io.Writer, dir string, opts DumpOptions) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	d := &dumper{fsys: fsys, dir: dir, w: bufio.NewWriter(w), opts: opts}
	d.partition(names)
	return d.finish()
}

// finish gives the problems, if they are asked for.
func (d *dumper) finish() error {
	if err := d.w.Flush(); err != nil {
		return err
	}
	if len(d.problems) > 0 && d.opts.Verify {
		return fmt.Errorf("%d problems: %w", len(d.problems), errors.Join(d.problems...))
	}
	return nil
}

// partition prints the log with files of these names.
func (d *dumper) partition(names []string) {
	d.state()
	var bases, snapshots []int64
	for _, name := range names {
		if base, ok := parseOffsetName(name, logSuffix); ok {
			bases = append(bases, base)
		}
		if offset, ok := parseOffsetName(name, snapshotSuffix); ok {
			snapshots = append(snapshots, offset)
		}
	}
	slices.Sort(bases)
	slices.Sort(snapshots)
	if len(bases) == 0 {
		d.problem("%s: no segments", d.dir)
	}
	end := int64(-1)
	for _, base := range bases {
		if end >= 0 && base != end {
			d.problem("%s: begins at offset %d, the segment before ends at %d", offsetName(d.dir, base, logSuffix), base, end)
		}
		end = d.segment(base)
	}
	for _, offset := range snapshots {
		d.snapshot(offset)
	}
}

// dumper prints one directory.
type dumper struct {
	fsys     FS
	dir      string
	w        *bufio.Writer // keeps the first error until Flush
	at       string        // name of the file that lines are of
	opts     DumpOptions
	problems []error
	gaps     bool // offsets may be missing
}

func (d *dumper) problem(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	d.problems = append(d.problems, err)
	if d.opts.JSON {
		d.line("problem", "", "problem", err.Error())
		return
	}
	d.text("PROBLEM: %v\n", err)
}

// state prints what the log remembers besides its records.
func (d *dumper) state() {
	if id, ok, err := readTopicID(d.fsys, d.dir); err != nil {
		d.problem("%w", err)
	} else if ok {
		d.file(metadataFile, "")
		d.say("topicId", "Topic id: %s", "topicId", base64.RawURLEncoding.EncodeToString(id[:]))
	}
	if c, err := readCheckpoint(d.fsys, d.dir); err != nil {
		d.problem("%w", err)
	} else {
		d.file(checkpointFile, "")
		d.say("logCheckpoint", "Log start offset: %d recovery point: %d", "logStartOffset", c.start, "recoveryPoint", c.recoveryPoint)
		if d.gaps = c.gaps; c.gaps {
			d.say("compacted", "Compacted up to offset: %d", "compactedOffset", c.clean)
		}
	}
	if m, ok := readCleanMarker(d.fsys, d.dir); ok {
		d.file(cleanFile, "")
		d.say("cleanShutdown", "Closed cleanly at offset %d", "endOffset", m.end)
	}
	epochs, err := readEpochs(d.fsys, d.dir)
	if err != nil {
		d.problem("%w", err)
	}
	d.file(epochsFile, "")
	for _, e := range epochs {
		d.say("leaderEpoch", "Leader epoch: %d startOffset: %d", "epoch", e.epoch, "startOffset", e.start)
	}
}

// segment prints one segment and returns the offset after its last batch.
func (d *dumper) segment(base int64) (end int64) {
	end = base
	s := newSegment(d.fsys, nil, d.dir, base)
	defer func() {
		if err := s.file.Close(); err != nil {
			d.problem("%w", err)
		}
	}()
	size, err := s.file.Size()
	if err != nil {
		d.problem("%w", err)
		return end
	}
	d.file(filepath.Base(s.name), fmt.Sprintf("Log starting offset: %d\n", base))
	positions := map[int64]int64{} // position of a batch to its last offset
	aborts := map[int64]int64{}    // offset of an abort marker to its producer
	sc := &scanner{file: s.file, limit: size, max: DefaultConfig().MaxBatchBytes, verify: true}
	for {
		b, at, err := sc.next()
		if err != nil {
			d.problem("%s: %w", s.name, err)
			break
		}
		if b == nil {
			break
		}
		if b.BaseOffset() < end || b.BaseOffset() > end && !d.gaps {
			d.problem("%s: batch at position %d begins at offset %d instead of %d", s.name, at, b.BaseOffset(), end)
		}
		d.batch(b, at)
		positions[at] = b.LastOffset()
		if m, ok, err := b.Marker(); err != nil {
			d.problem("batch at position %d: %w", at, err)
		} else if ok && m.Type == record.Abort {
			aborts[b.LastOffset()] = b.ProducerID()
		}
		end = b.LastOffset() + 1
	}
	if d.opts.Indexes {
		d.printIndexes(base)
	}
	if d.opts.Verify {
		d.offsetIndex(base, positions)
		d.timeIndex(base, end)
	}
	d.txnIndex(base, aborts)
	return end
}

// txnIndex prints the aborted transactions whose markers are in a segment. Each entry
// must have its marker; a marker has none if it ended nothing.
func (d *dumper) txnIndex(base int64, aborts map[int64]int64) {
	name := offsetName(d.dir, base, txnIndexSuffix)
	b, err := disk.ReadFile(d.fsys, name)
	if err != nil {
		if !isNotExist(err) {
			d.problem("%w", err)
		}
		return
	}
	d.file(filepath.Base(name), "")
	last := int64(-1)
	for ; len(b) >= txnEntrySize; b = b[txnEntrySize:] {
		a, err := decodeAborted(b)
		if err != nil {
			d.problem("%s: %w", name, err)
			return
		}
		d.line("abortedTransaction", "", "version", txnIndexVersion, "producerId", a.ProducerID, "firstOffset", a.First, "lastOffset", a.Last, "lastStableOffset", a.LastStable)
		if id, ok := aborts[a.Last]; d.opts.Verify && (!ok || id != a.ProducerID || a.Last <= last || a.First >= a.Last || a.LastStable > a.Last+1) {
			d.problem("%s: an abort of producer %d at offset %d after %d, first offset %d, last stable offset %d, does not agree with the log", name, a.ProducerID, a.Last, last, a.First, a.LastStable)
		}
		last = a.Last
	}
	if len(b) > 0 {
		d.problem("%s: %d bytes are left behind the last entry", name, len(b))
	}
}

// batch prints one batch in the words of Kafka's tool.
func (d *dumper) batch(b record.Batch, at int64) {
	kind := "CreateTime"
	if b.IsLogAppendTime() {
		kind = "LogAppendTime"
	}
	d.line("batch", "", "baseOffset", b.BaseOffset(), "lastOffset", b.LastOffset(), "count", b.Count(),
		"baseSequence", b.BaseSequence(), "lastSequence", b.LastSequence(), "producerId", b.ProducerID(), "producerEpoch", b.ProducerEpoch(),
		"partitionLeaderEpoch", b.LeaderEpoch(), "isTransactional", b.IsTransactional(), "isControl", b.IsControl(), "position", at,
		kind, b.MaxTimestamp(), "size", len(b), "magic", b.Magic(), "compresscodec", b.Codec(), "crc", b.CRC(), "isvalid", b.CheckCRC())
	if !d.opts.Records {
		return
	}
	for r, err := range b.Records(record.DefaultDecompressLimits()) {
		if err != nil {
			d.problem("batch at position %d: %w", at, err)
			return
		}
		d.line("record", "| ", "offset", r.Offset, kind, r.Timestamp, "keySize", sizeOf(r.Key), "valueSize", sizeOf(r.Value),
			"headers", len(r.Headers), "key", quoted(r.Key), "payload", quoted(r.Value))
	}
}

// sizeOf is the length of a key or value, -1 for null.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// entries reads an index file; one that is not there has none: that of an active
// segment is in the broker's memory.
func (d *dumper) entries(base int64, suffix string, width int) []indexEntry {
	name := offsetName(d.dir, base, suffix)
	b, err := disk.ReadFile(d.fsys, name)
	if err != nil {
		if !isNotExist(err) {
			d.problem("%w", err)
		}
		return nil
	}
	if len(b)%width != 0 {
		d.problem("%s: %d bytes are not a multiple of %d", name, len(b), width)
	}
	x := index{width: width}
	var entries []indexEntry
	for ; len(b) >= width; b = b[width:] {
		entries = append(entries, x.decode(b))
	}
	return entries
}

// printIndexes prints the entries of both indexes of a segment.
func (d *dumper) printIndexes(base int64) {
	d.file(filepath.Base(offsetName(d.dir, base, indexSuffix)), "")
	for _, e := range d.entries(base, indexSuffix, offsetEntrySize) {
		d.line("indexEntry", "", "offset", base+int64(e.relative), "position", e.position)
	}
	d.file(filepath.Base(offsetName(d.dir, base, timeIndexSuffix)), "")
	for _, e := range d.entries(base, timeIndexSuffix, timeEntrySize) {
		d.line("timeIndexEntry", "", "timestamp", e.timestamp, "offset", base+int64(e.relative))
	}
}

// offsetIndex checks that every entry points to a batch and has its last offset.
func (d *dumper) offsetIndex(base int64, positions map[int64]int64) {
	name := filepath.Base(offsetName(d.dir, base, indexSuffix))
	before := indexEntry{}
	for i, e := range d.entries(base, indexSuffix, offsetEntrySize) {
		last, ok := positions[int64(e.position)]
		if !ok || last != base+int64(e.relative) {
			d.problem("%s: entry at byte %d: offset %d at position %d is not a batch's", name, i*offsetEntrySize, base+int64(e.relative), e.position)
		} else if i > 0 && (e.relative <= before.relative || e.position <= before.position) {
			d.problem("%s: entry at byte %d: offset %d at position %d comes after %d at %d", name, i*offsetEntrySize, base+int64(e.relative), e.position, base+int64(before.relative), before.position)
		}
		before = e
	}
}

// timeIndex checks that entries grow and point into the segment.
func (d *dumper) timeIndex(base, end int64) {
	name := filepath.Base(offsetName(d.dir, base, timeIndexSuffix))
	last := indexEntry{timestamp: record.NoTimestamp}
	for i, e := range d.entries(base, timeIndexSuffix, timeEntrySize) {
		if e.timestamp <= last.timestamp || e.relative < last.relative || base+int64(e.relative) >= end {
			d.problem("%s: entry at byte %d: timestamp %d offset %d after %d and %d, the segment ends at %d",
				name, i*timeEntrySize, e.timestamp, base+int64(e.relative), last.timestamp, base+int64(last.relative), end)
		}
		last = e
	}
}

// snapshot prints a producer snapshot.
func (d *dumper) snapshot(offset int64) {
	name := offsetName(d.dir, offset, snapshotSuffix)
	b, err := disk.ReadFile(d.fsys, name)
	if err != nil {
		d.problem("%w", err)
		return
	}
	ps := newProducers(DefaultConfig())
	if err := ps.load(b, time.Time{}); err != nil {
		d.problem("%s: %w", name, err)
		return
	}
	d.file(filepath.Base(name), "")
	for _, p := range ps.sorted() {
		d.line("producer", "", "producerId", p.id, "producerEpoch", p.epoch, "coordinatorEpoch", p.coordinatorEpoch,
			"currentTxnFirstOffset", p.txnFirst, "lastTimestamp", p.timestamp, "lastSequence", p.lastSequence(), "lastOffset", p.lastOffset(), "batches", p.n)
	}
}
