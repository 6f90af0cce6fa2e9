package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/quorate/quorate/protocol/record"
)

func openBench(b *testing.B) *Log {
	b.Helper()
	l, err := Open(b.TempDir(), DefaultConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Delete(); err != nil {
			b.Error(err)
		}
	})
	return l
}

// kilobyte is a batch of one record of 1 KB, of producer id if that is not negative.
func kilobyte(id int64) record.Batch {
	r := record.NewBuilder()
	if id >= 0 {
		r.SetProducer(id, 0, 0)
	}
	r.Add(1000, nil, bytes.Repeat([]byte("x"), 1024))
	return record.Batch(r.Bytes())
}

func BenchmarkAppend(b *testing.B) {
	for _, idempotent := range []bool{false, true} {
		b.Run(fmt.Sprintf("idempotent=%v", idempotent), func(b *testing.B) {
			l := openBench(b)
			batch := kilobyte(-1)
			if idempotent {
				batch = kilobyte(7)
			}
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				if idempotent { // an epoch of its own for each batch: all begin at sequence 0
					binary.BigEndian.PutUint64(batch[43:], i>>15)
					binary.BigEndian.PutUint16(batch[51:], uint16(i&0x7fff))
				}
				if _, err := l.AppendAsLeader(0, batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSync(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := openBench(b)
			b.SetBytes(int64(len(kilobyte(-1))))
			b.ReportAllocs()
			b.SetParallelism(max(1, writers/2)) // times GOMAXPROCS, which is 2 here
			var done atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				batch := kilobyte(-1)
				for pb.Next() {
					a, err := l.AppendAsLeader(0, batch)
					if err == nil {
						err = l.Sync(b.Context(), a.End)
					}
					if err != nil {
						b.Error(err)
						return
					}
					done.Add(1)
				}
			})
			b.ReportMetric(float64(done.Load())/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l := openBench(b)
	for range 20_000 {
		if _, err := l.AppendAsLeader(0, kilobyte(-1)); err != nil {
			b.Fatal(err)
		}
	}
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var buf []byte
			for i := int64(0); b.Loop(); i += 7919 {
				got, err := l.AppendRead(buf[:0], i%19_000, l.End(), size, true)
				if err != nil || len(got) == 0 {
					b.Fatal(len(got), err)
				}
				buf = got
			}
		})
	}
}
