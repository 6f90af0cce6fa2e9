package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// OS is the operating system's file system.
type OS struct{}

// OpenFile implements FS.
func (OS) OpenFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll implements FS.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// ReadDir implements FS.
func (OS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// control calls op with the descriptor, again as long as signals interrupt it.
func (f osFile) control(name string, op func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var opErr error
	err = raw.Control(func(fd uintptr) {
		for {
			if opErr = op(int(fd)); !errors.Is(opErr, unix.EINTR) {
				return
			}
		}
	})
	if opErr != nil {
		opErr = &fs.PathError{Op: name, Path: f.Name(), Err: opErr}
	}
	return errors.Join(err, opErr)
}

func (f osFile) Sync() error { return f.control("fdatasync", unix.Fdatasync) }

// StartWrite does not take the error of an earlier write away from a later Sync, as it
// would if it waited for the writes.
func (f osFile) StartWrite(off, n int64) error {
	return f.control("sync_file_range", func(fd int) error { return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) })
}

// maxPieces is IOV_MAX of Linux: how many pieces one call takes.
const maxPieces = 1024

func (f osFile) WritevAt(pieces [][]byte, off int64) (written int64, err error) {
	for len(pieces) > 0 {
		now := pieces[:min(len(pieces), maxPieces)]
		var n int
		err := f.control("pwritev", func(fd int) (err error) {
			n, err = unix.Pwritev(fd, now, off+written)
			return err
		})
		if err != nil {
			return written, err
		}
		if n == 0 {
			return written, &fs.PathError{Op: "pwritev", Path: f.Name(), Err: io.ErrShortWrite}
		}
		written += int64(n)
		pieces = advance(pieces, n)
	}
	return written, nil
}

// advance returns what is left of pieces after n bytes; what the caller gave stays
// as it is.
func advance(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces = append([][]byte{pieces[0][n:]}, pieces[1:]...)
	}
	return pieces
}
