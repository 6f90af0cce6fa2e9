package replica

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// position is where a follower asks its leader to go on. What comes back is
// taken only if the partition is still there: it may have another leader by then.
type position struct {
	leader, epoch int32
	offset        int64 // the log's end
	durable       int64 // the part of it that is on stable storage
	lastEpoch     int32 // of the last record; -1 without one
	start         int64 // of the log
	known         int64 // the high watermark that the leader told last; -1: none
}

// errDiverged says that a follower and its leader disagree in a way that
// truncation must not mend.
var errDiverged = errors.New("replica and leader disagree about committed records")

// position returns where to fetch from; ok is false if leader is not the leader. The
// caller says it to the leader.
func (p *Partition) position(leader int32) (pos position, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.leadership.Load()
	if l == nil || l.mine || l.leader != leader || p.failure.Load() != nil {
		return position{}, false
	}
	pos = position{leader: leader, epoch: l.epoch, offset: p.wal.End(), lastEpoch: p.lastEpoch(), start: p.wal.Start(), known: p.told}
	pos.durable = min(p.wal.Durable(), pos.offset)
	p.reported = reported{leader: leader, epoch: l.epoch, durable: pos.durable}
	return pos, true
}

// lastEpoch is the epoch of the last record, -1 without one. The log's own latest
// epoch may be a later one that has no records.
func (p *Partition) lastEpoch() int32 {
	end := p.wal.End()
	if end == p.wal.Start() {
		return -1
	}
	return p.wal.EpochAt(end - 1)
}

// follow takes what the leader answered to a fetch from pos. It returns an error
// if the partition has to pause; a failed disk is also reported to the manager.
func (p *Partition) follow(pos position, resp *kmsg.FetchResponseTopicPartition) error {
	p.mu.Lock()
	if !p.stillAt(pos) {
		p.mu.Unlock()
		return nil
	}
	mark, err := p.followLocked(pos, resp)
	p.mu.Unlock()
	if err != nil {
		return p.followError(err)
	}
	if len(resp.RecordBatches) > 0 {
		p.ends.reached(p.wal.End())
	}
	if mark >= 0 {
		p.marks.reached(mark)
	}
	return nil
}

func (p *Partition) stillAt(pos position) bool {
	l := p.leadership.Load()
	return l != nil && !l.mine && l.leader == pos.leader && l.epoch == pos.epoch && p.wal.End() == pos.offset
}

// followLocked returns the new high watermark, or -1 if it did not move.
func (p *Partition) followLocked(pos position, resp *kmsg.FetchResponseTopicPartition) (mark int64, err error) {
	code := protocol.ErrorCode(resp.ErrorCode)
	switch {
	case code == protocol.OffsetOutOfRange:
		return -1, p.resetTo(resp.LogStartOffset)
	case code != protocol.None:
		return -1, protocol.Errorf(code, "the leader refused a fetch of %s", p)
	case resp.DivergingEpoch.EndOffset >= 0:
		return -1, p.truncate(resp.DivergingEpoch.Epoch, resp.DivergingEpoch.EndOffset)
	}
	if len(resp.RecordBatches) > 0 {
		if err := p.copyBatches(pos, resp.RecordBatches); err != nil {
			return -1, err
		}
	}
	mark = p.followMark(resp.HighWatermark)
	return mark, p.followStart(resp.LogStartOffset)
}

// copyBatches appends what the leader sent. The CRCs are checked again: a leader's
// disk that rots must not spread.
func (p *Partition) copyBatches(pos position, batches []byte) error {
	if err := record.Validate(batches, record.Limits{AllowControl: true, AllowCompacted: true}); err != nil {
		return fmt.Errorf("records from broker %d: %w", pos.leader, err)
	}
	if _, err := p.wal.AppendAsFollower(batches); err != nil {
		return err
	}
	p.m.metrics.follower.count(len(batches))
	return nil
}

// truncate drops what the leader does not have: it knows of no record of epoch or
// before from end on. Of the local records those after the end of the largest
// such epoch go too; when that still does not meet, the next fetch tells (KIP-595).
func (p *Partition) truncate(epoch int32, end int64) error {
	to := min(end, p.wal.End())
	if _, local, ok := p.wal.EndOffsetForEpoch(epoch); ok {
		to = min(to, local)
	}
	to = max(to, p.wal.Start())
	if mark := p.highWatermark.Load(); to < mark {
		return fmt.Errorf("%w: %s diverges at %d, below the high watermark %d", errDiverged, p, to, mark)
	}
	p.log.Info("truncating to the leader's log", "to", to, "end", p.wal.End(), "diverging_epoch", epoch, "leader_end", end)
	return p.wal.Truncate(to)
}

// resetTo begins anew where the leader's log begins. It is only for a follower
// that was away for longer than the leader keeps records.
func (p *Partition) resetTo(leaderStart int64) error {
	end := p.wal.End()
	if leaderStart <= end {
		return fmt.Errorf("%w: the leader refuses offset %d of %s although its log starts at %d", errDiverged, end, p, leaderStart)
	}
	p.log.Info("starting over at the leader's log start", "start", leaderStart, "end", end)
	if err := p.wal.Reset(leaderStart); err != nil {
		return err
	}
	p.highWatermark.Store(leaderStart)
	return nil
}

// followStart deletes what the leader's clients have deleted.
func (p *Partition) followStart(leaderStart int64) error {
	start := min(leaderStart, p.highWatermark.Load())
	if start <= p.wal.Start() {
		return nil
	}
	return p.moveStart(start)
}

// followError keeps what the leader or the network did wrong apart from what the
// disk did.
func (p *Partition) followError(err error) error {
	for _, refused := range []error{errDiverged, wal.ErrNotContiguous, wal.ErrFencedEpoch} {
		if errors.Is(err, refused) {
			return err
		}
	}
	if _, ok := errors.AsType[*protocol.Error](err); ok {
		return err
	}
	return p.logError("copy to", err)
}
