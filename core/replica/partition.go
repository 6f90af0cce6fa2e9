package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
)

// Partition is this broker's replica of a partition.
//
// Clients' reads and appends take no lock of it: they load the leadership and the
// high watermark, and the log orders appends and refuses those of an old epoch.
type Partition struct {
	key   partitionKey
	topic string
	m     *Manager
	dir   string
	wal   *wal.Log
	log   *slog.Logger
	seen  *assignment // that was applied last; of Manager.turn

	leadership    atomic.Pointer[leadership] // nil before the first image and after close
	highWatermark atomic.Int64               // only ever grows
	checkpointed  int64                      // high watermark that was written last; of Manager.checkpoint
	failure       atomic.Pointer[error]      // of the disk; final

	marks, ends, syncs watchers // of the high watermark, the log's end, its durable end
	starts             watchers // of the log's start, here and on followers
	dirty, queued      atomic.Bool
	cleaning           atomic.Bool             // a thread of the cleaner has it
	uncleanable        atomic.Bool             // a compaction failed; final
	held               atomic.Bool             // the high watermark waits for a follower outside of the ISR
	fetcher            atomic.Pointer[fetcher] // that copies the partition now, or did last
	flushed            atomic.Int64            // where flush.messages last had the log synced
	unflushed          unflushed               // of runFlush
	synced             syncTimes               // of metrics

	mu        sync.Mutex // before the log's own
	followers map[int32]*follower
	change    *isrChange // proposed and not seen committed; nil if none
	reported  reported   // what its leader was told last; while following
	told      int64      // the high watermark that the leader of this epoch told last; -1: none
}

// partitionKey names a partition for good: a topic that is deleted and created
// again has another id.
type partitionKey struct {
	topic     metadata.UUID
	partition int32
}

func (p *Partition) String() string { return fmt.Sprintf("%s-%d", p.topic, p.key.partition) }

// State returns the partition as it is now.
func (p *Partition) State() PartitionState {
	s := PartitionState{
		LeaderID:      metadata.NoLeader,
		LeaderEpoch:   -1,
		HighWatermark: p.highWatermark.Load(),
		Start:         p.wal.Start(),
		End:           p.wal.End(),
		Durable:       p.wal.Durable(),
	}
	if l := p.leadership.Load(); l != nil {
		s.Leader, s.LeaderID, s.LeaderEpoch, s.PartitionEpoch = l.mine, l.leader, l.epoch, l.partitionEpoch
		s.Replicas, s.ISR = l.replicas, l.isr
	}
	return s
}

// leading returns the leadership if this broker leads, in the epoch that the
// caller believes in; -1 is any.
func (p *Partition) leading(currentEpoch int32) (*leadership, error) {
	l := p.leadership.Load()
	switch {
	case p.failure.Load() != nil:
		return nil, protocol.Errorf(protocol.KafkaStorageError, "the disk of %s has failed", p)
	case l == nil:
		return nil, protocol.Errorf(protocol.NotLeaderOrFollower, "%s has no replica here any more", p)
	case currentEpoch >= 0 && currentEpoch < l.epoch:
		return nil, protocol.Errorf(protocol.FencedLeaderEpoch, "leader epoch %d of %s is over, it is %d", currentEpoch, p, l.epoch)
	case currentEpoch > l.epoch:
		return nil, protocol.Errorf(protocol.UnknownLeaderEpoch, "leader epoch %d of %s is not known here yet, it is %d", currentEpoch, p, l.epoch)
	case !l.mine:
		return nil, p.notLeader()
	}
	return l, nil
}

func (p *Partition) notLeader() error {
	return protocol.Errorf(protocol.NotLeaderOrFollower, "this broker does not lead %s", p)
}

// logError turns an error of the log into what a client may see. What the log
// did not refuse for a reason of the caller's is a failed disk, and final.
func (p *Partition) logError(doing string, err error) error {
	switch {
	case errors.Is(err, wal.ErrOffsetOutOfRange):
		return protocol.Errorf(protocol.OffsetOutOfRange, "offset is outside of %s, [%d, %d]", p, p.wal.Start(), p.wal.End())
	case errors.Is(err, wal.ErrFencedEpoch), errors.Is(err, wal.ErrClosed):
		return p.notLeader()
	}
	if refused, ok := errors.AsType[*protocol.Error](err); ok {
		return refused
	}
	p.fail(fmt.Errorf("%s %s: %w", doing, p, err))
	return protocol.Errorf(protocol.KafkaStorageError, "the disk of %s has failed", p)
}

// fail makes the partition answer KAFKA_STORAGE_ERROR for good, and the manager's
// Run return err.
func (p *Partition) fail(err error) {
	if !p.failure.CompareAndSwap(nil, &err) {
		return
	}
	p.m.fail(err)
	p.wakeAll()
}

func (p *Partition) wakeAll() {
	p.marks.all()
	p.ends.all()
	p.syncs.all()
	p.starts.all()
}

// retire takes the partition from everybody who still holds it.
func (p *Partition) retire() {
	p.mu.Lock()
	p.leadership.Store(nil)
	p.followers, p.change = nil, nil
	p.mu.Unlock()
	p.fetcher.Store(nil)
	p.wakeAll()
}
