package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/protocol/record"
)

// Where the fields of a batch are that compression changes.
const (
	batchLengthAt     = 8
	batchCRCAt        = 17
	batchAttributesAt = 21
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stampBytes is the space at the start of a value for the run's and the record's
// number.
const stampBytes = 16

// payloadBytes is how much random text the values are cut from.
const payloadBytes = 1 << 20

// recordOverhead is what a record takes besides key and value, about.
const recordOverhead = 12

// batcher builds record batches. It has scratch memory: one per worker.
type batcher struct {
	recordBytes int
	keys        *keys  // nil: no keys
	stamp       uint64 // of the run, in front of each value; 0: none
	payload     []byte
	compressor  kgo.Compressor // nil: no compression
	builder     *record.Builder
	key, value  []byte
	compressed  bytes.Buffer
}

// codecs are the names of compressions.
var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// newPayload is random text that compresses about as the values of
// kafka-producer-perf-test do.
func newPayload(recordBytes int) []byte {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret
	out := make([]byte, payloadBytes+recordBytes)
	for i := range out {
		out[i] = byte('A' + random.IntN(26))
	}
	return out
}

func newBatcher(c ProduceConfig, payload []byte, k *keys, stamp uint64) (*batcher, error) {
	b := &batcher{recordBytes: c.RecordBytes, keys: k, stamp: stamp, payload: payload, builder: record.NewBuilder()}
	if c.Compression == "none" {
		return b, nil
	}
	codec, ok := codecs[c.Compression]
	if !ok {
		return nil, fmt.Errorf("no compression %q", c.Compression)
	}
	var err error
	b.compressor, err = kgo.DefaultCompressor(codec)
	return b, err
}

// build returns the batch of the records with the given numbers. The bytes are valid
// until the next call.
func (b *batcher) build(indexes []int64) []byte {
	b.builder.Reset()
	now := time.Now().UnixMilli()
	for _, i := range indexes {
		var key []byte
		if b.keys != nil {
			b.key = b.keys.append(b.key[:0], i)
			key = b.key
		}
		value := b.payload[int(uint64(i)*64%payloadBytes):][:b.recordBytes]
		if b.stamp != 0 {
			b.value = append(b.value[:0], value...)
			binary.BigEndian.PutUint64(b.value, b.stamp)
			binary.BigEndian.PutUint64(b.value[8:], uint64(i))
			value = b.value
		}
		b.builder.Add(now, key, value)
	}
	return b.compress(b.builder.Bytes())
}

// compress compresses the records of a batch.
func (b *batcher) compress(batch []byte) []byte {
	if b.compressor == nil {
		return batch
	}
	body, codec := b.compressor.Compress(&b.compressed, batch[record.HeaderSize:])
	out := slices.Concat(batch[:record.HeaderSize], body)
	b.compressed.Reset()
	binary.BigEndian.PutUint32(out[batchLengthAt:], uint32(len(out)-batchLengthAt-4))
	binary.BigEndian.PutUint16(out[batchAttributesAt:], uint16(codec))
	binary.BigEndian.PutUint32(out[batchCRCAt:], crc32.Checksum(out[batchAttributesAt:], castagnoli))
	return out
}

// stampOf returns the number of a record of the run with this stamp.
func stampOf(stamp uint64, value []byte) (index int64, ok bool) {
	if len(value) < stampBytes || binary.BigEndian.Uint64(value) != stamp {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(value[8:])), true
}
