package bench

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The distributions of keys.
const (
	Uniform    = "uniform"    // every key alike
	Zipf       = "zipf"       // the k-th key in proportion to 1/k
	Sequential = "sequential" // one after the other
)

// keys gives every record a key, and so a partition, by its number alone: a record
// that is looked at twice has the same key.
type keys struct {
	count        int64
	distribution string
	partitioner  kgo.TopicPartitioner // Kafka's: murmur2 of the key
}

func newKeys(count int64, distribution string) *keys {
	return &keys{count, distribution, kgo.StickyKeyPartitioner(nil).ForTopic("")}
}

// of returns the number of the key of record i.
func (k *keys) of(i int64) int64 {
	switch k.distribution {
	case Sequential:
		return i % k.count
	case Zipf:
		u := float64(scatter(i)>>11) / (1 << 53)
		return min(k.count-1, int64(math.Exp(u*math.Log(float64(k.count)+1)))-1)
	default:
		return int64(scatter(i) % uint64(k.count))
	}
}

// append appends the key of record i.
func (k *keys) append(dst []byte, i int64) []byte { return fmt.Appendf(dst, "key-%012d", k.of(i)) }

// partition is where the default partitioner of Kafka's clients puts a key.
func (k *keys) partition(key []byte, partitions int) int32 {
	return int32(k.partitioner.Partition(&kgo.Record{Key: key}, partitions))
}

// scatter is splitmix64: numbers in order become numbers without.
func scatter(i int64) uint64 {
	z := uint64(i) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
