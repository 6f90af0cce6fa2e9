// Package coordinatortest is an internal topic in memory, with switches for what
// can go wrong, for tests of coordinators. It knows no disk and no replicas: what
// is committed is what the test says.
package coordinatortest

import (
	"context"
	"slices"
	"sync"

	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// Topic is the partitions of an internal topic, as one broker sees them.
type Topic struct {
	Partitions []*Log
	listeners  []func(partition int32, leader bool, epoch int32)
}

// NewTopic returns a topic with empty partitions that nobody leads.
func NewTopic(partitions int) *Topic {
	t := &Topic{}
	for range partitions {
		t.Partitions = append(t.Partitions, NewLog())
	}
	return t
}

// OnLeadership has f called by Lead and Depose.
func (t *Topic) OnLeadership(f func(partition int32, leader bool, epoch int32)) {
	t.listeners = append(t.listeners, f)
}

// Lead makes this broker the leader of a partition in its next epoch.
func (t *Topic) Lead(partition int32) {
	epoch := t.Partitions[partition].lead(true)
	for _, f := range t.listeners {
		f(partition, true, epoch)
	}
}

// Depose makes another broker the leader.
func (t *Topic) Depose(partition int32) {
	epoch := t.Partitions[partition].lead(false)
	for _, f := range t.listeners {
		f(partition, false, epoch)
	}
}

// Log is one partition. It is safe for concurrent use.
type Log struct {
	mu        sync.Mutex
	batches   []record.Batch
	committed int64
	leader    bool
	epoch     int32
	held      bool
	fault     *fault
	changed   chan struct{} // closed at every change
	appends   int
}

// fault is what the next append meets.
type fault struct {
	err   error
	wrote bool
}

// NewLog returns an empty log that commits at once what is appended.
func NewLog() *Log { return &Log{changed: make(chan struct{})} }

// Hold makes appends stay uncommitted until Release.
func (l *Log) Hold() {
	l.change(func() { l.held = true })
}

// Release commits what is there and what will be appended.
func (l *Log) Release() {
	l.change(func() { l.held, l.committed = false, l.end() })
}

// FailAppend makes the next append return err; wrote says whether it is in the
// log all the same.
func (l *Log) FailAppend(err error, wrote bool) {
	l.change(func() { l.fault = &fault{err: err, wrote: wrote} })
}

// Heal takes every fault back and releases.
func (l *Log) Heal() {
	l.change(func() { l.fault, l.held, l.committed = nil, false, l.end() })
}

// Write appends a record as another broker would have, when it led.
func (l *Log) Write(timestampMillis int64, key, value []byte) {
	l.change(func() {
		b := record.NewBuilder()
		b.Add(timestampMillis, key, value)
		l.append(b.Bytes())
	})
}

// Appends returns how many batches were appended.
func (l *Log) Appends() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appends
}

// Append is coordinator.Partition's.
func (l *Log) Append(epoch int32, batch []byte) (end int64, err error) {
	l.change(func() {
		if !l.leads(epoch) {
			err = errNotLeader
			return
		}
		f := l.fault
		l.fault = nil
		if f == nil || f.wrote {
			l.append(batch)
		}
		if f != nil {
			err = f.err
		}
		end = l.end()
	})
	return end, err
}

// AwaitCommitted is coordinator.Partition's.
func (l *Log) AwaitCommitted(ctx context.Context, epoch int32, end int64) error {
	for {
		l.mu.Lock()
		leads, committed, changed := l.leads(epoch), l.committed, l.changed
		l.mu.Unlock()
		if !leads {
			return errNotLeader
		}
		if committed >= end {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ReadLocal is coordinator.Partition's.
func (l *Log) ReadLocal(from int64, maxBytes int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []byte
	for _, b := range l.batches {
		if b.LastOffset() < from {
			continue
		}
		if len(out) > 0 && len(out)+len(b) > maxBytes {
			break
		}
		out = append(out, b...)
	}
	return out, nil
}

// Bounds is coordinator.Partition's.
func (l *Log) Bounds() (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, l.end()
}

var errNotLeader = protocol.Errorf(protocol.NotLeaderOrFollower, "not the leader in this epoch")

func (l *Log) leads(epoch int32) bool { return l.leader && l.epoch == epoch }

func (l *Log) lead(leader bool) (epoch int32) {
	l.change(func() {
		l.epoch++
		l.leader = leader
		epoch = l.epoch
	})
	return epoch
}

func (l *Log) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) append(batch []byte) {
	b := record.Batch(slices.Clone(batch))
	b.SetBaseOffset(l.end())
	b.SetLeaderEpoch(l.epoch)
	l.batches = append(l.batches, b)
	l.appends++
	if !l.held {
		l.committed = l.end()
	}
}

func (l *Log) end() int64 {
	if len(l.batches) == 0 {
		return 0
	}
	return l.batches[len(l.batches)-1].LastOffset() + 1
}
