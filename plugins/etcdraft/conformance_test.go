package etcdraft

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/plugins/seglog"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	consensustest.Run(t, consensustest.Config{
		New: newMortal, Kill: kill, Options: json.RawMessage(smallSegments),
		Timing: consensus.Timing{Heartbeat: 15 * time.Millisecond, ElectionTimeout: 150 * time.Millisecond},
	})
}

// mortal is a backend that can die like a process: from one moment on nothing
// reaches the disk any more.
type mortal struct {
	*Backend
	disk *mortalFS
}

func newMortal() consensus.Backend {
	disk := &mortalFS{FS: seglog.OS()}
	return &mortal{newBackend(func(int) {}, disk), disk}
}

func kill(b consensus.Backend) {
	m := b.(*mortal)
	m.disk.dead.Store(true)
	_ = m.Stop(context.Background()) // the log cannot be synced any more
}

var errDead = errors.New("the process is dead")

type mortalFS struct {
	seglog.FS
	dead atomic.Bool
}

func (f *mortalFS) OpenFile(name string, flag int, perm fs.FileMode) (seglog.File, error) {
	if f.dead.Load() {
		return nil, errDead
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &mortalFile{file, f}, nil
}

type mortalFile struct {
	seglog.File
	fs *mortalFS
}

func (f *mortalFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fs.dead.Load() {
		return 0, errDead
	}
	return f.File.WriteAt(p, off)
}

func (f *mortalFile) Sync() error {
	if f.fs.dead.Load() {
		return errDead
	}
	return f.File.Sync()
}
