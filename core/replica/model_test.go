package replica

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/core/metadata"
)

// TestNoAcknowledgedRecordIsLost runs a producer against random power cuts, cuts
// of the network and changes of leader. In the end every record that acks=all
// acknowledged is there once, and the replicas are equal byte for byte.
func TestNoAcknowledgedRecordIsLost(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			c := testCluster(t, 3, func(cfg *Config) {
				cfg.ReplicaLagTimeMax = 50 * time.Millisecond
				if seed%2 == 1 { // disks that are behind what followers fetch
					cfg.FS = &faultFS{slow: 10 * time.Millisecond}
				}
			})
			topic := c.topic("orders", 1, []int32{1, 2, 3}, "min.insync.replicas", "2")
			w := &workload{c: c, topic: topic, acked: map[string]int64{}}
			ctx, stop := context.WithCancel(t.Context())
			var producers sync.WaitGroup
			for i := range 3 {
				producers.Go(func() { w.produce(ctx, i) })
			}
			c.await("the workload runs", w.runs)
			faults := faults{c: c, topic: topic, random: rand.New(rand.NewPCG(seed, seed)), cut: map[int32]bool{}}
			for range 25 {
				faults.next()
			}
			faults.heal()
			stop()
			producers.Wait()
			w.check(t)
		})
	}
}

// workload is producers that remember what was acknowledged.
type workload struct {
	c     *cluster
	topic metadata.UUID

	mu    sync.Mutex
	acked map[string]int64 // value -> offset
}

// runs tells if anything was acknowledged yet.
func (w *workload) runs() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked) > 0
}

// produce appends to whoever leads until ctx ends.
func (w *workload) produce(ctx context.Context, producer int) {
	for i := 0; ctx.Err() == nil; i++ {
		n := w.c.nodes[w.c.image.Load().Partition(w.topic, 0).Leader]
		if n == nil || n.dead.Load() || !w.burst(ctx, n, fmt.Sprintf("%d-%d", producer, i)) {
			time.Sleep(time.Millisecond)
		}
	}
}

// burst appends some records without waiting in between, then waits for each. An
// acknowledgement counts unless the process has died by then.
func (w *workload) burst(ctx context.Context, n *node, value string) (ok bool) {
	epoch := n.epoch.Load()
	p, err := n.manager().Partition(w.topic, 0)
	if err != nil {
		return false
	}
	appended := map[string]Appended{}
	for i := range 4 {
		v := fmt.Sprintf("%s-%d", value, i)
		if appended[v], err = produce(p, AcksAll, v); err != nil {
			delete(appended, v)
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	for v, a := range appended {
		if p.AwaitAcks(ctx, a, AcksAll) == nil && !n.dead.Load() && n.epoch.Load() == epoch {
			w.mu.Lock()
			w.acked[v] = a.First
			w.mu.Unlock()
		}
	}
	return len(appended) > 0
}

// check brings one more record through, then compares.
func (w *workload) check(t *testing.T) {
	leader := w.c.image.Load().Partition(w.topic, 0).Leader
	var last Appended
	w.c.await("one more record is acknowledged", func() (ok bool) {
		last, ok = w.last(t.Context(), w.c.on(leader, w.topic))
		return ok
	})
	want, err := bytesOf(w.c.on(leader, w.topic), last.End)
	if err != nil {
		t.Fatal(err)
	}
	for id := range w.c.nodes {
		w.c.awaitMark(id, w.topic, last.End)
		got, err := bytesOf(w.c.on(id, w.topic), last.End)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("logs of brokers %d and %d differ", id, leader)
		}
	}
	values := valuesOf(t, w.c.on(leader, w.topic), last.End)
	for value, offset := range w.acked {
		if offset >= int64(len(values)) || values[offset] != value {
			t.Errorf("record %s, acknowledged at offset %d, is lost", value, offset)
		}
	}
	t.Logf("%d records, %d acknowledged, leader epoch %d", len(values), len(w.acked), w.c.image.Load().Partition(w.topic, 0).LeaderEpoch)
}

// last appends one more record; a busy machine may shrink the ISR meanwhile.
func (w *workload) last(ctx context.Context, p *Partition) (Appended, bool) {
	a, err := produce(p, AcksAll, "the last")
	return a, err == nil && p.AwaitAcks(ctx, a, AcksAll) == nil
}

// faults is what goes wrong, decided by a seed.
type faults struct {
	c      *cluster
	topic  metadata.UUID
	random *rand.Rand
	cut    map[int32]bool
}

func (f *faults) next() {
	time.Sleep(time.Duration(f.random.IntN(20)) * time.Millisecond) // let the workload work
	id := 1 + f.random.Int32N(3)
	n := f.c.nodes[id]
	switch dice := f.random.IntN(14); {
	case n.dead.Load():
		f.c.start(id)
		f.c.electMissing()
	case dice >= 10:
		f.blink(id)
	case dice < 3:
		f.c.crash(id)
		f.c.fence(id)
	case dice < 6:
		f.cut[id] = !f.cut[id]
		f.c.isolate(id, f.cut[id])
	default:
		f.c.electOther(f.topic, f.random)
	}
}

// blink cuts a follower's power for so short a time that it is in the ISR still, and
// makes it the leader with what it has left.
func (f *faults) blink(id int32) {
	if f.c.image.Load().Partition(f.topic, 0).Leader == id {
		return
	}
	f.c.crash(id)
	f.c.start(id)
	f.c.publishing.Lock()
	defer f.c.publishing.Unlock()
	if p := f.c.image.Load().Partition(f.topic, 0); slices.Contains(p.ISR, id) {
		f.c.commitLocked(metadata.PartitionChangeRecord{TopicID: f.topic, Leader: &id})
	}
}

// heal ends all faults and waits until everybody is in sync.
func (f *faults) heal() {
	for _, id := range slices.Sorted(maps.Keys(f.c.nodes)) {
		f.c.isolate(id, false)
		if f.c.nodes[id].dead.Load() {
			f.c.start(id)
		}
	}
	f.c.electMissing()
	f.c.awaitISR(f.topic, 1, 2, 3)
}

// electMissing gives every partition without leader one, from its ISR.
func (c *cluster) electMissing() {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	img := c.image.Load()
	for t := range img.Topics() {
		for i, p := range t.Partitions {
			if leader := c.successor(img, p.Replicas, p.ISR); p.Leader == metadata.NoLeader && leader != metadata.NoLeader {
				c.commitLocked(metadata.PartitionChangeRecord{TopicID: t.ID, Partition: int32(i), Leader: &leader})
			}
		}
	}
}

// electOther makes any member of the ISR that lives the leader.
func (c *cluster) electOther(topic metadata.UUID, random *rand.Rand) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	img := c.image.Load()
	p := img.Partition(topic, 0)
	shuffled := slices.Clone(p.ISR)
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if leader := c.successor(img, shuffled, p.ISR); leader != metadata.NoLeader && leader != p.Leader {
		c.commitLocked(metadata.PartitionChangeRecord{TopicID: topic, Leader: &leader})
	}
}
