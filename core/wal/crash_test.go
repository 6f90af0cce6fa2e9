package wal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// crashModel is what a log must hold, whatever happens to the disk.
type crashModel struct {
	t       *testing.T
	seed    uint64
	rnd     *rand.Rand
	fs      *disktest.FS
	log     *Log
	now     time.Time
	cfg     Config
	batches []record.Batch // all that were appended and not truncated, with their offsets
	acked   int64          // everything before is durable
	start   int64          // what Start must be at least
	epoch   int32
	next    map[int64]int32 // producer's next sequence
	made    int
	resets  bool // a Reset was cut off: it may have happened

	dir     string
	options []Option
	sync    func() error // makes durable, and moves acked
}

// TestCrash appends, syncs, truncates, deletes and closes at random, cuts the
// power at a random call to the file system, and opens again.
func TestCrash(t *testing.T) {
	for seed := *crashSeed; seed < *crashSeed+max(1, *crashPoints/cutsOfASeed); seed++ {
		runCrashSeed(t, seed)
		if t.Failed() {
			t.Fatalf("replay with -run TestCrash$ -crash.seed %d -crash.points 1", seed)
		}
	}
}

// cutsOfASeed is how often a seed cuts the power.
const cutsOfASeed = 6

func runCrashSeed(t *testing.T, seed uint64) {
	cfg := smallConfig()
	m := &crashModel{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 7)), fs: disktest.New(), cfg: cfg,
		now: time.UnixMilli(1_000_000), next: map[int64]int32{},
		dir: "/data/t-0",
	}
	if seed%2 == 1 {
		m.options = []Option{WithFiles(filecache.New(2))} // which closes them all the time
	}
	m.sync = func() error {
		err := m.log.Sync(t.Context(), m.log.End())
		if err == nil {
			m.acked = m.log.End()
		}
		return err
	}
	for range cutsOfASeed {
		if m.fs.Budget = m.rnd.IntN(400); m.rnd.IntN(4) == 0 {
			m.fs.Budget = m.rnd.IntN(30)
		}
		m.open()
		for m.log != nil && m.step() {
			continue
		}
		if m.rnd.IntN(4) == 0 {
			m.fs.Kill()
		} else {
			m.fs.Crash(m.rnd)
		}
		m.fs.Budget = -1
		m.open()
		m.check()
		if m.rnd.IntN(2) == 0 {
			if err := m.log.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			m.open()
			m.check()
		}
		if t.Failed() {
			return
		}
	}
}

// open opens the log; it may fail only because the power is cut.
func (m *crashModel) open() {
	m.log = nil
	l, err := Open(m.dir, m.cfg, slog.New(slog.DiscardHandler), append(m.options, WithFS(m.fs), WithTopicID([16]byte{1}),
		WithClock(func() time.Time { return m.now }))...)
	if err != nil {
		if !errors.Is(err, disktest.ErrPower) {
			m.t.Fatalf("seed %d: %v", m.seed, err)
		}
		return
	}
	m.log = l
	if m.resets && l.Size() == 0 && len(l.Producers()) == 0 {
		m.batches = nil
	}
	m.resets = false
	m.forget(l.End())
}

// forget drops from the model what the log does not have.
func (m *crashModel) forget(end int64) {
	n := 0
	for n < len(m.batches) && m.batches[n].BaseOffset() < end {
		n++
	}
	m.batches = m.batches[:n]
}

// step does one thing; false means that the power is cut.
func (m *crashModel) step() bool {
	var err error
	switch n := m.rnd.IntN(100); {
	case n < 60:
		err = m.append()
	case n < 80:
		err = m.sync()
	case n < 84:
		err = m.truncate()
	case n < 88:
		err = m.moveStart()
	case n < 90:
		err = m.retain()
	case n < 92:
		m.epoch++
		err = m.log.StartEpoch(m.epoch)
	case n < 94:
		err = m.reopen()
	case n < 95:
		err = m.reset()
	default:
		m.readSomething()
	}
	if err != nil && !errors.Is(err, disktest.ErrPower) {
		m.t.Fatalf("seed %d: %v", m.seed, err)
	}
	return err == nil
}

func (m *crashModel) append() error {
	m.made++
	n := m.rnd.IntN(3) + 1
	name := fmt.Sprintf("%d", m.made)
	b := batchOf(n, name, int64(m.made))
	if id := int64(m.rnd.IntN(9)); id > 5 {
		b = m.transactional(n, name, id)
	} else if id > 0 {
		if p := m.model()[id]; p != nil {
			b = producerBatchOf(n, name, id, p.epoch, record.AddSequence(p.lastSequence(), 1))
		} else {
			b = producerBatchOf(n, name, id, 0, 0)
		}
	}
	want := m.log.End()
	a, err := m.log.AppendAsLeader(m.epoch, b)
	if err != nil {
		if b.LeaderEpoch() != record.NoLeaderEpoch {
			m.batches = append(m.batches, b) // it may be there after all
		}
		return err
	}
	if a.First != want || a.Duplicate {
		m.t.Errorf("append: got %+v, want first %d", a, want)
	}
	m.batches = append(m.batches, b)
	return nil
}

// transactional is a batch of a producer that writes in transactions, or their marker.
func (m *crashModel) transactional(n int, name string, id int64) record.Batch {
	p := m.model()[id]
	if p == nil {
		return txnBatchOf(n, name, id, 0, 0)
	}
	if chance := m.rnd.IntN(10); p.txnFirst >= 0 && chance < 4 || chance == 0 {
		kind := record.MarkerType(m.rnd.IntN(2))
		return record.NewMarker(record.Marker{Type: kind, CoordinatorEpoch: p.coordinatorEpoch + int32(m.rnd.IntN(2))}, id, p.epoch+int16(m.rnd.IntN(2)), 1000)
	}
	return txnBatchOf(n, name, id, p.epoch, record.AddSequence(p.lastSequence(), 1))
}

func (m *crashModel) truncate() error {
	to := m.log.Start() + m.rnd.Int64N(m.log.End()-m.log.Start()+1)
	m.acked = min(m.acked, to)
	for _, b := range m.batches {
		if b.BaseOffset() < to && b.LastOffset() >= to {
			m.acked = min(m.acked, b.BaseOffset())
			m.start = min(m.start, b.BaseOffset())
			m.resets = b.BaseOffset() < m.log.Start() // nothing readable remains
		}
	}
	if err := m.log.Truncate(to); err != nil {
		return err
	}
	if m.resets {
		m.batches = nil
	}
	m.resets = false
	if m.log.End() > to {
		m.t.Errorf("truncate to %d: end is %d", to, m.log.End())
	}
	m.forget(m.log.End())
	return nil
}

func (m *crashModel) moveStart() error {
	to := m.log.Start() + m.rnd.Int64N(m.log.End()-m.log.Start()+1)
	move := m.log.SetStart
	if m.rnd.IntN(2) == 0 {
		move = m.log.MoveStart
	}
	if err := move(to); err != nil {
		return err
	}
	if m.rnd.IntN(2) == 0 {
		if err := m.log.RemoveBelowStart(m.t.Context()); err != nil {
			return err
		}
	}
	m.start = m.log.Start()
	return nil
}

func (m *crashModel) retain() error {
	p := RetentionPolicy{MaxBytes: m.rnd.Int64N(3000), UpTo: m.log.Durable()}
	_, err := m.log.Retain(m.t.Context(), p)
	if err == nil {
		m.start = max(m.start, m.log.Start())
	}
	return err
}

func (m *crashModel) reset() error {
	to := m.rnd.Int64N(m.log.End() + 100)
	m.acked, m.start, m.resets = 0, 0, true
	if err := m.log.Reset(to); err != nil {
		return err
	}
	m.resets = false
	m.acked, m.start, m.batches = to, to, nil
	return nil
}

func (m *crashModel) reopen() error {
	if err := m.log.Close(); err != nil {
		return err
	}
	m.acked = m.log.End()
	m.log = nil
	if m.open(); m.log == nil {
		return disktest.ErrPower
	}
	return nil
}

func (m *crashModel) readSomething() {
	if m.log.End() > m.log.Start() {
		from := m.log.Start() + m.rnd.Int64N(m.log.End()-m.log.Start())
		if b, err := m.log.Read(from, m.log.End(), 300, true); err != nil || len(b) == 0 {
			m.t.Errorf("read at %d of %d..%d: %d bytes, %v", from, m.log.Start(), m.log.End(), len(b), err)
		}
	}
}

// model is the producers' state by everything that was ever appended and is there.
func (m *crashModel) model() map[int64]*producer {
	ps := newProducers(m.cfg)
	for _, b := range m.batches {
		if b.HasProducerID() {
			k, _ := markerOf(b)
			ps.replay(b, k, m.now)
		}
	}
	return ps.known
}

// aborted is the aborted transactions by everything that was ever appended and is
// there, and the last stable offset.
func (m *crashModel) aborted() (aborted []AbortedTransaction, lastStable int64) {
	open := map[int64]int64{} // producer to first offset
	stable := func(end int64) int64 {
		for _, first := range open {
			end = min(end, first)
		}
		return end
	}
	for _, b := range m.batches {
		first, ok := open[b.ProducerID()]
		switch k, marks, _ := b.Marker(); {
		case marks && ok:
			delete(open, b.ProducerID())
			if k.Type == record.Abort {
				aborted = append(aborted, AbortedTransaction{b.ProducerID(), first, b.LastOffset(), stable(b.LastOffset() + 1)})
			}
		case b.IsTransactional() && !b.IsControl() && !ok:
			open[b.ProducerID()] = b.BaseOffset()
		}
	}
	return aborted, stable(m.log.End())
}

func (m *crashModel) checkTransactions() {
	all, lastStable := m.aborted()
	l := m.log
	if got := l.LastStable(l.End()); got != lastStable {
		m.t.Errorf("last stable offset is %d, want %d", got, lastStable)
	}
	for range 4 {
		from := l.Start() + m.rnd.Int64N(l.End()-l.Start()+1)
		upTo := from + m.rnd.Int64N(l.End()-from+1)
		got, err := l.AbortedTransactions(from, upTo)
		want := slices.DeleteFunc(slices.Clone(all), func(a AbortedTransaction) bool { return a.Last < from || a.First >= upTo })
		if err != nil || !slices.Equal(got, want) {
			m.t.Errorf("aborted transactions of %d to %d in %d..%d: got %+v, %v; want %+v", from, upTo, l.Start(), l.End(), got, err, want)
		}
	}
}

// check compares the log with the model.
func (m *crashModel) check() {
	l := m.log
	if l.End() < m.acked || l.Start() < m.start || l.Durable() != l.End() {
		m.t.Errorf("start %d end %d durable %d; want start >= %d and end >= %d", l.Start(), l.End(), l.Durable(), m.start, m.acked)
	}
	got := map[int64]record.Batch{}
	for at := l.Start(); at < l.End(); {
		b, err := l.Read(at, l.End(), 1<<20, true)
		if err != nil || len(b) == 0 {
			m.t.Fatalf("seed %d: read at %d: %d bytes, %v", m.seed, at, len(b), err)
		}
		for batch := range record.Split(b) {
			if at != l.Start() && batch.BaseOffset() != at || !batch.CheckCRC() {
				m.t.Errorf("batch at offset %d, want %d", batch.BaseOffset(), at)
			}
			got[batch.BaseOffset()] = batch
			at = batch.LastOffset() + 1
			if e := l.EpochAt(batch.BaseOffset()); e != batch.LeaderEpoch() && batch.BaseOffset() >= l.Start() {
				m.t.Errorf("epoch at %d is %d, the batch has %d", batch.BaseOffset(), e, batch.LeaderEpoch())
			}
		}
	}
	for _, b := range m.batches {
		if b.LastOffset() < l.Start() {
			continue
		}
		if !bytes.Equal(got[b.BaseOffset()], b) {
			m.t.Errorf("batch at %d is not what was appended there", b.BaseOffset())
		}
	}
	m.checkProducers()
	m.checkTransactions()
}

func (m *crashModel) checkProducers() {
	want := m.model()
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	for id, w := range want {
		g := m.log.producers.known[id]
		if g == nil || g.epoch != w.epoch || g.n != w.n || !slices.Equal(g.batches[:g.n], w.batches[:w.n]) || g.txnFirst != w.txnFirst || g.coordinatorEpoch != w.coordinatorEpoch {
			m.t.Errorf("producer %d: got %+v, want %+v", id, g, w)
		}
	}
	if len(m.log.producers.known) != len(want) {
		m.t.Errorf("%d producers, want %d", len(m.log.producers.known), len(want))
	}
}
