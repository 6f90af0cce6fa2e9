package metadata

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/quorate/quorate/consensus"
)

// TestEveryImageRoundTrips replays random valid records and wants of every image
// on the way: image -> records -> bytes -> records -> image is the image, a
// snapshot of it is the image, and the image before has not changed.
func TestEveryImageRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		img := Empty()
		for n := range rapid.IntRange(1, 40).Draw(t, "batches") {
			before := fingerprint(t, img)
			d := NewDelta(img)
			for range rapid.IntRange(1, 3).Draw(t, "records") {
				rec := drawRecord(t, &d.next)
				if err := d.Replay(throughBytes(t, rec)); err != nil {
					t.Fatalf("a valid record does not replay: %v", err)
				}
			}
			next := d.Image(img.Index+uint64(n)+1, uint64(n), consensus.Gate{Term: uint64(n), Sequence: 3})
			if got := fingerprint(t, img); !bytes.Equal(before, got) {
				t.Fatal("a delta changed its base")
			}
			if got := diff(next, throughSnapshot(t, next)); got != "" {
				t.Fatalf("image -> snapshot -> image (-want +got):\n%s", got)
			}
			img = next
		}
	})
}

func throughBytes(t *rapid.T, rec Record) Record {
	data, err := EncodeRecords([]Record{rec})
	if err != nil {
		t.Fatal(err)
	}
	if size := EncodedSize(rec); size < len(data) {
		t.Fatalf("EncodedSize %d of %d bytes", size, len(data))
	}
	records, err := DecodeRecords(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := cmp.Diff([]Record{rec}, records); got != "" {
		t.Fatalf("record -> bytes -> record (-want +got):\n%s", got)
	}
	return records[0]
}

func fingerprint(t *rapid.T, img *Image) []byte {
	var b bytes.Buffer
	if err := img.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func throughSnapshot(t *rapid.T, img *Image) *Image {
	out, err := ReadSnapshot(bytes.NewReader(fingerprint(t, img)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// drawRecord draws a record that may follow img.
func drawRecord(t *rapid.T, img *Image) Record {
	brokers := slices.Sorted(maps.Keys(img.brokers))
	topics := slices.SortedFunc(maps.Values(img.topics), func(a, b *Topic) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	kinds := []string{"register", "topic", "broker config", "producer ids", "replica id", "cluster"}
	if len(brokers) > 0 {
		kinds = append(kinds, "change", "unregister")
	}
	if len(topics) > 0 {
		kinds = append(kinds, "partition", "partition change", "partition", "partition change", "config", "remove")
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "register":
		return drawRegistration(t, img)
	case "topic":
		n := len(topics) + rapid.IntRange(0, 1000).Draw(t, "n")*1000
		id := UUID{byte(n >> 16), byte(n >> 8), byte(n), 1}
		if _, ok := img.topics[id]; ok {
			return ClusterRecord{ID: "c"}
		}
		return TopicRecord{Name: fmt.Sprint("t", n), ID: id}
	case "broker config":
		return ConfigRecord{Resource: ConfigResource{BrokerResource, ""}, Name: drawName(t), Value: drawValue(t)}
	case "producer ids":
		return ProducerIDsRecord{BrokerID: 1, BrokerEpoch: 2, NextProducerID: img.NextProducerID + 1000}
	case "replica id":
		return ReplicaIDRecord{Next: img.NextReplicaID + rapid.Uint64Range(0, 3).Draw(t, "more")}
	case "cluster":
		return ClusterRecord{ID: "c"}
	case "change":
		b := img.brokers[rapid.SampledFrom(brokers).Draw(t, "broker")]
		return BrokerChangeRecord{ID: b.ID, Epoch: b.Epoch, Fenced: drawBool(t), InControlledShutdown: drawBool(t)}
	case "unregister":
		b := img.brokers[rapid.SampledFrom(brokers).Draw(t, "broker")]
		return UnregisterBrokerRecord{ID: b.ID, Epoch: b.Epoch}
	default:
		return drawTopicChange(t, kind, rapid.SampledFrom(topics).Draw(t, "of"))
	}
}

func drawTopicChange(t *rapid.T, kind string, topic *Topic) Record {
	replicas := rapid.Permutation([]int32{1, 2, 3}).Draw(t, "replicas")
	isr := replicas[:rapid.IntRange(1, 3).Draw(t, "isr")]
	leader := rapid.SampledFrom(append([]int32{NoLeader}, isr...)).Draw(t, "leader")
	last := len(topic.Partitions) - 1
	switch {
	case kind == "config":
		return ConfigRecord{Resource: ConfigResource{TopicResource, topic.Name}, Name: drawName(t), Value: drawValue(t)}
	case kind == "remove":
		return RemoveTopicRecord{ID: topic.ID}
	case kind == "partition change" && last >= 0:
		n := rapid.IntRange(0, last).Draw(t, "partition")
		return PartitionChangeRecord{TopicID: topic.ID, Partition: int32(n), Leader: &leader, ISR: isr, Replicas: replicas, Reassignment: drawReassignment(t, replicas)}
	default:
		return PartitionRecord{TopicID: topic.ID, Partition: int32(last + 1), Replicas: replicas, ISR: isr, Leader: leader, LeaderEpoch: 4, PartitionEpoch: 5, Adding: replicas[:1]}
	}
}

// drawReassignment draws one that begins, changes or ends; nil leaves it alone.
func drawReassignment(t *rapid.T, replicas []int32) *Reassignment {
	switch rapid.IntRange(0, 2).Draw(t, "reassignment") {
	case 0:
		return nil
	case 1:
		return &Reassignment{}
	default:
		return &Reassignment{Adding: replicas[:1], Removing: replicas[1:]}
	}
}

func drawRegistration(t *rapid.T, img *Image) Record {
	endpoint := Endpoint{Name: "clients", Host: "h", Port: rapid.Int32Range(1, 65535).Draw(t, "port"), Security: "PLAINTEXT"}
	return RegisterBrokerRecord{
		ID: rapid.Int32Range(0, 4).Draw(t, "id"), Epoch: img.NextBrokerEpoch + rapid.Int64Range(0, 2).Draw(t, "epoch"),
		Incarnation: UUID{rapid.Byte().Draw(t, "incarnation")}, Rack: drawName(t), Listeners: []Endpoint{endpoint}, Cluster: endpoint, Fenced: true,
		Replica: rapid.Uint64Range(0, 9).Draw(t, "replica"),
	}
}

func drawName(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name") }

func drawValue(t *rapid.T) *string {
	return rapid.Ptr(rapid.SampledFrom([]string{"", "1", "2"}), true).Draw(t, "value")
}

func drawBool(t *rapid.T) *bool { return rapid.Ptr(rapid.Bool(), true).Draw(t, "flag") }
