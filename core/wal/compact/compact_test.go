package compact

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/protocol/record"
)

const retention = time.Hour

// model is a log in memory, with what was ever written to it.
type model struct {
	batches []record.Batch
	written map[string][]record.Record // by key, in order
	end     int64
	clean   int64 // everything before was compacted once
	now     time.Time
	last    map[int64]int64 // producers' last offsets
	dead    map[int64]int64 // tombstones by offset: when a pass first met them, in milliseconds
}

func newModel() *model {
	return &model{written: map[string][]record.Record{}, now: time.UnixMilli(1e12), last: map[int64]int64{}, dead: map[int64]int64{}}
}

// write appends a batch of a few records.
func (m *model) write(t *rapid.T) {
	b := record.NewBuilder()
	producer := rapid.Int64Range(-1, 3).Draw(t, "producer")
	if producer >= 0 {
		b.SetProducer(producer, 0, int32(m.end))
	}
	base := m.end
	for range rapid.IntRange(1, 6).Draw(t, "records") {
		key := []byte(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "key")))
		var value []byte
		if rapid.IntRange(0, 3).Draw(t, "tombstone") > 0 {
			value = fmt.Appendf(nil, "value %d", m.end)
		}
		timestamp := m.now.UnixMilli()
		m.written[string(key)] = append(m.written[string(key)], record.Record{Offset: m.end, Timestamp: timestamp, Key: key, Value: value})
		b.Add(timestamp, key, value)
		m.end++
	}
	batch := record.Batch(bytes.Clone(b.Bytes()))
	batch.SetBaseOffset(base)
	m.batches = append(m.batches, batch)
	if producer >= 0 {
		m.last[producer] = m.end - 1
	}
}

// compact runs a pass over all but the last batch, as over all but the active segment.
func (m *model) compact(t *rapid.T) {
	if len(m.batches) < 2 {
		return
	}
	sealed := m.batches[:len(m.batches)-1]
	p := NewPass(Config{
		MapBytes: rapid.IntRange(3, 14).Draw(t, "room") * slotSize, Now: m.now, DeleteRetention: retention,
		Limits:         record.DefaultDecompressLimits(),
		LastOfProducer: func(b record.Batch) bool { return m.last[b.ProducerID()] == b.LastOffset() },
	})
	for _, b := range sealed {
		if b.LastOffset() < m.clean {
			continue
		}
		room, err := p.Collect(b)
		if err != nil {
			t.Fatal(err)
		}
		if !room {
			break
		}
		if p.End() != b.LastOffset()+1 {
			t.Fatalf("collected to %d, the batch ends at %d", p.End(), b.LastOffset())
		}
	}
	var kept []record.Batch
	for _, b := range sealed {
		out, err := p.Filter(nil, b, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) > 0 {
			kept = append(kept, out)
		}
	}
	m.note(t, sealed)
	m.clean = max(m.clean, p.End())
	kept = append(kept, m.batches[len(m.batches)-1])
	m.batches = kept
}

// note remembers when tombstones were met for the first time.
func (m *model) note(t *rapid.T, batches []record.Batch) {
	for _, b := range batches {
		for _, r := range m.records(t, b) {
			if _, met := m.dead[r.Offset]; r.Value == nil && !met {
				m.dead[r.Offset] = m.now.UnixMilli()
			}
		}
	}
}

func (m *model) records(t *rapid.T, b record.Batch) (records []record.Record) {
	for r, err := range b.Records(record.DefaultDecompressLimits()) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// check holds the log against what was written.
func (m *model) check(t *rapid.T) {
	next := int64(0)
	left := map[string][]record.Record{}
	sequence := map[int64]int32{}
	for _, b := range m.batches {
		if b.BaseOffset() < next || !b.CheckCRC() {
			t.Fatalf("batch at %d where %d is next, CRC right: %v", b.BaseOffset(), next, b.CheckCRC())
		}
		if b.HasProducerID() {
			sequence[b.ProducerID()] = b.LastSequence()
		}
		for _, r := range m.records(t, b) {
			if r.Offset < next {
				t.Fatalf("record at %d where %d is next", r.Offset, next)
			}
			next = r.Offset + 1
			left[string(r.Key)] = append(left[string(r.Key)], r)
		}
		next = b.LastOffset() + 1
	}
	for key, written := range m.written {
		m.checkKey(t, key, written, left[key])
	}
	for producer, last := range m.last {
		if got := sequence[producer]; got != int32(last) {
			t.Fatalf("producer %d is at sequence %d, wrote %d", producer, got, last)
		}
	}
}

// checkKey wants the newest record of a key, and nothing that was never written.
func (m *model) checkKey(t *rapid.T, key string, written, left []record.Record) {
	at := map[int64]record.Record{}
	for _, r := range written {
		at[r.Offset] = r
	}
	for _, r := range left {
		w, ok := at[r.Offset]
		if !ok || w.Timestamp != r.Timestamp || !bytes.Equal(w.Value, r.Value) || (w.Value == nil) != (r.Value == nil) {
			t.Fatalf("key %s has %v at %d, written was %v", key, r, r.Offset, w)
		}
	}
	newest := written[len(written)-1]
	if len(left) > 0 && left[len(left)-1].Offset == newest.Offset {
		return
	}
	met, ok := m.dead[newest.Offset]
	if newest.Value != nil || !ok || m.now.UnixMilli() < met+retention.Milliseconds() {
		t.Fatalf("key %s: its newest record, at %d, is gone; left are %v", key, newest.Offset, left)
	}
	if len(left) > 0 {
		t.Fatalf("key %s is deleted and comes back: %v", key, left)
	}
}

// Whatever is written and compacted, the newest record of every key survives with
// its offset, order stays, tombstones live long enough, and producers go on.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		t.Repeat(map[string]func(*rapid.T){
			"write":   m.write,
			"compact": m.compact,
			"wait": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			},
			"": m.check,
		})
	})
}

// With room for all keys a pass leaves one record of each, and later no tombstones.
func TestPassLeavesOneOfEach(t *testing.T) {
	b := record.NewBuilder()
	for i := range 1000 {
		value := []byte("v")
		if i >= 995 {
			value = nil
		}
		b.Add(int64(i), fmt.Append(nil, i%10), value)
	}
	b.Add(1000, nil, []byte("without a key"))
	log := bytes.Clone(b.Bytes())
	for i, want := range []int64{10, 10, 5} {
		cfg := Config{
			MapBytes: 100 * slotSize, Now: time.UnixMilli(1e12).Add(time.Duration(i) * 31 * time.Minute), DeleteRetention: retention,
			Limits: record.DefaultDecompressLimits(), LastOfProducer: func(record.Batch) bool { return false },
		}
		p := NewPass(cfg)
		if room, err := p.Collect(log); !room || err != nil {
			t.Fatalf("room %v, error %v", room, err)
		}
		var err error
		if log, err = p.Filter(nil, log, false); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.RecordsKept != want || s.Keys != 10 || s.BytesKept != int64(len(log)) {
			t.Errorf("pass %d: %+v, want %d records", i, s, want)
		}
	}
}

func TestOffsets(t *testing.T) {
	o := NewOffsets(100 * slotSize)
	for i := range 90 {
		if !o.Put(fmt.Append(nil, i), int64(i)) {
			t.Fatalf("no room for key %d", i)
		}
	}
	if o.Put([]byte("another"), 100) {
		t.Error("room for more than nine tenths")
	}
	if !o.Put([]byte("5"), 200) || o.Len() != 90 {
		t.Errorf("a known key takes a slot: %d", o.Len())
	}
	for i := range 90 {
		want := int64(i)
		if i == 5 {
			want = 200
		}
		if got, ok := o.Latest(fmt.Append(nil, i)); !ok || got != want {
			t.Errorf("key %d: %d, %v", i, got, ok)
		}
	}
	if _, ok := o.Latest([]byte("another")); ok {
		t.Error("a refused key is known")
	}
}

func BenchmarkOffsetsPut(b *testing.B) {
	o := NewOffsets(1 << 20 * slotSize)
	key := make([]byte, 32)
	for i := 0; b.Loop(); i++ {
		key[0], key[1], key[2] = byte(i), byte(i>>8), byte(i>>16)&7
		o.Put(key, int64(i))
	}
}
