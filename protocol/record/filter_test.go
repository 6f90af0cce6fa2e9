package record

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var franzCodecs = map[Codec]kgo.CompressionCodec{
	None: kgo.NoCompression(), Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(),
	LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
}

func TestCompress(t *testing.T) {
	for codec := range franzCodecs {
		for _, n := range []int{0, 1, 100, xerialBlock, xerialBlock + 1, 300_000} {
			src := bytes.Repeat([]byte("0123456789abcdef!"), n/17+1)[:n]
			compressed, err := Compress([]byte("before"), codec, src)
			if err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			compressed, found := bytes.CutPrefix(compressed, []byte("before"))
			if !found {
				t.Fatalf("%s: what was in dst before is gone", codec)
			}
			got, err := Decompress(codec, compressed, DefaultDecompressLimits())
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s of %d bytes: %d come back, error %v", codec, n, len(got), err)
			}
			if codec != None && n > 0 { // another hand's reader; it knows no empty payload
				if got, err = kgo.DefaultDecompressor().Decompress(compressed, kgo.CompressionCodecType(codec)); err != nil || !bytes.Equal(got, src) {
					t.Errorf("%s of %d bytes: franz-go reads %d, error %v", codec, n, len(got), err)
				}
			}
		}
	}
}

func TestFilter(t *testing.T) {
	const horizon = 9_000_000
	records := someRecords(40)
	records[7].Value, records[8].Value = nil, nil
	for codec, franz := range franzCodecs {
		raw := Batch(franzBatch(t, records, franz, func(b *kmsg.RecordBatch) {
			b.FirstOffset, b.ProducerID, b.ProducerEpoch, b.FirstSequence, b.PartitionLeaderEpoch = 1000, 5, 2, 77, 3
		}))
		all := recordsOf(t, raw)
		for name, keep := range map[string]func(i int) bool{
			"all": func(int) bool { return true }, "none": func(int) bool { return false },
			"odd": func(i int) bool { return i%2 == 1 }, "without tombstones": func(i int) bool { return i < 7 || i > 8 },
			"first": func(i int) bool { return i == 0 }, "last": func(i int) bool { return i == 39 },
		} {
			t.Run(fmt.Sprint(codec, " ", name), func(t *testing.T) {
				var want []Record
				for i, r := range all {
					if keep(i) {
						want = append(want, r)
					}
				}
				out, kept, err := raw.Filter(nil, Filter{
					Keep: func(r Record) bool { return keep(int(r.Offset - 1000)) }, DeleteHorizon: horizon, KeepEmpty: true,
				}, DefaultDecompressLimits())
				if err != nil || int(kept) != len(want) {
					t.Fatalf("%d records of %d, error %v", kept, len(want), err)
				}
				checkFiltered(t, raw, out, want, horizon)
			})
		}
	}
}

// checkFiltered compares a filtered batch with the one it was made of, and with
// the records that should be left.
func checkFiltered(t *testing.T, from, b Batch, want []Record, horizon int64) {
	t.Helper()
	if got := recordsOf(t, b); !equalRecords(got, want) {
		t.Errorf("records\n%v, want\n%v", got, want)
	}
	if b.Size() != len(b) || !b.CheckCRC() {
		t.Errorf("length %d of %d bytes, CRC right: %v", b.Size(), len(b), b.CheckCRC())
	}
	if b.BaseOffset() != from.BaseOffset() || b.LastOffset() != from.LastOffset() || b.LastSequence() != from.LastSequence() ||
		b.ProducerID() != from.ProducerID() || b.ProducerEpoch() != from.ProducerEpoch() || b.LeaderEpoch() != from.LeaderEpoch() {
		t.Errorf("header %x of %x", b[:HeaderSize], from[:HeaderSize])
	}
	wantMax, tombstone := NoTimestamp, false
	for _, r := range want {
		wantMax, tombstone = max(wantMax, r.Timestamp), tombstone || r.Value == nil
	}
	if len(want) > 0 && b.MaxTimestamp() != wantMax {
		t.Errorf("largest timestamp %d, want %d", b.MaxTimestamp(), wantMax)
	}
	if got, ok := b.DeleteHorizon(); ok != tombstone || ok && got != horizon {
		t.Errorf("delete horizon %d, %v; a tombstone stays: %v", got, ok, tombstone)
	}
}

// A horizon is given once.
func TestFilterKeepsHorizon(t *testing.T) {
	records := someRecords(3)
	records[1].Value = nil
	raw := Batch(franzBatch(t, records, kgo.ZstdCompression(), nil))
	all := Filter{Keep: func(Record) bool { return true }, DeleteHorizon: 1000}
	first, _, err := raw.Filter(nil, all, DefaultDecompressLimits())
	if err != nil {
		t.Fatal(err)
	}
	all.DeleteHorizon = 2000
	second, _, err := Batch(first).Filter(nil, all, DefaultDecompressLimits())
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second pass changed the batch: %x, was %x (%v)", second, first, err)
	}
	some := Filter{Keep: func(r Record) bool { return r.Offset > 0 }, DeleteHorizon: 3000}
	third, _, err := Batch(second).Filter(nil, some, DefaultDecompressLimits())
	if err != nil {
		t.Fatal(err)
	}
	checkFiltered(t, raw, third, recordsOf(t, raw)[1:], 1000)
}

// What cannot be read is an error, and nothing is written.
func TestFilterMalformed(t *testing.T) {
	raw := franzBatch(t, someRecords(3), kgo.GzipCompression(), nil)
	raw[HeaderSize+12] ^= 0x55
	out, _, err := Batch(raw).Filter([]byte("x"), Filter{Keep: func(Record) bool { return true }}, DefaultDecompressLimits())
	if err == nil || string(out) != "x" {
		t.Errorf("error %v, %q written", err, out)
	}
}

func recordsOf(t *testing.T, b Batch) (records []Record) {
	t.Helper()
	for r, err := range b.Records(DefaultDecompressLimits()) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

func equalRecords(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(a, b Record) bool {
		return a.Offset == b.Offset && a.Timestamp == b.Timestamp && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) &&
			(a.Value == nil) == (b.Value == nil) && slices.EqualFunc(a.Headers, b.Headers, func(a, b Header) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value)
		})
	})
}
