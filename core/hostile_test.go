package core_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// frameOf is a request as it goes over the wire, behind its length.
func frameOf(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, req, 1)
}

// attack is what a hostile client does with a connection of its own.
type attack struct {
	name string
	do   func(ctx context.Context, conn net.Conn)
}

// drip sends bytes one by one until ctx ends or the broker has had enough.
func drip(ctx context.Context, conn net.Conn, p []byte, pause time.Duration) {
	for i := range p {
		if _, err := conn.Write(p[i : i+1]); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// hang waits until the broker hangs up or ctx ends.
func hang(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, _ = io.Copy(io.Discard, conn)
}

// bomb is a produce request whose records decompress to 160 MiB of zeros.
func bomb(t *testing.T, codec record.Codec) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if codec == record.Zstd {
		z, err := zstd.NewWriter(&out)
		must(t, err)
		w = z
	}
	zeros := make([]byte, 1<<20)
	for range 160 {
		_, err := w.Write(zeros)
		must(t, err)
	}
	must(t, w.Close())
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: out.Bytes(),
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return frameOf(produce("orders", 0, 1, raw))
}

// attacks are the ways to be hostile.
func attacks(t *testing.T) []attack {
	slow := frameOf(&kmsg.MetadataRequest{Version: 9})
	lying := frameOf(produce("orders", 0, 1, make([]byte, 900<<10)))
	binary.BigEndian.PutUint32(lying, 99<<20) // a request of 99 MiB
	half := frameOf(produce("orders", 0, 1, make([]byte, 900<<10)))
	tags := []byte{0, 0, 0, 0, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff}
	tags = binary.AppendUvarint(tags, 400_000)
	for i := range 400_000 {
		tags = append(tags, byte(i%120), 0)
	}
	tags = tags[:min(len(tags), 1<<20)]
	binary.BigEndian.PutUint32(tags, uint32(len(tags)-4))
	topics := []byte{0, 0, 0, 0, 0, 1, 0, 12, 0, 0, 0, 1, 0xff, 0xff, 0}
	topics = append(topics, make([]byte, 4+4+4+4+1+4+4)...)
	topics = binary.AppendUvarint(topics, 300_000)
	topics = append(topics, bytes.Repeat([]byte{1, 1, 0}, 300_000)...) // without name and partitions
	binary.BigEndian.PutUint32(topics, uint32(len(topics)-4))
	send := func(frame []byte) func(context.Context, net.Conn) {
		return func(ctx context.Context, conn net.Conn) {
			if _, err := conn.Write(frame); err == nil {
				hang(ctx, conn)
			}
		}
	}
	again := func(frame []byte) func(context.Context, net.Conn) {
		return func(ctx context.Context, conn net.Conn) {
			for ctx.Err() == nil {
				if _, err := conn.Write(frame); err != nil {
					return
				}
				if _, err := protocol.ReadResponseFrame(conn, 1<<20); err != nil {
					return
				}
			}
		}
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.ReplicaID, fetch.MaxBytes = 11, -1, 1<<30
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "orders", Partitions: []kmsg.FetchRequestTopicPartition{{PartitionMaxBytes: 1 << 30, CurrentLeaderEpoch: -1}}}}
	deaf := frameOf(fetch)
	return []attack{
		{"slowloris", func(ctx context.Context, conn net.Conn) { drip(ctx, conn, slow, 20*time.Millisecond) }},
		{"a length that lies", send(lying[:8<<10])},
		{"half of the records", send(half[:len(half)/2])},
		{"a flood of tags", again(tags)},
		{"a flood of topics", again(topics)},
		{"a gzip bomb", again(bomb(t, record.Gzip))},
		{"a zstd bomb", again(bomb(t, record.Zstd))},
		{"a consumer that does not read", func(ctx context.Context, conn net.Conn) {
			for range 100 {
				if _, err := conn.Write(deaf); err != nil {
					return
				}
			}
			<-ctx.Done()
		}},
		{"random bytes", send(bytes.Repeat([]byte{0, 0, 1, 0, 0, 3, 0, 9}, 1000))},
	}
}

// heap is what is allocated and not collected yet, in MiB.
func heap() int {
	// runtime.ReadMemStats would stop the world, fifty times a second.
	in := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(in)
	return int((in[0].Value.Uint64() + in[1].Value.Uint64() + in[2].Value.Uint64()) >> 20)
}

// idleConnections opens connections that say who they are and then nothing more.
func idleConnections(t *testing.T, addr string, n int) {
	t.Helper()
	hello := frameOf(&kmsg.ApiVersionsRequest{})
	for range n {
		conn, err := net.Dial("tcp", addr)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write(hello)
		must(t, err)
		_, err = protocol.ReadResponseFrame(conn, 1<<20)
		must(t, err)
	}
}

// pace is how often an honest client produces a record: it meets all that goes on in a
// while, instead of the first moments only.
const pace = 5 * time.Millisecond

// honest produces n records one by one, each waited for, reads them all back, and
// returns how long one in two and all but one in a hundred took at most.
func honest(t *testing.T, b *testBroker, topic string, n int) (p50, p99 time.Duration) {
	t.Helper()
	ctx := within(t, 5*time.Minute)
	client := b.client(t, kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	var took []time.Duration
	next := time.NewTicker(pace)
	defer next.Stop()
	for i := range n {
		<-next.C
		begun := time.Now()
		must(t, client.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(i))).FirstErr())
		took = append(took, time.Since(begun))
	}
	consumer := b.client(t, kgo.ConsumeTopics(topic))
	for got := 0; got < n; {
		fetches := consumer.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != fmt.Sprint(got) {
				t.Fatalf("got record %q, want %d", r.Value, got)
			}
			got++
		})
	}
	slices.Sort(took)
	return took[n/2], took[n*99/100]
}

// idleFlag is how many idle connections there are; `make test` has 5000.
var idleFlag = flag.Int("idle", 500, "idle connections of TestHostileClients")

// hostileEnv tells a process of this test that it is the hostile one, and whom it
// attacks: the address, and how many connections are to be idle.
const hostileEnv = "QUORATE_TEST_HOSTILE"

// TestHostileClients wants honest clients served and the memory bounded, whatever
// others do. Those are another process, so that what the broker's takes is the broker's.
// It asserts no time, but says what it measured.
func TestHostileClients(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of connections")
	}
	idle := *idleFlag
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if room := int(limit.Cur)/2 - 500; room < idle {
		t.Logf("only %d idle connections: RLIMIT_NOFILE is %d", room, limit.Cur)
		idle = max(room, 0)
	}
	b := startBroker(t, func(c *core.Config) { c.Server.ReadTimeout = 2 * time.Second })
	_, err := kadm.NewClient(b.client(t)).CreateTopics(within(t, time.Minute), 1, 1, nil, "orders", "calm", "stormy")
	must(t, err)
	filler := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
	for range 40 { // for those who fetch and do not read
		raw(t, b.addr, versioned(produce("orders", 0, 1, batch(string(filler))), 9))
	}
	const records = 1000
	calm50, calm99 := honest(t, b, "calm", records)

	runtime.GC()
	before := heap()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	endAttack := startAttack(t, b.addr, idle)
	runtime.GC()
	t.Logf("%d idle connections: %d MiB", idle, heap()-before)
	most := make(chan int, 1)
	go func() {
		largest := 0
		for ctx.Err() == nil {
			largest = max(largest, heap())
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		most <- largest
	}()
	begun, cpuBefore := time.Now(), cpuTime(t)
	stormy50, stormy99 := honest(t, b, "stormy", records)
	took, cpu := time.Since(begun), cpuTime(t)-cpuBefore
	stop()
	endAttack()
	largest := <-most
	t.Logf("memory: %d MiB before, at most %d", before, largest)
	t.Logf("p50 and p99 of a produce: %v, %v without them; %v, %v beside them; broker and honest client used %.1f CPUs", calm50, calm99, stormy50, stormy99, cpu.Seconds()/took.Seconds())
	// The budget, twice because garbage waits to be collected, idle connections, and
	// what their requests are decoded to.
	if bound := before + 2*64 + idle*20/1024 + 100; largest > bound {
		t.Errorf("%d MiB were in use, want at most %d", largest, bound)
	}
}

// cpuTime is what this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// startAttack starts the hostile process, and returns once its idle connections are
// open; the attacks go on until end.
func startAttack(t *testing.T, addr string, idle int) (end func()) {
	t.Helper()
	// The attackers' work is done elsewhere, where they are real: here it has the time that
	// nobody else wants.
	cmd := exec.Command("nice", "-n", "19", os.Args[0], "-test.run=^TestHostileProcess$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", hostileEnv, addr, idle))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	ready := false
	for !ready && lines.Scan() {
		ready = lines.Text() == hostileReady
		if strings.Contains(lines.Text(), "hostile_test.go") {
			t.Log(lines.Text())
		}
	}
	if !ready {
		t.Fatalf("the hostile process ended: %v", cmd.Wait())
	}
	return func() {
		must(t, in.Close())
		for lines.Scan() {
			if strings.Contains(lines.Text(), "hostile_test.go") {
				t.Log(strings.TrimSpace(lines.Text()))
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the hostile process: %v", err)
		}
	}
}

// hostileReady is the line with which the hostile process says that it attacks.
const hostileReady = "the attack has begun"

// TestHostileProcess is the process that TestHostileClients starts.
func TestHostileProcess(t *testing.T) {
	var addr string
	var idle int
	if _, err := fmt.Sscan(os.Getenv(hostileEnv), &addr, &idle); err != nil {
		t.Skip("only started by TestHostileClients")
	}
	// From an address of its own, so that its penalties are not those of honest clients.
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	if conn, err := dialer.Dial("tcp", addr); err != nil {
		t.Logf("no second address: %v", err)
		dialer.LocalAddr = nil
	} else {
		must(t, conn.Close())
	}
	const perAttack = 6
	idleConnections(t, addr, idle)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	var tries [16]atomic.Int64
	all := attacks(t)
	for i, a := range all {
		for range perAttack {
			wg.Go(func() {
				for ctx.Err() == nil {
					conn, err := dialer.DialContext(ctx, "tcp", addr)
					if err != nil {
						continue
					}
					closeConn := context.AfterFunc(ctx, func() { _ = conn.Close() })
					a.do(ctx, conn)
					closeConn()
					_ = conn.Close()
					tries[i].Add(1)
				}
			})
		}
	}
	fmt.Fprintln(os.Stdout, "\n"+hostileReady)
	_, err := io.Copy(io.Discard, os.Stdin) // until the other process has had enough
	must(t, err)
	stop()
	wg.Wait()
	for i, a := range all {
		t.Logf("%s: %d connections", a.name, tries[i].Load())
	}
}
