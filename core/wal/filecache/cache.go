package filecache

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/core/wal/disk"
)

// syncBatch is how many files with unsynced writes are closed at once if there are no
// others; syncParallel how many of them are synced at a time.
const (
	syncBatch    = 64
	syncParallel = 8
)

// Cache bounds how many files are open. A nil *Cache has no limit.
type Cache struct {
	limit int

	mu   sync.Mutex // over no I/O
	open []*File    // those with a handle, in no order
	hand int        // of the clock that looks for files to close

	opens, evictions, syncs atomic.Int64
}

// New returns a cache that keeps up to limit files open, at least one. Files that are
// held do not close: there may be more for as long as they are.
func New(limit int) *Cache { return &Cache{limit: max(1, limit)} }

// Stats is what a cache has done.
type Stats struct {
	Open      int   // files now
	Limit     int   // files
	Opens     int64 // since the start
	Evictions int64 // files closed to make room
	Syncs     int64 // of those, files that had to be synced first
}

// Stats returns the present figures.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{len(c.open), c.limit, c.opens.Load(), c.evictions.Load(), c.syncs.Load()}
}

// openFile opens a file of the file system. If the process has no descriptor left it
// closes some first.
func (c *Cache) openFile(fsys disk.FS, name string, flag int) (disk.File, error) {
	f, err := fsys.OpenFile(name, flag)
	for tries := 0; c != nil && tries < 3 && (errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)); tries++ {
		c.evict(syncBatch)
		f, err = fsys.OpenFile(name, flag)
	}
	return f, err
}

// add counts a file that was opened, and closes others if there are too many. The
// caller holds f.mu and has a hold on its handle.
func (c *Cache) add(f *File) {
	if c == nil {
		return
	}
	c.opens.Add(1)
	c.mu.Lock()
	f.slot = len(c.open)
	c.open = append(c.open, f)
	over := len(c.open) - c.limit
	c.mu.Unlock()
	if over > 0 {
		c.evict(over)
	}
}

// remove is the opposite of add. The caller holds f.mu.
func (c *Cache) remove(f *File) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.open[len(c.open)-1]
	c.open[f.slot], last.slot = last, f.slot
	c.open[len(c.open)-1] = nil
	c.open = c.open[:len(c.open)-1]
}

// evict closes n files, if there are so many that nobody holds: those without unsynced
// writes, else as many others as are synced with one effort.
func (c *Cache) evict(n int) {
	for _, f := range c.victims(n, false) {
		if f.evict(false) {
			n--
		}
	}
	if n <= 0 {
		return
	}
	victims := c.victims(max(n, syncBatch), true)
	var g errgroup.Group
	g.SetLimit(min(syncParallel, 1+len(victims)/syncParallel)) // in order, if there are few
	for _, f := range victims {
		g.Go(func() error {
			f.evict(true)
			return nil
		})
	}
	_ = g.Wait() // a file keeps its own error
}

// victims chooses up to n files to close, by the clock: a file that was used since the
// hand passed last is spared once. With dirty they may have unsynced writes.
func (c *Cache) victims(n int, dirty bool) []*File {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*File
	for left := 2 * len(c.open); left > 0 && len(found) < n; left-- {
		if c.hand >= len(c.open) {
			c.hand = 0
		}
		f := c.open[c.hand]
		c.hand++
		if !dirty && f.dirty.Load() || f.failed.Load() != nil {
			continue
		}
		if f.used.Swap(false) || slices.Contains(found, f) {
			continue
		}
		found = append(found, f)
	}
	return found
}
