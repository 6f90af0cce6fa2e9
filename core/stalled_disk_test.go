package core_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/protocol"
)

// stallingFS is the real file system, whose commit log can be made to stand still.
type stallingFS struct {
	disk.OS
	gate *gate
}

type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

func (s stallingFS) OpenFile(name string, flag int) (disk.File, error) {
	f, err := s.OS.OpenFile(name, flag)
	if err != nil || !strings.HasSuffix(filepath.Dir(name), "/wal") {
		return f, err
	}
	return stallingFile{f, s.gate}, nil
}

type stallingFile struct {
	disk.File
	gate *gate
}

func (f stallingFile) Sync() error {
	f.gate.pass()
	return f.File.Sync()
}

func (f stallingFile) WritevAt(pieces [][]byte, at int64) (int64, error) {
	f.gate.pass()
	return f.File.WritevAt(pieces, at)
}

// TestStalledDiskPushesBack stops the disk under many producers of wide requests. The
// broker may take what its budget is for, and no more: the rest stays in the sockets.
// When the disk goes on everything is acknowledged.
func TestStalledDiskPushesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of megabytes")
	}
	const partitions, clients, most = 1000, 20, 60 // requests of each client, of 1 MB
	g := &gate{}
	t.Cleanup(g.open)
	b := startBroker(t, func(c *core.Config) { c.Replica.FS = stallingFS{gate: g} })
	ctx := within(t, 5*time.Minute)
	_, err := kadm.NewClient(b.client(t)).CreateTopics(ctx, partitions, 1, nil, "wide")
	must(t, err)
	req := produce("wide", 0, -1, nil)
	req.TimeoutMillis = 240_000
	req.Topics[0].Partitions = nil
	for p := range int32(partitions) {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: p, Records: batch(strings.Repeat("x", 1000))})
	}
	raw(t, b.addr, req) // everything is open
	frame := frameOf(req)
	runtime.GC()
	before := heap()
	g.close()

	var sent, acked atomic.Int64
	full := make(chan struct{})
	var writers, readers sync.WaitGroup
	for range clients {
		conn, err := net.Dial("tcp", b.addr)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		deadline, _ := ctx.Deadline()
		must(t, conn.SetDeadline(deadline))
		must(t, conn.(*net.TCPConn).SetWriteBuffer(64<<10))
		written := make(chan struct{}, most)
		writers.Go(func() {
			defer close(written)
			for range most {
				select {
				case <-full:
					return
				default:
				}
				if _, err := conn.Write(frame); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				sent.Add(1)
				written <- struct{}{}
			}
		})
		readers.Go(func() {
			for range written {
				if err := acknowledged(conn, partitions); err != nil {
					t.Error(err)
					return
				}
				acked.Add(1)
			}
		})
	}
	largest := awaitStandstill(ctx, &sent)
	if n := sent.Load(); n >= clients*most {
		t.Errorf("all %d requests were taken by a broker whose disk stands still", n)
	}
	if n := acked.Load(); n > 0 {
		t.Errorf("%d requests were acknowledged without the disk", n)
	}
	t.Logf("%d of %d MB were taken; memory: %d MiB before, at most %d", sent.Load()*int64(len(frame))/1e6, int64(clients*most*len(frame))/1e6, before, largest)
	// The budget of requests and that of the commit log, twice because garbage waits to
	// be collected, and what 20 x 16 requests of 1000 partitions wait with.
	if bound := before + 2*(64+64) + 100; largest > bound {
		t.Errorf("%d MiB were in use, want at most %d", largest, bound)
	}
	close(full)
	g.open()
	writers.Wait()
	readers.Wait()
	if acked.Load() != sent.Load() {
		t.Errorf("%d of %d requests were acknowledged", acked.Load(), sent.Load())
	}
}

// awaitStandstill waits until nothing more is sent, and returns the largest heap until
// then in MiB.
func awaitStandstill(ctx context.Context, sent *atomic.Int64) (largest int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, still := int64(-1), 0
	for still < 100 && ctx.Err() == nil {
		<-tick.C
		largest = max(largest, heap())
		if n := sent.Load(); n != last {
			last, still = n, 0
		} else {
			still++
		}
	}
	return largest
}

// acknowledged reads the answer to a request and looks at each of its partitions.
func acknowledged(conn net.Conn, partitions int) error {
	frame, err := protocol.ReadResponseFrame(conn, 1<<20)
	if err != nil {
		return err
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = 10
	if err := resp.ReadFrom(frame[5:]); err != nil {
		return err
	}
	return allStored(resp, partitions)
}

func allStored(resp *kmsg.ProduceResponse, partitions int) error {
	n := 0
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("partition %d: %w", p.Partition, kerr.ErrorForCode(p.ErrorCode))
			}
			n++
		}
	}
	if n != partitions {
		return fmt.Errorf("%d partitions are in the answer, want %d", n, partitions)
	}
	return nil
}
