package wal

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/quorate/quorate/core/wal/disk/disktest"
)

// TestSyncIsShared stops the first fdatasync until many callers wait, and wants
// all of them done by one more.
func TestSyncIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disktest.New()
		l := openMem(t, fsys)
		mustAppend(t, l, 0, batchOf(1, "r", 1))
		mustSync(t, l)

		gate := make(chan struct{})
		gateSyncs(l, gate)
		var wg sync.WaitGroup
		for range 50 {
			end := mustAppend(t, l, 0, batchOf(1, "r", 1)).End
			wg.Go(func() {
				if err := l.Sync(t.Context(), end); err != nil || l.Durable() < end {
					t.Errorf("sync to %d: %v, durable %d", end, err, l.Durable())
				}
			})
		}
		synctest.Wait()
		before := fsys.Syncs
		close(gate)
		wg.Wait()
		if got := fsys.Syncs - before; got > 2 {
			t.Errorf("%d syncs for 50 callers, want at most 2", got)
		}
	})
}

// gatedFile holds every Sync back until the gate is open.
type gatedFile struct {
	File
	gate chan struct{}
}

func (f *gatedFile) Sync() error {
	<-f.gate
	return f.File.Sync()
}

type gatedFS struct {
	FS
	gate chan struct{}
}

func (g gatedFS) OpenFile(name string, flag int) (File, error) {
	f, err := g.FS.OpenFile(name, flag)
	return &gatedFile{f, g.gate}, err
}

// gateSyncs holds the syncs of the active segment back.
func gateSyncs(l *Log, gate chan struct{}) {
	s := l.view.Load().active()
	s.file = l.files.Lazy(gatedFS{l.fsys, gate}, s.name)
}

func TestSyncCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openMem(t, disktest.New())
		mustAppend(t, l, 0, batchOf(1, "r", 1))
		mustSync(t, l)
		gate := make(chan struct{})
		gateSyncs(l, gate)
		mustAppend(t, l, 0, batchOf(1, "r", 1))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := l.Sync(t.Context(), 2); err != nil {
				t.Errorf("first: %v", err)
			}
		})
		synctest.Wait()
		// All who wait for the second round give up; the next one must run it.
		ctx, cancel := context.WithCancel(t.Context())
		mustAppend(t, l, 0, batchOf(1, "r", 1))
		for range 3 {
			wg.Go(func() {
				if err := l.Sync(ctx, 3); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want cancelled", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		wg.Wait()
		if err := l.Sync(t.Context(), 3); err != nil || l.Durable() != 3 {
			t.Errorf("after all gave up: %v, durable %d", err, l.Durable())
		}
	})
}

func TestFailedSyncIsFinal(t *testing.T) {
	fsys := disktest.New()
	l := openMem(t, fsys)
	mustAppend(t, l, 0, batchOf(1, "r", 1))
	mustSync(t, l)
	end := mustAppend(t, l, 0, batchOf(1, "r", 1)).End
	broken := errors.New("input/output error")
	fsys.Fail = func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, logSuffix) {
			return broken
		}
		return nil
	}
	for range 2 {
		if err := l.Sync(t.Context(), end); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
			t.Fatalf("got %v, want ErrFailed for ever", err)
		}
		fsys.Fail = nil
	}
	if _, err := l.AppendAsLeader(0, batchOf(1, "r", 1)); !errors.Is(err, ErrFailed) {
		t.Errorf("append: got %v, want ErrFailed", err)
	}
	if l.Durable() != 1 {
		t.Errorf("durable is %d, want 1", l.Durable())
	}
	if err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("close: got %v", err)
	}
	if names, _ := fsys.ReadDir("/data/t-0"); strings.Contains(strings.Join(names, " "), cleanFile) {
		t.Error("a failed log was marked as clean")
	}
}

func openMem(t *testing.T, fsys FS) *Log {
	t.Helper()
	l, err := Open("/data/t-0", DefaultConfig(), slog.New(slog.DiscardHandler), WithFS(fsys))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
