//go:build !linux

package kit

import (
	"errors"
	"syscall"
)

var errNoTmpfs = errors.New("only Linux has a tmpfs")

func mountTmpfs(string, int) error { return errNoTmpfs }

func unmountTmpfs(string) error { return errNoTmpfs }

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
