//go:build integration

package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
	"github.com/quorate/quorate/test/lab"
)

// TestMemoryIsBounded sends a real broker wide produce requests over a hundred
// connections, beside consumers that ask for everything and read nothing. What the
// process has in memory at most is its budgets, not what is offered to it.
func TestMemoryIsBounded(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { memoryIsBounded(t, start(t, lab.Options{Backend: backend, Nodes: 1})) })
	}
}

func memoryIsBounded(t *testing.T, c *lab.Cluster) {
	const partitions, producers, each, deaf = 1000, 100, 5, 30
	ctx := within(t, 5*time.Minute)
	deadline, _ := ctx.Deadline()
	n := c.Node(1)
	must(t, c.CreateTopic(ctx, n, "wide", partitions, 1, nil))
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", n.Client)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetDeadline(deadline))
		return conn
	}
	frame := wideProduce("wide", partitions)
	first := dial()
	_, err := first.Write(frame)
	must(t, err)
	must(t, stored(first, partitions)) // every log is open
	before, err := peakRSS(n.PID())
	must(t, err)

	fetch := everything("wide", partitions)
	for range deaf {
		conn := dial()
		go func() {
			for range 100 {
				if _, err := conn.Write(fetch); err != nil {
					return // the broker has had enough of it, or the test is over
				}
			}
		}()
	}
	errs := make(chan error, producers)
	var wg sync.WaitGroup
	for range producers {
		conn := dial()
		wg.Go(func() {
			for range each {
				if _, err := conn.Write(frame); err != nil {
					errs <- fmt.Errorf("send: %w", err)
					return
				}
			}
		})
		wg.Go(func() {
			for range each {
				if err := stored(conn, partitions); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	most, err := peakRSS(n.PID())
	must(t, err)
	t.Logf("%s: %d MB of requests; the broker had %d MB in memory before, and at most %d", t.Name(), producers*each*len(frame)/1e6, before, most)
	// The budget of requests, that of the commit log, twice because garbage waits to be
	// collected, and a hundred decoded requests of a thousand partitions.
	if bound := before + 2*(67+67) + 100; most > bound {
		t.Errorf("the broker had %d MB in memory, want at most %d", most, bound)
	}
}

// wideProduce is a request with a record of 1000 bytes for each partition.
func wideProduce(topic string, partitions int32) []byte {
	b := record.NewBuilder()
	b.Add(time.Now().UnixMilli(), nil, []byte(strings.Repeat("x", 1000)))
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 10, -1, 240_000
	rt := kmsg.ProduceRequestTopic{Topic: topic}
	for p := range partitions {
		rt.Partitions = append(rt.Partitions, kmsg.ProduceRequestTopicPartition{Partition: p, Records: b.Bytes()})
	}
	req.Topics = []kmsg.ProduceRequestTopic{rt}
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("wide")).AppendRequest(nil, req, 1)
}

// everything is a fetch of all that a topic has.
func everything(topic string, partitions int32) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxBytes = 11, -1, 50<<20
	rt := kmsg.FetchRequestTopic{Topic: topic}
	for p := range partitions {
		rt.Partitions = append(rt.Partitions, kmsg.FetchRequestTopicPartition{Partition: p, PartitionMaxBytes: 1 << 20, CurrentLeaderEpoch: -1})
	}
	req.Topics = []kmsg.FetchRequestTopic{rt}
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("deaf")).AppendRequest(nil, req, 1)
}

// stored reads the answer to a wideProduce.
func stored(conn net.Conn, partitions int) error {
	frame, err := protocol.ReadResponseFrame(conn, 1<<20)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = 10
	if err := resp.ReadFrom(frame[5:]); err != nil { // behind the correlation id and no tags
		return err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != partitions {
		return errors.New("partitions are missing in an answer")
	}
	for _, p := range resp.Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return fmt.Errorf("partition %d: %w", p.Partition, err)
		}
	}
	return nil
}

// peakRSS is the most that a process ever had in memory, in MB (proc_pid_status(5)).
func peakRSS(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return kb * 1024 / 1e6, err
		}
	}
	return 0, errors.New("no VmHWM in the status of the process")
}
