//go:build integration

package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/test/lab"
)

var (
	points  = flag.Int("crash.points", 5, "how many times the power is cut")
	seed    = flag.Uint64("crash.seed", 1, "decides when it is and what is lost")
	backend = flag.String("crash.backend", "solo", "the consensus backend")
)

// TestPowerCuts produces to a node, cuts its power after a random number of changes
// to its files, starts it again, and wants every record that was acknowledged, once
// and in order.
func TestPowerCuts(t *testing.T) {
	w := newWorld(t)
	for cut := range *points {
		w.produceUntilCut(t.Context(), cut)
		w.restart(t.Context(), cut)
		w.check(t.Context())
		if t.Failed() {
			t.Fatalf("after %d power cuts; again with -crash.seed %d -crash.points %d\n%s", cut+1, *seed, *points, w.cluster.Logs(40))
		}
	}
	t.Logf("%d power cuts, %d pages lost, %d records acknowledged", *points, w.lost, w.ackedRecords())
}

const (
	topic      = "orders"
	partitions = 6
)

// world is a node on a lossy file system and what it has acknowledged.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	fs      *lossyFS
	cluster *lab.Cluster
	node    *lab.Node
	made    [partitions]int           // records that were produced
	acked   [partitions]map[int]int64 // those acknowledged, and their offsets
	lost    int                       // pages
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, rnd: rand.New(rand.NewPCG(*seed, 17))}
	for p := range w.acked {
		w.acked[p] = map[int]int64{}
	}
	var err error
	// Small segments and a small commit log: files are begun and used again all the time.
	w.cluster, err = lab.New(lab.Options{Binary: binary(t), Dir: dir, Backend: *backend, Nodes: 1, Kafka: map[string]any{
		"log.segment.bytes": 1 << 20, "wal.segment.bytes": 1 << 20, "wal.size.bytes": 4 << 20,
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.node = w.cluster.Node(1)
	behind := filepath.Join(dir, "disk")
	for _, d := range []string{behind, w.node.DataDir()} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if w.fs, err = mount(behind, w.node.DataDir()); err != nil {
		// The gate looks for these words: what is not tested has to be said.
		t.Skipf("SKIPPED, and so not tested: power cuts under a real node: cannot mount a file system (FUSE): %v", err)
	}
	t.Cleanup(func() {
		w.fs.cut()
		if err := errors.Join(w.kill(context.Background()), w.fs.server.Unmount()); err != nil {
			t.Error(err)
		}
	})
	w.start(t.Context())
	if err := w.cluster.CreateTopic(t.Context(), w.node, topic, partitions, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.node.AwaitTopic(t.Context(), topic, 1); err != nil {
		t.Fatal(err)
	}
	return w
}

// binary is QUORATE_BINARY, or one that is built for the occasion.
func binary(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("QUORATE_BINARY"); name != "" {
		return name
	}
	name := filepath.Join(t.TempDir(), "quorate")
	if out, err := exec.Command("go", "build", "-o", name, "../../cmd/quorate").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return name
}

func (w *world) start(ctx context.Context) {
	w.t.Helper()
	if err := w.node.Start(); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := w.node.AwaitReady(ctx); err != nil {
		w.t.Fatalf("%v\n%s", err, w.cluster.Logs(40))
	}
}

// produceUntilCut produces until the power is cut, and remembers what was acknowledged.
func (w *world) produceUntilCut(ctx context.Context, cut int) {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.node.Client), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(1), kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(5*time.Second), kgo.MaxBufferedRecords(200))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	type ack struct {
		partition int32
		n         int
		offset    int64
	}
	acks := make(chan ack, 1<<20)
	w.fs.allow(w.rnd.IntN(400))
	for !w.fs.isOff() && ctx.Err() == nil {
		p := int32(w.rnd.IntN(partitions))
		n := w.made[p]
		w.made[p]++
		value := fmt.Appendf(nil, "%d/%d/%0*d", cut, n, w.rnd.IntN(3000), 0)
		client.Produce(ctx, &kgo.Record{Topic: topic, Partition: p, Value: value}, func(r *kgo.Record, err error) {
			if err == nil {
				acks <- ack{r.Partition, n, r.Offset}
			}
		})
	}
	if ctx.Err() != nil {
		w.t.Errorf("nothing was written for 30 s\n%s", w.cluster.Logs(30))
	}
	if err := w.kill(ctx); err != nil {
		w.t.Fatal(err)
	}
	cancel()
	client.Close()
	close(acks)
	for a := range acks {
		w.acked[a.partition][a.n] = a.offset
	}
}

// kill ends the node's processes at once.
func (w *world) kill(ctx context.Context) error {
	if w.node.Running() {
		if err := w.node.Kill(); err != nil {
			return err
		}
	}
	return lab.Await(ctx, "the plugin to end", func(context.Context) (bool, string) {
		pids, err := w.cluster.Plugins()
		return err == nil && len(pids) == 0, fmt.Sprint(pids, err)
	})
}

// restart is the power coming back, sometimes only for a while.
func (w *world) restart(ctx context.Context, cut int) {
	again := 0
	if w.rnd.IntN(3) == 0 {
		again = 1
	}
	for ; again >= 0; again-- {
		lost, err := w.fs.lose(w.rnd)
		if err != nil {
			w.t.Fatal(err)
		}
		w.lost += lost
		if again == 0 {
			break
		}
		w.fs.allow(w.rnd.IntN(60))
		if err := w.node.Start(); err != nil {
			w.t.Fatal(err)
		}
		waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
		_ = lab.Await(waiting, "the power to go", func(ctx context.Context) (bool, string) {
			ready, _ := w.node.Ready(ctx)
			return ready || w.fs.isOff() || !w.node.Running(), ""
		})
		cancel()
		w.fs.cut()
		if err := w.kill(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
	w.fs.allow(-1)
	w.start(ctx)
}

// check reads everything and compares.
func (w *world) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	assigned := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		assigned[p] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.node.Client), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ends, err := w.ends(ctx, client)
	if err != nil {
		w.t.Fatal(err)
	}
	var seen [partitions]map[int]int64
	var last [partitions]int
	left := 0
	for p := range seen {
		seen[p], last[p] = map[int]int64{}, -1
		if ends[int32(p)] > 0 {
			left++
		}
	}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("consume: %v", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var cut, n int
			if _, err := fmt.Sscanf(string(r.Value), "%d/%d/", &cut, &n); err != nil {
				w.t.Errorf("partition %d offset %d: %q", r.Partition, r.Offset, r.Value)
			}
			if n <= last[r.Partition] {
				w.t.Errorf("partition %d offset %d: record %d after %d", r.Partition, r.Offset, n, last[r.Partition])
			}
			last[r.Partition] = n
			seen[r.Partition][n] = r.Offset
			if r.Offset == ends[r.Partition]-1 {
				left--
			}
		})
	}
	for p, acked := range w.acked {
		for n, offset := range acked {
			if got, ok := seen[p][n]; !ok || got != offset {
				w.t.Errorf("partition %d: record %d was acknowledged at offset %d and is at %d, %v", p, n, offset, got, ok)
			}
		}
	}
}

func (w *world) ackedRecords() (n int) {
	for _, acked := range w.acked {
		n += len(acked)
	}
	return n
}
