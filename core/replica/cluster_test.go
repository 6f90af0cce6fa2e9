package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// tester is what *testing.T and *rapid.T share.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// cluster is managers in one process: a shared image instead of consensus, and
// calls instead of a network.
type cluster struct {
	t      tester
	config func(*Config)
	root   string
	listen func(*Manager) // before the first image

	publishing sync.Mutex // images reach everybody in order
	image      atomic.Pointer[metadata.Image]
	nodes      map[int32]*node
	restarts   int

	fetching atomic.Int32 // fetches under way

	mu  sync.Mutex        // of cut and node.m
	cut map[[2]int32]bool // from, to
}

// node is one broker, through its restarts.
type node struct {
	c     *cluster
	id    int32
	dir   string
	epoch atomic.Int64
	dead  atomic.Bool
	m     *Manager
	stop  context.CancelFunc
	done  chan error
}

// newCluster returns brokers that are registered and run.
func newCluster(t tester, root string, brokers int32, config func(*Config)) *cluster {
	c := &cluster{t: t, config: config, root: root, nodes: map[int32]*node{}, cut: map[[2]int32]bool{}}
	c.image.Store(metadata.Empty())
	for id := int32(1); id <= brokers; id++ {
		c.nodes[id] = &node{c: c, id: id, dir: fmt.Sprintf("%s/%d", root, id)}
		c.start(id)
	}
	return c
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		if !n.dead.Load() {
			n.halt()
		}
	}
}

// start registers a broker in a new process and runs it.
func (c *cluster) start(id int32) {
	n := c.nodes[id]
	cfg := DefaultConfig()
	cfg.BrokerID, cfg.DataDir = id, n.dir
	cfg.ReplicaLagTimeMax = 300 * time.Millisecond
	cfg.FetchMaxWait = 50 * time.Millisecond
	cfg.BackoffMin, cfg.BackoffMax = time.Millisecond, 20*time.Millisecond
	if c.config != nil {
		c.config(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		c.t.Fatalf("config: %v", err)
	}
	epoch := c.image.Load().NextBrokerEpoch
	c.commit(metadata.RegisterBrokerRecord{ID: id, Epoch: epoch, Incarnation: metadata.UUID{byte(id), byte(epoch)}, Fenced: true})
	n.epoch.Store(epoch)
	m := NewManager(cfg, nodeImages{c}, peersOf{n}, isrOf{n}, n.epoch.Load, slog.New(slog.DiscardHandler), nil)
	if c.listen != nil {
		c.listen(m)
	}
	c.mu.Lock()
	n.m = m
	c.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.done = stop, make(chan error, 1)
	n.dead.Store(false)
	go func(done chan error) { done <- m.Run(ctx) }(n.done)
	c.commit(metadata.BrokerChangeRecord{ID: id, Epoch: epoch, Fenced: new(false)})
}

// halt ends a broker's process cleanly.
func (n *node) halt() {
	n.dead.Store(true)
	n.stop()
	if err := <-n.done; err != nil {
		n.c.t.Errorf("broker %d: Run: %v", n.id, err)
	}
}

// manager is m for other goroutines than the test's.
func (n *node) manager() *Manager {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.m
}

type nodeImages struct{ c *cluster }

func (i nodeImages) Current() *metadata.Image { return i.c.image.Load() }

// commit replays records and publishes the image to all that live.
func (c *cluster) commit(records ...metadata.Record) {
	c.t.Helper()
	c.publishing.Lock()
	defer c.publishing.Unlock()
	c.commitLocked(records...)
}

func (c *cluster) commitLocked(records ...metadata.Record) {
	old := c.image.Load()
	d := metadata.NewDelta(old)
	if err := d.ReplayAll(records); err != nil {
		c.t.Fatalf("commit: %v", err)
		return
	}
	img := d.Image(old.Index+1, 1, consensus.Gate{})
	c.image.Store(img)
	for _, n := range c.nodes {
		if m := n.manager(); m != nil && !n.dead.Load() {
			m.OnImage(old, img)
		}
	}
}

// topic creates a topic of one partition; the first replica leads.
func (c *cluster) topic(name string, id byte, replicas []int32, configs ...string) metadata.UUID {
	c.t.Helper()
	uuid := metadata.UUID{id}
	records := []metadata.Record{
		metadata.TopicRecord{Name: name, ID: uuid},
		metadata.PartitionRecord{TopicID: uuid, Replicas: replicas, ISR: replicas, Leader: replicas[0]},
	}
	for i := 0; i < len(configs); i += 2 {
		records = append(records, metadata.ConfigRecord{
			Resource: metadata.ConfigResource{Type: metadata.TopicResource, Name: name},
			Name:     configs[i], Value: new(configs[i+1]),
		})
	}
	c.commit(records...)
	return uuid
}

// elect makes a broker the leader, or none.
func (c *cluster) elect(topic metadata.UUID, leader int32) {
	c.t.Helper()
	c.commit(metadata.PartitionChangeRecord{TopicID: topic, Leader: &leader})
}

// fence does what the controller does for a broker that died: it leaves the ISR
// unless it is the last there, and leadership goes to the first ISR member alive.
func (c *cluster) fence(id int32) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	img := c.image.Load()
	b, _ := img.Broker(id)
	records := []metadata.Record{metadata.BrokerChangeRecord{ID: id, Epoch: b.Epoch, Fenced: new(true)}}
	for t := range img.Topics() {
		for i, p := range t.Partitions {
			change := metadata.PartitionChangeRecord{TopicID: t.ID, Partition: int32(i)}
			isr := without(p.ISR, id)
			if len(isr) > 0 && len(isr) < len(p.ISR) {
				change.ISR = isr
			}
			if p.Leader == id {
				change.Leader = new(c.successor(img, p.Replicas, isr))
			}
			if change.ISR != nil || change.Leader != nil {
				records = append(records, change)
			}
		}
	}
	c.commitLocked(records...)
}

func (c *cluster) successor(img *metadata.Image, replicas, isr []int32) int32 {
	for _, id := range replicas {
		if b, ok := img.Broker(id); ok && !b.Fenced && slices.Contains(isr, id) {
			return id
		}
	}
	return metadata.NoLeader
}

func without(ids []int32, id int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(other int32) bool { return other == id })
}

// crash ends a broker as a power cut does: what was not synced is gone.
func (c *cluster) crash(id int32) {
	n := c.nodes[id]
	n.dead.Store(true) // nothing that it says from here on is heard
	c.restarts++
	dir := fmt.Sprintf("%s/%d-%d", c.root, id, c.restarts)
	for _, p := range *n.m.partitions.Load() {
		copyCrashed(c.t, p, fmt.Sprintf("%s/%s", dir, p))
	}
	n.stop()
	if err := <-n.done; err != nil {
		c.t.Errorf("broker %d: Run: %v", id, err)
	}
	n.dir = dir
}

// copyCrashed copies a partition without what was written at or after its
// durable end. Nothing is truncated meanwhile.
func copyCrashed(t tester, p *Partition, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.wal.Durable()
	for err := os.CopyFS(to, os.DirFS(p.dir)); err != nil; err = os.CopyFS(to, os.DirFS(p.dir)) {
		if !errors.Is(err, fs.ErrNotExist) { // a temporary file that was renamed
			t.Fatalf("copy: %v", err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatalf("copy: %v", err)
		}
	}
	segments, err := filesOf(to, ".log")
	if err != nil {
		t.Fatalf("list segments: %v", err)
	}
	for _, file := range segments {
		if err := cutLog(file, end); err != nil {
			t.Fatalf("cut %s: %v", file, err)
		}
	}
}

func filesOf(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var files []string
	for _, e := range entries {
		if bytes.HasSuffix([]byte(e.Name()), []byte(suffix)) {
			files = append(files, dir+"/"+e.Name())
		}
	}
	return files, err
}

func cutLog(file string, end int64) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	at := 0
	for batch, err := range record.Split(data) {
		if err != nil || batch.BaseOffset() >= end {
			break
		}
		at += len(batch)
	}
	return os.Truncate(file, int64(at))
}

// isolate cuts a broker off from the others in both directions, or joins it.
func (c *cluster) isolate(id int32, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.nodes {
		c.cut[[2]int32{id, other}], c.cut[[2]int32{other, id}] = cut, cut
	}
}

func (c *cluster) reachable(from, to *node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !from.dead.Load() && !to.dead.Load() && !c.cut[[2]int32{from.id, to.id}]
}

var errCut = errors.New("no route to broker")

// peersOf is the Peers of one node.
type peersOf struct{ *node }

func (p peersOf) Request(ctx context.Context, broker int32, _ string, req kmsg.Request) (kmsg.Response, error) {
	to := p.c.nodes[broker]
	if !p.c.reachable(p.node, to) {
		return nil, errCut
	}
	p.c.fetching.Add(1)
	defer p.c.fetching.Add(-1)
	resp := serveFetch(ctx, to.manager(), req.(*kmsg.FetchRequest))
	if ctx.Err() != nil || !p.c.reachable(p.node, to) {
		return nil, errCut
	}
	return resp, nil
}

// serveFetch is what the API does with a follower's fetch.
func serveFetch(ctx context.Context, m *Manager, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	plan := FetchPlan{
		MinBytes: int(req.MinBytes), MaxBytes: int(req.MaxBytes), Replica: true,
		MaxWait: time.Duration(req.MaxWaitMillis) * time.Millisecond,
	}
	resp := kmsg.NewPtrFetchResponse()
	for _, t := range req.Topics {
		out := kmsg.NewFetchResponseTopic()
		out.TopicID = t.TopicID
		for _, p := range t.Partitions {
			plan.Parts = append(plan.Parts, FetchPart{t.TopicID, p.Partition, ReadRequest{
				Offset: p.FetchOffset, MaxBytes: int(p.PartitionMaxBytes),
				CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
				Replica: &ReplicaFetch{ID: req.ReplicaState.ID, Epoch: req.ReplicaState.Epoch},
			}})
			part := kmsg.NewFetchResponseTopicPartition()
			part.Partition = p.Partition
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	results := m.Fetch(ctx, plan)
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			r, part := results[0], &resp.Topics[i].Partitions[j]
			results = results[1:]
			part.ErrorCode = int16(protocol.CodeOf(r.Err))
			part.HighWatermark, part.LogStartOffset, part.RecordBatches = r.HighWatermark, r.LogStart, r.Records
			if r.Diverging != nil {
				part.DivergingEpoch.Epoch, part.DivergingEpoch.EndOffset = r.Diverging.Epoch, r.Diverging.EndOffset
			}
		}
	}
	return resp
}

// isrOf is the ISRChanger of one node: the controller's side of AlterPartition.
type isrOf struct{ *node }

func (i isrOf) Do(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	alter, ok := req.(*kmsg.AlterPartitionRequest)
	if !ok {
		return nil, fmt.Errorf("unexpected request %T", req)
	}
	if i.dead.Load() || !i.c.reachable(i.node, i.node) {
		return nil, errCut
	}
	i.c.publishing.Lock()
	defer i.c.publishing.Unlock()
	resp := kmsg.NewPtrAlterPartitionResponse()
	for _, t := range alter.Topics {
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewAlterPartitionResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, int16(i.c.alter(i.id, t.TopicID, p))
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// alter checks a change of the ISR as the controller does, and commits it.
func (c *cluster) alter(from int32, topic metadata.UUID, req kmsg.AlterPartitionRequestTopicPartition) protocol.ErrorCode {
	img := c.image.Load()
	p := img.Partition(topic, req.Partition)
	switch {
	case p == nil:
		return protocol.UnknownTopicID
	case p.Leader != from || p.LeaderEpoch != req.LeaderEpoch:
		return protocol.FencedLeaderEpoch
	case p.PartitionEpoch != req.PartitionEpoch:
		return protocol.InvalidUpdateVersion
	}
	var isr []int32
	for _, member := range req.NewEpochISR {
		b, ok := img.Broker(member.BrokerID)
		if !ok || b.Fenced || member.BrokerEpoch >= 0 && member.BrokerEpoch != b.Epoch {
			return protocol.IneligibleReplica
		}
		isr = append(isr, member.BrokerID)
	}
	c.commitLocked(metadata.PartitionChangeRecord{TopicID: topic, Partition: req.Partition, ISR: isr})
	return protocol.None
}

// on returns a broker's replica of partition 0.
func (c *cluster) on(id int32, topic metadata.UUID) *Partition {
	c.t.Helper()
	p, err := c.nodes[id].m.Partition(topic, 0)
	if err != nil {
		c.t.Fatalf("broker %d: %v", id, err)
	}
	return p
}

// await polls a condition.
func (c *cluster) await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			c.t.Fatalf("timed out waiting until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// awaitISR waits until the ISR is committed as given, in any order.
func (c *cluster) awaitISR(topic metadata.UUID, want ...int32) {
	c.t.Helper()
	c.await(fmt.Sprintf("the ISR is %v", want), func() bool {
		got := slices.Sorted(slices.Values(c.image.Load().Partition(topic, 0).ISR))
		return slices.Equal(got, want)
	})
}

// awaitMark waits until a replica knows a high watermark.
func (c *cluster) awaitMark(id int32, topic metadata.UUID, want int64) {
	c.t.Helper()
	c.await(fmt.Sprintf("broker %d has high watermark %d", id, want), func() bool {
		return c.on(id, topic).State().HighWatermark == want
	})
}

// produce appends one batch of values as the leader.
func produce(p *Partition, acks int16, values ...string) (Appended, error) {
	return p.Append(batchOf(values...), acks, AppendOptions{})
}

func batchOf(values ...string) []byte {
	b := record.NewBuilder()
	for _, v := range values {
		b.Add(1_000, nil, []byte(v))
	}
	return b.Bytes()
}

// mustProduce appends and waits for acknowledgement.
func (c *cluster) mustProduce(p *Partition, acks int16, values ...string) Appended {
	c.t.Helper()
	a, err := produce(p, acks, values...)
	if err != nil {
		c.t.Fatalf("append: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.AwaitAcks(ctx, a, acks); err != nil {
		c.t.Fatalf("await acks: %v", err)
	}
	return a
}

// bytesOf is a replica's log below an offset.
func bytesOf(p *Partition, upTo int64) ([]byte, error) {
	var all []byte
	from := p.wal.Start()
	for from < upTo {
		b, err := p.wal.Read(from, upTo, 1<<20, true)
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		all = append(all, b...)
		for batch := range record.Split(b) {
			from = batch.LastOffset() + 1
		}
	}
	return all, nil
}

// valuesOf is the values of the records below an offset, by offset.
func valuesOf(t tester, p *Partition, upTo int64) []string {
	t.Helper()
	b, err := bytesOf(p, upTo)
	if err != nil {
		t.Fatalf("read %s: %v", p, err)
	}
	var values []string
	for batch, err := range record.Split(b) {
		if err != nil {
			t.Fatalf("split %s: %v", p, err)
		}
		for rec, err := range batch.Records(record.DefaultDecompressLimits()) {
			if err != nil {
				t.Fatalf("iterate %s: %v", p, err)
			}
			values = append(values, string(rec.Value))
		}
	}
	return values
}

func wantCode(t testing.TB, err error, want protocol.ErrorCode) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Errorf("error is %v, want %v", err, want)
	}
}
