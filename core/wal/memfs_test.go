package wal

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
)

// errPower is what every call answers once the power is cut.
var errPower = errors.New("power is cut")

// memFS is a file system in memory that forgets, at a crash, what was not synced:
// any subset of the sectors that were written since a file's last Sync is lost,
// and any suffix of the directory changes since the last SyncDir.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*memInode // as a process sees them
	durable map[string]*memInode
	journal []memChange
	dirs    map[string]bool
	budget  int // calls that change something until the power is cut; negative: never
	syncs   int // fdatasyncs done
	fail    func(op, name string) error
}

// memChange is a directory entry that changed; node nil removes it.
type memChange struct {
	name string
	node *memInode
}

type memInode struct {
	data, durable []byte
	dirty         map[int64]bool // sectors
}

// sector is what the disk writes at once, in bytes. Real ones have 512 or 4096;
// a small one tears more.
const sector = 64

func newMemFS() *memFS {
	return &memFS{names: map[string]*memInode{}, durable: map[string]*memInode{}, dirs: map[string]bool{}, budget: -1}
}

// step counts a call that changes something.
func (m *memFS) step(op, name string) error {
	if m.budget == 0 {
		return errPower
	}
	if m.budget > 0 {
		m.budget--
	}
	if m.fail != nil {
		return m.fail(op, name)
	}
	return nil
}

func (m *memFS) change(name string, node *memInode) {
	if node == nil {
		delete(m.names, name)
	} else {
		m.names[name] = node
	}
	m.journal = append(m.journal, memChange{name, node})
}

// crash is the power coming back: whatever was not synced is there in part.
func (m *memFS) crash(rnd *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := 0
	if len(m.journal) > 0 {
		keep = rnd.IntN(len(m.journal) + 1)
	}
	m.applyJournal(keep)
	m.journal = nil
	m.names = map[string]*memInode{}
	for _, name := range slices.Sorted(maps.Keys(m.durable)) {
		m.durable[name].tear(rnd)
		m.names[name] = m.durable[name]
	}
	m.budget = -1
}

// kill is the death of the process: the kernel keeps everything.
func (m *memFS) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.budget = -1
}

func (m *memFS) applyJournal(n int) {
	for _, c := range m.journal[:n] {
		if c.node == nil {
			delete(m.durable, c.name)
		} else {
			m.durable[c.name] = c.node
		}
	}
}

// tear loses a random part of what was not synced: each sector by itself, and
// some of the growth.
func (n *memInode) tear(rnd *rand.Rand) {
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

func (m *memFS) OpenFile(name string, flag int) (File, error) {
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
		node = &memInode{}
		m.change(name, node)
	} else if flag&os.O_EXCL != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	}
	return &memFile{fs: m, name: name, node: node}, nil
}

func (m *memFS) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirs[dir] = true
	return nil
}

func (m *memFS) ReadDir(dir string) ([]string, error) {
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

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("rename", from); err != nil {
		return err
	}
	moved := false
	for name, node := range m.names {
		if name == from || strings.HasPrefix(name, from+"/") {
			moved = true
			m.change(to+strings.TrimPrefix(name, from), node)
			m.change(name, nil)
		}
	}
	if !moved {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	return nil
}

func (m *memFS) Remove(name string) error {
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

func (m *memFS) RemoveAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("remove", dir); err != nil {
		return err
	}
	for name := range m.names {
		if strings.HasPrefix(name, dir+"/") {
			m.change(name, nil)
		}
	}
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.step("syncdir", dir); err != nil {
		return err
	}
	m.applyJournal(len(m.journal))
	m.journal = nil
	return nil
}
