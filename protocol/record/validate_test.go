package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

func TestValidate(t *testing.T) {
	good := func(change func(*kmsg.RecordBatch)) []byte {
		return franzBatch(t, someRecords(3), kgo.NoCompression(), change)
	}
	put := func(at int, b ...byte) []byte { raw := good(nil); copy(raw[at:], b); return raw }
	tests := []struct {
		name   string
		raw    []byte
		limits Limits
		want   protocol.ErrorCode
	}{
		{name: "good", raw: good(nil)},
		{name: "two", raw: append(good(nil), good(nil)...)},
		{name: "two where one is allowed", raw: append(good(nil), good(nil)...), limits: Limits{SingleBatch: true}, want: protocol.InvalidRecord},
		{name: "none", want: protocol.InvalidRecord},
		{name: "base offset and leader epoch are outside the CRC", raw: put(0, 1, 2, 3, 4, 5, 6, 7, 8)},
		{name: "a bit flipped", raw: put(70, 0xff), want: protocol.CorruptMessage},
		{name: "crc flipped", raw: put(crcAt, 0, 0, 0, 0), want: protocol.CorruptMessage},
		{name: "length above the bytes", raw: put(lengthAt, 0x7f, 0xff, 0xff, 0xff), want: protocol.CorruptMessage},
		{name: "length below the header", raw: put(lengthAt, 0, 0, 0, 48), want: protocol.CorruptMessage},
		{name: "length negative", raw: put(lengthAt, 0xff, 0xff, 0xff, 0xff), want: protocol.CorruptMessage},
		{name: "cut short", raw: good(nil)[:80], want: protocol.CorruptMessage},
		{name: "a few bytes", raw: []byte{1, 2, 3}, want: protocol.CorruptMessage},
		{name: "magic 1", raw: put(magicAt, 1), want: protocol.UnsupportedForMessageFormat},
		{name: "magic 0 with its short header", raw: make([]byte, 30), want: protocol.UnsupportedForMessageFormat},
		{name: "magic 3", raw: put(magicAt, 3), want: protocol.CorruptMessage},
		{name: "too large", raw: good(nil), limits: Limits{MaxBatchBytes: 50}, want: protocol.MessageTooLarge},
		{name: "no records", raw: good(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 0, -1 }), want: protocol.InvalidRecord},
		{name: "count below offsets", raw: good(func(b *kmsg.RecordBatch) { b.NumRecords = 2 }), want: protocol.InvalidRecord},
		{name: "delta overflows", raw: good(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = math.MinInt32, math.MaxInt32 }), want: protocol.InvalidRecord},
		{name: "more records than bytes", raw: good(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1<<20, 1<<20-1 }), want: protocol.InvalidRecord},
		{name: "more records than decompression allows", raw: good(func(b *kmsg.RecordBatch) {
			b.Attributes, b.NumRecords, b.LastOffsetDelta = int16(Gzip), math.MaxInt32, math.MaxInt32-1
		}), want: protocol.InvalidRecord},
		{name: "unknown codec", raw: good(func(b *kmsg.RecordBatch) { b.Attributes = 5 }), want: protocol.UnsupportedCompressionType},
		{name: "control", raw: good(func(b *kmsg.RecordBatch) { b.Attributes = controlBit }), want: protocol.InvalidRecord},
		{name: "control from a broker", raw: good(func(b *kmsg.RecordBatch) { b.Attributes = controlBit }), limits: Limits{AllowControl: true}},
		{name: "idempotent", raw: good(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, 0, 0 })},
		{name: "idempotent without epoch", raw: good(func(b *kmsg.RecordBatch) { b.ProducerID, b.FirstSequence = 1, 0 }), want: protocol.InvalidRecord},
		{name: "idempotent without sequence", raw: good(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch = 1, 0 }), want: protocol.InvalidRecord},
		{name: "producer id -2", raw: good(func(b *kmsg.RecordBatch) { b.ProducerID = -2 }), want: protocol.InvalidRecord},
		{name: "transactional without producer", raw: good(func(b *kmsg.RecordBatch) { b.Attributes = transactionalBit }), want: protocol.InvalidRecord},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Validate(tt.raw, tt.limits)
			if got := protocol.CodeOf(err); got != tt.want {
				t.Errorf("got %v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

// TestDecompressionIsBounded feeds each codec a bomb of zeros.
func TestDecompressionIsBounded(t *testing.T) {
	zeros := make([]byte, 8<<20)
	bombs := map[Codec][]byte{Snappy: snappy.Encode(nil, zeros)}
	var gz, lz, zs bytes.Buffer
	writers := map[Codec]interface {
		Write([]byte) (int, error)
		Close() error
	}{Gzip: gzip.NewWriter(&gz), LZ4: lz4.NewWriter(&lz)}
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	writers[Zstd] = z
	for codec, w := range writers {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(codec, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(codec, err)
		}
	}
	bombs[Gzip], bombs[LZ4], bombs[Zstd] = gz.Bytes(), lz.Bytes(), zs.Bytes()
	for codec, bomb := range bombs {
		t.Run(codec.String(), func(t *testing.T) {
			if out, err := Decompress(codec, bomb, DecompressLimits{MaxBytes: 16 << 20, MaxRatio: 1 << 20}); err != nil || !bytes.Equal(out, zeros) {
				t.Errorf("within the limits: %d bytes, %v", len(out), err)
			}
			if _, err := Decompress(codec, bomb, DecompressLimits{MaxBytes: 4 << 20, MaxRatio: 1 << 20}); !errors.Is(err, ErrTooLarge) {
				t.Errorf("absolute limit: got %v", err)
			}
			if _, err := Decompress(codec, bomb, DecompressLimits{MaxBytes: 16 << 20, MaxRatio: 2}); !errors.Is(err, ErrTooLarge) {
				t.Errorf("ratio: got %v", err)
			}
			if _, err := Decompress(codec, bomb[:len(bomb)/2], DefaultDecompressLimits()); !errors.Is(err, ErrMalformed) {
				t.Errorf("cut short: got %v", err)
			}
			if _, err := Decompress(codec, []byte("nonsense, not compressed"), DefaultDecompressLimits()); !errors.Is(err, ErrMalformed) {
				t.Errorf("nonsense: got %v", err)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	one := franzBatch(t, someRecords(2), kgo.NoCompression(), nil)
	n := 0
	var last error
	for b, err := range Split(append(append(bytes.Clone(one), one...), one[:70]...)) {
		if last = err; err == nil {
			n += len(b)
		}
	}
	if n != 2*len(one) || !errors.Is(last, ErrShort) {
		t.Errorf("got %d bytes and %v", n, last)
	}
}

func TestAddSequence(t *testing.T) {
	for _, tt := range []struct{ from, n, want int32 }{
		{0, 0, 0}, {5, 3, 8}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 1, math.MaxInt32}, {math.MaxInt32 - 1, 4, 2}, {-1, 1, 0},
	} {
		if got := AddSequence(tt.from, tt.n); got != tt.want {
			t.Errorf("%d + %d: got %d, want %d", tt.from, tt.n, got, tt.want)
		}
	}
}

// FuzzBatch takes anything for a records field. The CRC is made right, or the
// fuzzer would never come past it.
func FuzzBatch(f *testing.F) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		f.Add(franzBatch(f, someRecords(5), codec, nil))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if b, _, err := Next(raw); err == nil && b != nil {
			binary.BigEndian.PutUint32(b[crcAt:], 0)
			b.sign()
		}
		if Validate(raw, Limits{AllowControl: true}) != nil {
			return
		}
		for b := range Split(raw) {
			n := int32(0)
			for r, err := range b.Records(DecompressLimits{MaxBytes: 1 << 20, MaxRatio: 100}) {
				if err != nil {
					if !errors.Is(err, ErrMalformed) {
						t.Fatalf("error is not ErrMalformed: %v", err)
					}
					break
				}
				if n++; r.Offset < b.BaseOffset() || r.Offset-b.BaseOffset() > int64(b.LastOffsetDelta()) || n > b.Count() {
					t.Fatalf("record %d at offset %d of batch %d to %d", n, r.Offset, b.BaseOffset(), b.LastOffset())
				}
			}
		}
	})
}
