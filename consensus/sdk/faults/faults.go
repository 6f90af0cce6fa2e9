// Package faults spoils a plugin's storage for the conformance kit. A backend
// calls [BeforeWrite], [BeforeSync] and [BeforeRead] before it does the like to
// its log, and takes their error for that of the operation. Without the variable
// QUORATE_PLUGIN_FAULT_DIR in its environment, which no broker sets, they do
// nothing and cost a comparison.
//
// The variable names a directory. A file in it called "write", "sync" or "read"
// says what becomes of these operations from now on:
//
//	error ENOSPC     they fail; also EIO
//	delay 200ms      they take that much longer
//
// The first operation that looks there makes the file "armed", which is how the
// kit knows that the plugin can be spoilt this way. A plugin in another language
// may do the same: the directory is all there is to it.
package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DirKey is the variable that names the directory.
const DirKey = "QUORATE_PLUGIN_FAULT_DIR"

// Armed is the file that the plugin makes there.
const Armed = "armed"

// The operations, as their files are called.
const (
	Write = "write"
	Sync  = "sync"
	Read  = "read"
)

// process is the injector of this process.
var process = sync.OnceValue(func() *Injector { return In(os.Getenv(DirKey)) })

// BeforeWrite is called before a write to log or vote.
func BeforeWrite() error { return process().Before(Write) }

// BeforeSync is called before what was written is made durable.
func BeforeSync() error { return process().Before(Sync) }

// BeforeRead is called before the log is read, at recovery or later.
func BeforeRead() error { return process().Before(Read) }

// Injector looks for faults in one directory. Its methods may be called
// concurrently, also on nil.
type Injector struct {
	dir   string
	armed sync.Once
}

// In returns an injector for dir; nil, which injects nothing, if that is empty.
func In(dir string) *Injector {
	if dir == "" {
		return nil
	}
	return &Injector{dir: dir}
}

var errnos = map[string]syscall.Errno{"ENOSPC": syscall.ENOSPC, "EIO": syscall.EIO}

// Before does what the file of the operation says: it waits, or returns an
// error. What it cannot read or understand is an error as well, for a fault that
// is silently not injected would make a test pass.
func (i *Injector) Before(operation string) error {
	if i == nil {
		return nil
	}
	var err error
	i.armed.Do(func() { err = os.WriteFile(filepath.Join(i.dir, Armed), nil, 0o600) })
	if err != nil {
		return fmt.Errorf("fault injection: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(i.dir, operation))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("fault injection: %w", err)
	}
	what, value, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	switch what {
	case "error":
		if errno, ok := errnos[value]; ok {
			return fmt.Errorf("%s (injected): %w", operation, errno)
		}
	case "delay":
		if d, err := time.ParseDuration(value); err == nil {
			<-time.After(d)
			return nil
		}
	}
	return fmt.Errorf("fault injection: %s in %s is not understood: %q", operation, i.dir, data)
}
