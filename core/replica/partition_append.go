package replica

import (
	"context"
	"time"

	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// The acknowledgements that a producer may ask for, beside 0 for none.
const (
	AcksLeader int16 = 1
	AcksAll    int16 = -1
)

// Append writes record batches as their leader, in the order of calls, and
// returns before they are durable. batches is overwritten in place (base offsets,
// leader epochs) and not kept.
//
// The error is a *protocol.Error: NOT_LEADER_OR_FOLLOWER; NOT_ENOUGH_REPLICAS if
// acks is -1 and the ISR is below min.insync.replicas; what is wrong with the
// batches (CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_RECORD, INVALID_TIMESTAMP;
// a *record.RejectedError names the records) or with their producer's sequence; KAFKA_STORAGE_ERROR. Nothing was written then, except that
// a storage error may have written a part.
func (p *Partition) Append(batches []byte, acks int16, opts AppendOptions) (Appended, error) {
	l, err := p.leading(-1)
	if err != nil {
		return Appended{}, err
	}
	if opts.LeaderEpoch != nil && *opts.LeaderEpoch != l.epoch {
		return Appended{}, p.notLeader()
	}
	if acks == AcksAll && l.underMinISR() {
		return Appended{}, protocol.Errorf(protocol.NotEnoughReplicas, "%s has %d in-sync replicas, min.insync.replicas is %d", p, len(l.isr), l.minISR())
	}
	arrived := time.Now()
	if err := p.validate(batches, l.settings, opts); err != nil {
		return Appended{}, err
	}
	valid := time.Now()
	a, err := p.wal.AppendAsLeader(l.epoch, batches)
	if err != nil {
		return Appended{}, p.logError("append to", err)
	}
	p.m.metrics.appended(len(batches), valid.Sub(arrived), time.Since(valid))
	p.ends.reached(a.End)
	p.appended(l, a.End)
	return appended(a, l.epoch), nil
}

// appended is called after records were appended as leader. With SyncAlways the
// commit log goes on from here; else the page cache is all that is waited for.
func (p *Partition) appended(l *leadership, end int64) {
	if l.settings.log.Sync == wal.SyncAlways {
		return
	}
	if end-p.flushed.Load() >= l.settings.flushMessages {
		p.flushed.Store(end)
		p.m.syncs.add(p)
	}
	p.syncs.reached(end)
	p.advanceHighWatermark(time.Now())
}

func appended(a wal.Appended, epoch int32) Appended {
	return Appended{
		First: a.First, Last: a.Last, End: a.Last + 1, LeaderEpoch: epoch,
		LogStart: a.LogStart, MaxTimestamp: a.MaxTimestamp, Duplicate: a.Duplicate,
	}
}

// validate checks what a client sent, every record of it. Coordinators may append
// several batches, and markers, and are trusted to know their own records.
//
// It holds no lock: a batch that takes long to decompress delays its own producer
// only. Followers and consumers trust what was checked here.
func (p *Partition) validate(batches []byte, s *settings, opts AppendOptions) error {
	err := record.Validate(batches, record.Limits{
		MaxBatchBytes: s.maxMessageBytes,
		SingleBatch:   !opts.Internal,
		AllowControl:  opts.Internal,
	})
	if err != nil || opts.Internal {
		return err
	}
	batch := record.Batch(batches)
	if batch.IsTransactional() {
		return protocol.Errorf(protocol.InvalidTxnState, "transactions are not served by this version")
	}
	if p.m.cfg.SkipRecordCheck {
		return nil
	}
	latest, err := batch.CheckRecords(s.recordRules(time.Now()))
	if err == nil && latest != batch.MaxTimestamp() {
		batch.SetMaxTimestamp(latest) // the time index believes it
	}
	return err
}

// AwaitAcks waits until an append is acknowledged: with acks=1 on this broker's
// stable storage, with acks=-1 on the whole ISR's; where the topic does not ask for
// SyncAlways, in their page caches. The error is NOT_LEADER_OR_FOLLOWER
// if leadership was lost meanwhile, NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT
// when ctx ends, KAFKA_STORAGE_ERROR: with each of them the records may
// still become committed.
func (p *Partition) AwaitAcks(ctx context.Context, a Appended, acks int16) error {
	on := &p.marks
	switch acks {
	case AcksAll:
	case AcksLeader:
		on = &p.syncs
	default:
		return nil
	}
	if done, err := p.acked(a, acks); done {
		return err
	}
	began := time.Now()
	c := make(chan struct{}, 1)
	on.add(c, a.End)
	defer on.remove(c)
	for {
		if done, err := p.acked(a, acks); done {
			p.waited(a, began)
			return err
		}
		select {
		case <-c:
		case <-ctx.Done():
			return protocol.Errorf(protocol.RequestTimedOut, "offset %d of %s was not acknowledged in time", a.Last, p)
		}
	}
}

// waited counts how long an acknowledgement took, and which part of that was the disk
// of this broker.
func (p *Partition) waited(a Appended, began time.Time) {
	total := time.Since(began)
	synced := p.synced.at(a.End)
	local := min(total, max(0, synced.Sub(began)))
	if synced.IsZero() && p.wal.Durable() >= a.End {
		local = total // just now: committed is about to be called
	}
	p.m.metrics.localSync.Observe(local.Seconds())
	p.m.metrics.replication.Observe((total - local).Seconds())
}

// acked tells if waiting is over, and how it ended.
//
// It loads the offset before the leadership: an offset seen while the epoch of
// the append was still in force can only have been reached by its records. The
// other way round, records of a new leader could be taken for them.
func (p *Partition) acked(a Appended, acks int16) (done bool, err error) {
	reached := p.wal.Safe()
	if acks == AcksAll {
		reached = p.highWatermark.Load()
	}
	l, err := p.leading(-1)
	switch {
	case err != nil:
		return true, err
	case l.epoch != a.LeaderEpoch:
		return true, p.notLeader()
	case reached >= a.End:
		return true, nil
	case acks == AcksAll && l.underMinISR():
		return true, protocol.Errorf(protocol.NotEnoughReplicasAfterAppend, "%s has %d in-sync replicas left, min.insync.replicas is %d", p, len(l.isr), l.minISR())
	}
	return false, nil
}
