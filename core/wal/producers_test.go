package wal

import (
	"bytes"
	"encoding/hex"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/protocol"
)

// sent is one batch of producer 7 and what must come of it.
type sent struct {
	epoch    int16
	sequence int32
	n        int
	want     protocol.ErrorCode
	dup      bool
	first    int64 // offset, if want is None
}

func TestIdempotentProducer(t *testing.T) {
	tests := []struct {
		name    string
		batches []sent
	}{{
		name:    "in order",
		batches: []sent{{sequence: 0, n: 2}, {sequence: 2, n: 1, first: 2}, {sequence: 3, n: 1, first: 3}},
	}, {
		name: "any of the last five repeated gets its first offset",
		batches: []sent{
			{sequence: 0, n: 1},
			{sequence: 1, n: 1, first: 1},
			{sequence: 2, n: 1, first: 2},
			{sequence: 3, n: 1, first: 3},
			{sequence: 4, n: 1, first: 4},
			{sequence: 0, n: 1, dup: true},
			{sequence: 4, n: 1, dup: true, first: 4},
		},
	}, {
		name: "the sixth is forgotten",
		batches: []sent{
			{sequence: 0, n: 1},
			{sequence: 1, n: 1, first: 1},
			{sequence: 2, n: 1, first: 2},
			{sequence: 3, n: 1, first: 3},
			{sequence: 4, n: 1, first: 4},
			{sequence: 5, n: 1, first: 5},
			{sequence: 0, n: 1, want: protocol.OutOfOrderSequenceNumber},
		},
	}, {
		name:    "gap",
		batches: []sent{{sequence: 0, n: 2}, {sequence: 3, n: 1, want: protocol.OutOfOrderSequenceNumber}, {sequence: 2, n: 1, first: 2}},
	}, {
		name:    "same start but another length is no repetition",
		batches: []sent{{sequence: 0, n: 2}, {sequence: 0, n: 1, want: protocol.OutOfOrderSequenceNumber}},
	}, {
		name:    "old epoch",
		batches: []sent{{epoch: 3, n: 1}, {epoch: 2, sequence: 1, n: 1, want: protocol.InvalidProducerEpoch}},
	}, {
		name:    "new epoch begins at 0",
		batches: []sent{{n: 1}, {epoch: 1, sequence: 1, n: 1, want: protocol.OutOfOrderSequenceNumber}, {epoch: 1, n: 1, first: 1}, {epoch: 1, n: 1, dup: true, first: 1}},
	}, {
		name:    "an unknown producer may begin anywhere",
		batches: []sent{{epoch: 4, sequence: 77, n: 1}, {epoch: 4, sequence: 78, n: 1, first: 1}},
	}, {
		name: "sequences wrap around within and between batches",
		batches: []sent{
			{sequence: math.MaxInt32 - 1, n: 3},
			{sequence: 1, n: 1, first: 3},
			{sequence: math.MaxInt32 - 1, n: 3, dup: true},
			{sequence: 3, n: 1, want: protocol.OutOfOrderSequenceNumber},
		},
	}, {
		name:    "the last sequence is followed by 0",
		batches: []sent{{sequence: math.MaxInt32, n: 1}, {sequence: 0, n: 1, first: 1}},
	}}
	for _, tt := range tests {
		for _, reopen := range []string{"never", "clean", "crash"} {
			t.Run(tt.name+"/"+reopen, func(t *testing.T) { runProducer(t, tt.batches, reopen) })
		}
	}
}

func runProducer(t *testing.T, batches []sent, reopen string) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	for i, s := range batches {
		a, err := l.AppendAsLeader(1, producerBatchOf(s.n, "r", 7, s.epoch, s.sequence))
		if got := protocol.CodeOf(err); got != s.want {
			t.Fatalf("batch %d: got %v (%v), want %v", i, got, err, s.want)
		}
		if err == nil && (a.First != s.first || a.Last != s.first+int64(s.n)-1 || a.Duplicate != s.dup) {
			t.Fatalf("batch %d: got %+v, want first %d duplicate %v", i, a, s.first, s.dup)
		}
		switch reopen {
		case "clean":
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, smallConfig())
		case "crash":
			l = open(t, dir, smallConfig())
		}
	}
}

func TestProducerExpiresAndIsEvicted(t *testing.T) {
	now := time.UnixMilli(1_000_000_000)
	cfg := smallConfig()
	cfg.MaxProducers = 4
	l := open(t, t.TempDir(), cfg, WithClock(func() time.Time { return now }))
	for id := range int64(6) {
		now = now.Add(time.Second)
		mustAppend(t, l, 0, producerBatchOf(1, "r", id, 0, 0))
	}
	if ps := l.Producers(); len(ps) != 4 || ps[0].ID != 2 {
		t.Errorf("got %+v, want producers 2 to 5", ps)
	}
	now = now.Add(cfg.ProducerExpiry)
	// Known too long ago: as if it were new.
	mustAppend(t, l, 0, producerBatchOf(1, "r", 5, 0, 9))
	l.ExpireProducers()
	if ps := l.Producers(); len(ps) != 1 || ps[0].LastSequence != 9 {
		t.Errorf("got %+v, want producer 5 with sequence 9", ps)
	}
}

func TestTruncateTakesProducersBack(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	for i := range int32(20) {
		mustAppend(t, l, 0, producerBatchOf(1, "r", 7, 0, i))
	}
	if err := l.Truncate(3); err != nil {
		t.Fatal(err)
	}
	if a := mustAppend(t, l, 1, producerBatchOf(1, "r", 7, 0, 3)); a.First != 3 || a.Duplicate {
		t.Errorf("got %+v", a)
	}
	if a := mustAppend(t, l, 1, producerBatchOf(1, "r", 7, 0, 0)); a.First != 0 || !a.Duplicate {
		t.Errorf("got %+v", a)
	}
}

// TestSnapshotFormat holds the bytes of a snapshot still: they are Kafka's.
func TestSnapshotFormat(t *testing.T) {
	ps := newProducers(DefaultConfig())
	for i := range int32(2) {
		b := producerBatchOf(2, "r", 7, 3, 2*i)
		b.SetBaseOffset(int64(10 + 2*i))
		ps.replay(b, marker{}, time.Time{})
	}
	want := "0001" + "ebcfeb30" + "00000002" +
		"0000000000000007" + "0003" + "00000001" + "000000000000000b" + "00000001" + "00000000000003e8" + "ffffffff" + "ffffffffffffffff" +
		"0000000000000007" + "0003" + "00000003" + "000000000000000d" + "00000001" + "00000000000003e8" + "ffffffff" + "ffffffffffffffff"
	if got := hex.EncodeToString(ps.encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again := newProducers(DefaultConfig())
	if err := again.load(ps.encode(), time.Time{}); err != nil || !bytes.Equal(again.encode(), ps.encode()) {
		t.Errorf("round trip: %v", err)
	}
}

func TestDamagedSnapshotIsMadeAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t-0")
	l := open(t, dir, smallConfig())
	for i := range int32(20) {
		mustAppend(t, l, 0, producerBatchOf(1, "r", 7, 0, i))
	}
	for _, offset := range l.snapshots {
		if err := disk.WriteFile(disk.OS{}, offsetName(dir, offset, snapshotSuffix), []byte("nonsense"), false); err != nil {
			t.Fatal(err)
		}
	}
	l = open(t, dir, smallConfig())
	if a := mustAppend(t, l, 0, producerBatchOf(1, "r", 7, 0, 17)); !a.Duplicate || a.First != 17 {
		t.Errorf("got %+v, want a duplicate at 17", a)
	}
	if a := mustAppend(t, l, 0, producerBatchOf(1, "r", 7, 0, 20)); a.Duplicate {
		t.Errorf("got %+v", a)
	}
}
