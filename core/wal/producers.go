package wal

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// marker is the transaction marker of a control batch; not ok for any other batch.
type marker struct {
	record.Marker
	ok bool
}

// markerOf returns the marker of a whole batch. The error is a *protocol.Error.
func markerOf(b record.Batch) (marker, error) {
	if !b.IsControl() {
		return marker{}, nil
	}
	m, ok, err := b.Marker()
	if err != nil {
		return marker{}, protocol.Errorf(protocol.InvalidRecord, "transaction marker: %v", err)
	}
	return marker{m, ok}, nil
}

// producerBatches is how many batches of a producer are remembered: as many as a
// client may have in flight (max.in.flight.requests.per.connection).
const producerBatches = 5

// producerBatch is one batch of an idempotent producer.
type producerBatch struct {
	lastSequence int32
	offsetDelta  int32
	lastOffset   int64
	timestamp    int64 // milliseconds
}

func (b producerBatch) firstOffset() int64 { return b.lastOffset - int64(b.offsetDelta) }

func (b producerBatch) firstSequence() int32 {
	if b.lastSequence < b.offsetDelta { // wrapped around
		return int32(int64(b.lastSequence) - int64(b.offsetDelta) + 1<<31)
	}
	return b.lastSequence - b.offsetDelta
}

// producer is the state of one idempotent producer. It is a value: copies are independent.
type producer struct {
	id               int64
	epoch            int16
	n                int8 // batches
	coordinatorEpoch int32
	txnFirst         int64                          // first offset of the open transaction, or -1
	timestamp        int64                          // of the last batch, milliseconds
	batches          [producerBatches]producerBatch // the oldest first
	seen             time.Time                      // when this process saw the last batch
}

// lastSequence is the last sequence number, or record.NoSequence.
func (p *producer) lastSequence() int32 {
	if p.n == 0 {
		return record.NoSequence
	}
	return p.batches[p.n-1].lastSequence
}

func (p *producer) lastOffset() int64 {
	if p.n == 0 {
		return -1
	}
	return p.batches[p.n-1].lastOffset
}

// duplicate returns the batch that b repeats, or nil.
func (p *producer) duplicate(b record.Batch) *producerBatch {
	if b.ProducerEpoch() != p.epoch {
		return nil
	}
	first, last := b.BaseSequence(), b.LastSequence()
	for i := range p.batches[:p.n] {
		if e := &p.batches[i]; e.lastSequence == last && e.firstSequence() == first {
			return e
		}
	}
	return nil
}

// check tells if b may follow. A producer that is not known (p is nil) may begin
// with any sequence: its state may have expired or been deleted with its records.
//
// A marker may begin a later epoch of the producer, which fences it (KIP-890); one of a
// coordinator that was replaced is refused.
func (p *producer) check(b record.Batch, m marker) error {
	epoch, first := b.ProducerEpoch(), b.BaseSequence()
	switch {
	case p == nil:
		return nil
	case epoch < p.epoch:
		return protocol.Errorf(protocol.InvalidProducerEpoch, "producer %d has epoch %d now, not %d", p.id, p.epoch, epoch)
	case m.ok && m.CoordinatorEpoch < p.coordinatorEpoch:
		return protocol.Errorf(protocol.TransactionCoordinatorFenced,
			"marker for producer %d is of coordinator epoch %d, one of epoch %d has written here", p.id, m.CoordinatorEpoch, p.coordinatorEpoch)
	case b.IsControl():
		return nil
	case epoch > p.epoch && first != 0:
		return protocol.Errorf(protocol.OutOfOrderSequenceNumber,
			"producer %d begins its epoch %d with sequence %d instead of 0", p.id, epoch, first)
	case epoch == p.epoch && first != record.AddSequence(p.lastSequence(), 1):
		return protocol.Errorf(protocol.OutOfOrderSequenceNumber,
			"producer %d sent sequence %d after %d", p.id, first, p.lastSequence())
	case p.txnFirst >= 0 && !b.IsTransactional():
		return protocol.Errorf(protocol.InvalidTxnState, "producer %d has an open transaction", p.id)
	}
	return nil
}

// add notes batch b, whose first record has offset base, and its marker. It checks
// nothing: what is in the log is true.
func (p *producer) add(b record.Batch, m marker, base int64, now time.Time) {
	p.seen = now
	if b.IsControl() && !m.ok {
		return // of another kind, which says nothing of the producer
	}
	p.timestamp = b.MaxTimestamp()
	if b.ProducerEpoch() != p.epoch {
		p.epoch, p.n = b.ProducerEpoch(), 0
	}
	if m.ok { // commit or abort: either ends the transaction
		p.txnFirst = -1
		p.coordinatorEpoch = max(p.coordinatorEpoch, m.CoordinatorEpoch)
		return
	}
	if b.IsTransactional() && p.txnFirst < 0 {
		p.txnFirst = base
	}
	if p.n == producerBatches {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = producerBatch{
		lastSequence: b.LastSequence(),
		offsetDelta:  b.LastOffsetDelta(),
		lastOffset:   base + int64(b.LastOffsetDelta()),
		timestamp:    b.MaxTimestamp(),
	}
	p.n++
}

// producers is the state of all idempotent producers of a log. Under the log's mutex.
type producers struct {
	known   map[int64]*producer // nil until there is one
	pending []producer          // those that the append under way changes
	max     int
	expiry  time.Duration
}

func newProducers(cfg Config) *producers {
	return &producers{max: cfg.MaxProducers, expiry: cfg.ProducerExpiry}
}

// begin starts an append, or a replay: what a former one left pending is forgotten.
func (ps *producers) begin() { ps.pending = ps.pending[:0] }

// find returns the state of a producer as the append under way would leave it, or nil.
func (ps *producers) find(id int64, now time.Time) *producer {
	for i := len(ps.pending) - 1; i >= 0; i-- {
		if ps.pending[i].id == id {
			return &ps.pending[i]
		}
	}
	p := ps.known[id]
	if p == nil || ps.expired(p, now) {
		return nil
	}
	return p
}

// stage notes batch b as part of the append under way.
func (ps *producers) stage(b record.Batch, m marker, base int64, now time.Time) {
	id := b.ProducerID()
	p := ps.find(id, now)
	switch {
	case p == nil:
		ps.pending = append(ps.pending, producer{id: id, epoch: b.ProducerEpoch(), coordinatorEpoch: -1, txnFirst: -1})
		p = &ps.pending[len(ps.pending)-1]
	case ps.known[id] == p:
		ps.pending = append(ps.pending, *p)
		p = &ps.pending[len(ps.pending)-1]
	}
	p.add(b, m, base, now)
}

// commit makes the staged batches part of the state.
func (ps *producers) commit(now time.Time) {
	for i := range ps.pending {
		ps.put(&ps.pending[i], now)
	}
	ps.begin()
}

// put stores a copy of a producer's state.
func (ps *producers) put(p *producer, now time.Time) {
	if old := ps.known[p.id]; old != nil {
		*old = *p
		return
	}
	if len(ps.known) >= ps.max {
		ps.evict(now)
	}
	fresh := *p
	if ps.known == nil {
		ps.known = map[int64]*producer{}
	}
	ps.known[p.id] = &fresh
}

func (ps *producers) expired(p *producer, now time.Time) bool {
	return p.txnFirst < 0 && now.Sub(p.seen) >= ps.expiry
}

// expire forgets those that wrote nothing for too long.
func (ps *producers) expire(now time.Time) {
	maps.DeleteFunc(ps.known, func(_ int64, p *producer) bool { return ps.expired(p, now) })
}

// evict makes room: it forgets the expired, or else the sixteenth that wrote
// nothing for the longest. Those with an open transaction stay, whatever the limit:
// the last stable offset waits for them.
func (ps *producers) evict(now time.Time) {
	ps.expire(now)
	if len(ps.known) < ps.max {
		return
	}
	oldest := slices.DeleteFunc(slices.Collect(maps.Values(ps.known)), func(p *producer) bool { return p.txnFirst >= 0 })
	slices.SortFunc(oldest, func(a, b *producer) int { return a.seen.Compare(b.seen) })
	for _, p := range oldest[:min(len(oldest), max(1, len(oldest)/16))] {
		delete(ps.known, p.id)
	}
}

// sorted is all of them by id.
func (ps *producers) sorted() []*producer {
	return slices.SortedFunc(maps.Values(ps.known), func(a, b *producer) int { return cmp.Compare(a.id, b.id) })
}

// openTransactions returns the first offsets of the transactions that are open.
func (ps *producers) openTransactions() (first []int64) {
	for _, p := range ps.known {
		if p.txnFirst >= 0 {
			first = append(first, p.txnFirst)
		}
	}
	return first
}

// replay notes a batch of a producer that is in the log. It returns the first offset of
// the transaction that was open before, and of the one that is now; -1 for none.
func (ps *producers) replay(b record.Batch, m marker, now time.Time) (before, after int64) {
	ps.begin()
	before = -1
	if p := ps.known[b.ProducerID()]; p != nil {
		before = p.txnFirst
	}
	ps.stage(b, m, b.BaseOffset(), now)
	after = ps.pending[0].txnFirst
	ps.commit(now)
	return before, after
}

// Sizes and version of a producer snapshot.
const (
	snapshotVersion    = 1
	snapshotHeaderSize = 10 // version int16, CRC uint32, count int32
	snapshotEntrySize  = 46
	snapshotCRCAt      = 2
	snapshotBodyAt     = 6 // what the CRC covers begins here
)

// encode is Kafka's producer snapshot, version 1. Kafka remembers one batch of
// each producer in it; here a producer has an entry for every batch that is
// remembered, the oldest first. Kafka reads that too: the last entry wins.
func (ps *producers) encode() []byte {
	b := make([]byte, snapshotHeaderSize, snapshotHeaderSize+len(ps.known)*snapshotEntrySize)
	count := 0
	for _, p := range ps.sorted() {
		batches := p.batches[:p.n]
		if p.n == 0 {
			batches = []producerBatch{{lastSequence: record.NoSequence, lastOffset: -1, timestamp: p.timestamp}}
		}
		for _, e := range batches {
			b = binary.BigEndian.AppendUint64(b, uint64(p.id))
			b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
			b = binary.BigEndian.AppendUint32(b, uint32(e.lastSequence))
			b = binary.BigEndian.AppendUint64(b, uint64(e.lastOffset))
			b = binary.BigEndian.AppendUint32(b, uint32(e.offsetDelta))
			b = binary.BigEndian.AppendUint64(b, uint64(e.timestamp))
			b = binary.BigEndian.AppendUint32(b, uint32(p.coordinatorEpoch))
			b = binary.BigEndian.AppendUint64(b, uint64(p.txnFirst))
			count++
		}
	}
	binary.BigEndian.PutUint16(b, snapshotVersion)
	binary.BigEndian.PutUint32(b[6:], uint32(count))
	binary.BigEndian.PutUint32(b[snapshotCRCAt:], checksum(b[snapshotBodyAt:]))
	return b
}
