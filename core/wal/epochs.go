package wal

import (
	"slices"
	"sort"
	"sync/atomic"
)

// epochStart says at which offset a leader epoch begins.
type epochStart struct {
	epoch int32
	start int64
}

// epochCache knows where each leader epoch begins (KIP-101). Epochs and starts
// both grow strictly from entry to entry. Written under the log's mutex, read by
// anybody.
type epochCache struct {
	entries atomic.Pointer[[]epochStart] // never changed after publishing
	dirty   atomic.Bool                  // not yet in the file; cleared by a sync round

	complete bool // while a log is opened: records that are read begin no epoch that is not known
}

func (c *epochCache) all() []epochStart {
	if p := c.entries.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *epochCache) publish(entries []epochStart) {
	c.entries.Store(&entries)
	c.dirty.Store(true)
}

// latest is the newest epoch, or -1.
func (c *epochCache) latest() int32 {
	if e := c.all(); len(e) > 0 {
		return e[len(e)-1].epoch
	}
	return -1
}

// assign notes that epoch begins at start. Older or equal epochs change nothing;
// an epoch that began there without ever having a record is replaced.
func (c *epochCache) assign(epoch int32, start int64) {
	old := c.all()
	if epoch < 0 || len(old) > 0 && epoch <= old[len(old)-1].epoch {
		return
	}
	keep := sort.Search(len(old), func(i int) bool { return old[i].start >= start })
	c.publish(append(slices.Clip(old[:keep]), epochStart{epoch, start}))
}

// truncateEnd forgets the epochs that begin at end or later.
func (c *epochCache) truncateEnd(end int64) {
	old := c.all()
	keep := sort.Search(len(old), func(i int) bool { return old[i].start >= end })
	if keep < len(old) {
		c.publish(slices.Clip(old[:keep]))
	}
}

// truncateStart forgets the epochs that end at start or before; the one that
// covers start begins there now.
func (c *epochCache) truncateStart(start int64) {
	old := c.all()
	first := sort.Search(len(old), func(i int) bool { return old[i].start > start }) - 1
	if first < 0 || first == 0 && old[0].start == start {
		return
	}
	kept := slices.Clone(old[first:])
	kept[0].start = start
	c.publish(kept)
}

// at is the epoch of the record at offset, or -1.
func (c *epochCache) at(offset int64) int32 {
	e := c.all()
	i := sort.Search(len(e), func(i int) bool { return e[i].start > offset })
	if i == 0 {
		return -1
	}
	return e[i-1].epoch
}

// mustBe is the epoch of the record at offset if a later one is known too; ok is false
// if there is none: then the record may begin one.
func (c *epochCache) mustBe(offset int64) (epoch int32, ok bool) {
	e := c.all()
	if len(e) == 0 || offset >= e[len(e)-1].start && !c.complete {
		return -1, false
	}
	epoch = c.at(offset)
	return epoch, epoch >= 0
}

// endOf returns the largest epoch <= asked and the offset where the next one
// begins: logEnd for the latest. ok is false if asked is above the latest epoch
// or there are none. If asked is below all epochs it is answered itself, with the
// start of the first.
func (c *epochCache) endOf(asked int32, logEnd int64) (epoch int32, end int64, ok bool) {
	e := c.all()
	if asked < 0 || len(e) == 0 {
		return -1, -1, false
	}
	if asked == e[len(e)-1].epoch {
		return asked, logEnd, true
	}
	next := sort.Search(len(e), func(i int) bool { return e[i].epoch > asked })
	switch next {
	case len(e):
		return -1, -1, false
	case 0:
		return asked, e[0].start, true
	}
	return e[next-1].epoch, e[next].start, true
}
