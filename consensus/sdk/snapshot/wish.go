package snapshot

import (
	"cmp"
	"sync"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/watched"
)

const (
	defaultRequestEntries = 10_000
	defaultRequestBytes   = 64 << 20
)

// Wish tells the host when it is time for a snapshot: once there are as many
// entries, or bytes of them, since the newest one as the group's tuning says. A
// wish stays as it is until a snapshot fulfils it. All methods may be called
// concurrently.
type Wish struct {
	entries, bytes uint64

	mu     sync.Mutex // across a look at the log and what follows from it
	wanted watched.Value[uint64]
}

// NewWish returns a wish for a group with this tuning.
func NewWish(t consensus.GroupTuning) *Wish {
	return &Wish{
		entries: cmp.Or(t.SnapshotRequestEntries, defaultRequestEntries),
		bytes:   cmp.Or(t.SnapshotRequestBytes, defaultRequestBytes),
	}
}

// Get is consensus.Group's SnapshotWanted.
func (w *Wish) Get() (minIndex uint64, changed <-chan struct{}) { return w.wanted.Get() }

// Update decides anew. Call it when entries were committed, and when a snapshot
// was stored; look is called while no other Update is under way, and returns the
// last committed index, that of the newest snapshot (0 = none) and the bytes
// between them.
func (w *Wish) Update(look func() (committed, snapshot, bytes uint64)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	committed, snapshot, bytes := look()
	wanted, _ := w.wanted.Get()
	switch long := committed-snapshot >= w.entries || bytes >= w.bytes; {
	case committed <= snapshot || !long:
		w.wanted.Set(0)
	case wanted <= snapshot:
		w.wanted.Set(committed)
	}
}
