package server

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// produceOf is a request with records of the given sizes, one partition each.
func produceOf(sizes ...int) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "orders"
	for i, size := range sizes {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), bytes.Repeat([]byte{byte('a' + i)}, size)
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// produced returns what the handler read for a partition.
func (h *harness) produced(partition int32) []byte {
	h.handler.mu.Lock()
	defer h.handler.mu.Unlock()
	return h.handler.produced[partition]
}

// A request that is far larger than the memory for records is taken partition by
// partition: each gives back what the next one needs.
func TestProduceIsTakenByPartition(t *testing.T) {
	t.Parallel()
	for _, version := range []int16{3, 8, 9, 12} {
		h := start(t, func(c *Config) { c.RequestMemory = 4 * (256 << 10) / 3 })
		h.handler.skip[3] = true
		sizes := []int{200 << 10, 0, 1 << 10, 50 << 10, 250 << 10, 15 << 10, 17 << 10, 300}
		c := h.dial(t, "clients")
		c.send(request(1, produceOf(sizes...), version), request(2, &kmsg.MetadataRequest{}, 9))
		for want := int32(1); want <= 2; want++ {
			if id, _ := c.answer(); id != want {
				t.Fatalf("v%d: answer %d, want %d", version, id, want)
			}
		}
		for i, size := range sizes {
			want := bytes.Repeat([]byte{byte('a' + i)}, size)
			if i == 3 {
				want = nil
			}
			if got := h.produced(int32(i)); !bytes.Equal(got, want) {
				t.Errorf("v%d: partition %d has %d bytes, want %d", version, i, len(got), len(want))
			}
		}
		wantAllMemory(t, h.memory[Client])
	}
}

// Producers that announce records and do not send them hold no memory; who sends a
// part and stops loses the connection, and with it the memory.
func TestRecordsThatDoNotComeHoldNothing(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) {
		c.RequestMemory, c.ReadTimeout = 4*(1<<20)/3, time.Minute
	})
	frame := request(1, produceOf(1<<20), 9)
	for range 5 {
		h.dial(t, "clients").send(frame[:readerSize/2])
	}
	honest := h.dial(t, "clients")
	for range 5 {
		honest.send(frame)
		if id, _ := honest.answer(); id != 1 {
			t.Fatalf("got answer %d", id)
		}
	}
}

func TestRecordsThatStopComing(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) {
		c.RequestMemory, c.ReadTimeout = 4*(1<<20)/3, 50*time.Millisecond
	})
	frame := request(1, produceOf(1<<20), 9)
	stalled := h.dial(t, "clients")
	stalled.send(frame[:len(frame)/2])
	stalled.wantClosed()
	wantAllMemory(t, h.memory[Client])
	honest := h.dial(t, "clients")
	honest.send(frame)
	honest.answer()
}

// A produce request whose lengths lie ends its connection, and the Answer that was
// begun is called all the same.
func TestProduceThatLies(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.handler.hold[1] = make(chan struct{})
	frame := request(1, produceOf(10, 20), 8)
	frame[len(frame)-20-1]++ // the length of the second partition's records
	c := h.dial(t, "clients")
	c.send(frame)
	c.wantClosed()
	select {
	case <-h.handler.ended:
	case <-time.After(patience):
		t.Error("the answer was not called")
	}
	wantAllMemory(t, h.memory[Client])
}

// A connection that is idle for long gives its buffer away and gets another one.
func TestParked(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.ParkAfter = time.Nanosecond })
	c := h.dial(t, "clients")
	for id := range int32(20) {
		frame := request(id, produceOf(10, 40<<10), 9)
		c.send(frame[:1])
		c.send(frame[1:7])
		c.send(frame[7:])
		if got, _ := c.answer(); got != id {
			t.Fatalf("got answer %d, want %d", got, id)
		}
	}
	if got := h.produced(1); len(got) != 40<<10 {
		t.Errorf("got %d bytes", len(got))
	}
}

// TestParkedIsIdle: parking does not undo the limit of idle connections.
func TestParkedIsIdle(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.ParkAfter, c.IdleTimeout = time.Nanosecond, 50*time.Millisecond })
	h.dial(t, "clients").wantClosed()
}

// counted are records that count their releases and may fail.
type counted struct {
	protocol.Bytes
	failAt   int // position from which on reads fail; 0: never
	released *atomic.Int32
}

func (c counted) ReadAt(p []byte, at int64) (int, error) {
	if c.failAt > 0 && at+int64(len(p)) > int64(c.failAt) {
		return 0, errors.New("disk on fire")
	}
	return c.Bytes.ReadAt(p, at)
}

func (c counted) Release() { c.released.Add(1) }

func fetchOf(partitions int) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "orders"
	for i := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition = int32(i)
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// TestFetchIsSent compares what arrives with the records, with and without memory for
// the chunks.
func TestFetchIsSent(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{64 << 20, 4 << 10} {
		h := start(t, func(c *Config) { c.RequestMemory = memory })
		var released atomic.Int32
		var want [][]byte
		for i, size := range []int{0, 1, 70 << 10, 300, 64 << 10, 1 << 20} {
			records := bytes.Repeat([]byte{byte('a' + i), 'x', byte(size)}, size/3+1)[:size]
			want = append(want, records)
			h.handler.records[int32(i)] = func() protocol.Records { return counted{Bytes: records, released: &released} }
		}
		c := h.dial(t, "clients")
		c.send(request(5, fetchOf(len(want)), 12))
		frame, err := protocol.ReadResponseFrame(c, 4<<20)
		if err != nil {
			t.Fatal(err)
		}
		req := kmsg.NewPtrFetchRequest()
		req.Version = 12
		resp, err := protocol.ParseResponse(frame, req)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
			if !bytes.Equal(p.RecordBatches, want[i]) {
				t.Errorf("partition %d: %d bytes, want %d", i, len(p.RecordBatches), len(want[i]))
			}
		}
		eventually(t, "all records released", func() bool { return int(released.Load()) == len(want) })
		wantAllMemory(t, h.memory[Client])
	}
}

// TestFetchThatCannotBeRead: the length is promised, so the connection must end.
func TestFetchThatCannotBeRead(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	var released atomic.Int32
	for i := range int32(2) {
		h.handler.records[i] = func() protocol.Records {
			return counted{Bytes: make([]byte, 200<<10), failAt: 100 << 10, released: &released}
		}
	}
	c := h.dial(t, "clients")
	c.send(request(5, fetchOf(2), 12))
	got, err := io.ReadAll(c)
	if err != nil || len(got) == 0 || len(got) > 110<<10 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	eventually(t, "all records released", func() bool { return released.Load() == 2 })
	wantAllMemory(t, h.memory[Client])
}

// TestFetchThatNobodyHears: answers that are not sent are released as well.
func TestFetchThatNobodyHears(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	var released atomic.Int32
	h.handler.records[0] = func() protocol.Records { return counted{Bytes: make([]byte, 10), released: &released} }
	h.handler.fail[1] = errors.New("the first answer fails")
	hold := make(chan struct{})
	h.handler.hold[1] = hold
	c := h.dial(t, "clients")
	c.send(request(1, &kmsg.MetadataRequest{}, 9), request(2, fetchOf(1), 12), request(3, fetchOf(1), 12))
	eventually(t, "all begun", func() bool { return h.handler.begunCount() == 3 })
	close(hold)
	c.wantClosed()
	eventually(t, "both released", func() bool { return released.Load() == 2 })
}
