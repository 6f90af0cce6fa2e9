package metadata

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/consensus"
)

// BenchmarkCommit is one small commit on a large image: what copying costs.
func BenchmarkCommit(b *testing.B) {
	for _, topics := range []int{100, 10_000} {
		records := baseRecords()
		for n := range topics {
			id := UUID{9, byte(n >> 8), byte(n)}
			records = append(records, TopicRecord{Name: fmt.Sprint("topic-", n), ID: id},
				PartitionRecord{TopicID: id, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, Leader: 1})
		}
		img := mustImage(b, Empty(), records...)
		b.Run(fmt.Sprint(topics, "-topics"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := NewDelta(img)
				if err := d.Replay(PartitionChangeRecord{TopicID: orders, Leader: new(int32(2))}); err != nil {
					b.Fatal(err)
				}
				d.Image(2, 1, consensus.Gate{})
			}
		})
	}
}
