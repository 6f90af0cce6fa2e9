package bench

import (
	"bytes"
	"slices"
	"testing"

	"github.com/quorate/quorate/protocol/record"
)

// A batch is what a broker takes, in every codec, and has the records it was asked for.
func TestBuild(t *testing.T) {
	for name := range codecs {
		for _, keyed := range []bool{false, true} {
			c := ProduceConfig{RecordBytes: 100, Compression: name}
			var k *keys
			if keyed {
				k = newKeys(5, Sequential)
			}
			b, err := newBatcher(c, newPayload(c.RecordBytes), k, 7)
			if err != nil {
				t.Fatal(err)
			}
			indexes := []int64{3, 4, 1 << 40}
			for range 2 { // its memory is used again
				checkBatch(t, name, keyed, b.build(indexes), indexes)
			}
		}
	}
}

func checkBatch(t *testing.T, codec string, keyed bool, built []byte, indexes []int64) {
	t.Helper()
	if err := record.Validate(built, record.Limits{MaxBatchBytes: 1 << 20, SingleBatch: true}); err != nil {
		t.Fatalf("%s, keyed %v: %v", codec, keyed, err)
	}
	var got []int64
	for r, err := range record.Batch(built).Records(record.DefaultDecompressLimits()) {
		if err != nil {
			t.Fatalf("%s, keyed %v: %v", codec, keyed, err)
		}
		i, ok := stampOf(7, r.Value)
		if !ok || len(r.Value) != 100 || (r.Key != nil) != keyed {
			t.Fatalf("%s, keyed %v: record %+v", codec, keyed, r)
		}
		if keyed && !bytes.Equal(r.Key, newKeys(5, Sequential).append(nil, i)) {
			t.Errorf("record %d has key %s", i, r.Key)
		}
		got = append(got, i)
	}
	if !slices.Equal(got, indexes) {
		t.Errorf("%s, keyed %v: got records %v, want %v", codec, keyed, got, indexes)
	}
}

// Every record is taken once, from the home of its partition, also when homes change.
func TestBacklog(t *testing.T) {
	b := newBacklog([]int32{1, 2, 1}, []int32{1, 2}, 100)
	modulo := func(i int64) int32 { return int32(i % 3) }
	if dropped := b.push(0, 9, modulo); dropped != 0 {
		t.Fatalf("%d dropped", dropped)
	}
	seen := set{}
	take := func(broker int32, perRequest, perBatch int, want ...int64) {
		t.Helper()
		var got []int64
		for _, x := range b.take(broker, perRequest, perBatch) {
			for _, i := range x.indexes {
				if modulo(i) != x.partition || !seen.add(i) {
					t.Errorf("record %d in partition %d, or twice", i, x.partition)
				}
				got = append(got, i)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
	}
	take(2, 2, 5, 1, 4)
	take(1, 100, 2, 0, 3, 2, 5) // two of each
	b.rehome([]int32{2, 2, 2})
	if dropped := b.push(9, 10, modulo); dropped != 0 {
		t.Fatalf("%d dropped", dropped)
	}
	take(2, 100, 100, 6, 9, 7, 8)
	if dropped := b.push(10, 210, modulo); dropped != 100 {
		t.Errorf("%d dropped of 200, with room for 100", dropped)
	}
	b.close()
	for range 100 {
		if len(b.take(2, 1, 1)) != 1 {
			t.Fatal("what was pushed before close is gone")
		}
	}
	if left := b.take(1, 1, 1); left != nil {
		t.Errorf("took %v from a backlog that is closed and empty", left)
	}
}
