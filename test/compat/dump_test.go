//go:build integration

package compat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/test/lab"
)

const dumpLogSegments = "kafka.tools.DumpLogSegments"

// Kafka's own dump tool reads the files of a partition: segments with every codec,
// indexes, snapshots of producers. Checkpoints, which it does not know, are read by
// Kafka's classes. On the leader and the followers, over several leader epochs.
func TestDumpLogSegments(t *testing.T) {
	need(t, "java", "install it with: apt-get install default-jre-headless")
	jars := javaClient(t)
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, 4*time.Minute)
		const topic = "dumped"
		must(t, c.CreateTopic(ctx, c.Node(1), topic, 1, 3, map[string]*string{
			"segment.bytes": new("65536"), "index.interval.bytes": new("1024"),
		}))
		var written int
		for _, n := range c.Nodes() {
			for _, codec := range []kgo.CompressionCodec{
				kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
			} {
				written += producePages(ctx, t, c, topic, codec)
			}
			leader, err := c.Leader(ctx, n, topic, 0)
			must(t, err)
			must(t, n.Stop(ctx)) // cleanly: what was only in memory is in the files
			dir := filepath.Join(n.DataDir(), topic+"-0")
			dumpSegments(ctx, t, jars, dir, written)
			readCheckpoints(ctx, t, jars, dir)
			t.Logf("node %d, leader %d: %d records, %d segments", n.ID, leader.ID, written, len(glob(t, dir, "*.log")))
			must(t, n.Start())
			must(t, n.AwaitReady(ctx))
			must(t, c.Node(1).AwaitTopic(ctx, topic, 3))
		}
	})
}

// producePages writes records that no codec makes much smaller, some with keys and
// headers, one batch after the other, and returns how many.
func producePages(ctx context.Context, t *testing.T, c *lab.Cluster, topic string, codec kgo.CompressionCodec) int {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec))
	must(t, err)
	defer client.Close()
	const batches, size = 20, 7
	random := rand.New(rand.NewPCG(1, 2))
	for range batches {
		records := make([]*kgo.Record, size)
		for i := range records {
			value := make([]byte, 600)
			for j := range value {
				value[j] = byte(' ' + random.IntN(95))
			}
			records[i] = &kgo.Record{Value: value}
			if i%2 == 0 {
				records[i].Key = []byte(fmt.Sprint(i))
				records[i].Headers = []kgo.RecordHeader{{Key: "codec", Value: []byte("x")}}
			}
		}
		must(t, client.ProduceSync(ctx, records...).FirstErr())
	}
	return batches * size
}

var (
	recordLine  = regexp.MustCompile(`^\| offset: (\d+) `)
	indexLine   = regexp.MustCompile(`^offset: \d+ position: \d+$`)
	timeLine    = regexp.MustCompile(`^timestamp: \d+ offset: \d+$`)
	producerRow = regexp.MustCompile(`^producerId: \d+ producerEpoch: 0 `)
)

// dumpSegments has Kafka's tool read every file it knows in a partition's directory,
// which must hold the records from 0 to before end.
func dumpSegments(ctx context.Context, t *testing.T, jars, dir string, end int) {
	t.Helper()
	d := dumped(ctx, t, jars, dir, "--deep-iteration")
	for next, offset := range slices.Concat(d.offsets...) {
		if offset != int64(next) {
			t.Fatalf("%s: record %d where %d is next", dir, offset, next)
		}
	}
	if d.records != end || d.indexed == 0 || d.timed == 0 || d.producers == 0 || len(d.gaps) > 0 {
		t.Errorf("%s: the tool found %d records (want %d), %d index and %d time index entries, %d producers, gaps %v",
			dir, d.records, end, d.indexed, d.timed, d.producers, d.gaps)
	}
	wantSaneIndexes(ctx, t, jars, dir)
}

// wantSaneIndexes wants the checks of the tool for indexes to find nothing.
func wantSaneIndexes(ctx context.Context, t *testing.T, jars, dir string) {
	t.Helper()
	dumped(ctx, t, jars, dir, "--verify-index-only")
	d := dumped(ctx, t, jars, dir, "--index-sanity-check")
	if want := len(glob(t, dir, "*.index")) + len(glob(t, dir, "*.timeindex")); d.sane != want {
		t.Errorf("%s: %d of %d indexes passed the sanity check", dir, d.sane, want)
	}
}

// readCheckpoints has Kafka's classes read the checkpoint of leader epochs and the
// partition's metadata, and compares what they found with the bytes.
func readCheckpoints(ctx context.Context, t *testing.T, jars, dir string) {
	t.Helper()
	got, err := java(ctx, jars, filepath.Join("java", "Checkpoints.java"), dir)
	must(t, err)
	var want []string
	for _, name := range []string{"leader-epoch-checkpoint", "partition.metadata"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		want = append(want, lines(string(content))...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: Kafka read %q, the files say %q", dir, got, want)
	}
}

// java runs a class, or a source file, for which a quick start counts more than speed.
func java(ctx context.Context, jars string, args ...string) ([]string, error) {
	return combined(ctx, "java", append([]string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars}, args...)...)
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	return files
}
