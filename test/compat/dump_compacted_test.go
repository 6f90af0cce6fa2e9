//go:build integration

package compat

import (
	"context"
	wire "encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol/record"
)

// Kafka's own dump tool reads what compaction leaves: segments that were joined, gaps in
// the offsets, tombstones, batches that stay empty for their producers, transactions that
// were committed and aborted, over several leader epochs. Written by the log itself, so
// that what the cleaner has seen is known.
func TestDumpLogSegmentsOfCompactedLogs(t *testing.T) {
	need(t, "java", "install it with: apt-get install default-jre-headless")
	jars := javaClient(t)
	for _, codec := range []record.Codec{record.None, record.Zstd} {
		t.Run(codec.String(), func(t *testing.T) { dumpCompacted(within(t, 4*time.Minute), t, jars, codec) })
	}
}

func dumpCompacted(ctx context.Context, t *testing.T, jars string, codec record.Codec) {
	cfg := wal.DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 16<<10, 512
	dir := filepath.Join(t.TempDir(), "state-0")
	log, err := wal.Open(dir, cfg, slog.New(slog.DiscardHandler), wal.WithTopicID([16]byte{1, 2, 3}))
	must(t, err)
	w := compactedWriter{t: t, log: log, codec: codec, sequences: map[int64]int32{}}
	var joined int
	for range 3 {
		w.round()
		before := len(glob(t, dir, "*.log"))
		_, err := log.Clean(ctx, wal.CleanPolicy{UpTo: log.End(), DeleteRetention: time.Hour, MapBytes: 1 << 20})
		must(t, err)
		joined += before - len(glob(t, dir, "*.log"))
	}
	w.data(900, true, "open", "never decided") // stays open
	must(t, log.Close())

	d := dumped(ctx, t, jars, dir, "--deep-iteration", "--print-data-log")
	wantGaps(t, dir, d)
	for what, n := range map[string]int{
		"joined segments": joined, "gaps": len(d.gaps), "empty batches": d.empty, "tombstones": d.tombstones, "batches with a delete horizon": d.horizons,
		"commit markers": d.commits, "abort markers": d.aborts, "aborted transactions": d.aborted,
		"producers": d.producers, "open transactions": d.open, "index entries": d.indexed, "time index entries": d.timed,
	} {
		if n == 0 {
			t.Errorf("%s: there are no %s", dir, what)
		}
	}
	t.Logf("%d segments, %d were joined, %+v", len(glob(t, dir, "*.log")), joined, d.counts)
	wantSaneIndexes(ctx, t, jars, dir)
	readCheckpoints(ctx, t, jars, dir)
}

// compactedWriter writes what a compaction has something to do with.
type compactedWriter struct {
	t         *testing.T
	log       *wal.Log
	codec     record.Codec
	sequences map[int64]int32
	epoch     int32
	at        int64 // timestamp
}

// round writes a leader epoch: producers that only one round has, transactions that are
// committed and aborted, keys that are written again, and tombstones.
func (w *compactedWriter) round() {
	page := strings.Repeat("what a record holds, ", 12)
	for i := range int64(150) {
		key := fmt.Sprint("key", i%20)
		switch i % 10 {
		case 3:
			w.data(100+i%30, true, key, page)
			w.mark(record.Commit, 100+i%30)
		case 5:
			w.data(100+i%30, true, key, "aborted "+page)
			w.mark(record.Abort, 100+i%30)
		case 7:
			w.data(-1, false, fmt.Sprint("gone", i%40), "")
		case 8: // the only batch of a producer, whose key is written again
			w.data(1000*int64(w.epoch+1)+i, false, key, page)
		default:
			w.data(1+i%3, false, key, page, fmt.Sprint("gone", i%40), page)
		}
	}
	w.epoch++
}

// data appends a batch: keys and values, of which an empty one stands for a tombstone.
func (w *compactedWriter) data(producer int64, transactional bool, keysAndValues ...string) {
	w.t.Helper()
	b := record.NewBuilder()
	if producer >= 0 {
		b.SetProducer(producer, 0, w.sequences[producer])
		w.sequences[producer] += int32(len(keysAndValues) / 2)
	}
	if transactional {
		b.SetTransactional()
	}
	for kv := range slices.Chunk(keysAndValues, 2) {
		w.at++
		var value []byte
		if kv[1] != "" {
			value = []byte(kv[1])
		}
		b.Add((1_700_000_000_000+w.at)^3, []byte(kv[0]), value) // not in order
	}
	w.append(compressed(w.t, b.Bytes(), w.codec))
}

// compressed is a batch of a client that compresses: the builder does not.
func compressed(t *testing.T, b record.Batch, codec record.Codec) record.Batch {
	t.Helper()
	const lengthAt, crcAt, attributesAt = 8, 17, 21
	out, err := record.Compress(slices.Clone(b[:record.HeaderSize]), codec, b[record.HeaderSize:])
	must(t, err)
	wire.BigEndian.PutUint32(out[lengthAt:], uint32(len(out)-record.LogOverhead))
	wire.BigEndian.PutUint16(out[attributesAt:], uint16(b.Attributes())|uint16(codec))
	wire.BigEndian.PutUint32(out[crcAt:], crc32.Checksum(out[attributesAt:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

func (w *compactedWriter) mark(kind record.MarkerType, producer int64) {
	w.t.Helper()
	w.at++
	w.append(record.NewMarker(record.Marker{Type: kind, CoordinatorEpoch: 4}, producer, 0, 1_700_000_000_000+w.at))
}

func (w *compactedWriter) append(b []byte) {
	w.t.Helper()
	_, err := w.log.AppendAsLeader(w.epoch, b)
	must(w.t, err)
}

// counts is what the tool printed.
type counts struct {
	records, empty, tombstones, horizons int
	commits, aborts, aborted             int
	producers, open                      int
	indexed, timed, sane                 int
}

type dumpedFiles struct {
	counts
	lines   []string
	offsets [][]int64  // of the records, by segment
	gaps    [][2]int64 // as the tool complains of them, sorted
}

var (
	batchLine   = regexp.MustCompile(`^baseOffset: \d+ lastOffset: \d+ count: (\d+) .* deleteHorizonMs: (Optional\S+) position: .* isvalid: true$`)
	abortedLine = regexp.MustCompile(`^version: 0 producerId: \d+ firstOffset: \d+ lastOffset: \d+ lastStableOffset: \d+$`)
	gapTitle    = regexp.MustCompile(`^Non-consecutive offsets in .*\.log$`)
	gapLine     = regexp.MustCompile(`^  (\d+) is followed by (\d+)$`)
	otherLine   = regexp.MustCompile(`^(Dumping .*|Log starting offset: \d+)$`)
)

// dumped has Kafka's tool read every file that it knows in a partition's directory. A line
// that says nothing of what is in them is a complaint. The tool takes gaps for one; what
// it says of them is returned.
func dumped(ctx context.Context, t *testing.T, jars, dir string, args ...string) (d dumpedFiles) {
	t.Helper()
	var files []string
	for _, suffix := range []string{"log", "index", "timeindex", "txnindex", "snapshot"} {
		files = append(files, glob(t, dir, "*."+suffix)...)
	}
	out, err := java(ctx, jars, append([]string{dumpLogSegments, "--files", strings.Join(files, ",")}, args...)...)
	must(t, err)
	d.lines = out
	for _, line := range out {
		if !d.take(line) {
			t.Errorf("%s: %s: %s", dir, args, line)
		}
	}
	slices.SortFunc(d.gaps, func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) })
	return d
}

// take notes what a line says, and tells if it is one that says what a file holds.
func (d *dumpedFiles) take(line string) bool {
	count := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	switch {
	case recordLine.MatchString(line):
		d.takeRecord(line)
	case batchLine.MatchString(line):
		m := batchLine.FindStringSubmatch(line)
		count(&d.empty, m[1] == "0")
		count(&d.horizons, m[2] != "OptionalLong.empty")
	case gapLine.MatchString(line):
		m := gapLine.FindStringSubmatch(line)
		d.gaps = append(d.gaps, [2]int64{number(m[1]), number(m[2])})
	case producerRow.MatchString(line):
		d.producers++
		count(&d.open, strings.Contains(line, "currentTxnFirstOffset: Some(") || strings.Contains(line, "currentTxnFirstOffset: OptionalLong["))
	case abortedLine.MatchString(line):
		d.aborted++
	case indexLine.MatchString(line):
		d.indexed++
	case timeLine.MatchString(line):
		d.timed++
	case strings.HasSuffix(line, " passed sanity check."), strings.HasSuffix(line, ".index is empty."):
		d.sane++
	case strings.HasPrefix(line, "Log starting offset: "):
		d.offsets = append(d.offsets, nil)
	default:
		return otherLine.MatchString(line) || gapTitle.MatchString(line)
	}
	return true
}

func (d *dumpedFiles) takeRecord(line string) {
	d.records++
	if strings.Contains(line, " valueSize: -1 ") {
		d.tombstones++
	}
	if strings.Contains(line, " endTxnMarker: COMMIT coordinatorEpoch: 4") {
		d.commits++
	}
	if strings.Contains(line, " endTxnMarker: ABORT coordinatorEpoch: 4") {
		d.aborts++
	}
	last := len(d.offsets) - 1
	d.offsets[last] = append(d.offsets[last], number(recordLine.FindStringSubmatch(line)[1]))
}

// wantGaps wants offsets to grow, and the tool to have said nothing of gaps but what
// compaction has made.
func wantGaps(t *testing.T, dir string, d dumpedFiles) {
	t.Helper()
	var gaps [][2]int64
	for _, offsets := range d.offsets {
		for i := range offsets[min(1, len(offsets)):] {
			if offsets[i+1] <= offsets[i] {
				t.Errorf("%s: record %d follows %d", dir, offsets[i+1], offsets[i])
			}
			if offsets[i+1] != offsets[i]+1 {
				gaps = append(gaps, [2]int64{offsets[i], offsets[i+1]})
			}
		}
	}
	if !slices.Equal(d.gaps, gaps) {
		t.Errorf("%s: the tool says of gaps %v, the records have %v", dir, d.gaps, gaps)
	}
}

func number(s string) (n int64) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		panic(err) // the expression takes digits only
	}
	return n
}
