package disk

import (
	"io"
)

// FS is a file system. Names are paths. A missing file is an error that is
// fs.ErrNotExist.
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
	// WritevAt writes the pieces one after the other from off on, with as few system
	// calls as the kernel allows. It does not keep or change them.
	WritevAt(pieces [][]byte, off int64) (n int64, err error)
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the content and the size durable: fdatasync.
	Sync() error
	// StartWrite begins to write n bytes from off on to the disk, as far as they are not,
	// and promises nothing: an error of the disk is told by Sync.
	StartWrite(off, n int64) error
}
