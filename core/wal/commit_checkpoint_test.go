package wal

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
)

// slowFS holds syncs of segments back until the gate is open.
type slowFS struct {
	*disktest.FS
	mu   sync.Mutex
	gate chan struct{}
}

func (f *slowFS) OpenFile(name string, flag int) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag)
	if err != nil || !strings.HasSuffix(name, logSuffix) {
		return file, err
	}
	return slowFile{file, f}, nil
}

type slowFile struct {
	File
	fs *slowFS
}

func (f slowFile) Sync() error {
	f.fs.mu.Lock()
	gate := f.fs.gate
	f.fs.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return f.File.Sync()
}

// TestOneCheckpointAtATime begins a checkpoint while another one syncs the only log
// with frames. The second finds that log clean, and must not free its frames before
// the first is done.
func TestOneCheckpointAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &slowFS{FS: disktest.New()}
		w := openCommitted(t, fsys, 1, nil)
		mustAppend(t, w.logs[0], 0, batchOf(1, "r", 1))
		mustSync(t, w.logs[0])
		used := w.c.ring.Used()
		fsys.mu.Lock()
		fsys.gate = make(chan struct{})
		fsys.mu.Unlock()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := w.c.checkpoint(w.c.ring.Current()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if got := w.c.ring.Used(); got != used {
			t.Errorf("%d bytes of frames are left of %d while the log is being synced", got, used)
		}
		fsys.mu.Lock()
		close(fsys.gate)
		fsys.gate = nil
		fsys.mu.Unlock()
		wg.Wait()
		if got := w.c.ring.Used(); got != 0 {
			t.Errorf("%d bytes of frames are left after the checkpoints", got)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}
