package seglog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync writes the file's data and size to stable storage. Only an
// interrupted call is made again: a failed one may have dropped the pages.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
