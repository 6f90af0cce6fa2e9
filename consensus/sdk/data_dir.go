package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/quorate/quorate/consensus"
)

const (
	lockName  = "LOCK"
	metaName  = "META.json"
	metaDraft = "META.json.tmp"

	// metaFormat is the version of META.json and of the directory around it.
	metaFormat = 1

	defaultLockWait = 10 * time.Second // for a predecessor that is dying
	lockRetry       = 20 * time.Millisecond
)

// meta is META.json: whose data the directory holds.
type meta struct {
	Backend   string `json:"backend"`
	Format    int    `json:"format"`
	ClusterID string `json:"cluster_id"`
	ReplicaID uint64 `json:"replica_id"`
}

// dataDir is a data directory that this process holds the lock of.
type dataDir struct {
	lock *os.File // O_CLOEXEC: a grandchild must not keep the lock (trap: it would outlive us)
}

// openDataDir locks path, waiting up to wait, and checks or writes META.json.
// An empty path gives nil: the backend keeps nothing on disk.
func openDataDir(ctx context.Context, path string, wait time.Duration, want meta) (*dataDir, error) {
	if path == "" {
		return nil, nil
	}
	lock, err := lockDir(ctx, path, wait)
	if err != nil {
		return nil, err
	}
	d := &dataDir{lock: lock}
	if err := checkMeta(path, want); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

// release gives the lock up. It does nothing for nil.
func (d *dataDir) release() {
	if d != nil {
		_ = d.lock.Close() // nothing was written that could be lost; closing unlocks
	}
}

func lockDir(ctx context.Context, path string, wait time.Duration) (*os.File, error) {
	name := filepath.Join(path, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: open the lock of the data directory: %w", consensus.ErrInvalidArgument, err)
	}
	deadline := time.Now().Add(wait)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		if time.Now().After(deadline) || !pause(ctx, lockRetry) {
			err := fmt.Errorf("%w: %s is locked by process %s", consensus.ErrDataDirLocked, name, lockHolder(name))
			return nil, errors.Join(err, f.Close())
		}
	}
	// The pid is for people and error messages only; the lock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func lockHolder(name string) string {
	b, err := os.ReadFile(name)
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

func checkMeta(path string, want meta) error {
	b, err := os.ReadFile(filepath.Join(path, metaName))
	if errors.Is(err, fs.ErrNotExist) {
		return createMeta(path, want)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
	}
	var got meta
	if err := json.Unmarshal(b, &got); err != nil {
		return fmt.Errorf("%w: %s in %s cannot be read: %w", consensus.ErrDataIncompatible, metaName, path, err)
	}
	if got != want {
		return fmt.Errorf("%w: %s holds data of %s, this is %s", consensus.ErrDataIncompatible, path, got, want)
	}
	return nil
}

func (m meta) String() string {
	return fmt.Sprintf("backend %s, cluster %s, replica %d (format %d)", m.Backend, m.ClusterID, m.ReplicaID, m.Format)
}

// createMeta writes META.json durably, before the backend writes anything. A
// directory that holds something without it is not ours.
func createMeta(path string, m meta) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
	}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != metaDraft {
			return fmt.Errorf("%w: %s holds %s but no %s", consensus.ErrDataIncompatible, path, e.Name(), metaName)
		}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", metaName, err)
	}
	if err := writeDurably(path, metaDraft, metaName, append(b, '\n')); err != nil {
		return fmt.Errorf("%w: write %s: %w", consensus.ErrStorageFailed, metaName, err)
	}
	return nil
}

// writeDurably writes b to dir/draft, renames it to dir/name, and syncs both.
func writeDurably(dir, draft, name string, b []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, draft), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, draft), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
