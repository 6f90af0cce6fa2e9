package wal

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

func abortOf(id int64, epoch int16, coordinator int32) record.Batch {
	return record.NewMarker(record.Marker{Type: record.Abort, CoordinatorEpoch: coordinator}, id, epoch, 1000)
}

func commitOf(id int64, epoch int16, coordinator int32) record.Batch {
	return record.NewMarker(record.Marker{Type: record.Commit, CoordinatorEpoch: coordinator}, id, epoch, 1000)
}

func mustAborted(t *testing.T, l *Log, from, upTo int64) []AbortedTransaction {
	t.Helper()
	found, err := l.AbortedTransactions(from, upTo)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// copyLog appends all of l to an empty log as a follower.
func copyLog(t *testing.T, l *Log) *Log {
	t.Helper()
	f := open(t, filepath.Join(t.TempDir(), "follower"), smallConfig())
	for f.End() < l.End() {
		b, err := l.Read(f.End(), l.End(), 300, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.AppendAsFollower(b); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestLastStableOffsetAndAbortedTransactions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t-0")
	l := open(t, dir, smallConfig())
	for i, step := range []struct {
		batch      record.Batch
		lastStable int64 // with the high watermark at the end
	}{
		{batchOf(1, "plain", 1), 1},           // 0
		{txnBatchOf(2, "a", 1, 0, 0), 1},      // 1, 2
		{txnBatchOf(1, "b", 2, 0, 0), 1},      // 3
		{producerBatchOf(1, "c", 3, 0, 0), 1}, // 4
		{abortOf(2, 0, 5), 1},                 // 5
		{txnBatchOf(1, "a", 1, 0, 2), 1},      // 6
		{commitOf(1, 0, 5), 8},                // 7
		{txnBatchOf(1, "b", 2, 0, 1), 8},      // 8
		{abortOf(2, 1, 5), 10},                // 9: and the producer is fenced
		{commitOf(4, 0, 5), 11},               // 10: of nothing
		{abortOf(1, 0, 5), 12},                // 11: of nothing
		{txnBatchOf(1, "b", 2, 1, 0), 12},     // 12
	} {
		mustAppend(t, l, 0, step.batch)
		if got := l.LastStable(l.End()); got != step.lastStable {
			t.Fatalf("step %d: last stable offset %d, want %d", i, got, step.lastStable)
		}
	}
	want := []AbortedTransaction{{2, 3, 5, 1}, {2, 8, 9, 10}}
	reopened := func(how string, l *Log) {
		t.Helper()
		if l.OpenTransactions() != 1 || l.LastStable(l.End()) != 12 {
			t.Errorf("%s: %d open, last stable offset %d", how, l.OpenTransactions(), l.LastStable(l.End()))
		}
		for _, tt := range []struct {
			from, upTo int64
			want       []AbortedTransaction
		}{
			{0, 13, want},
			{0, 3, nil}, // it begins at 3
			{0, 4, want[:1]},
			{5, 6, want[:1]}, // its marker
			{6, 8, nil},      // between
			{6, 13, want[1:]},
			{9, 13, want[1:]},
			{10, 13, nil},
		} {
			if got := mustAborted(t, l, tt.from, tt.upTo); !slices.Equal(got, tt.want) {
				t.Errorf("%s: aborted in %d to %d: got %+v, want %+v", how, tt.from, tt.upTo, got, tt.want)
			}
		}
	}
	reopened("at once", l)
	reopened("follower", copyLog(t, l))
	reopened("after a crash", open(t, dir, smallConfig()))
	l = open(t, dir, smallConfig())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, smallConfig())
	reopened("after a clean close", l)

	// Without the marker the transaction is open again.
	if err := l.Truncate(9); err != nil {
		t.Fatal(err)
	}
	if got := l.LastStable(l.End()); got != 8 {
		t.Errorf("truncated: last stable offset %d, want 8", got)
	}
	if got := mustAborted(t, l, 0, 9); !slices.Equal(got, want[:1]) {
		t.Errorf("truncated: got %+v, want %+v", got, want[:1])
	}
	if err := l.Reset(100); err != nil {
		t.Fatal(err)
	}
	if got := l.LastStable(100); got != 100 || len(mustAborted(t, l, 100, 100)) != 0 || len(glob(t, dir, "*.txnindex")) != 0 {
		t.Errorf("reset: last stable offset %d, files %v", got, glob(t, dir, "*.txnindex"))
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A marker that the high watermark has not passed may be lost with this leader: what it
// decided is not stable before.
func TestLastStableOffsetWaitsForTheMarker(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	mustAppend(t, l, 0, txnBatchOf(2, "a", 1, 0, 0)) // 0, 1
	mustAppend(t, l, 0, batchOf(1, "plain", 1))      // 2
	mustAppend(t, l, 0, commitOf(1, 0, 0))           // 3
	mustAppend(t, l, 0, txnBatchOf(1, "a", 1, 0, 2)) // 4
	mustAppend(t, l, 0, commitOf(1, 0, 0))           // 5
	for _, tt := range []struct{ highWatermark, want int64 }{{0, 0}, {2, 0}, {3, 0}, {4, 4}, {5, 4}, {6, 6}} {
		if got := l.LastStable(tt.highWatermark); got != tt.want {
			t.Errorf("high watermark %d: last stable offset %d, want %d", tt.highWatermark, got, tt.want)
		}
	}
	if n := len(l.undecided.ended); n != 0 {
		t.Errorf("%d transactions are kept that are decided", n)
	}
}

func TestMarkersAreFenced(t *testing.T) {
	malformed := record.NewBuilder()
	malformed.SetProducer(1, 3, record.NoSequence)
	malformed.SetControl()
	malformed.Add(0, []byte{0, 0, 0, 1}, nil)
	tests := []struct {
		name  string
		batch record.Batch
		want  protocol.ErrorCode
	}{
		{"older producer epoch", commitOf(1, 1, 5), protocol.InvalidProducerEpoch},
		{"older coordinator epoch", commitOf(1, 2, 4), protocol.TransactionCoordinatorFenced},
		{"same epochs", commitOf(1, 2, 5), protocol.None},
		{"later coordinator", commitOf(1, 2, 6), protocol.None},
		{"later producer epoch", abortOf(1, 3, 5), protocol.None},
		{"not a marker's record", malformed.Bytes(), protocol.InvalidRecord},
		{"records outside of the open transaction", producerBatchOf(1, "x", 1, 2, 1), protocol.InvalidTxnState},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, t.TempDir(), smallConfig())
			mustAppend(t, l, 0, commitOf(1, 2, 5))
			mustAppend(t, l, 0, txnBatchOf(1, "x", 1, 2, 0))
			end := l.End()
			_, err := l.AppendAsLeader(0, tt.batch)
			if got := protocol.CodeOf(err); got != tt.want {
				t.Fatalf("got %v (%v), want %v", got, err, tt.want)
			}
			if err != nil && (l.End() != end || l.Err() != nil) {
				t.Errorf("refused, but the log ends at %d and says %v", l.End(), l.Err())
			}
		})
	}
	l := open(t, t.TempDir(), smallConfig())
	if _, err := l.AppendAsFollower(record.Batch(malformed.Bytes())); protocol.CodeOf(err) != protocol.InvalidRecord || l.Err() != nil {
		t.Errorf("follower: got %v, log says %v", err, l.Err())
	}
}

// Producers with an open transaction are neither forgotten after a while nor for room.
func TestOpenTransactionsAreNotForgotten(t *testing.T) {
	cfg := smallConfig()
	cfg.MaxProducers = 2
	now := time.UnixMilli(1_000_000_000)
	l := open(t, t.TempDir(), cfg, WithClock(func() time.Time { return now }))
	for id := range int64(4) {
		mustAppend(t, l, 0, txnBatchOf(1, "x", id, 0, 0))
	}
	now = now.Add(2 * cfg.ProducerExpiry)
	mustAppend(t, l, 0, producerBatchOf(1, "x", 9, 0, 0))
	if _, err := l.Retain(t.Context(), RetentionPolicy{}); err != nil {
		t.Fatal(err)
	}
	if ps := l.Producers(); len(ps) != 5 || l.OpenTransactions() != 4 || l.LastStable(l.End()) != 0 {
		t.Errorf("%d producers, %d open transactions, last stable offset %d", len(ps), l.OpenTransactions(), l.LastStable(l.End()))
	}
	for id := range int64(4) {
		mustAppend(t, l, 0, commitOf(id, 0, 0))
	}
	now = now.Add(2 * cfg.ProducerExpiry)
	if _, err := l.Retain(t.Context(), RetentionPolicy{}); err != nil {
		t.Fatal(err)
	}
	if ps := l.Producers(); len(ps) != 0 || l.LastStable(l.End()) != l.End() {
		t.Errorf("%d producers, last stable offset %d of %d", len(ps), l.LastStable(l.End()), l.End())
	}
}

// Segments take their index with them.
func TestTransactionIndexesGoWithTheirSegments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t-0")
	l := open(t, dir, smallConfig())
	for i := range int32(20) {
		mustAppend(t, l, 0, txnBatchOf(1, "some bytes to fill segments with", 1, 0, i))
		mustAppend(t, l, 0, abortOf(1, 0, 0))
	}
	all := mustAborted(t, l, 0, l.End())
	before := len(glob(t, dir, "*.txnindex"))
	if len(all) != 20 || before < 3 {
		t.Fatalf("%d aborted transactions in %d indexes", len(all), before)
	}
	if err := l.SetStart(25); err != nil {
		t.Fatal(err)
	}
	if got, want := mustAborted(t, l, 25, l.End()), all[12:]; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if after := len(glob(t, dir, "*.txnindex")); after >= before {
		t.Errorf("%d transaction indexes before, %d after", before, after)
	}
}

// An index that cannot be right is made anew at open, also after a clean close.
func TestDamagedTransactionIndexIsMadeAnew(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"torn":     func(b []byte) []byte { return b[:len(b)-1] },
		"version":  func(b []byte) []byte { b[1] = 9; return b },
		"disorder": func(b []byte) []byte { return append(b, b[:txnEntrySize]...) },
		"zeros":    func(b []byte) []byte { clear(b); return b },
	} {
		for _, clean := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "t-0")
				l := open(t, dir, smallConfig())
				for i := range int32(20) {
					mustAppend(t, l, 0, txnBatchOf(1, "some bytes to fill segments with", 1, 0, i))
					mustAppend(t, l, 0, abortOf(1, 0, 0))
				}
				want := mustAborted(t, l, 0, l.End())
				mustSync(t, l)
				if clean {
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
				}
				victim := glob(t, dir, "*.txnindex")[1]
				b, err := os.ReadFile(victim)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(victim, damage(bytes.Clone(b)), 0o600); err != nil {
					t.Fatal(err)
				}
				l = open(t, dir, smallConfig())
				if got := mustAborted(t, l, 0, l.End()); !slices.Equal(got, want) {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if again, err := os.ReadFile(victim); err != nil || !bytes.Equal(again, b) {
					t.Errorf("the file is not what it was: %v", err)
				}
			})
		}
	}
}

// TestTransactionIndexFormat holds the bytes of an entry still: they are Kafka's.
func TestTransactionIndexFormat(t *testing.T) {
	a := AbortedTransaction{ProducerID: 7, First: 10, Last: 12, LastStable: 13}
	e := a.encode()
	const want = "0000" + "0000000000000007" + "000000000000000a" + "000000000000000c" + "000000000000000d"
	if got := hex.EncodeToString(e[:]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if back, err := decodeAborted(e[:]); back != a || err != nil {
		t.Errorf("got %+v, %v", back, err)
	}
}

func TestReadingTransactionsAllocatesNothing(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	for i := range int32(10) {
		mustAppend(t, l, 0, txnBatchOf(1, "x", 1, 0, i))
		mustAppend(t, l, 0, commitOf(1, 0, 0))
	}
	if n := testing.AllocsPerRun(100, func() {
		if l.LastStable(l.End()) != l.End() || len(mustAborted(t, l, 0, l.End())) != 0 {
			t.Error("there are aborted transactions")
		}
	}); n > 1 { // the closure
		t.Errorf("%v allocations", n)
	}
}
