package server

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// diskHandler reads all records of a produce request, as an append does, on a disk
// that may be stalled.
type diskHandler struct {
	stalled  chan struct{} // closed: the disk works
	in, most atomic.Int64  // bytes of records that are being written, and the most there were
	bytes    atomic.Int64  // that were written
}

func (*diskHandler) Versions(_ Kind, key int16) (int16, int16, bool) { return 3, 12, key == 0 }

func (h *diskHandler) Begin(_ context.Context, _ *Session, r *Request) Answer {
	for {
		if _, err := r.Produce.Next(); err != nil {
			break
		}
		records, err := r.Produce.Records()
		if err != nil {
			break
		}
		now := h.in.Add(int64(len(records)))
		for most := h.most.Load(); now > most && !h.most.CompareAndSwap(most, now); most = h.most.Load() {
		}
		<-h.stalled
		h.in.Add(-int64(len(records)))
		h.bytes.Add(int64(len(records)))
	}
	return func(context.Context) (protocol.Response, error) { return kmsg.NewPtrProduceResponse(), nil }
}

// runServer serves a handler until the test ends.
func runServer(t *testing.T, h Handler, memory int64) *Server {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{{Name: "clients", Kind: Client, Bind: "127.0.0.1:0"}}
	cfg.RequestMemory = memory
	s, err := New(cfg, h, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// produceFrom has connections send the same frame so often each, pipelined, and waits
// for all answers.
func produceFrom(t *testing.T, s *Server, connections, times int, frame []byte) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	for range connections {
		socket, err := net.Dial("tcp", s.Addr("clients").String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeSocket(socket) })
		wg.Go(func() {
			for range times {
				if _, err := socket.Write(frame); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		})
		wg.Go(func() {
			for range times {
				if _, err := protocol.ReadResponseFrame(socket, 1<<20); err != nil {
					t.Errorf("no answer: %v", err)
					return
				}
			}
		})
	}
	return &wg
}

// inUse is the memory of the process that is not free.
func inUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// TestThousandPartitions has a hundred connections send requests of a thousand
// partitions: 98 MiB at a time, of which the server never has more than its budget.
func TestThousandPartitions(t *testing.T) {
	const budget, connections = 16 << 20, 100
	h := &diskHandler{stalled: make(chan struct{})}
	close(h.stalled)
	s := runServer(t, h, budget)
	sizes := make([]int, 1000)
	for i := range sizes {
		sizes[i] = 1000
	}
	frame := request(1, produceOf(sizes...), 9)
	runtime.GC()
	before := inUse()
	wg := produceFrom(t, s, connections, 3, frame)
	var largest int64
	stop, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		for {
			largest = max(largest, inUse())
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	wg.Wait()
	close(stop)
	<-sampled
	if got, want := h.bytes.Load(), int64(connections*3*len(sizes)*1000); got != want {
		t.Errorf("%d bytes were written, want %d", got, want)
	}
	if grown := largest - before; grown > budget {
		t.Errorf("the heap grew by %d bytes, the budget is %d", grown, budget)
	} else {
		t.Logf("the heap grew by %d KiB", grown>>10)
	}
}

// TestStalledDiskPushesBack: while a disk stands still the records in memory stay within
// the budget, the others stay in the sockets, and all are written in the end.
func TestStalledDiskPushesBack(t *testing.T) {
	const budget, connections, size = 8 << 20, 30, 1 << 20
	h := &diskHandler{stalled: make(chan struct{})}
	s := runServer(t, h, budget)
	wg := produceFrom(t, s, connections, 2, request(1, produceOf(size, size), 9))
	room := s.memory[Client].recordsMax
	full := func() bool { return h.in.Load() > room-size }
	for deadline := time.Now().Add(patience); !full(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are in memory, there is room for %d", h.in.Load(), room)
		}
	}
	close(h.stalled)
	wg.Wait()
	if most := h.most.Load(); most > room {
		t.Errorf("%d bytes of records were in memory, there is room for %d", most, room)
	}
	if got, want := h.bytes.Load(), int64(connections*2*2*size); got != want {
		t.Errorf("%d bytes were written, want %d", got, want)
	}
}
