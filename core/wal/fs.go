package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is what a log needs of a file system. It exists so that tests can lose and
// tear what was not synced; everybody else uses the operating system's.
//
// Names are paths. A missing file is an error that is fs.ErrNotExist.
type FS interface {
	// OpenFile opens a file with the flags of package os: O_RDWR, O_CREATE, O_EXCL.
	OpenFile(name string, flag int) (File, error)
	MkdirAll(dir string) error
	// ReadDir returns the names of what is in dir, sorted.
	ReadDir(dir string) ([]string, error)
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
}

// File is an open file. ReadAt may be called concurrently with everything, also
// with Close, after which it fails with fs.ErrClosed.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the content and the size durable: fdatasync.
	Sync() error
}

type osFS struct{}

func (osFS) OpenFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o755) }
func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error  { return os.RemoveAll(name) }

func (osFS) ReadDir(dir string) ([]string, error) {
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

func (osFS) SyncDir(dir string) error {
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

func (f osFile) Sync() error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	err = raw.Control(func(fd uintptr) {
		for {
			if syncErr = unix.Fdatasync(int(fd)); !errors.Is(syncErr, unix.EINTR) {
				return
			}
		}
	})
	if syncErr != nil {
		syncErr = &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: syncErr}
	}
	return errors.Join(err, syncErr)
}

// maxSmallFile bounds what readFile takes into memory, in bytes: above the
// largest producer snapshot that this package writes.
const maxSmallFile = 1 << 30

// readFile returns the content of a small file.
func readFile(fsys FS, name string) (b []byte, err error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxSmallFile {
		return nil, fmt.Errorf("%s: %d bytes are more than such a file can have", name, size)
	}
	b = make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), b); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// writeFile replaces the content of a file in place; sync makes it durable, but
// not its name.
func writeFile(fsys FS, name string, b []byte, sync bool) (err error) {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// tmpSuffix marks files that a crash may leave half written; Open removes them.
const tmpSuffix = ".tmp"

// replaceFile replaces a file so that a crash leaves the old content or the new,
// and the new once it returns.
func replaceFile(fsys FS, name string, b []byte) error {
	if err := writeFile(fsys, name+tmpSuffix, b, true); err != nil {
		return fmt.Errorf("write %s: %w", name+tmpSuffix, err)
	}
	if err := fsys.Rename(name+tmpSuffix, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// removeIfThere removes a file that may not be there.
func removeIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
