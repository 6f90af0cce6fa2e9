package host

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// maxSocketPath is below what a socket's address can hold (107 bytes, 103 on
	// some systems).
	maxSocketPath = 100
	// socketNameLength is what go-plugin's socket names need: "/plugin" and digits.
	socketNameLength = 18
)

// prepareRunDir makes dir, or a short stand-in for it, and removes the sockets
// that killed plugins have left there. It returns the directory to use.
func prepareRunDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("socket directory: %w", err)
	}
	if len(abs)+socketNameLength > maxSocketPath {
		sum := sha256.Sum256([]byte(abs))
		abs = filepath.Join(os.TempDir(), fmt.Sprintf("quorate-%x", sum[:6]))
		if len(abs)+socketNameLength > maxSocketPath {
			return "", fmt.Errorf("socket directory: the paths of %s and of the temporary directory are too long for a socket", dir)
		}
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return "", fmt.Errorf("socket directory: %w", err)
	}
	if err := checkOwner(abs); err != nil {
		return "", err
	}
	return abs, removeSockets(abs)
}

// checkOwner refuses a directory that another user could put a socket into; the
// stand-in below the temporary directory has a name that can be guessed.
func checkOwner(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("socket directory: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || (ok && int(st.Uid) != os.Getuid()) {
		return fmt.Errorf("socket directory: %s belongs to another user", dir)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("socket directory: %s can be written by others: run chmod 700 on it", dir)
	}
	return nil
}

func removeSockets(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("socket directory: %w", err)
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSocket == 0 {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("socket directory: %w", err)
		}
	}
	return nil
}
