package metadata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func snapshotBytes(t testing.TB, img *Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := img.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshotOfManyChunks(t *testing.T) {
	records := baseRecords()
	for n := range 8000 {
		records = append(records, TopicRecord{Name: fmt.Sprintf("topic-with-a-long-name-%d", n), ID: UUID{9, byte(n >> 8), byte(n)}})
		records = append(records, PartitionRecord{TopicID: UUID{9, byte(n >> 8), byte(n)}, Replicas: []int32{1, 2, 3}, ISR: []int32{1}, Leader: 1, LeaderEpoch: 7})
	}
	img := mustImage(t, Empty(), records...)
	data := snapshotBytes(t, img)
	if len(data) < 2*snapshotChunkBytes {
		t.Fatalf("only %d bytes: not many chunks", len(data))
	}
	got, err := ReadSnapshot(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(img, got); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
}

func TestReadSnapshotRefuses(t *testing.T) {
	good := snapshotBytes(t, mustImage(t, Empty(), baseRecords()...))
	length := binary.BigEndian.AppendUint32(nil, MaxBatchBytes+1)
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "header"},
		{"another version", append([]byte("QUOMETA\x02"), good[8:]...), "it begins with"},
		{"no chunks", good[:snapshotHeader], "chunk length"},
		{"cut in a chunk", good[:len(good)-9], "chunk of"},
		{"cut before its end", good[:len(good)-4], "chunk length"},
		{"bytes behind the end", append(bytes.Clone(good), 0), "bytes behind it"},
		{"a chunk too large", append(bytes.Clone(good[:snapshotHeader]), length...), "the limit is"},
		{"a length that lies", append(bytes.Clone(good[:snapshotHeader]), 0, 1, 0, 0, 1), "chunk of 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ReadSnapshot(bytes.NewReader(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// unknownKind is an encoded batch with a record of a kind that does not exist.
func unknownKind() []byte {
	record := protowire.AppendBytes(protowire.AppendTag(nil, 900, protowire.BytesType), nil)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), record)
}

func TestDecodeRecordsRefuses(t *testing.T) {
	field := func(inner []byte) []byte { // a cluster record with inner in it
		record := protowire.AppendBytes(protowire.AppendTag(nil, 10, protowire.BytesType), inner)
		return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), record)
	}
	topic := protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "x"))
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"no protobuf", []byte{0xff}, "decode metadata records"},
		{"too large", make([]byte, MaxBatchBytes+1), "the limit is"},
		{"an unknown kind", unknownKind(), "does not know"},
		{"no kind", []byte{0x0a, 0}, "unknown kind of record"},
		{"an unknown field in a record", field(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)), "Cluster has fields"},
		{"a topic id of no bytes", protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), topic), "an id of 0 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := DecodeRecords(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzDecodeRecords(f *testing.F) {
	data, err := EncodeRecords(baseRecords())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(unknownKind())
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := DecodeRecords(data)
		if err != nil {
			return
		}
		again, err := EncodeRecords(records)
		if err != nil {
			t.Fatalf("decoded records do not encode: %v", err)
		}
		if _, err := DecodeRecords(again); err != nil {
			t.Fatalf("encoded records do not decode: %v", err)
		}
	})
}

func FuzzReadSnapshot(f *testing.F) {
	f.Add(snapshotBytes(f, mustImage(f, Empty(), baseRecords()...)))
	f.Add(snapshotBytes(f, Empty()))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := ReadSnapshot(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := ReadSnapshot(bytes.NewReader(snapshotBytes(t, img)))
		if err != nil {
			t.Fatalf("a snapshot of a snapshot: %v", err)
		}
		if d := diff(img, again); d != "" {
			t.Fatalf("(-first +second):\n%s", d)
		}
	})
}
