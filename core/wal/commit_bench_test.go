package wal

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// benchLogs is logs in a directory, with a committer or without.
type benchLogs struct {
	c    *Committer
	logs []*Log
}

// openBenchLogs opens n logs. mode "logs" has an fdatasync for each log.
func openBenchLogs(b *testing.B, mode string, n int) *benchLogs {
	b.Helper()
	dir := b.TempDir()
	log := slog.New(slog.DiscardHandler)
	w := &benchLogs{}
	cfg := DefaultConfig()
	if mode == "os" {
		cfg.Sync = SyncOS
	}
	if mode != "logs" {
		commit := DefaultCommitConfig()
		commit.Dir = filepath.Join(dir, "wal")
		var err error
		if w.c, err = OpenCommitter(commit, func(Owner) (string, bool) { return "", false }, log); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		opts := []Option{WithTopicID([16]byte{1})}
		if w.c != nil {
			opts = append(opts, WithCommitter(w.c, int32(i)))
		}
		l, err := Open(filepath.Join(dir, fmt.Sprintf("t-%d", i)), cfg, log, opts...)
		if err != nil {
			b.Fatal(err)
		}
		w.logs = append(w.logs, l)
	}
	b.Cleanup(func() {
		for _, l := range w.logs {
			if err := l.Delete(); err != nil { // nothing of it need be synced
				b.Error(err)
			}
		}
		if w.c != nil {
			if err := w.c.Close(); err != nil {
				b.Error(err)
			}
		}
	})
	return w
}

// commitOne appends 1 KB and waits until it may be acknowledged.
func (w *benchLogs) commitOne(b *testing.B, l *Log, batch []byte) {
	a, err := l.AppendAsLeader(0, batch)
	if err == nil && l.Safe() < a.End {
		err = l.Sync(b.Context(), a.End)
	}
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkCommit has 64 writers that each append 1 KB to a partition and wait for
// it, before the next one. The modes take turns, as the disk is shared with others:
//
//	go test -run xxx -bench Commit/partitions -benchtime 2000x -count 3 ./core/wal
func BenchmarkCommit(b *testing.B) {
	for _, partitions := range []int{1, 12, 1000} {
		for _, mode := range []string{"logs", "wal", "os"} {
			b.Run(fmt.Sprintf("partitions=%d/%s", partitions, mode), func(b *testing.B) {
				w := openBenchLogs(b, mode, partitions)
				b.SetBytes(int64(len(kilobyte(-1))))
				took := make([]time.Duration, b.N)
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range 64 {
					wg.Go(func() {
						batch := kilobyte(-1)
						for n := next.Add(1) - 1; n < int64(b.N); n = next.Add(1) - 1 {
							began := time.Now()
							w.commitOne(b, w.logs[int(n)%partitions], batch)
							took[n] = time.Since(began)
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				slices.Sort(took)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			})
		}
	}
}
