package seglog

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/quorate/quorate/consensus/sdk/faults"
)

// FS is what a Log needs of a file system; tests put one here that forgets
// what was not synced.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(oldName, newName string) error
	Remove(name string) error
	// List returns the names of the files in a directory.
	List(dir string) ([]string, error)
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the content and the size durable: fdatasync or stronger.
	Sync() error
}

// OS is the operating system's file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
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

func (f osFile) ReadAt(p []byte, off int64) (int, error) {
	if err := faults.BeforeRead(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f osFile) WriteAt(p []byte, off int64) (int, error) {
	if err := faults.BeforeWrite(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f osFile) Sync() error {
	if err := faults.BeforeSync(); err != nil {
		return err
	}
	return datasync(f.File)
}
