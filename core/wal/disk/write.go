package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSmallFile bounds what ReadFile takes into memory, in bytes: above the
// largest file that is read as a whole.
const maxSmallFile = 1 << 30

// ReadFile returns the content of a small file.
func ReadFile(fsys FS, name string) (b []byte, err error) {
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

// WriteFile replaces the content of a file in place; sync makes it durable, but
// not its name.
func WriteFile(fsys FS, name string, b []byte, sync bool) (err error) {
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

// TmpSuffix marks files that a crash may leave half written.
const TmpSuffix = ".tmp"

// ReplaceFile replaces a file so that a crash leaves the old content or the new,
// and the new once it returns.
func ReplaceFile(fsys FS, name string, b []byte) error {
	if err := WriteFile(fsys, name+TmpSuffix, b, true); err != nil {
		return fmt.Errorf("write %s: %w", name+TmpSuffix, err)
	}
	if err := fsys.Rename(name+TmpSuffix, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// RemoveIfThere removes a file that may not be there.
func RemoveIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
