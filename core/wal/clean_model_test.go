package wal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// choices is where a model takes its decisions from: a seed, or rapid, which can
// shrink them.
type choices interface{ IntN(n int) int }

// cleanModel is a compacted log and what was written to it.
type cleanModel struct {
	fail func(format string, args ...any) // does not return
	pick choices
	fs   *disktest.FS
	dir  string
	cfg  Config
	now  time.Time
	log  *Log
	c    *Committer // nil: the log syncs itself

	written   []record.Record // in order; offsets that were lost or truncated are not in it
	acked     int64
	committed int64 // the high watermark that Clean was told of
	epoch     int32
	sequence  map[int64]int32     // next one of each producer
	wrote     map[int64]int64     // the last offset of each producer
	met       map[int64]time.Time // tombstones: when a compaction may first have met them
	unsure    bool                // a Reset or Delete was cut off
	made      int
}

const tombstoneTime = time.Hour

func newCleanModel(fail func(string, ...any), pick choices) *cleanModel {
	cfg := smallConfig()
	cfg.ProducerExpiry = 1000 * time.Hour
	return &cleanModel{
		fail: fail, pick: pick, fs: disktest.New(), dir: "/data/t-0", cfg: cfg, now: time.UnixMilli(1e12),
		sequence: map[int64]int32{}, wrote: map[int64]int64{}, met: map[int64]time.Time{},
	}
}

// open opens the log and brings the model in line with what a crash may have taken.
// false: the power is cut.
func (m *cleanModel) open(opts ...Option) bool {
	m.log = nil
	l, err := Open(m.dir, m.cfg, slog.New(slog.DiscardHandler), append(opts, WithFS(m.fs), WithTopicID([16]byte{1}), WithFiles(filecache.New(5)),
		WithClock(func() time.Time { return m.now }))...)
	if errors.Is(err, disktest.ErrPower) {
		return false
	}
	if err != nil {
		m.fail("open: %v", err)
	}
	m.log = l
	if l.End() < m.acked && !m.unsure {
		m.fail("the log ends at %d, %d was acknowledged", l.End(), m.acked)
	}
	m.lose(l.End())
	if m.unsure {
		m.resync()
	}
	return true
}

// lose drops from the model what the log does not have.
func (m *cleanModel) lose(end int64) {
	m.written = slices.DeleteFunc(m.written, func(r record.Record) bool { return r.Offset >= end })
	m.acked, m.committed = min(m.acked, end), min(m.committed, end)
	clear(m.sequence)
	m.log.mu.Lock()
	for id, p := range m.log.producers.known {
		m.wrote[id] = p.lastOffset()
		m.sequence[id] = record.AddSequence(p.lastSequence(), 1)
	}
	m.log.mu.Unlock()
}

// resync takes what is there for what was written: a prefix of a compacted log lacks
// what was compacted for the sake of records that are gone.
func (m *cleanModel) resync() {
	m.unsure = false
	have := m.records(m.log)
	if len(have) > 0 {
		m.checkWritten(have)
	}
	m.written = have
	m.acked, m.committed = m.log.End(), m.log.End()
}

// records reads the log from its start, and looks at its order, batches and epochs.
func (m *cleanModel) records(l *Log) (all []record.Record) {
	next := l.Start()
	for at := l.Start(); at < l.End(); {
		b, err := l.Read(at, l.End(), 300, true)
		if err != nil || len(b) == 0 {
			m.fail("read at %d of %d to %d: %d bytes, %v", at, l.Start(), l.End(), len(b), err)
		}
		for batch, err := range record.Split(b) {
			if err != nil || !batch.CheckCRC() || batch.LastOffset() < next || batch.BaseOffset() < next && next != l.Start() {
				m.fail("batch %d to %d where %d is next, %v", batch.BaseOffset(), batch.LastOffset(), next, err)
			}
			if e := l.EpochAt(max(batch.BaseOffset(), l.Start())); e != batch.LeaderEpoch() {
				m.fail("epoch at %d is %d, the batch has %d", batch.BaseOffset(), e, batch.LeaderEpoch())
			}
			for r, err := range batch.Records(record.DefaultDecompressLimits()) {
				if err != nil {
					m.fail("records at %d: %v", batch.BaseOffset(), err)
				}
				if r.Offset >= l.Start() {
					all = append(all, r)
				}
			}
			next = batch.LastOffset() + 1
			at = next
		}
	}
	return all
}

// checkWritten wants every record as it was written.
func (m *cleanModel) checkWritten(have []record.Record) {
	last := int64(-1)
	i := 0
	for _, r := range have {
		for i < len(m.written) && m.written[i].Offset < r.Offset {
			i++
		}
		if r.Offset <= last || i == len(m.written) || m.written[i].Offset != r.Offset {
			m.fail("record at %d after %d was not written there", r.Offset, last)
		}
		w := m.written[i]
		if w.Timestamp != r.Timestamp || !bytes.Equal(w.Key, r.Key) || !bytes.Equal(w.Value, r.Value) || (w.Value == nil) != (r.Value == nil) {
			m.fail("record at %d is %v, written was %v", r.Offset, r, w)
		}
		last = r.Offset
	}
}

// check holds l, the log or a copy of it, against the model.
func (m *cleanModel) check(l *Log) {
	have := m.records(l)
	m.checkWritten(have)
	newest, left := map[string]record.Record{}, map[string][]int64{}
	for _, r := range m.written {
		newest[string(r.Key)] = r
	}
	for _, r := range have {
		left[string(r.Key)] = append(left[string(r.Key)], r.Offset)
	}
	for key, r := range newest {
		offsets := left[key]
		if r.Offset < l.Start() || len(offsets) > 0 && offsets[len(offsets)-1] == r.Offset {
			continue
		}
		met, ok := m.met[r.Offset]
		if r.Value != nil || !ok || m.now.Before(met.Add(tombstoneTime)) {
			m.fail("key %s: its newest record, at %d, is gone; left are %v", key, r.Offset, offsets)
		}
		if len(offsets) > 0 {
			m.fail("key %s was deleted at %d and comes back at %v", key, r.Offset, offsets)
		}
	}
	m.checkReads(l, have)
	m.checkProducers(l)
}

// checkReads looks up an offset and a time.
func (m *cleanModel) checkReads(l *Log, have []record.Record) {
	if l.End() > l.Start() {
		from := l.Start() + int64(m.pick.IntN(int(l.End()-l.Start())))
		span, err := l.Span(from, l.End(), 1, true)
		if err != nil || span.Size() == 0 {
			m.fail("nothing at or behind %d: %v", from, err)
		}
		b := make(record.Batch, span.Size())
		if _, err := span.ReadAt(b, 0); err != nil || b.LastOffset() < from || len(b) != b.Size() {
			m.fail("span at %d has the batch %d to %d, %v", from, b.BaseOffset(), b.LastOffset(), err)
		}
		span.Release()
	}
	ts := m.now.UnixMilli() - int64(m.pick.IntN(1000))
	want := slices.IndexFunc(have, func(r record.Record) bool { return r.Timestamp >= ts })
	offset, _, _, found, err := l.OffsetForTime(ts)
	if err != nil || found != (want >= 0) || found && offset != have[want].Offset {
		m.fail("time %d: found %v at %d, want index %d, %v", ts, found, offset, want, err)
	}
}

// checkProducers wants the next sequence of every producer.
func (m *cleanModel) checkProducers(l *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, want := range m.sequence {
		if m.wrote[id] < l.Start() {
			continue // a copy that begins later does not know it
		}
		if p := l.producers.known[id]; p == nil || record.AddSequence(p.lastSequence(), 1) != want {
			m.fail("producer %d: %+v, want sequence %d next", id, p, want)
		}
	}
}

// append writes a batch of a few records, some with a producer.
func (m *cleanModel) append() error {
	b := record.NewBuilder()
	id := int64(m.pick.IntN(5)) - 1
	if id >= 0 {
		b.SetProducer(id, 0, m.sequence[id])
	}
	base := m.log.End()
	var records []record.Record
	for i := range 1 + m.pick.IntN(4) {
		m.made++
		m.now = m.now.Add(time.Duration(m.pick.IntN(20)) * time.Millisecond)
		r := record.Record{Offset: base + int64(i), Timestamp: m.now.UnixMilli(), Key: fmt.Append(nil, m.pick.IntN(8))}
		if m.pick.IntN(3) > 0 {
			r.Value = fmt.Appendf(nil, "value %d", m.made)
		}
		b.Add(r.Timestamp, r.Key, r.Value)
		records = append(records, r)
	}
	m.written = append(m.written, records...) // also if it fails: it may be there
	_, err := m.log.AppendAsLeader(m.epoch, b.Bytes())
	if err == nil && id >= 0 {
		m.sequence[id] += int32(len(records))
		m.wrote[id] = m.log.End() - 1
	}
	return err
}

func (m *cleanModel) sync() error {
	if m.c != nil {
		if err := m.c.flush(); err != nil {
			return err
		}
	} else if err := m.log.Sync(contextOf(m), m.log.End()); err != nil {
		return err
	}
	m.acked = m.log.Durable()
	return nil
}

// clean compacts what is durable.
func (m *cleanModel) clean(l *Log) error {
	m.committed = max(m.committed, m.acked)
	for _, r := range m.written {
		if _, ok := m.met[r.Offset]; !ok && r.Value == nil && r.Offset < m.committed {
			m.met[r.Offset] = m.now
		}
	}
	_, err := l.Clean(contextOf(m), CleanPolicy{
		UpTo: m.committed, DeleteRetention: tombstoneTime, MapBytes: (2 + m.pick.IntN(9)) * 24,
	})
	return err
}

// truncate drops what no high watermark has reached.
func (m *cleanModel) truncate() error {
	to := m.committed + int64(m.pick.IntN(int(m.log.End()-m.committed)+1))
	to = max(to, m.log.Start())
	m.acked = min(m.acked, m.committed)
	if err := m.log.Truncate(to); err != nil {
		return err
	}
	if m.log.End() > to || m.log.End() < m.committed {
		m.fail("truncated to %d, committed is %d, the log ends at %d", to, m.committed, m.log.End())
	}
	m.lose(m.log.End())
	return nil
}

// setStart deletes records up to the high watermark.
func (m *cleanModel) setStart() error {
	if m.committed <= m.log.Start() {
		return nil
	}
	return m.log.SetStart(m.log.Start() + int64(m.pick.IntN(int(m.committed-m.log.Start()))))
}

func (m *cleanModel) reset() error {
	m.unsure = true
	to := m.log.End() + int64(m.pick.IntN(50))
	if err := m.log.Reset(to); err != nil {
		return err
	}
	m.unsure, m.written = false, nil
	m.acked, m.committed = to, to
	clear(m.sequence)
	return nil
}

func (m *cleanModel) close() error {
	if err := m.log.Close(); err != nil {
		return err
	}
	m.acked = m.log.End()
	return nil
}

func failing(t *testing.T, seed uint64) func(string, ...any) {
	return func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d: "+format, append([]any{seed}, args...)...)
	}
}
