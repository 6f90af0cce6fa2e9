package wal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/protocol/record"
)

// batchOf makes a batch of n records whose values name it.
func batchOf(n int, name string, timestamp int64) record.Batch {
	b := record.NewBuilder()
	for i := range n {
		b.Add(timestamp, nil, fmt.Appendf(nil, "%s/%d", name, i))
	}
	return record.Batch(b.Bytes())
}

// producerBatchOf is batchOf by an idempotent producer.
func producerBatchOf(n int, name string, id int64, epoch int16, sequence int32) record.Batch {
	b := record.NewBuilder()
	b.SetProducer(id, epoch, sequence)
	for i := range n {
		b.Add(1000, nil, fmt.Appendf(nil, "%s/%d", name, i))
	}
	return record.Batch(b.Bytes())
}

// txnBatchOf is producerBatchOf in a transaction.
func txnBatchOf(n int, name string, id int64, epoch int16, sequence int32) record.Batch {
	b := record.NewBuilder()
	b.SetProducer(id, epoch, sequence)
	b.SetTransactional()
	for i := range n {
		b.Add(1000, nil, fmt.Appendf(nil, "%s/%d", name, i))
	}
	return record.Batch(b.Bytes())
}

func smallConfig() Config {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 600
	cfg.IndexIntervalBytes = 100
	cfg.SegmentAge = 0
	return cfg
}

func open(t *testing.T, dir string, cfg Config, opts ...Option) *Log {
	t.Helper()
	l, err := Open(dir, cfg, slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t *testing.T, l *Log, epoch int32, b []byte) Appended {
	t.Helper()
	a, err := l.AppendAsLeader(epoch, b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustSync(t *testing.T, l *Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := l.Sync(ctx, l.End()); err != nil {
		t.Fatal(err)
	}
}

// offsets reads everything from Start and returns the base offset of every batch.
func offsets(t *testing.T, l *Log) (bases []int64) {
	t.Helper()
	for at := l.Start(); at < l.End(); {
		b, err := l.Read(at, l.End(), 500, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			t.Fatalf("nothing to read at %d, the log ends at %d", at, l.End())
		}
		for batch, err := range record.Split(b) {
			if err != nil || !batch.CheckCRC() {
				t.Fatalf("batch at %d: error %v, crc %v", at, err, batch.CheckCRC())
			}
			bases = append(bases, batch.BaseOffset())
			at = batch.LastOffset() + 1
		}
	}
	return bases
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func putFile(t *testing.T, fsys FS, name string, b []byte) {
	t.Helper()
	if err := disk.WriteFile(fsys, name, b, true); err != nil {
		t.Fatal(err)
	}
}
