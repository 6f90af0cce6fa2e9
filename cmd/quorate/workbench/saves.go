package workbench

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long nothing must be saved before a save is told: editors write
// several files, and a checkout writes hundreds.
const quiet = 150 * time.Millisecond

// saves watches folders. Folders that are watched already cost nothing to watch
// again; one that was removed is forgotten by itself.
type saves struct {
	watcher *fsnotify.Watcher
	told    chan struct{} // cap 1: something was saved
}

func newSaves() (*saves, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &saves{watcher: w, told: make(chan struct{}, 1)}, nil
}

// watch adds folders and drops those that are not named any more.
func (s *saves) watch(dirs []string) error {
	for _, dir := range s.watcher.WatchList() {
		if !slices.Contains(dirs, dir) {
			_ = s.watcher.Remove(dir) // it may be gone already
		}
	}
	for _, dir := range dirs {
		if err := s.watcher.Add(dir); err != nil {
			return err
		}
	}
	return nil
}

// run tells of saves until ctx ends, and returns why the watcher failed.
func (s *saves) run(ctx context.Context) error {
	defer func() { _ = s.watcher.Close() }() // nothing more is wanted of it
	var settled <-chan time.Time
	for {
		select {
		case e, ok := <-s.watcher.Events:
			if !ok {
				return ctx.Err()
			}
			if matters(e) {
				settled = time.After(quiet)
			}
		case err := <-s.watcher.Errors:
			return err
		case <-settled:
			settled = nil
			select {
			case s.told <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// matters tells whether a change may be one of the source. What editors leave
// beside a file while it is open is not, nor is a test.
func matters(e fsnotify.Event) bool {
	name := filepath.Base(e.Name)
	switch {
	case e.Op == fsnotify.Chmod:
		return false
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "#"), strings.HasSuffix(name, "~"), strings.HasSuffix(name, "_test.go"):
		return false
	}
	return true
}
