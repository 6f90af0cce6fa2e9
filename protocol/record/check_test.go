package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// compress compresses with the libraries' own defaults.
func compress(t testing.TB, codec Codec, payload []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w interface {
		Write([]byte) (int, error)
		Close() error
	}
	var err error
	switch codec {
	case None:
		return payload
	case Snappy:
		return snappy.Encode(nil, payload)
	case Gzip:
		w = gzip.NewWriter(&out)
	case LZ4:
		w = lz4.NewWriter(&out)
	case Zstd:
		w, err = zstd.NewWriter(&out)
	}
	if err == nil {
		_, err = w.Write(payload)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// rawRecord is a record whose fields may lie.
type rawRecord struct {
	length     int64 // added to the true one
	timestamp  int64
	delta      int64
	keyLength  int64 // -1: null; else key
	key, value string
	headers    int64 // announced; none are there unless headerKey is
	headerKey  int64 // length of the only header's key, written if headers is 1
	tail       string
}

func (r rawRecord) bytes() []byte {
	b := []byte{0}
	b = binary.AppendVarint(b, r.timestamp)
	b = binary.AppendVarint(b, r.delta)
	b = binary.AppendVarint(b, r.keyLength)
	b = append(b, r.key...)
	b = binary.AppendVarint(b, int64(len(r.value)))
	b = append(b, r.value...)
	b = binary.AppendVarint(b, r.headers)
	if r.headers == 1 {
		b = binary.AppendVarint(b, r.headerKey)
		b = append(b, strings.Repeat("h", int(max(r.headerKey, 0)))...)
		b = binary.AppendVarint(b, -1)
	}
	b = append(b, r.tail...)
	return append(binary.AppendVarint(nil, int64(len(b))+r.length), b...)
}

// rawBatch is a batch with a true CRC and a payload that may lie.
func rawBatch(t testing.TB, codec Codec, count int, payload []byte) Batch {
	return signed(kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(count - 1),
		FirstTimestamp: 1000, MaxTimestamp: 1000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(count), Records: compress(t, codec, payload),
	})
}

func payloadOf(records ...rawRecord) (b []byte) {
	for _, r := range records {
		b = append(b, r.bytes()...)
	}
	return b
}

func TestCheckRecords(t *testing.T) {
	keyed := func(delta, timestamp int64) rawRecord {
		return rawRecord{delta: delta, timestamp: timestamp, keyLength: 1, key: "k", value: "value"}
	}
	big := strings.Repeat("0123456789abcdef", 5*windowSize/16)
	within := DefaultRules()
	within.Keyed, within.Earliest, within.Latest = true, 1000, 1100
	tests := []struct {
		name    string
		count   int
		payload []byte
		rules   Rules
		max     int64
		want    protocol.ErrorCode
		says    string
		failing []int32
	}{
		{name: "good", count: 3, payload: payloadOf(keyed(0, 5), keyed(1, 70), keyed(2, 6)), max: 1070},
		{name: "header and null key", count: 1, payload: payloadOf(rawRecord{keyLength: -1, headers: 1, headerKey: 3}), max: 1000},
		{name: "records above the window", count: 3, payload: payloadOf(
			rawRecord{keyLength: int64(len(big)), key: big}, rawRecord{delta: 1, keyLength: 0, value: big}, keyed(2, 0),
		), max: 1000},
		{name: "fewer than the header counts", count: 3, payload: payloadOf(keyed(0, 0), keyed(1, 0)), want: protocol.InvalidRecord, says: "record 3 of 3"},
		{name: "more than the header counts", count: 1, payload: payloadOf(keyed(0, 0), keyed(1, 0)), want: protocol.InvalidRecord, says: "bytes follow"},
		{name: "empty", count: 1, want: protocol.InvalidRecord, says: "ends within"},
		{name: "a delta missing", count: 2, payload: payloadOf(keyed(0, 0), keyed(2, 0)), want: protocol.InvalidRecord, says: "offset delta is 2"},
		{name: "a delta twice", count: 2, payload: payloadOf(keyed(0, 0), keyed(0, 0)), want: protocol.InvalidRecord, says: "offset delta is 0"},
		{name: "too long", count: 1, payload: payloadOf(rawRecord{length: 1}), want: protocol.InvalidRecord, says: "not its length"},
		{name: "too short", count: 1, payload: payloadOf(rawRecord{length: -1}), want: protocol.InvalidRecord, says: "not its length"},
		{name: "bytes within it that are no field", count: 1, payload: payloadOf(rawRecord{tail: "x"}), want: protocol.InvalidRecord, says: "not its length"},
		{name: "key beyond the end", count: 1, payload: payloadOf(rawRecord{keyLength: 1 << 30}), want: protocol.InvalidRecord, says: "ends within"},
		{name: "key length -2", count: 1, payload: payloadOf(rawRecord{keyLength: -2}), want: protocol.InvalidRecord, says: "a length of -2"},
		{name: "headers without end", count: 1, payload: payloadOf(rawRecord{headers: math.MaxInt64}), want: protocol.InvalidRecord, says: "ends within"},
		{name: "headers negative", count: 1, payload: payloadOf(rawRecord{headers: -1}), want: protocol.InvalidRecord, says: "-1 headers"},
		{name: "header without key", count: 1, payload: payloadOf(rawRecord{headers: 1, headerKey: -1}), want: protocol.InvalidRecord, says: "without a key"},
		{name: "rules kept", count: 2, payload: payloadOf(keyed(0, 0), keyed(1, 100)), rules: within, max: 1100},
		{name: "no timestamp is within every bound", count: 1, payload: payloadOf(keyed(0, -1001)), rules: within, max: NoTimestamp},
		{
			name: "keys missing", count: 3, payload: payloadOf(keyed(0, 0), rawRecord{delta: 1, keyLength: -1}, rawRecord{delta: 2, keyLength: -1}),
			rules: within, want: protocol.InvalidRecord, says: "without a key", failing: []int32{1, 2},
		},
		{
			name: "too old, too new, no key", count: 3, payload: payloadOf(keyed(0, -1), keyed(1, 101), rawRecord{delta: 2, keyLength: -1}),
			rules: within, want: protocol.InvalidTimestamp, says: "timestamp 999", failing: []int32{0, 1, 2},
		},
	}
	for _, tt := range tests {
		for _, codec := range codecs {
			t.Run(tt.name+"/"+codec.String(), func(t *testing.T) {
				if tt.rules == (Rules{}) {
					tt.rules = DefaultRules()
				}
				b := rawBatch(t, codec, tt.count, tt.payload)
				if err := Validate(b, Limits{}); err != nil && tt.want != protocol.InvalidRecord {
					t.Fatalf("the header is bad already: %v", err)
				}
				got, err := b.CheckRecords(tt.rules)
				if code := protocol.CodeOf(err); code != tt.want || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("got %v (%v), want %v with %q", code, err, tt.want, tt.says)
				}
				if err == nil && got != tt.max {
					t.Errorf("largest timestamp %d, want %d", got, tt.max)
				}
				var failing []int32
				if records, ok := errors.AsType[*RejectedError](err); ok {
					for _, r := range records.Records {
						failing = append(failing, r.Index)
					}
				}
				if !slices.Equal(failing, tt.failing) {
					t.Errorf("records %v were named, want %v", failing, tt.failing)
				}
			})
		}
	}
}

// TestCheckRecordsPoison is payloads that one client or another could not read.
func TestCheckRecordsPoison(t *testing.T) {
	payload := payloadOf(rawRecord{value: strings.Repeat("value", 100)})
	frame := compress(t, LZ4, payload)
	dependent := bytes.Clone(frame)
	dependent[4] &^= lz4Independent
	bomb := payloadOf(rawRecord{value: string(make([]byte, 8<<20))})
	small := DefaultRules()
	small.Limits.MaxBytes = 4 << 20
	ratio := DefaultRules()
	ratio.Limits.MaxRatio = 2
	tests := []struct {
		name  string
		codec Codec
		raw   []byte
		rules Rules
		want  protocol.ErrorCode
	}{
		{"gzip that is none", Gzip, []byte("not compressed at all"), DefaultRules(), protocol.InvalidRecord},
		{"snappy that is none", Snappy, []byte("not compressed at all"), DefaultRules(), protocol.InvalidRecord},
		{"xerial that ends early", Snappy, append(bytes.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), DefaultRules(), protocol.InvalidRecord},
		{"lz4 that is none", LZ4, []byte("not compressed at all"), DefaultRules(), protocol.InvalidRecord},
		{"zstd that is none", Zstd, []byte("not compressed at all"), DefaultRules(), protocol.InvalidRecord},
		{"zstd cut short", Zstd, compress(t, Zstd, payload)[:20], DefaultRules(), protocol.InvalidRecord},
		{"two lz4 frames", LZ4, append(compress(t, LZ4, payload[:50]), compress(t, LZ4, payload[50:])...), DefaultRules(), protocol.InvalidRecord},
		{"lz4 with dependent blocks", LZ4, dependent, DefaultRules(), protocol.InvalidRecord},
	}
	for _, codec := range codecs[1:] {
		tests = append(tests, []struct {
			name  string
			codec Codec
			raw   []byte
			rules Rules
			want  protocol.ErrorCode
		}{
			{"bomb above the limit", codec, compress(t, codec, bomb), small, protocol.MessageTooLarge},
			{"bomb above the ratio", codec, compress(t, codec, bomb), ratio, protocol.MessageTooLarge},
			{"the same within them", codec, compress(t, codec, bomb), Rules{Earliest: 0, Latest: 2000, Limits: DecompressLimits{MaxBytes: 16 << 20, MaxRatio: 1 << 20}}, protocol.None},
		}...)
	}
	for _, tt := range tests {
		t.Run(tt.name+"/"+tt.codec.String(), func(t *testing.T) {
			b := rawBatch(t, None, 1, tt.raw)
			binary.BigEndian.PutUint16(b[attributesAt:], uint16(tt.codec))
			b.sign()
			if _, err := b.CheckRecords(tt.rules); protocol.CodeOf(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("LogAppendTime from a producer", func(t *testing.T) {
		b := rawBatch(t, None, 1, payload)
		b.SetLogAppendTime(5)
		if _, err := b.CheckRecords(DefaultRules()); protocol.CodeOf(err) != protocol.InvalidTimestamp {
			t.Errorf("got %v", err)
		}
	})
}

// TestCheckRecordsMemory wants the memory of a check not to grow with the batch.
func TestCheckRecordsMemory(t *testing.T) {
	payload := payloadOf(rawRecord{value: string(make([]byte, 32<<20))})
	for _, codec := range []Codec{Gzip, LZ4, Zstd} {
		b := rawBatch(t, codec, 1, payload)
		rules := DefaultRules()
		rules.Limits.MaxRatio = 1 << 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := b.CheckRecords(rules); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 20<<20 {
			t.Errorf("%v: %d bytes for one batch", codec, got)
		}
	}
}

// TestBombsWaitForEachOther: a batch that is no bomb is checked while the slow lane is full.
func TestBombsWaitForEachOther(t *testing.T) {
	for range cap(slowLane) {
		slowLane <- struct{}{}
	}
	small := rawBatch(t, Zstd, 1, payloadOf(rawRecord{value: strings.Repeat("value", 1000)}))
	if _, err := small.CheckRecords(DefaultRules()); err != nil {
		t.Fatal(err)
	}
	bomb := rawBatch(t, Zstd, 1, payloadOf(rawRecord{value: string(make([]byte, 3<<20))}))
	rules := DefaultRules()
	rules.Limits.MaxRatio = 1 << 20
	done := make(chan error, 1)
	go func() {
		_, err := bomb.CheckRecords(rules)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a bomb did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	for range cap(slowLane) {
		<-slowLane
	}
	if err := <-done; err != nil {
		t.Errorf("when its turn came: %v", err)
	}
}

func TestRejectedErrorIsBounded(t *testing.T) {
	var records []rawRecord
	for i := range 3 * maxRejections {
		records = append(records, rawRecord{delta: int64(i), keyLength: -1})
	}
	rules := DefaultRules()
	rules.Keyed = true
	_, err := rawBatch(t, None, len(records), payloadOf(records...)).CheckRecords(rules)
	got, ok := errors.AsType[*RejectedError](err)
	if !ok || got.Total != len(records) || len(got.Records) != maxRejections {
		t.Fatalf("got %v", err)
	}
}

// FuzzCheckRecords compares with the iterator, which reads records in another way.
func FuzzCheckRecords(f *testing.F) {
	for _, codec := range codecs {
		f.Add(int8(codec), int32(2), compress(f, codec, payloadOf(rawRecord{value: "a"}, rawRecord{delta: 1, keyLength: -1, headers: 1, headerKey: 2})))
	}
	f.Fuzz(func(t *testing.T, codec int8, count int32, raw []byte) {
		if codec < 0 || codec > int8(Zstd) || count < 1 || count > 1<<16 {
			return
		}
		b := rawBatch(t, None, int(count), raw)
		binary.BigEndian.PutUint16(b[attributesAt:], uint16(codec))
		b.sign()
		rules := DefaultRules()
		rules.Limits = DecompressLimits{MaxBytes: 1 << 20, MaxRatio: 100}
		latest, err := b.CheckRecords(rules)
		read, largest, want := 0, NoTimestamp, error(nil)
		for r, e := range b.Records(rules.Limits) {
			if e == nil && r.Offset != int64(read) {
				e = fmt.Errorf("record %d has offset %d", read, r.Offset)
			}
			if want = e; e != nil {
				break
			}
			read++
			largest = max(largest, r.Timestamp)
		}
		if (err == nil) != (want == nil) {
			t.Fatalf("check says %v, iterator %v", err, want)
		}
		if err == nil && (latest != largest || read != int(count)) {
			t.Fatalf("check: largest timestamp %d; iterator: %d, %d records of %d", latest, largest, read, count)
		}
	})
}

// BenchmarkCheck is what a produce pays: "validate" is header and CRC alone.
func BenchmarkCheck(b *testing.B) {
	var records []rawRecord
	for i := range 200 {
		value := fmt.Sprintf(`{"order":%d,"customer":"c-%d","state":"%x","items":[%s]}`, i*7919, i*31, i*2654435761, strings.Repeat(fmt.Sprintf("%d,", i*i), 8))
		records = append(records, rawRecord{delta: int64(i), timestamp: int64(i), keyLength: 4, key: fmt.Sprintf("%04d", i), value: value})
	}
	payload := payloadOf(records...)
	for _, codec := range codecs {
		batch := rawBatch(b, codec, len(records), payload)
		b.Run("validate/"+codec.String(), func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Validate(batch, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("records/"+codec.String(), func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := batch.CheckRecords(DefaultRules()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("iterate/"+codec.String(), func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range batch.Records(DefaultDecompressLimits()) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
