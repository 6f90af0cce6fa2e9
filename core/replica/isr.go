package replica

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// isrRetry is the pause before a change of the ISR is asked for again: long
// enough for the image that answers it to arrive in normal times.
const isrRetry = 200 * time.Millisecond

// isrChange is an ISR that this leader asks the controller for. It stands until
// an image shows a later partition epoch, so that there is one per partition and
// the high watermark never forgets one that may have been committed.
type isrChange struct {
	isr            []int32
	partitionEpoch int32     // that it is a change of
	sendAfter      time.Time // not asked for again before
	refused        bool      // certainly did not happen; stands only for the pause
}

// proposeISR looks at what the ISR should be, and has the manager ask for it if
// it is another. It may be called at any time: it goes by the state, not by
// what changed.
func (p *Partition) proposeISR(now time.Time) {
	p.mu.Lock()
	l := p.leadership.Load()
	if l == nil || !l.mine {
		p.mu.Unlock()
		return
	}
	if p.change != nil && p.change.refused && now.After(p.change.sendAfter) {
		p.change = nil
	}
	if p.change == nil {
		if isr := p.wantedISR(l, now); !slices.Equal(isr, l.isr) {
			p.change = &isrChange{isr: isr, partitionEpoch: l.partitionEpoch}
		}
	}
	ask := p.change != nil && !p.change.refused
	p.mu.Unlock()
	if ask {
		p.m.isrChanges.add(p)
	}
}

// wantedISR is the ISR with those who caught up, else without those who lag.
// Partition.mu is held.
//
// To join it takes everything that is committed and that was there when this
// leader began, and to keep pace. The high watermark alone would not do: it
// stands still under min.insync.replicas, and a follower that was just removed
// for being silent is still at it.
func (p *Partition) wantedISR(l *leadership, now time.Time) []int32 {
	joinAt, end := max(p.highWatermark.Load(), l.epochStart), p.wal.End()
	lags := func(f *follower) bool { return !f.caughtUp(l, end, now, p.m.cfg.ReplicaLagTimeMax) }
	wanted := slices.Clone(l.isr)
	for _, id := range l.replicas {
		if f := p.followers[id]; f != nil && !l.inISR(id) && f.safe(l) >= joinAt && p.keepsUp(l, id, f, end, now) {
			wanted = append(wanted, id)
		}
	}
	if len(wanted) > len(l.isr) {
		return wanted
	}
	return slices.DeleteFunc(wanted, func(id int32) bool {
		f := p.followers[id]
		return f != nil && lags(f)
	})
}

// eligible tells if a follower may join the ISR: it has fetched in this epoch,
// and the process that did is registered and not on its way out (KIP-903).
func (p *Partition) eligible(id int32, f *follower) bool {
	if f.end < 0 {
		return false
	}
	b, ok := p.m.images.Current().Broker(id)
	return ok && !b.Fenced && !b.InControlledShutdown && (f.epoch < 0 || f.epoch == b.Epoch)
}

// isrRequest returns the change to ask for now; ok is false if there is none or
// it was asked for a moment ago, then wait says when to look again.
func (p *Partition) isrRequest(now time.Time) (req kmsg.AlterPartitionRequestTopicPartition, wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, c := p.leadership.Load(), p.change
	if l == nil || !l.mine || c == nil || c.refused {
		return req, 0, false
	}
	if wait := c.sendAfter.Sub(now); wait > 0 {
		return req, wait, false
	}
	c.sendAfter = now.Add(isrRetry)
	req = kmsg.NewAlterPartitionRequestTopicPartition()
	req.Partition, req.LeaderEpoch, req.PartitionEpoch = p.key.partition, l.epoch, c.partitionEpoch
	for _, id := range c.isr {
		member := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
		member.BrokerID, member.BrokerEpoch = id, p.memberEpoch(id)
		req.NewEpochISR = append(req.NewEpochISR, member)
	}
	return req, 0, true
}

// memberEpoch is the registration that a member of the ISR had when it fetched;
// the controller refuses it if there has been another since. Partition.mu is held.
func (p *Partition) memberEpoch(id int32) int64 {
	if id == p.m.cfg.BrokerID {
		return p.m.brokerEpoch()
	}
	if f := p.followers[id]; f != nil {
		return f.epoch
	}
	return -1
}

// isrAnswered takes the controller's answer to a change. Success needs nothing:
// the image that shows it ends the change. So does most of what the controller
// refuses, as it refuses because it knows more than this broker; until that
// image comes the change stands, and is asked for again.
func (p *Partition) isrAnswered(partitionEpoch int32, code protocol.ErrorCode, now time.Time) {
	if code == protocol.None {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.change
	if c == nil || c.partitionEpoch != partitionEpoch {
		return
	}
	p.log.Debug("controller refused in-sync replicas", "isr", c.isr, "code", code.String())
	switch code {
	case protocol.IneligibleReplica, protocol.OperationNotAttempted:
		c.refused = true
		c.sendAfter = now.Add(isrRetry)
	default:
	}
}
