package replica

import (
	"context"
	"time"

	"github.com/quorate/quorate/protocol"
)

// HighWatermarkOffset in DeleteRecords means all that is committed.
const HighWatermarkOffset int64 = -1

// lowWatermarkPoll is how often AwaitLowWatermark looks again without being woken: a
// broker that is fenced wakes nobody if it is in no ISR.
const lowWatermarkPoll = 200 * time.Millisecond

// DeleteRecords makes offset the first that can be read, as the partition's leader,
// durably on this broker, and returns it: HighWatermarkOffset is the high watermark of
// the moment. An offset at or before the start changes nothing. The files of segments
// go in the background; followers do the same when they fetch: see AwaitLowWatermark.
//
// The error is that of Append if this broker does not lead, POLICY_VIOLATION if the
// topic is only compacted, OFFSET_OUT_OF_RANGE for other negative offsets and above the
// high watermark, KAFKA_STORAGE_ERROR.
func (p *Partition) DeleteRecords(offset int64) (before int64, err error) {
	l, err := p.leading(-1)
	if err != nil {
		return -1, err
	}
	if l.settings.compacts && !l.settings.deletes {
		return -1, protocol.Errorf(protocol.PolicyViolation, "records of %s are not deleted: cleanup.policy is compact; add delete to it first", p)
	}
	mark := p.highWatermark.Load()
	if offset == HighWatermarkOffset {
		offset = mark
	}
	if offset < 0 || offset > mark {
		return -1, protocol.Errorf(protocol.OffsetOutOfRange, "records of %s can be deleted up to the high watermark, %d, not to %d", p, mark, offset)
	}
	if err := p.moveStart(offset); err != nil {
		return -1, p.logError("delete records of", err)
	}
	p.log.Info("deleted records", "before", offset, "start", p.wal.Start())
	return offset, nil
}

// moveStart moves the log's start, durably, and has the files before it removed.
func (p *Partition) moveStart(offset int64) error {
	if offset <= p.wal.Start() {
		return nil
	}
	if err := p.wal.MoveStart(offset); err != nil {
		return err
	}
	p.m.trims.add(p)
	p.ends.all() // followers that wait hear of it
	p.starts.reached(offset)
	return nil
}

// AwaitLowWatermark waits until the start of every replica on a live broker has reached
// offset, and returns the smallest. The error is NOT_LEADER_OR_FOLLOWER if leadership is
// lost meanwhile, REQUEST_TIMED_OUT when ctx ends, with the low watermark as it is then.
func (p *Partition) AwaitLowWatermark(ctx context.Context, offset int64) (low int64, err error) {
	c := make(chan struct{}, 1)
	p.starts.add(c, offset)
	defer p.starts.remove(c)
	tick := time.NewTicker(lowWatermarkPoll)
	defer tick.Stop()
	for {
		low, err := p.lowWatermark()
		if err != nil || low >= offset {
			return low, err
		}
		select {
		case <-c:
		case <-tick.C:
		case <-ctx.Done():
			return low, protocol.Errorf(protocol.RequestTimedOut, "not every replica of %s has deleted its records before %d yet, the last one starts at %d; they will", p, offset, low)
		}
	}
}

// lowWatermark is the smallest start of the replicas on live brokers, as they said.
func (p *Partition) lowWatermark() (int64, error) {
	if _, err := p.leading(-1); err != nil {
		return -1, err
	}
	img := p.m.images.Current()
	p.mu.Lock()
	defer p.mu.Unlock()
	low := p.wal.Start()
	for id, f := range p.followers {
		if b, ok := img.Broker(id); ok && !b.Fenced {
			low = min(low, f.start)
		}
	}
	return low, nil
}

// runTrims deletes the files of segments that lie before their log's start.
func (m *Manager) runTrims(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.trims.kick:
		}
		for p := range m.trims.take() {
			if p.leadership.Load() == nil || p.failure.Load() != nil {
				continue
			}
			if err := p.wal.RemoveBelowStart(ctx); err != nil && ctx.Err() == nil {
				_ = p.logError("delete old segments of", err) // it is the partition's from here on
			}
		}
	}
}

// tellStart notes that a follower is told where the log starts, and returns true if that
// has moved since it was told last and the follower is not there yet.
func (p *Partition) tellStart(id int32, start int64) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.followers[id]
	if f == nil {
		return false
	}
	news = f.toldStart >= 0 && f.toldStart < start && f.start < start
	f.toldStart = start
	return news
}
