package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// franzBatch makes a batch with franz-go's types: another hand than this package's.
func franzBatch(t testing.TB, records []Record, codec kgo.CompressionCodec, change func(*kmsg.RecordBatch)) []byte {
	t.Helper()
	var payload []byte
	for i, r := range records {
		k := kmsg.Record{
			TimestampDelta64: r.Timestamp - records[0].Timestamp, OffsetDelta: int32(i), Key: r.Key, Value: r.Value,
		}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		k.Length = int32(len(k.AppendTo(nil)) - 1) // a length of 0 takes one byte
		payload = k.AppendTo(payload)
	}
	attributes := int16(0)
	compressor, err := kgo.DefaultCompressor(codec)
	if err != nil {
		t.Fatal(err)
	}
	if compressor != nil {
		compressed, used := compressor.Compress(new(bytes.Buffer), payload)
		payload, attributes = slices.Clone(compressed), int16(used)
	}
	last := records[len(records)-1]
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: attributes, LastOffsetDelta: int32(len(records) - 1),
		FirstTimestamp: records[0].Timestamp, MaxTimestamp: last.Timestamp, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(len(records)), Records: payload,
	}
	if change != nil {
		change(&b)
	}
	return signed(b)
}

// signed serialises b with its length and CRC.
func signed(b kmsg.RecordBatch) []byte {
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

func someRecords(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Offset: int64(i), Timestamp: 1000 + int64(i), Key: fmt.Appendf(nil, "key-%d", i), Value: bytes.Repeat([]byte{'v'}, i)}
	}
	records[0].Key = nil
	records[n-1].Headers = []Header{{Key: "trace", Value: []byte("abc")}, {Key: "null"}}
	return records
}

func sameRecord(a, b Record) bool {
	same := a.Offset == b.Offset && a.Timestamp == b.Timestamp && bytes.Equal(a.Key, b.Key) && (a.Key == nil) == (b.Key == nil) && bytes.Equal(a.Value, b.Value)
	return same && slices.EqualFunc(a.Headers, b.Headers, func(a, b Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) })
}

func collect(t testing.TB, b Batch) (got []Record) {
	t.Helper()
	for r, err := range b.Records(DefaultDecompressLimits()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	return got
}

func TestReadsFranzBatches(t *testing.T) {
	codecs := map[string]struct {
		codec kgo.CompressionCodec
		want  Codec
	}{
		"none": {kgo.NoCompression(), None}, "gzip": {kgo.GzipCompression(), Gzip}, "snappy": {kgo.SnappyCompression(), Snappy},
		"lz4": {kgo.Lz4Compression(), LZ4}, "zstd": {kgo.ZstdCompression(), Zstd},
	}
	for name, c := range codecs {
		t.Run(name, func(t *testing.T) {
			want := someRecords(50)
			raw := franzBatch(t, want, c.codec, nil)
			if err := Validate(raw, Limits{MaxBatchBytes: len(raw), SingleBatch: true}); err != nil {
				t.Fatal(err)
			}
			b := Batch(raw)
			if b.Codec() != c.want || b.Count() != 50 || b.LastOffset() != 49 || b.MaxTimestamp() != 1049 || b.Size() != len(raw) {
				t.Errorf("codec %v count %d last %d max %d size %d", b.Codec(), b.Count(), b.LastOffset(), b.MaxTimestamp(), b.Size())
			}
			if got := collect(t, b); !slices.EqualFunc(got, want, sameRecord) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

func TestReadsXerialSnappy(t *testing.T) {
	want := someRecords(30)
	plain := franzBatch(t, want, kgo.NoCompression(), nil)[HeaderSize:]
	framed := append(slices.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for chunk := range slices.Chunk(plain, 100) {
		block := snappy.Encode(nil, chunk)
		framed = binary.BigEndian.AppendUint32(framed, uint32(len(block)))
		framed = append(framed, block...)
	}
	raw := franzBatch(t, want, kgo.NoCompression(), func(b *kmsg.RecordBatch) { b.Records, b.Attributes = framed, int16(Snappy) })
	if got := collect(t, Batch(raw)); !slices.EqualFunc(got, want, sameRecord) {
		t.Errorf("got %v", got)
	}
}

// TestBuilderWritesWhatFranzDoes compares every byte.
func TestBuilderWritesWhatFranzDoes(t *testing.T) {
	records := someRecords(20)
	b := NewBuilder()
	for range 2 { // the second time in used memory
		b.Reset()
		b.SetProducer(9, 2, 40)
		b.SetTransactional()
		for _, r := range records {
			b.Add(r.Timestamp, r.Key, r.Value, r.Headers...)
		}
		want := franzBatch(t, records, kgo.NoCompression(), func(k *kmsg.RecordBatch) {
			k.ProducerID, k.ProducerEpoch, k.FirstSequence, k.Attributes = 9, 2, 40, transactionalBit
		})
		if !bytes.Equal(b.Bytes(), want) || b.Count() != 20 || b.Len() != len(want) {
			t.Errorf("got  %x\nwant %x", b.Bytes(), want)
		}
	}
	if b.Reset(); b.Bytes() != nil {
		t.Error("an empty builder has bytes")
	}
}
