package server

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

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
		h := start(t, func(c *Config) { c.RequestMemory = 2 * (256 << 10) })
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
		c.RequestMemory, c.ReadTimeout = 2*(1<<20), time.Minute
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
		c.RequestMemory, c.ReadTimeout = 2*(1<<20), 50*time.Millisecond
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

// inTemp is records in a file of the operating system, behind some bytes of others.
type inTemp struct {
	counted
	file *os.File
	at   int64
	size int
}

func (r inTemp) Size() int { return r.size }

func (r inTemp) ReadAt(p []byte, at int64) (int, error) { return r.file.ReadAt(p, r.at+at) }

func (r inTemp) File() (syscall.Conn, int64, bool) { return r.file, r.at, true }

// tempFile is a file with content.
func tempFile(t testing.TB, content []byte) *os.File {
	t.Helper()
	f, err := os.Create(t.TempDir() + "/records")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // a test may have closed it
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// noise is bytes of which no part is like another.
func noise(n int) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(8, 15))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// TestFilesAreSent has many connections read parts of the same file at once, around
// the size from which the kernel sends it.
func TestFilesAreSent(t *testing.T) {
	t.Parallel()
	content := noise(9 << 20)
	file := tempFile(t, content)
	var released atomic.Int32
	sizes := []int{1, sendfileFrom - 1, sendfileFrom, 100 << 10, 8 << 20, 0, 77}
	h := start(t, nil)
	for i, size := range sizes {
		h.handler.records[int32(i)] = func() protocol.Records {
			return inTemp{counted: counted{released: &released}, file: file, at: int64(100 * i), size: size}
		}
	}
	const readers = 4
	var wg sync.WaitGroup
	for range readers {
		c := h.dial(t, "clients")
		wg.Go(func() {
			if _, err := c.Write(request(5, fetchOf(len(sizes)), 12)); err != nil {
				t.Error(err)
				return
			}
			frame, err := protocol.ReadResponseFrame(c, 16<<20)
			if err != nil {
				t.Error(err)
				return
			}
			req := kmsg.NewPtrFetchRequest()
			req.Version = 12
			resp, err := protocol.ParseResponse(frame, req)
			if err != nil {
				t.Error(err)
				return
			}
			for i, p := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
				if !bytes.Equal(p.RecordBatches, content[100*i:100*i+sizes[i]]) {
					t.Errorf("partition %d: %d bytes, want others or %d", i, len(p.RecordBatches), sizes[i])
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all released", func() bool { return int(released.Load()) == readers*len(sizes) })
}

// TestFileThatIsShorter: what was promised and is not there ends the connection, also
// if the file was closed.
func TestFileThatIsShorter(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*os.File) error{
		"truncated": func(f *os.File) error { return f.Truncate(50 << 10) },
		"closed":    func(f *os.File) error { return f.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, nil)
			file := tempFile(t, noise(100<<10))
			var released atomic.Int32
			h.handler.records[0] = func() protocol.Records {
				return inTemp{counted: counted{released: &released}, file: file, size: 100 << 10}
			}
			if err := spoil(file); err != nil {
				t.Fatal(err)
			}
			c := h.dial(t, "clients")
			c.send(request(5, fetchOf(1), 12))
			got, err := io.ReadAll(c)
			if err != nil || len(got) > 51<<10 {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			eventually(t, "released", func() bool { return released.Load() == 1 })
		})
	}
}

// TestSlowConsumerHoldsLittle: consumers that do not read hold no memory while the
// kernel has no room for them.
func TestSlowConsumerHoldsLittle(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.RequestMemory = 16 << 20 })
	file := tempFile(t, noise(8<<20))
	var released atomic.Int32
	h.handler.records[0] = func() protocol.Records {
		return inTemp{counted: counted{released: &released}, file: file, size: 8 << 20}
	}
	for range 20 {
		h.dial(t, "clients").send(request(5, fetchOf(1), 12))
	}
	honest := h.dial(t, "clients")
	honest.send(request(1, produceOf(1<<20), 9))
	if id, _ := honest.answer(); id != 1 {
		t.Errorf("got answer %d", id)
	}
	m := h.memory[Client]
	eventually(t, "memory for others", func() bool {
		if !m.records.TryAcquire(m.recordsMax) {
			return false
		}
		m.records.Release(m.recordsMax)
		return true
	})
}

// BenchmarkFetchSend sends 8 MiB of a file: by the kernel, through the buffer of a
// connection, and through a fresh buffer, as it was before.
func BenchmarkFetchSend(b *testing.B) {
	const size = 8 << 20
	file := tempFile(b, noise(size))
	s, err := New(DefaultConfig(), newFakeHandler(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		b.Fatal(err)
	}
	bound, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bound.Close() }()
	go func() {
		socket, err := net.Dial("tcp", bound.Addr().String())
		if err != nil {
			return
		}
		for p := make([]byte, 1<<20); err == nil; {
			_, err = socket.Read(p)
		}
	}()
	socket, err := bound.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer closeSocket(socket)
	var released atomic.Int32
	inKernel := inTemp{counted: counted{released: &released}, file: file, size: size}
	for _, way := range []struct {
		name    string
		records func() protocol.Records
	}{
		{"sendfile", func() protocol.Records { return inKernel }},
		{"buffer", func() protocol.Records { return struct{ protocol.Records }{inKernel} }},
		{"fresh", func() protocol.Records {
			p := make([]byte, size)
			if _, err := file.ReadAt(p, 0); err != nil {
				b.Fatal(err)
			}
			return protocol.Bytes(p)
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			c := newConn(&listener{server: s, cfg: ListenerConfig{Name: "clients"}}, socket, netip.AddrPort{})
			b.SetBytes(size)
			b.ReportAllocs()
			var before, after unix.Rusage
			_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
			for b.Loop() {
				part := protocol.NewFetchedPartition(0, 0)
				part.Records = way.records()
				resp := &protocol.FetchResponse{Version: 12, Topics: []protocol.FetchedTopic{{Partitions: []protocol.FetchedPartition{part}}}}
				if _, err := c.sendFetch(&exchange{}, resp); err != nil {
					b.Fatal(err)
				}
			}
			_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
			cpu := float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / 1e9
			b.ReportMetric(cpu/(float64(b.N)*size/1e9), "cpu-s/GB")
		})
	}
}
