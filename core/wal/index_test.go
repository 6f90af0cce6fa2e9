package wal

import (
	"testing"

	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/core/wal/filecache"
)

// TestIndexSearch looks everything up in indexes of sizes around those where
// entries move to the file and where a search reads more than a page.
func TestIndexSearch(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, tailEntries - 1, tailEntries, tailEntries + 1, 2*tailEntries + 3, 5 * tailEntries} {
		x := newIndex(filecache.New(1).LazyCreate(disktest.New(), "/i"), offsetEntrySize, 0)
		for i := range n {
			if err := x.appendOffset(int64(10*i), int64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if x.count() != n {
			t.Fatalf("%d entries: count is %d", n, x.count())
		}
		for i := range n {
			for _, off := range []int{0, 5} {
				at := uint32(10*i + off)
				e, err := x.last(func(e indexEntry) bool { return e.relative > at })
				if err != nil || int(e.position) != i {
					t.Fatalf("%d entries: %d is at %d, %v; want %d", n, at, e.position, err, i)
				}
			}
		}
		for _, keep := range []int{0, 1, n / 2, n - 1, n} {
			if keep < 0 || keep > n {
				continue
			}
			if got := x.truncated(keep).count(); got != keep {
				t.Errorf("%d entries truncated to %d: got %d", n, keep, got)
			}
		}
	}
}
