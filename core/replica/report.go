package replica

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
)

// A report tells a leader how much of its records a follower has on stable storage by
// now. It is a Fetch that asks for nothing and does not wait, on a connection of its
// own. There is no timer: one report is under way at a time, and what becomes durable
// meanwhile rides in the next one. While no fetch waits at the leader there are none,
// since the fetch that comes next says it all.

// laneReports is the connection to the leader that reports take.
const laneReports = "fetch-durable"

// reported is what a leader was told last.
type reported struct {
	leader, epoch int32
	durable       int64
}

// reportDurable has the leader told what this follower has on stable storage, if the
// leader waits for it. It is called after that may have changed.
func (p *Partition) reportDurable() {
	l := p.leadership.Load()
	if l == nil || l.mine || l.settings.log.Sync != wal.SyncAlways {
		return
	}
	p.raiseMark()
	if f := p.fetcher.Load(); f != nil && f.leader == l.leader && f.asking.Load() {
		f.reports.add(p)
	}
}

// unreported returns the position if the leader does not know how much is durable.
func (p *Partition) unreported(leader int32) (pos position, ok bool) {
	p.mu.Lock()
	before := p.reported
	p.mu.Unlock()
	pos, ok = p.position(leader)
	return pos, ok && before != reported{leader: leader, epoch: pos.epoch, durable: pos.durable}
}

// forgetReport is called when nobody knows if a report has arrived.
func (p *Partition) forgetReport() {
	p.mu.Lock()
	p.reported = reported{epoch: -1}
	p.mu.Unlock()
}

// runReports sends reports until ctx ends.
func (f *fetcher) runReports(ctx context.Context) {
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.reports.kick:
		}
		positions := f.unreported()
		if len(positions) == 0 {
			continue
		}
		if err := f.report(ctx, positions); err == nil {
			failures = 0
			continue
		} else if ctx.Err() == nil {
			f.log.Debug("cannot report what is durable", "error", err) // the fetches say it if they fail too
		}
		for p := range positions {
			p.forgetReport()
			f.reports.add(p)
		}
		failures++
		f.pauseReports(ctx, f.m.backoff(failures))
	}
}

func (f *fetcher) pauseReports(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// unreported takes the partitions whose durable end the leader does not know.
func (f *fetcher) unreported() map[*Partition]position {
	var positions map[*Partition]position
	for p := range f.reports.take() {
		if pos, ok := p.unreported(f.leader); ok {
			if positions == nil {
				positions = map[*Partition]position{}
			}
			positions[p] = pos
		}
	}
	return positions
}

// report sends one report and takes the high watermarks from the answer. What else
// the leader has to say, errors and divergence, it says to the fetch.
func (f *fetcher) report(ctx context.Context, positions map[*Partition]position) error {
	ctx, cancel := context.WithTimeout(ctx, f.m.cfg.FetchTimeout)
	defer cancel()
	req := f.newRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 0, 0
	addParts(req, sorted(positions, 0), positions, 0)
	f.m.metrics.reports.Inc()
	resp, _, err := f.send(ctx, laneReports, req, nil)
	if err != nil {
		return err
	}
	f.eachAnswer(positions, resp, func(p *Partition, part *kmsg.FetchResponseTopicPartition) {
		p.learnMark(positions[p], part)
	})
	return nil
}

// eachAnswer calls do for the partitions of an answer that were asked for.
func (f *fetcher) eachAnswer(positions map[*Partition]position, resp *kmsg.FetchResponse, do func(*Partition, *kmsg.FetchResponseTopicPartition)) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			part := &t.Partitions[j]
			p := (*f.m.partitions.Load())[partitionKey{metadata.UUID(t.TopicID), part.Partition}]
			if _, asked := positions[p]; asked {
				do(p, part)
			}
		}
	}
}

// learnMark takes the high watermark from the answer to a report. It holds for as
// long as the leader leads: a later position makes it no less true.
func (p *Partition) learnMark(pos position, part *kmsg.FetchResponseTopicPartition) {
	if part.ErrorCode != int16(protocol.None) || part.DivergingEpoch.EndOffset >= 0 {
		return
	}
	p.mu.Lock()
	mark := int64(-1)
	if l := p.leadership.Load(); l != nil && !l.mine && l.leader == pos.leader && l.epoch == pos.epoch {
		mark = p.followMark(part.HighWatermark)
	}
	p.mu.Unlock()
	if mark >= 0 {
		p.marks.reached(mark)
	}
}
