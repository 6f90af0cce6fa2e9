//go:build integration

package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/test/lab"
)

var (
	damageRounds = flag.Int("damage.rounds", 1, "how many times TestDamage damages a file of every kind")
	damageSeed   = flag.Uint64("damage.seed", 1, "decides which file of a kind it is, where, and how the node was stopped")
	damageKind   = flag.String("damage.kind", "", "damage files of this kind only; empty: of all")
)

// wayOut is what an operator does with a node that refuses to start because of a file.
type wayOut func(n *lab.Node, file string) error

// removePartition removes the directory of the partition that the file is in.
func removePartition(_ *lab.Node, file string) error { return os.RemoveAll(filepath.Dir(file)) }

// removeFile removes the file.
func removeFile(_ *lab.Node, file string) error { return os.Remove(file) }

// replaceNode lets the node come back as one that has lost its disk.
func replaceNode(n *lab.Node, _ string) error {
	return errors.Join(os.RemoveAll(n.DataDir()), n.Rejoin(n.Others()...))
}

// damageKinds are the kinds of files that a node has. out is nil if the node must
// serve in spite of the damage.
var damageKinds = []struct {
	kind    string
	pattern string // in the data directory
	pick    func(names []string) []string
	out     wayOut
}{
	{"closed .log", "*-0/*.log", allButLast, removePartition},
	{"active .log", "*-0/*.log", lastOnly, removePartition},
	{".index", "*-0/*.index", nil, nil},
	{".timeindex", "*-0/*.timeindex", nil, nil},
	{".snapshot", "*-0/*.snapshot", nil, nil},
	{"leader-epoch-checkpoint", "*-0/leader-epoch-checkpoint", nil, removePartition},
	{"partition.metadata", "*-0/partition.metadata", nil, removePartition},
	{"log-checkpoint", "*-0/log-checkpoint", nil, removePartition},
	{"clean-shutdown", "*-0/clean-shutdown", nil, nil},
	{"replication-offset-checkpoint", "replication-offset-checkpoint", nil, removeFile},
	{"commit log", "wal/*.ring", nil, replaceNode},
	{"checkpoint of the commit log", "wal/checkpoint", nil, replaceNode},
	{"meta.properties", "meta.properties", nil, replaceNode},
	{"consensus", "consensus/*/*", nil, replaceNode},
	{"consensus, below", "consensus/*/*/*", nil, replaceNode},
	{"consensus, further below", "consensus/*/*/*/*", nil, replaceNode},
}

// allButLast drops the last segment of every partition.
func allButLast(names []string) (out []string) {
	for i, name := range names {
		if i < len(names)-1 && filepath.Dir(names[i+1]) == filepath.Dir(name) {
			out = append(out, name)
		}
	}
	return out
}

func lastOnly(names []string) []string {
	sealed := allButLast(names)
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(sealed, n) })
}

// A file of one node is damaged while it is down, of every kind in turn. The node then
// either serves, with everything that was acknowledged, or refuses, names the file, and
// has everything again after what docs/operations/durability.md says was done.
func TestDamage(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := start(t, lab.Options{Backend: backend, Nodes: 3, SnapshotEntries: 40, RetainEntries: 10, Kafka: map[string]any{
				"log.cleaner.backoff.ms": 100, "replica.lag.time.max.ms": 2000,
			}})
			d := &damager{t: t, c: c, rnd: rand.New(rand.NewPCG(*damageSeed, 29)), written: map[string]map[int64]string{}}
			t.Logf("seed %d", *damageSeed)
			d.run()
			if t.Failed() {
				t.Logf("again with -damage.seed %d -damage.rounds %d", *damageSeed, *damageRounds)
			}
		})
	}
}

var damageTopics = []string{"plain", "state"}

// damager damages nodes 1 and 2 in turn. Partitions prefer node 1, then 2: so the one
// that was damaged leads once the other one is stopped, and everything is read from it.
type damager struct {
	t       *testing.T
	c       *lab.Cluster
	rnd     *rand.Rand
	written map[string]map[int64]string // topic, offset: key=value
	made    int
	last    damaged // the one before
}

// damaged is a file that was damaged.
type damaged struct {
	node       *lab.Node
	kind, file string
	how        string
	out        wayOut
	logged     int // bytes, before its node was started
}

func (d *damager) run() {
	ctx := within(d.t, 20*time.Minute)
	d.createTopics(ctx)
	d.produce(ctx, 120)
	turn := 0
	for range *damageRounds {
		for _, k := range damageKinds {
			if *damageKind != "" && k.kind != *damageKind {
				continue
			}
			n := d.c.Node(turn%2 + 1)
			turn++
			d.stopAndRead(ctx, n)
			file, how := d.damage(n, k.pattern, k.pick)
			if file == "" {
				d.missing(k.kind, n)
			}
			d.start(ctx, &damaged{node: n, kind: k.kind, file: file, how: how, out: k.out})
			d.produce(ctx, 10)
		}
	}
	d.stopAndRead(ctx, d.c.Node(turn%2+1))
}

// missing tells that a node has no file of a kind: only what is written by an orderly
// stop, or some time after a start, may not be there.
func (d *damager) missing(kind string, n *lab.Node) {
	d.t.Helper()
	if kind != "clean-shutdown" && kind != "replication-offset-checkpoint" {
		d.t.Errorf("node %d has no file of the kind %q", n.ID, kind)
	}
	d.t.Logf("%s: node %d has none", kind, n.ID)
}

func (d *damager) createTopics(ctx context.Context) {
	client, err := lab.Client(d.c.Node(1).Client)
	must(d.t, err)
	defer client.Close()
	for _, topic := range damageTopics {
		req := kmsg.NewPtrCreateTopicsRequest()
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
		rt.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1, 2, 3}}}
		configs := map[string]string{"segment.bytes": "4096", "index.interval.bytes": "256"}
		if topic == "state" {
			configs["cleanup.policy"], configs["min.cleanable.dirty.ratio"] = "compact", "0.01"
		}
		for name, value := range configs {
			rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
		}
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10000
		resp, err := req.RequestWith(ctx, client)
		must(d.t, err)
		must(d.t, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
		for _, n := range d.c.Nodes() {
			must(d.t, n.AwaitTopic(ctx, topic, 3))
		}
	}
}

// produce writes records, idempotently and with acks=all.
func (d *damager) produce(ctx context.Context, count int) {
	d.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(d.c.Bootstrap()...), kgo.MetadataMinAge(50*time.Millisecond), kgo.ProducerLinger(0), kgo.AlwaysRetryEOF())
	must(d.t, err)
	defer client.Close()
	for range count {
		for _, topic := range damageTopics {
			r := kgo.KeyStringRecord(fmt.Sprint("key", d.made%7), fmt.Sprint("value", d.made, strings.Repeat("x", d.made%200)))
			r.Topic = topic
			must(d.t, client.ProduceSync(ctx, r).FirstErr())
			if d.written[topic] == nil {
				d.written[topic] = map[int64]string{}
			}
			d.written[topic][r.Offset] = string(r.Key) + "=" + string(r.Value)
		}
		d.made++
	}
}

// stopAndRead stops n, so that the one that was damaged before leads, and reads
// everything from it.
func (d *damager) stopAndRead(ctx context.Context, n *lab.Node) {
	d.t.Helper()
	for range 2 {
		if d.rnd.IntN(2) == 0 {
			must(d.t, n.Stop(ctx))
		} else {
			must(d.t, n.Kill())
		}
		if d.last.node == nil || d.readAll(ctx, d.last.node) {
			return
		}
		// It has found the damage when the bytes were wanted, and ended.
		must(d.t, n.Start())
		d.refused(ctx, &d.last)
		must(d.t, n.AwaitReady(ctx))
		d.awaitAll(ctx)
		// Node 3 leads, after both others were away.
		third := d.c.Node(3)
		must(d.t, third.Stop(ctx))
		must(d.t, third.Start())
		must(d.t, third.AwaitReady(ctx))
		d.awaitAll(ctx)
	}
	d.t.Fatalf("%s: node %d ends when it is read from", d.last, d.last.node.ID)
}

func (d damaged) String() string { return fmt.Sprintf("%s (%s, %s)", d.kind, d.file, d.how) }

// readAll reads all topics from n, which has to lead them, and compares. It returns
// false if n has ended.
func (d *damager) readAll(ctx context.Context, n *lab.Node) bool {
	d.t.Helper()
	for _, topic := range damageTopics {
		err := lab.Await(ctx, fmt.Sprintf("node %d to lead %s", n.ID, topic), func(ctx context.Context) (bool, string) {
			leader, err := d.c.Leader(ctx, n, topic, 0) // its own view: the reader goes by that
			return !n.Running() || err == nil && leader == n, fmt.Sprint(leader, err)
		})
		must(d.t, err)
		reading, cancel := context.WithCancel(ctx)
		ended := n.Watch(reading, cancel)
		records, err := lab.ReadPartition(reading, []string{n.Client}, topic, 0)
		cancel()
		if <-ended || !n.Running() {
			return false
		}
		must(d.t, err)
		d.compare(topic, records)
	}
	return true
}

// compare wants every record as it was acknowledged: all of them, or the last one of
// every key if the topic is compacted.
func (d *damager) compare(topic string, records []*kgo.Record) {
	d.t.Helper()
	got := map[int64]string{}
	for _, r := range records {
		got[r.Offset] = string(r.Key) + "=" + string(r.Value)
		if want := d.written[topic][r.Offset]; got[r.Offset] != want {
			d.t.Errorf("%s: %s offset %d is %.40q, want %.40q", d.last, topic, r.Offset, got[r.Offset], want)
		}
	}
	newest := map[string]int64{}
	for offset, record := range d.written[topic] {
		key, _, _ := strings.Cut(record, "=")
		newest[key] = max(newest[key], offset)
	}
	for offset, record := range d.written[topic] {
		key, _, _ := strings.Cut(record, "=")
		if _, ok := got[offset]; !ok && (topic != "state" || newest[key] == offset) {
			d.t.Errorf("%s: %s offset %d was acknowledged and is missing", d.last, topic, offset)
		}
	}
}

// damage flips a bit of one of the files, or cuts it short.
func (d *damager) damage(n *lab.Node, pattern string, pick func([]string) []string) (name, how string) {
	d.t.Helper()
	names, err := filepath.Glob(filepath.Join(n.DataDir(), pattern))
	must(d.t, err)
	names = slices.DeleteFunc(names, func(name string) bool {
		if partition := filepath.Base(filepath.Dir(name)); strings.HasSuffix(partition, "-0") && !slices.Contains(damageTopics, strings.TrimSuffix(partition, "-0")) {
			return true
		}
		info, err := os.Stat(name)
		return err != nil || !info.Mode().IsRegular()
	})
	if pick != nil {
		names = pick(names)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.Size() == 0
	})
	if len(names) == 0 {
		return "", ""
	}
	name = names[d.rnd.IntN(len(names))]
	content, err := os.ReadFile(name)
	must(d.t, err)
	used := len(content)
	for used > 1 && content[used-1] == 0 {
		used-- // zeros that were written ahead are nothing
	}
	at := d.rnd.IntN(used)
	if d.rnd.IntN(4) == 0 {
		how, content = fmt.Sprintf("cut to %d of %d bytes", at, len(content)), content[:at]
	} else {
		bit := d.rnd.IntN(8)
		how = fmt.Sprintf("bit %d of byte %d of %d", bit, at, used)
		content[at] ^= 1 << bit
	}
	must(d.t, os.WriteFile(name, content, 0o640))
	return name, how
}

// start starts the node whose file was damaged, and waits until it has everything. If
// it refuses, it does what is to be done then.
func (d *damager) start(ctx context.Context, at *damaged) {
	d.t.Helper()
	log, err := at.node.Log()
	must(d.t, err)
	at.logged = len(log)
	d.last = *at
	must(d.t, at.node.Start())
	if d.serves(ctx, at.node, at.logged) {
		d.t.Logf("%s: node %d serves", at, at.node.ID)
		d.awaitAll(ctx)
		return
	}
	d.refused(ctx, &d.last)
	d.awaitAll(ctx)
}

// lostEntries is what a replica says whose log is whole, but ends before something that
// it has acknowledged. It takes part in nothing any more; the word of one peer is not
// enough for it to end.
const lostEntries = "has lost entries"

// serves waits until the node serves with all replicas in sync, or ends, or says that
// its consensus log is too short.
func (d *damager) serves(ctx context.Context, n *lab.Node, logged int) bool {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ended := n.Watch(ctx, cancel)
	short := make(chan bool, 1)
	go func() {
		err := lab.Await(ctx, lostEntries, func(context.Context) (bool, string) {
			all, err := n.Log()
			return err == nil && len(all) > logged && strings.Contains(all[logged:], lostEntries), ""
		})
		cancel()
		short <- err == nil
	}()
	err := n.AwaitReady(ctx)
	for _, topic := range damageTopics {
		if err == nil {
			err = n.AwaitTopic(ctx, topic, 3)
		}
	}
	cancel()
	if <-short && err != nil {
		must(d.t, n.Kill())
		return false
	}
	if <-ended || !n.Running() {
		return false
	}
	if err != nil {
		d.t.Fatalf("%s: node %d neither serves nor ends: %v", d.last, n.ID, err)
	}
	return true
}

func (d *damager) awaitAll(ctx context.Context) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, topic := range damageTopics {
		if err := d.c.Node(3).AwaitTopic(ctx, topic, 3); err != nil {
			d.t.Fatalf("%s: %v", d.last, err)
		}
	}
	awaitMembers(ctx, d.t, d.c.Nodes(), 1, 2, 3) // one that was replaced has to vote before another one is stopped
}

// refused wants the node to have said which file is damaged, does what is to be done,
// and starts it again.
func (d *damager) refused(ctx context.Context, at *damaged) {
	d.t.Helper()
	all, err := at.node.Log()
	must(d.t, err)
	said := all[at.logged:]
	if strings.Contains(said, "goroutine ") || strings.Contains(said, "panic") {
		d.t.Errorf("%s: node %d panics", at, at.node.ID)
	}
	if strings.Contains(said, lostEntries) {
		said = said[:strings.Index(said, lostEntries)+len(lostEntries)] // with that all is said, and its file cannot be known
	}
	last := said[strings.LastIndexByte(strings.TrimRight(said, "\n"), '\n')+1:]
	d.t.Logf("%s: node %d ends: %.600s", at, at.node.ID, last)
	switch {
	case at.file == "" || at.out == nil:
		d.t.Fatalf("%s: node %d must serve, and ends:\n%s", at, at.node.ID, said)
	case strings.HasSuffix(last, lostEntries):
	case !strings.Contains(last, filepath.Base(at.file)) && !strings.Contains(last, filepath.Join(at.node.DataDir(), "consensus")+"/"):
		// Of a consensus log that was cut, what is missed is the snapshot that it tells of no more.
		d.t.Errorf("%s: node %d does not name the file in its last words", at, at.node.ID)
	}
	must(d.t, at.out(at.node, at.file))
	at.file = ""
	must(d.t, at.node.Start())
	if !d.serves(ctx, at.node, len(all)) {
		d.t.Fatalf("%s: node %d does not come back", at, at.node.ID)
	}
}
