//go:build integration

package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// page is the unit that is lost, in bytes.
const page = 4096

// lossyFS is a mounted directory whose power can be cut. What was written goes to
// the directory behind it at once, and the pages as they were are kept until a sync:
// those that the power cut loses are put back. Names and truncations are not lost.
type lossyFS struct {
	server *fuse.Server

	mu     sync.Mutex
	files  map[uint64]*unsynced // by inode number
	off    bool                 // the power is cut: whatever changes something fails
	budget int                  // changes until it is; negative: no end
}

// unsynced is what a file would lose.
type unsynced struct {
	backing *os.File
	size    int64            // as of the last sync
	pages   map[int64][]byte // as they were then; empty: there was none
}

// mount mounts dir at point.
func mount(dir, point string) (*lossyFS, error) {
	l := &lossyFS{files: map[uint64]*unsynced{}, budget: -1}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return nil, err
	}
	root := &fs.LoopbackRoot{Path: dir, Dev: st.Dev}
	first := &node{LoopbackNode: fs.LoopbackNode{RootData: root}, lossy: l}
	root.RootNode = first
	var err error
	l.server, err = fs.Mount(point, first, &fs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "lossy", Name: "lossy"}})
	return l, err
}

// allow gives the node a number of changes until the power is cut; negative: no end.
func (l *lossyFS) allow(changes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.budget, l.off = changes, false
}

// cut cuts the power now.
func (l *lossyFS) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = true
}

func (l *lossyFS) isOff() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.off
}

// step counts a change. mu is held.
func (l *lossyFS) step() syscall.Errno {
	if l.budget == 0 {
		l.off = true
	}
	if l.off {
		return syscall.EIO
	}
	if l.budget > 0 {
		l.budget--
	}
	return fs.OK
}

func (l *lossyFS) change() syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.step()
}

// lose is the power coming back: of what was not synced each page is there or not,
// and some of the growth. The node's processes must be gone.
func (l *lossyFS) lose(rnd *rand.Rand) (lost int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ino := range slices.Sorted(maps.Keys(l.files)) {
		n, ferr := l.files[ino].lose(rnd)
		lost += n
		err = errors.Join(err, ferr, l.files[ino].backing.Close())
	}
	clear(l.files)
	return lost, err
}

func (u *unsynced) lose(rnd *rand.Rand) (lost int, err error) {
	info, err := u.backing.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if size > u.size {
		size = u.size + rnd.Int64N(size-u.size+1)
	}
	for _, p := range slices.Sorted(maps.Keys(u.pages)) {
		if rnd.IntN(2) == 0 {
			continue
		}
		lost++
		was := make([]byte, page)
		copy(was, u.pages[p])
		if _, err := u.backing.WriteAt(was, p*page); err != nil {
			return lost, err
		}
	}
	return lost, u.backing.Truncate(size)
}

// of returns what a file would lose; nothing yet the first time. mu is held.
func (l *lossyFS) of(f *os.File) (*unsynced, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("no inode number of %s", f.Name())
	}
	if u := l.files[st.Ino]; u != nil {
		return u, nil
	}
	backing, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	u := &unsynced{backing: backing, size: info.Size(), pages: map[int64][]byte{}}
	l.files[st.Ino] = u
	return u, nil
}

// keep remembers the pages of a range as they are.
func (u *unsynced) keep(from, to int64) error {
	for p := from / page; p*page < to; p++ {
		if _, ok := u.pages[p]; ok {
			continue
		}
		b := make([]byte, page)
		n, err := u.backing.ReadAt(b, p*page)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		u.pages[p] = b[:n]
	}
	return nil
}

// node is a file or directory.
type node struct {
	fs.LoopbackNode
	lossy *lossyFS
}

// WrapChild makes every file and directory below one of ours.
func (n *node) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, lossy: n.lossy}
}

func (n *node) backingPath() string {
	return filepath.Join(n.RootData.Path, n.Path(n.Root()))
}

func (n *node) handle(path string, flags uint32) (*handle, syscall.Errno) {
	f, err := os.OpenFile(path, int(flags)&^(syscall.O_APPEND|syscall.O_CREAT|syscall.O_EXCL), 0)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	return &handle{f: f, lossy: n.lossy}, fs.OK
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, errno := n.handle(n.backingPath(), flags)
	if errno != fs.OK {
		return nil, 0, errno
	}
	return h, fuse.FOPEN_DIRECT_IO, fs.OK
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.lossy.change(); errno != fs.OK {
		return nil, nil, 0, errno
	}
	child, made, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != fs.OK {
		return nil, nil, 0, errno
	}
	if r, ok := made.(fs.FileReleaser); ok {
		_ = r.Release(ctx)
	}
	h, errno := n.handle(filepath.Join(n.backingPath(), name), flags)
	if errno != fs.OK {
		return nil, nil, 0, errno
	}
	return child, h, fuse.FOPEN_DIRECT_IO, fs.OK
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.lossy.mu.Lock()
	defer n.lossy.mu.Unlock()
	if errno := n.lossy.step(); errno != fs.OK {
		return errno
	}
	if size, ok := in.GetSize(); ok {
		backing, err := os.OpenFile(n.backingPath(), os.O_RDWR, 0)
		if err != nil {
			return fs.ToErrno(err)
		}
		defer backing.Close()
		u, err := n.lossy.of(backing)
		if err != nil {
			return fs.ToErrno(err)
		}
		u.size = min(u.size, int64(size))
		maps.DeleteFunc(u.pages, func(p int64, _ []byte) bool { return p*page >= int64(size) })
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

func (n *node) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.LoopbackNode.Getattr(ctx, nil, out)
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.lossy.change(); errno != fs.OK {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.lossy.change(); errno != fs.OK {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.lossy.change(); errno != fs.OK {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if errno := n.lossy.change(); errno != fs.OK {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, parent, to, flags)
}

// handle is an open file.
type handle struct {
	f     *os.File
	lossy *lossyFS
}

func (h *handle) Read(_ context.Context, dst []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.f.ReadAt(dst, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(dst[:n]), fs.OK
}

func (h *handle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	h.lossy.mu.Lock()
	defer h.lossy.mu.Unlock()
	if errno := h.lossy.step(); errno != fs.OK {
		return 0, errno
	}
	u, err := h.lossy.of(h.f)
	if err == nil {
		err = u.keep(off, off+int64(len(data)))
	}
	if err != nil {
		return 0, fs.ToErrno(err)
	}
	n, err := u.backing.WriteAt(data, off)
	return uint32(n), fs.ToErrno(err)
}

func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	h.lossy.mu.Lock()
	defer h.lossy.mu.Unlock()
	if errno := h.lossy.step(); errno != fs.OK {
		return errno
	}
	u, err := h.lossy.of(h.f)
	if err != nil {
		return fs.ToErrno(err)
	}
	info, err := u.backing.Stat()
	if err != nil {
		return fs.ToErrno(err)
	}
	u.size = info.Size()
	clear(u.pages)
	return fs.OK
}

func (h *handle) Flush(context.Context) syscall.Errno { return fs.OK }

func (h *handle) Release(context.Context) syscall.Errno { return fs.ToErrno(h.f.Close()) }
