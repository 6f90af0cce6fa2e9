package replica

import (
	"context"
	"time"

	"github.com/quorate/quorate/core/metadata"
)

// FetchPlan is a whole Fetch request over many partitions.
type FetchPlan struct {
	Parts []FetchPart // in the order in which MaxBytes is given out
	// MinBytes is waited for, MaxWait at most. Zero or less does not wait.
	MinBytes int
	MaxBytes int // of all partitions; a first batch may go above it, unless this is 0 and Replica
	MaxWait  time.Duration
	// Replica is set if the reader is a follower: it waits for the log's end instead
	// of the high watermark. Every part's ReadRequest then names it.
	Replica bool
}

// report tells if a follower only says what it has, and wants nothing.
func (p *FetchPlan) report() bool { return p.Replica && p.MaxBytes <= 0 }

// FetchPart is one partition of a FetchPlan.
type FetchPart struct {
	TopicID   metadata.UUID
	Partition int32
	ReadRequest
}

// FetchResult is the answer to the FetchPart of the same index.
type FetchResult struct {
	ReadResult
	Err error // a *protocol.Error as Partition.Read or Manager.Partition returns it
}

// markDelay is how long a leader waits for records that a higher high watermark could
// ride with, before it tells a follower about the mark alone.
const markDelay = 10 * time.Millisecond

// Fetch reads partitions, and waits until MinBytes are there, MaxWait has passed,
// ctx ends, or any partition has an error or diverges. A follower also gets its answer
// soon after a high watermark has moved. Parts are written to. The results are in the order
// of plan.Parts. MinOne of the parts is ignored: the first partition that has data
// gives its first batch whole (KIP-74), others only what fits.
func (m *Manager) Fetch(ctx context.Context, plan FetchPlan) []FetchResult {
	f := newFetching(m, plan)
	stages := &m.metrics.fetches[0]
	if plan.Replica {
		stages = &m.metrics.fetches[1]
	}
	began := time.Now()
	done := f.read(true) || plan.MaxWait <= 0
	looked := time.Now()
	stages.read.Observe(looked.Sub(began).Seconds())
	if !done {
		f.await(ctx)
		stages.wait.Observe(time.Since(looked).Seconds())
	}
	return f.results
}

// await waits until the answer can be sent.
func (f *fetching) await(ctx context.Context) {
	m, plan := f.m, &f.plan
	watch := WatchHighWatermark
	if plan.Replica {
		watch = WatchEnd
	}
	w := m.NewWaiter(watch, f.parts...)
	defer w.Close()
	marks := f.watchMarks()
	defer marks.Close()
	deadline := time.Now().Add(plan.MaxWait)
	timeout := time.NewTimer(plan.MaxWait)
	defer timeout.Stop()
	for !f.read(false) { // at once: something may have come before the waiter
		if plan.Replica && f.moved && !f.hurries {
			f.hurries = true
			marks.Close()
			timeout.Reset(min(markDelay, time.Until(deadline)))
		}
		select {
		case <-w.C():
		case <-marks.C():
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// watchMarks returns what wakes a follower's fetch when a high watermark moves.
func (f *fetching) watchMarks() *Waiter {
	if !f.plan.Replica {
		return &Waiter{}
	}
	return f.m.NewWaiter(WatchHighWatermark, f.parts...)
}

// fetching is one Fetch under way.
type fetching struct {
	m       *Manager
	plan    FetchPlan
	parts   []*Partition // nil where there is an error already
	results []FetchResult
	seen    []seen  // when results were read
	starts  []int64 // of the logs when a follower's fetch came
	moved   bool    // a high watermark is above what the follower knows
	hurries bool    // the wait was cut short because of that
}

// seen is what decides on the result of a partition.
type seen struct {
	leadership *leadership
	readable   int64
}

// compareStart tells if a follower is to be told at once where the log starts: that
// moved since it was told last, or since its fetch came.
func (f *fetching) compareStart(i int, p *Partition, first bool) (news bool) {
	if !f.plan.Replica || f.plan.report() {
		return false
	}
	start := p.wal.Start()
	if !first {
		return start != f.starts[i]
	}
	f.starts[i] = start
	return p.tellStart(f.plan.Parts[i].Replica.ID, start)
}

func newFetching(m *Manager, plan FetchPlan) *fetching {
	f := &fetching{
		m:       m,
		plan:    plan,
		parts:   make([]*Partition, len(plan.Parts)),
		results: make([]FetchResult, len(plan.Parts)),
		seen:    make([]seen, len(plan.Parts)),
	}
	if plan.Replica {
		f.starts = make([]int64, len(plan.Parts))
	}
	for i, part := range plan.Parts {
		f.parts[i], f.results[i].Err = m.Partition(part.TopicID, part.Partition)
	}
	return f
}

// read looks at every partition, and tells if the answer can be sent. first is
// the time at which a follower's positions count.
func (f *fetching) read(first bool) (done bool) {
	total := 0
	for i, p := range f.parts {
		if p == nil {
			done = true
			continue
		}
		room := max(0, f.plan.MaxBytes-total)
		if first || !f.same(i, p, room) {
			f.readPart(i, p, room, total == 0 && !f.plan.report(), first)
		}
		res := &f.results[i]
		total += res.Records.Size()
		done = done || res.Err != nil || res.Diverging != nil
		done = f.compareStart(i, p, first) || done
		f.compareMark(i, first)
	}
	return done || total >= f.plan.MinBytes
}

// compareMark notes if a follower has to hear of a high watermark. One that does not
// say what it knows knew what there was when its fetch came.
func (f *fetching) compareMark(i int, first bool) {
	known := &f.plan.Parts[i].KnownMark
	if mark := f.results[i].HighWatermark; first && *known < 0 {
		*known = mark
	} else if mark > *known {
		f.moved = true
	}
}

// readPart reads a partition anew.
func (f *fetching) readPart(i int, p *Partition, room int, minOne, first bool) {
	if old := f.results[i].Records; old != nil {
		old.Release()
	}
	r := f.plan.Parts[i].ReadRequest
	r.MinOne = minOne
	r.MaxBytes = min(r.MaxBytes, room)
	f.seen[i] = seen{p.leadership.Load(), p.readable(r)}
	res, err := p.read(r, first)
	f.results[i] = FetchResult{res, err}
}

// same tells if a partition would give the same result again, which then only gets
// the offsets of now: a long poll over many partitions is woken by few of them.
func (f *fetching) same(i int, p *Partition, room int) bool {
	res := &f.results[i]
	now := seen{p.leadership.Load(), p.readable(f.plan.Parts[i].ReadRequest)}
	if now != f.seen[i] || p.failure.Load() != nil || res.Records.Size() > room {
		return false
	}
	aborted := res.Aborted
	res.ReadResult = p.result(res.Records)
	res.Aborted = aborted
	return true
}
