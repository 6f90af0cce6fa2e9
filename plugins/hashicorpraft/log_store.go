package hashicorpraft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft-wal/metadb"

	"github.com/quorate/quorate/consensus"
)

// What the log can be kept in; values of the option log_store.
const (
	storeSegments = "seglog"
	storeRaftWAL  = "raft-wal"
)

const (
	logFolder = "log"
	storeMark = "log_store" // a file that names what the log beside it was made with
)

// openLog opens the log of the group in dir, with what it was made with. A new
// one is made with what o asks for.
func openLog(dir string, o Options) (wal, error) {
	made, err := madeWith(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case made == "":
		made = o.LogStore
		if made == "" {
			made = storeSegments
		}
		if err := mark(dir, made); err != nil {
			return nil, fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
		}
	case o.LogStore != "" && o.LogStore != made:
		return nil, fmt.Errorf("%w: the log in %s was made with log_store %s, and %s is asked for: ask for %[3]s, or begin with an empty directory",
			consensus.ErrDataIncompatible, dir, made, o.LogStore)
	}
	open := openSegmentLog
	if made == storeRaftWAL {
		open = openRaftWAL
	}
	w, err := open(filepath.Join(dir, logFolder), o.LogSegmentBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: open the log: %w", consensus.ErrStorageFailed, err)
	}
	return w, nil
}

// madeWith returns what the log in dir was made with; nothing if there is none
// yet. One without a mark is of the time when there was only raft-wal.
func madeWith(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, storeMark))
	switch name := strings.TrimSuffix(string(b), "\n"); {
	case err == nil && (name == storeSegments || name == storeRaftWAL):
		return name, nil
	case err == nil:
		return "", fmt.Errorf("%w: %s names neither %s nor %s",
			consensus.ErrStorageFailed, filepath.Join(dir, storeMark), storeSegments, storeRaftWAL)
	case !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
	}
	files, err := os.ReadDir(filepath.Join(dir, logFolder))
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && len(files) == 0:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
	case slices.ContainsFunc(files, func(f os.DirEntry) bool { return f.Name() == metadb.FileName }):
		return storeRaftWAL, nil
	}
	return "", fmt.Errorf("%w: there is a log in %s, and no %s that says what made it", consensus.ErrStorageFailed, dir, storeMark)
}

// mark notes durably what the log in dir is about to be made with.
func mark(dir, name string) error {
	f, err := os.Create(filepath.Join(dir, storeMark+".tmp"))
	if err != nil {
		return err
	}
	if _, err = f.WriteString(name + "\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(publish(f, filepath.Join(dir, storeMark)), f.Close())
}
