package coordinator

import "time"

// Machine is the state that a shard keeps in memory: a function of the records in
// its partition, and whatever it needs beside them that may be lost.
//
// A new one is made for each leadership. Except for Replay while the log is
// loaded, which comes first, the shard's goroutine calls every method.
type Machine interface {
	// Replay applies a record. value is nil for a tombstone; neither slice may be
	// kept. Loading and serving run the same code, in the order of the log. An error
	// means that the record cannot follow the ones before it; the shard then does
	// not serve.
	Replay(key, value []byte) error
	// Start is called once the whole log was replayed and is committed.
	Start(t *Turn)
	// Stop is called when the leadership ends: everything that waits inside the
	// machine is answered with err.
	Stop(err error)
}

// Event is one piece of work for a shard.
type Event[M Machine] struct {
	// Key is what the event reads and writes: a group id. An event with the empty key
	// may touch everything.
	Key string
	// Run decides. It sees every record that events before it wrote, may change what
	// of the machine is not in the log, and must not block.
	Run func(m M, t *Turn)
	// Refuse is called instead of Run, from any goroutine, if Run never will be.
	Refuse func(err error)
}

// Turn is one event's time on the shard's goroutine. It must not be used after
// the event's Run, except from its own callbacks.
type Turn struct {
	// Now is when the turn began.
	Now time.Time

	key       string
	records   []pair
	size      int
	applied   []func(error)
	committed []func(error)
}

type pair struct{ key, value []byte }

// recordOverhead is what a record costs in a batch beside its key and value, at most.
const recordOverhead = 32

// Write adds a record, a tombstone if value is nil. The records of a turn are in
// one batch: all of them are in the log, or none. The turn owns the slices.
func (t *Turn) Write(key, value []byte) {
	t.records = append(t.records, pair{key, value})
	t.size += len(key) + len(value) + recordOverhead
}

// OnApplied has f called when the turn's records are in the log and were
// replayed, before any other event of the same key; or with the reason why they
// are not, and then nothing was replayed. Without records f is called with nil.
func (t *Turn) OnApplied(f func(err error)) { t.applied = append(t.applied, f) }

// OnCommitted has f called when everything that the turn wrote, and that it may
// have seen under its key, is committed; or with an error that the client may be
// given, and then the records may be committed later or never.
func (t *Turn) OnCommitted(f func(err error)) { t.committed = append(t.committed, f) }

func call(fs []func(error), err error) {
	for _, f := range fs {
		f(err)
	}
}
