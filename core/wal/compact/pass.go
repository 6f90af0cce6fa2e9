package compact

import (
	"fmt"
	"time"

	"github.com/quorate/quorate/protocol/record"
)

// Config of a pass.
type Config struct {
	// MapBytes is the memory for the keys of the dirty part, 24 bytes each.
	// Kafka: log.cleaner.dedupe.buffer.size.
	MapBytes int
	// Now is when the pass begins.
	Now time.Time
	// DeleteRetention is how long tombstones stay. Kafka: delete.retention.ms.
	DeleteRetention time.Duration
	// LastOfProducer tells if no later batch that is sure to stay says which sequence
	// number of the batch's producer comes next, and the producer has not expired. It is
	// asked of batches with a producer id only.
	LastOfProducer func(b record.Batch) bool
	// Aborted tells if a batch belongs to a transaction that was aborted: its records
	// count for nothing and go. Nil: there are none.
	Aborted func(b record.Batch) bool
	// Limits of what a batch may decompress to.
	Limits record.DecompressLimits
}

// Pass is one compaction of a log. Not for concurrent use.
type Pass struct {
	cfg    Config
	now    int64
	latest *Offsets
	end    int64
	stats  Stats
}

// Stats is what a pass has done.
type Stats struct {
	Keys                     int   // in the dirty part
	RecordsRead, RecordsKept int64 // by Filter
	BytesRead, BytesKept     int64 // by Filter
}

// NewPass takes the memory for the keys.
func NewPass(cfg Config) *Pass {
	return &Pass{cfg: cfg, now: cfg.Now.UnixMilli(), latest: NewOffsets(cfg.MapBytes)}
}

// Collect remembers the keys of a batch of the dirty part. Batches come in order
// of their offsets, and are committed: nothing cuts them off any more, and no
// transaction is open below their end. It tells false if there is no room for a
// key: then the dirty part ends before this batch, at [Pass.End]. Keys of it that
// were remembered do no harm, their records are in the log all the same.
func (p *Pass) Collect(b record.Batch) (room bool, err error) {
	if !b.IsControl() && !p.aborted(b) {
		for r, err := range b.Records(p.cfg.Limits) {
			if err != nil {
				return false, fmt.Errorf("collect keys at offset %d: %w", b.BaseOffset(), err)
			}
			if r.Key != nil && !p.latest.Put(r.Key, r.Offset) {
				return false, nil
			}
		}
	}
	p.end = b.LastOffset() + 1
	return true, nil
}

// End is the offset behind the last batch whose keys were all collected.
func (p *Pass) End() int64 { return p.end }

// Filter appends to dst what stays of a batch, which may be nothing; with header at
// least the batch's header stays. On an error dst is as it was. Markers of transactions
// stay, and so does everything from End on: a tombstone there may be the only thing
// that says that an older value, whose key was not collected, is deleted.
func (p *Pass) Filter(dst []byte, b record.Batch, header bool) ([]byte, error) {
	out, kept, err := p.filter(dst, b, header)
	if err != nil {
		return dst, fmt.Errorf("compact at offset %d: %w", b.BaseOffset(), err)
	}
	p.stats.RecordsRead += int64(b.Count())
	p.stats.RecordsKept += int64(kept)
	p.stats.BytesRead += int64(len(b))
	p.stats.BytesKept += int64(len(out) - len(dst))
	return out, nil
}

func (p *Pass) filter(dst []byte, b record.Batch, header bool) (out []byte, kept int32, err error) {
	if b.LastOffset() >= p.end || b.IsControl() {
		return append(dst, b...), b.Count(), nil
	}
	aborted := p.aborted(b)
	return b.Filter(dst, record.Filter{
		Keep:          func(r record.Record) bool { return !aborted && p.stays(b, r) },
		DeleteHorizon: p.now + p.cfg.DeleteRetention.Milliseconds(),
		KeepEmpty:     header || p.lastOfProducer(b),
	}, p.cfg.Limits)
}

// stays tells if a record does. One without a key is in no compacted topic's
// contract, and goes as in Kafka: it is left from before the topic became one.
func (p *Pass) stays(b record.Batch, r record.Record) bool {
	if r.Key == nil {
		return false
	}
	if latest, ok := p.latest.Latest(r.Key); ok && latest > r.Offset {
		return false
	}
	horizon, set := b.DeleteHorizon()
	return r.Value != nil || !set || p.now < horizon
}

func (p *Pass) aborted(b record.Batch) bool {
	return b.IsTransactional() && p.cfg.Aborted != nil && p.cfg.Aborted(b)
}

// lastOfProducer tells if no later batch says which sequence number comes next.
func (p *Pass) lastOfProducer(b record.Batch) bool {
	return b.HasProducerID() && p.cfg.LastOfProducer(b)
}

// Stats is what Filter has done so far.
func (p *Pass) Stats() Stats {
	s := p.stats
	s.Keys = p.latest.Len()
	return s
}
