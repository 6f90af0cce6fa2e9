package seglog

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

var errPowerCut = errors.New("power cut")

// crashFS is a file system in memory that loses what was not synced. After
// budget changes every call fails; crash then returns what a disk would hold:
// of each file the synced content and any subset, torn at sectors, of the
// writes after it; of the directory a prefix of the changes after its sync.
type crashFS struct {
	mu      sync.Mutex
	rng     *rand.Rand
	budget  int
	names   map[string]*crashInode
	durable map[string]*crashInode
	dirOps  []func(map[string]*crashInode)
}

type crashInode struct {
	content, durable []byte
	pending          []crashOp
}

type crashOp struct {
	offset   int64
	data     []byte
	truncate bool
}

const sector = 64 // small, so that records of tests are torn too

func newCrashFS(rng *rand.Rand) *crashFS {
	return &crashFS{rng: rng, budget: 1 << 30, names: map[string]*crashInode{}, durable: map[string]*crashInode{}}
}

func (c *crashFS) spend() error {
	if c.budget <= 0 {
		return errPowerCut
	}
	c.budget--
	return nil
}

func (c *crashFS) change(f func(map[string]*crashInode)) {
	f(c.names)
	c.dirOps = append(c.dirOps, f)
}

func (c *crashFS) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ino := c.names[name]
	if ino == nil {
		if flag&os.O_CREATE == 0 {
			return nil, fs.ErrNotExist
		}
		if err := c.spend(); err != nil {
			return nil, err
		}
		ino = &crashInode{}
		c.change(func(m map[string]*crashInode) { m[name] = ino })
	}
	return &crashFile{c, ino}, nil
}

func (c *crashFS) Rename(oldName, newName string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.spend(); err != nil {
		return err
	}
	ino := c.names[oldName]
	if ino == nil {
		return fs.ErrNotExist
	}
	c.change(func(m map[string]*crashInode) { delete(m, oldName); m[newName] = ino })
	return nil
}

func (c *crashFS) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.spend(); err != nil {
		return err
	}
	c.change(func(m map[string]*crashInode) { delete(m, name) })
	return nil
}

func (c *crashFS) List(string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name := range c.names {
		names = append(names, filepath.Base(name))
	}
	slices.Sort(names)
	return names, nil
}

func (c *crashFS) SyncDir(string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.spend(); err != nil {
		return err
	}
	for _, op := range c.dirOps {
		op(c.durable)
	}
	c.dirOps = nil
	return nil
}

// crash returns the file system after the power came back.
func (c *crashFS) crash() *crashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir := c.durable
	if len(c.dirOps) > 0 {
		for _, op := range c.dirOps[:c.rng.IntN(len(c.dirOps)+1)] {
			op(dir)
		}
	}
	next := newCrashFS(c.rng)
	for name, ino := range dir {
		content := ino.survivors(c.rng)
		fresh := &crashInode{content: content, durable: slices.Clone(content)}
		next.names[name], next.durable[name] = fresh, fresh
	}
	return next
}

func (ino *crashInode) survivors(rng *rand.Rand) []byte {
	content := slices.Clone(ino.durable)
	mode := rng.IntN(3) // all, none, any
	for _, op := range ino.pending {
		if op.truncate {
			if mode == 0 || mode == 2 && rng.IntN(2) == 0 {
				content = resize(content, op.offset)
			}
			continue
		}
		for at := int64(0); at < int64(len(op.data)); {
			n := min(sector-(op.offset+at)%sector, int64(len(op.data))-at)
			if mode == 0 || mode == 2 && rng.IntN(3) > 0 {
				content = put(content, op.offset+at, op.data[at:at+n])
			}
			at += n
		}
	}
	return content
}

func resize(b []byte, size int64) []byte {
	if int64(len(b)) >= size {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func put(b []byte, offset int64, data []byte) []byte {
	if end := offset + int64(len(data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[offset:], data)
	return b
}

type crashFile struct {
	fs  *crashFS
	ino *crashInode
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.ino.content)) {
		return 0, io.EOF
	}
	n := copy(p, f.ino.content[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	cut := f.fs.spend()
	f.ino.pending = append(f.ino.pending, crashOp{offset: off, data: slices.Clone(p)})
	f.ino.content = put(f.ino.content, off, p)
	if cut != nil {
		return 0, cut
	}
	return len(p), nil
}

func (f *crashFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.spend(); err != nil {
		return err
	}
	f.ino.pending = append(f.ino.pending, crashOp{offset: size, truncate: true})
	f.ino.content = resize(f.ino.content, size)
	return nil
}

func (f *crashFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.spend(); err != nil {
		return err
	}
	f.ino.durable, f.ino.pending = slices.Clone(f.ino.content), nil
	return nil
}

func (f *crashFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.ino.content)), nil
}

func (f *crashFile) Close() error { return nil }
