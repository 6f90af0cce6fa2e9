// Package disktest is a file system in memory that loses and tears what was not
// synced, for tests of what must survive a power cut.
package disktest

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/quorate/quorate/core/wal/disk"
)

// ErrPower is what every call answers once the power is cut.
var ErrPower = errors.New("power is cut")

// FS is a file system in memory that forgets, at a crash, what was not synced:
// any subset of the sectors that were written since a file's last Sync is lost,
// and any suffix of the directory changes since the last SyncDir.
type FS struct {
	mu      sync.Mutex
	names   map[string]*inode // as a process sees them
	durable map[string]*inode
	journal [][]change // what belongs together is lost together
	dirs    map[string]bool

	// Budget is how many calls that change something are left until the power is
	// cut; negative: no end. Set it while nobody uses the file system.
	Budget int
	// Syncs counts fdatasyncs.
	Syncs int
	// Fail, if set, is asked at every call that changes something: "create", "write",
	// "truncate", "sync", "rename", "remove", "syncdir". Its error is the call's.
	Fail func(op, name string) error
}

// change is a directory entry that changed; node nil removes it.
type change struct {
	name string
	node *inode
}

type inode struct {
	data, durable []byte
	dirty         map[int64]bool // sectors
}

// sector is what the disk writes at once, in bytes. Real ones have 512 or 4096;
// a small one tears more.
const sector = 64

// New returns an empty file system.
func New() *FS {
	return &FS{names: map[string]*inode{}, durable: map[string]*inode{}, dirs: map[string]bool{}, Budget: -1}
}

// step counts a call that changes something.
func (m *FS) step(op, name string) error {
	if m.Budget == 0 {
		return ErrPower
	}
	if m.Budget > 0 {
		m.Budget--
	}
	if m.Fail != nil {
		return m.Fail(op, name)
	}
	return nil
}

func (m *FS) change(name string, node *inode) {
	if node == nil {
		delete(m.names, name)
	} else {
		m.names[name] = node
	}
	m.journal = append(m.journal, []change{{name, node}})
}

// together makes the directory changes since the journal had n entries one.
func (m *FS) together(n int) {
	m.journal = append(m.journal[:n], slices.Concat(m.journal[n:]...))
}

// Crash is the power coming back: whatever was not synced is there in part.
func (m *FS) Crash(rnd *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := 0
	if len(m.journal) > 0 {
		keep = rnd.IntN(len(m.journal) + 1)
	}
	m.applyJournal(keep)
	m.journal = nil
	m.names = map[string]*inode{}
	for _, name := range slices.Sorted(maps.Keys(m.durable)) {
		m.durable[name].tear(rnd)
		m.names[name] = m.durable[name]
	}
	m.Budget = -1
}

// Kill is the death of the process: the kernel keeps everything.
func (m *FS) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Budget = -1
}

func (m *FS) applyJournal(n int) {
	for _, c := range slices.Concat(m.journal[:n]...) {
		if c.node == nil {
			delete(m.durable, c.name)
		} else {
			m.durable[c.name] = c.node
		}
	}
}

// tear loses a random part of what was not synced: each sector by itself, and
// some of the growth.
func (n *inode) tear(rnd *rand.Rand) {
	size := len(n.durable)
	if d := len(n.data) - size; d != 0 {
		lo, hi := min(size, len(n.data)), max(size, len(n.data))
		size = lo + rnd.IntN(hi-lo+1)
	}
	data := make([]byte, size)
	copy(data, n.durable)
	for _, s := range slices.Sorted(maps.Keys(n.dirty)) {
		at := s * sector
		if rnd.IntN(2) == 0 || at >= int64(size) || at >= int64(len(n.data)) {
			continue
		}
		copy(data[at:], n.data[at:min(at+sector, int64(len(n.data)))])
	}
	n.data, n.durable, n.dirty = data, slices.Clone(data), nil
}

// OpenFile implements disk.FS.
func (m *FS) OpenFile(name string, flag int) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.names[name]
	if node == nil {
		if flag&os.O_CREATE == 0 {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if err := m.step("create", name); err != nil {
			return nil, err
		}
		node = &inode{}
		m.change(name, node)
	} else if flag&os.O_EXCL != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	}
	return &file{fs: m, name: name, node: node}, nil
}

// MkdirAll implements disk.FS.
func (m *FS) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirs[dir] = true
	return nil
}

// ReadDir implements disk.FS.
func (m *FS) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.names {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Rename implements disk.FS.
func (m *FS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("rename", from); err != nil {
		return err
	}
	moved, before := false, len(m.journal)
	for _, name := range slices.Sorted(maps.Keys(m.names)) { // sorted: a seed repeats
		node := m.names[name]
		if name == from || strings.HasPrefix(name, from+"/") {
			moved = true
			m.change(to+strings.TrimPrefix(name, from), node)
			m.change(name, nil)
		}
	}
	if !moved {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	m.together(before)
	return nil
}

// Remove implements disk.FS.
func (m *FS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("remove", name); err != nil {
		return err
	}
	if m.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	m.change(name, nil)
	return nil
}

// RemoveAll implements disk.FS.
func (m *FS) RemoveAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("remove", dir); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		if strings.HasPrefix(name, dir+"/") {
			m.change(name, nil)
		}
	}
	return nil
}

// SyncDir implements disk.FS.
func (m *FS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("syncdir", dir); err != nil {
		return err
	}
	m.applyJournal(len(m.journal))
	m.journal = nil
	return nil
}
