package etcdraft

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quorate/quorate/consensus"
)

// deaf accepts connections as replica id would, and then never reads, like a
// process that was stopped.
func deaf(t *testing.T, id uint64) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			if _, err := readHello(conn); err == nil {
				_ = writeAnswer(conn, id, nil)
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
		wg.Wait()
	})
	return l.Addr().String()
}

func TestStoppedPeerDelaysNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, `{"peer_queue_length": 64, "log_segment_bytes": 1048576}`, nil)
	c.members = append(c.members, consensus.Member{ReplicaID: 3, Address: deaf(t, 3), Role: consensus.Voter})
	c.openAll()
	data := bytes.Repeat([]byte("x"), 64<<10)
	for range 100 { // 6 MB, more than a socket buffers
		c.commit(data)
	}
	i, _ := c.leader(c.groups)
	// Heartbeats alone fill the connection and then the queue, without anybody
	// waiting: flood what is left.
	p := c.backends[i].transport.peer(3)
	g := c.groups[i].(*group)
	eventually(t, "messages to the stopped peer are dropped and counted", func() bool {
		c.commit(data)
		for range 64 {
			p.enqueue(g.id, bigMessage(uint64(i+1), 3), g.inbox.reportUnreachable)
		}
		return p.dropped.Load() > 0
	})
	eventually(t, "the status to tell", func() bool {
		for _, s := range c.groups[i].Status().Peers {
			if s.ReplicaID == 3 && s.Dropped > 0 && s.LastContact == -1 {
				return true
			}
		}
		return false
	})
	c.commit([]byte("afterwards"))
}

func TestLinksThatBreakLoseNothing(t *testing.T) {
	t.Parallel()
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			var links []*proxy
			c := newCluster(t, 3, "", func(_ int, listen string) string {
				links = append(links, newProxy(t, listen))
				return links[len(links)-1].listener.Addr().String()
			})
			c.openAll()
			var want []string
			for n := range 60 {
				if rng.IntN(6) == 0 {
					links[rng.IntN(3)].cut()
				}
				if rng.IntN(40) == 0 {
					c.restart(rng.IntN(3))
				}
				r := c.commit(fmt.Appendf(nil, "proposal %d", n))
				want = append(want, fmt.Sprintf("/%d false %q", r.Index, fmt.Sprintf("proposal %d", n)))
			}
			last := c.commit([]byte("last")).Index
			var first []string
			for i, g := range c.groups {
				eventually(t, "all replicas to have everything", func() bool {
					_, commit, _, err := g.Read(last, 1)
					return err == nil && commit >= last
				})
				got, err := dump(g, 1)
				if err != nil {
					t.Fatal(err)
				}
				if got = got[:last]; i == 0 {
					first = got
				}
				if !slices.Equal(got, first) {
					t.Fatalf("replica %d and replica 1 differ:\n%v\n%v", i+1, got, first)
				}
			}
			all := strings.Join(first, "\n")
			for _, w := range want {
				if !strings.Contains(all, w) {
					t.Errorf("committed, but not in the log: %s", w)
				}
			}
		})
	}
}
