package replica

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

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

// contentOf reads and releases what a fetch gave.
func contentOf(s *wal.Span) []byte {
	b, err := readAll(s)
	if err != nil {
		panic(err)
	}
	return b
}

// readAll reads and releases what a fetch gave. It fails if the log was truncated since.
func readAll(s *wal.Span) ([]byte, error) {
	if s == nil {
		return nil, nil
	}
	defer s.Release()
	b := make([]byte, s.Size())
	_, err := s.ReadAt(b, 0)
	return b, err
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

// contextWithin ends after d, also in tests' clean-ups.
func contextWithin(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
