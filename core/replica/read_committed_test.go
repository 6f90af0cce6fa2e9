package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// inTransaction is one batch of a producer's transaction.
func inTransaction(id int64, sequence int32, values ...string) []byte {
	b := record.NewBuilder()
	b.SetProducer(id, 0, sequence)
	b.SetTransactional()
	for _, v := range values {
		b.Add(1_000, nil, []byte(v))
	}
	return b.Bytes()
}

func marker(kind record.MarkerType, id int64) []byte {
	return record.NewMarker(record.Marker{Type: kind}, id, 0, 1_000)
}

// mustAppendAll appends as a coordinator does, and waits for the whole ISR.
func (c *cluster) mustAppendAll(p *Partition, batches ...[]byte) {
	c.t.Helper()
	for _, b := range batches {
		a, err := p.Append(b, AcksAll, AppendOptions{Internal: true})
		if err != nil {
			c.t.Fatalf("append: %v", err)
		}
		ctx, cancel := contextWithin(60 * time.Second)
		err = p.AwaitAcks(ctx, a, AcksAll)
		cancel()
		if err != nil {
			c.t.Fatalf("await acks: %v", err)
		}
	}
}

func committedAt(offset int64) ReadRequest {
	r := readAt(offset)
	r.Isolation = ReadCommitted
	return r
}

// committed is the values that a consumer of committed records gets, and what it was
// told of aborted transactions, as clients do it.
func committed(t *testing.T, p *Partition, maxBytes int) (values []string) {
	t.Helper()
	for at := p.wal.Start(); ; {
		r := committedAt(at)
		r.MaxBytes = maxBytes
		res, err := p.Read(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Records == nil {
			return values
		}
		if res.Aborted == nil {
			t.Fatal("no list of aborted transactions")
		}
		for b := range record.Split(contentOf(res.Records)) {
			skip := slices.ContainsFunc(res.Aborted, func(a wal.AbortedTransaction) bool {
				return a.ProducerID == b.ProducerID() && a.First <= b.BaseOffset() && b.LastOffset() < a.Last
			})
			if !skip && !b.IsControl() {
				for r, err := range b.Records(record.DefaultDecompressLimits()) {
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, string(r.Value))
				}
			}
			at = b.LastOffset() + 1
		}
	}
}

func TestReadCommitted(t *testing.T) {
	c := testCluster(t, 3, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour })
	topic := c.topic("orders", 1, []int32{1, 2, 3}, "segment.bytes", "1000")
	c.mustAppendAll(c.on(1, topic),
		inTransaction(1, 0, "a0", "a1"), // 0, 1
		batchOf("plain"),                // 2
		inTransaction(2, 0, "lost"),     // 3
		inTransaction(1, 2, "a2"),       // 4
		marker(record.Abort, 2),         // 5
		marker(record.Commit, 1),        // 6
		inTransaction(3, 0, "open"),     // 7
		batchOf("behind"),               // 8
	)
	want := []string{"a0", "a1", "plain", "a2"}
	for leader := int32(1); leader <= 3; leader++ {
		if leader > 1 { // what a follower copied is the same state
			c.elect(topic, leader)
			c.awaitMark(leader, topic, 9)
		}
		p := c.on(leader, topic)
		for _, maxBytes := range []int{1, 100, 1 << 20} {
			if got := committed(t, p, maxBytes); !slices.Equal(got, want) {
				t.Errorf("leader %d, %d bytes at a time: got %v, want %v", leader, maxBytes, got, want)
			}
		}
		res, err := p.Read(readAt(0))
		if err != nil || res.LastStable != 7 || res.HighWatermark != 9 || res.Aborted != nil {
			t.Errorf("leader %d: last stable offset %d, high watermark %d, aborted %v, %v; want 7 and 9", leader, res.LastStable, res.HighWatermark, res.Aborted, err)
		}
		contentOf(res.Records)
		for isolation, want := range map[Isolation]int64{ReadUncommitted: 9, ReadCommitted: 7} {
			if got, _, _, err := p.ListOffset(LatestTimestamp, -1, isolation); got != want || err != nil {
				t.Errorf("leader %d: latest offset of isolation %d is %d, %v; want %d", leader, isolation, got, err, want)
			}
		}
		if got, _, _, err := p.ListOffset(1_000, -1, ReadCommitted); got != 0 || err != nil {
			t.Errorf("leader %d: offset by time is %d, %v", leader, got, err)
		}
	}
	if m := c.nodes[3].m; m.openTransactions() != 1 || m.lastStableLag() != 2 || c.nodes[1].m.openTransactions() != 0 {
		t.Errorf("metrics: %v open transactions, lag %v; on a follower %v", m.openTransactions(), m.lastStableLag(), c.nodes[1].m.openTransactions())
	}
	c.mustAppendAll(c.on(3, topic), marker(record.Commit, 3))
	if got := committed(t, c.on(3, topic), 1<<20); !slices.Equal(got, append(want, "open", "behind")) {
		t.Errorf("committed: got %v", got)
	}
}

// A long poll for committed records waits for the marker, and then has the list.
func TestReadCommittedLongPoll(t *testing.T) {
	m, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}})
	c := &cluster{t: t}
	c.mustAppendAll(p, inTransaction(1, 0, "lost"), batchOf("plain"))
	answer := make(chan []FetchResult, 1)
	go func() {
		answer <- m.Fetch(t.Context(), FetchPlan{
			Parts:    []FetchPart{{TopicID: metadata.UUID{1}, ReadRequest: committedAt(0)}},
			MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 60 * time.Second,
		})
	}()
	c.mustAppendAll(p, batchOf("still hidden"), marker(record.Abort, 1))
	res := <-answer
	if len(res) != 1 || res[0].Err != nil || res[0].Records.Size() == 0 || len(res[0].Aborted) != 1 {
		t.Fatalf("got %+v", res)
	}
	contentOf(res[0].Records)
}

// An answer does not name more aborted transactions than it may: it has fewer records.
func TestReadCommittedBoundsTheList(t *testing.T) {
	_, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}})
	var batches []byte
	const transactions = maxAborted + 100
	for i := range int32(transactions) {
		batches = append(batches, inTransaction(1, i, fmt.Sprint(i))...)
		batches = append(batches, marker(record.Abort, 1)...)
	}
	c := &cluster{t: t}
	c.mustAppendAll(p, batches)
	res, err := p.Read(committedAt(0))
	if err != nil || len(res.Aborted) != maxAborted {
		t.Fatalf("%d aborted transactions, %v", len(res.Aborted), err)
	}
	end := int64(0)
	for b := range record.Split(contentOf(res.Records)) {
		end = b.LastOffset() + 1
	}
	if end != 2*maxAborted {
		t.Errorf("records end at %d, want %d", end, 2*maxAborted)
	}
	if values := committed(t, p, 1<<30); len(values) != 0 {
		t.Errorf("%d aborted records were seen", len(values))
	}
}

func TestMarkersOfClientsAreRefused(t *testing.T) {
	_, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}})
	_, err := p.Append(marker(record.Abort, 1), AcksAll, AppendOptions{})
	wantCode(t, err, protocol.InvalidRecord)
	_, err = p.Append(inTransaction(1, 0, "x"), AcksAll, AppendOptions{})
	wantCode(t, err, protocol.InvalidTxnState)
}
