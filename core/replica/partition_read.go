package replica

import (
	"time"

	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
)

// Read answers one partition of a Fetch without waiting for data. Consumers read
// up to the high watermark, or the last stable offset, followers up to the log's end. A
// follower's read says what it has, and what of that durably, and is recorded: that may
// move the high watermark and the ISR.
//
// The error is a *protocol.Error: NOT_LEADER_OR_FOLLOWER, also for a follower that
// is not assigned or whose process was replaced; FENCED_LEADER_EPOCH and
// UNKNOWN_LEADER_EPOCH; OFFSET_OUT_OF_RANGE, for which the result has the log's
// start; KAFKA_STORAGE_ERROR.
func (p *Partition) Read(r ReadRequest) (ReadResult, error) {
	return p.read(r, true)
}

// read is Read; record says if a follower's position counts. It does not when the
// same request looks again: the follower may have sent a later one since.
func (p *Partition) read(r ReadRequest, record bool) (ReadResult, error) {
	l, err := p.leading(r.CurrentLeaderEpoch)
	if err != nil {
		return ReadResult{}, err
	}
	if r.Replica != nil {
		if err := p.checkFollower(l, r.Replica); err != nil {
			return ReadResult{}, err
		}
	}
	// Divergence before the range: a reader beyond the end has records of its own.
	if d := p.diverging(r); d != nil {
		res := p.result(nil)
		res.Diverging = d
		return res, nil
	}
	if err := p.checkRange(r.Offset); err != nil {
		return p.result(nil), err
	}
	if r.Replica != nil && record {
		p.followerFetched(l, r, time.Now())
	}
	end := p.readable(r)
	records, err := p.spanUpTo(r, end)
	if err != nil || r.Isolation != ReadCommitted || r.Replica != nil {
		return p.result(records), err
	}
	return p.readCommitted(r, records)
}

// readable is where a reader's records end.
func (p *Partition) readable(r ReadRequest) int64 {
	if r.Replica != nil {
		return p.wal.End()
	}
	return p.fetchable(r.Isolation)
}

// fetchable is where the records end that a consumer may see.
func (p *Partition) fetchable(isolation Isolation) int64 {
	mark := p.highWatermark.Load()
	if isolation == ReadCommitted {
		return p.wal.LastStable(mark)
	}
	return mark
}

func (p *Partition) spanUpTo(r ReadRequest, end int64) (*wal.Span, error) {
	if r.Offset >= end || r.MaxBytes <= 0 && !r.MinOne {
		return nil, nil
	}
	span, err := p.wal.Span(r.Offset, end, r.MaxBytes, r.MinOne)
	if err != nil {
		return nil, p.logError("read", err)
	}
	return span, nil
}

func (p *Partition) readUpTo(r ReadRequest, end int64) ([]byte, error) {
	if r.Offset >= end || r.MaxBytes <= 0 && !r.MinOne {
		return nil, nil
	}
	records, err := p.wal.Read(r.Offset, end, r.MaxBytes, r.MinOne)
	if err != nil {
		return nil, p.logError("read", err)
	}
	return records, nil
}

// result is records with the offsets as they are now.
func (p *Partition) result(records *wal.Span) ReadResult {
	mark := p.highWatermark.Load()
	return ReadResult{Records: records, HighWatermark: mark, LastStable: p.wal.LastStable(mark), LogStart: p.wal.Start()}
}

// checkRange refuses offsets before the log. Beyond its end is refused too, but
// between high watermark and end is an offset that will be readable (behaviour of
// Kafka since a new leader's mark may be behind the old one's).
func (p *Partition) checkRange(offset int64) error {
	start, end := p.wal.Start(), p.wal.End()
	if offset >= start && offset <= end {
		return nil
	}
	return protocol.Errorf(protocol.OffsetOutOfRange, "offset %d is outside of %s, [%d, %d]", offset, p, start, end)
}

// diverging returns where the reader's log leaves this one, nil if it does not:
// the last epoch it has must be known here and reach as far (KIP-320, KIP-595).
// What lies before the log's start cannot be judged.
func (p *Partition) diverging(r ReadRequest) *EpochEnd {
	start := p.wal.Start()
	if r.LastFetchedEpoch < 0 || r.Offset < start {
		return nil
	}
	epoch, end, ok := p.wal.EndOffsetForEpoch(r.LastFetchedEpoch)
	switch {
	case !ok && r.Offset > start:
		// All that is left here is of later epochs: nothing is shared above the start.
		return &EpochEnd{Epoch: r.LastFetchedEpoch, EndOffset: start}
	case !ok:
		return nil
	case epoch < r.LastFetchedEpoch || end < r.Offset:
		return &EpochEnd{Epoch: epoch, EndOffset: end}
	}
	return nil
}

// ReadLocal reads whole batches from the local log up to its end, committed or
// not, whoever leads: for coordinators that load their partition. The first batch
// is whole even above maxBytes. OFFSET_OUT_OF_RANGE before the start or after the end.
func (p *Partition) ReadLocal(from int64, maxBytes int) ([]byte, error) {
	if p.failure.Load() != nil {
		return nil, protocol.Errorf(protocol.KafkaStorageError, "the disk of %s has failed", p)
	}
	if err := p.checkRange(from); err != nil {
		return nil, err
	}
	return p.readUpTo(ReadRequest{Offset: from, MaxBytes: maxBytes, MinOne: true}, p.wal.End())
}
