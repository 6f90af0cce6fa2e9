package replica

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
)

// faultFS is the operating system's file system with a commit log that can be held
// back, or fail.
type faultFS struct {
	disk.OS

	mu   sync.Mutex
	gate chan struct{} // syncs of the commit log wait until it is closed; nil: they do not
	err  error         // of syncs of the commit log

	release func()        // closes gate
	slow    time.Duration // that a sync of the commit log takes at most, drawn by lot
}

// hold stops the commit log until the returned function is called.
func (f *faultFS) hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gate = gate
	f.release = sync.OnceFunc(func() { close(gate) })
	return f.release
}

// letGo is what hold returned last.
func (f *faultFS) letGo() {
	f.mu.Lock()
	release := f.release
	f.mu.Unlock()
	if release != nil {
		release()
	}
}

func (f *faultFS) breakDisk(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *faultFS) OpenFile(name string, flag int) (disk.File, error) {
	file, err := f.OS.OpenFile(name, flag)
	if err != nil || !strings.HasSuffix(name, ".ring") {
		return file, err
	}
	return faultFile{file, f}, nil
}

type faultFile struct {
	disk.File
	fs *faultFS
}

func (f faultFile) Sync() error {
	f.fs.mu.Lock()
	gate := f.fs.gate
	f.fs.mu.Unlock()
	if gate != nil {
		<-gate
	}
	f.fs.mu.Lock()
	err, slow := f.fs.err, f.fs.slow // a disk that breaks while it is held back is broken
	f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	if slow > 0 {
		time.Sleep(rand.N(slow))
	}
	return f.File.Sync()
}
