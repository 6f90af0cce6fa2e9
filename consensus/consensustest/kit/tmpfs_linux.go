package kit

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// mountTmpfs mounts a file system in memory; only root may.
func mountTmpfs(dir string, size int) error {
	return unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size))
}

func unmountTmpfs(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) }
