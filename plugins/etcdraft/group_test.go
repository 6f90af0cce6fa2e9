package etcdraft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
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
	c := newCluster(t, 2, `{"peer_queue_length": 64}`, nil)
	c.members = append(c.members, consensus.Member{ReplicaID: 3, Address: deaf(t, 3), Role: consensus.Voter})
	c.openAll()
	data := bytes.Repeat([]byte("x"), 64<<10)
	for range 250 { // 16 MB, far more than a socket buffers
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
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var links []*proxy
			c := newCluster(t, 3, "", func(_ int, listen string) string {
				links = append(links, newProxy(t, listen))
				return links[len(links)-1].listener.Addr().String()
			})
			c.openAll()
			var want []string
			for n := range 100 {
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

func TestGroupsShareLogAndConnections(t *testing.T) {
	c := newCluster(t, 3, "", nil)
	const groups = 4
	opened := make([][]consensus.Group, groups)
	for n := range groups {
		for i := range c.backends {
			opened[n] = append(opened[n], c.open(i, consensus.GroupID(n+1)))
		}
	}
	var wg sync.WaitGroup
	for n := range groups {
		wg.Go(func() {
			for k := 0; k < 50; {
				i, l := c.leader(opened[n])
				if r := propose(opened[n][i], l.Term, fmt.Appendf(nil, "group %d proposal %d", n+1, k)); r.Outcome == consensus.Committed {
					k++
				}
			}
		})
	}
	wg.Wait()
	for n := range groups {
		i, _ := c.leader(opened[n])
		lines, err := dump(opened[n][i], 1)
		if all := strings.Join(lines, "\n"); err != nil || strings.Count(all, fmt.Sprintf("group %d ", n+1)) < 50 || strings.Count(all, "group ") != strings.Count(all, fmt.Sprintf("group %d ", n+1)) {
			t.Errorf("group %d: %v\n%s", n+1, err, all)
		}
	}
	if err := opened[3][0].Destroy(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.backends[0].OpenGroup(t.Context(), consensus.GroupSpec{ID: 4, Mode: consensus.OpenRecover}); !errors.Is(err, consensus.ErrDataIncompatible) {
		t.Errorf("recover a destroyed group: %v", err)
	}
}

func TestReadIndexOnEveryReplica(t *testing.T) {
	c := newCluster(t, 3, "", nil)
	c.openAll()
	for n := range 20 {
		r := c.commit(fmt.Appendf(nil, "%d", n))
		for i, g := range c.groups {
			var index uint64
			eventually(t, "a read index", func() (ok bool) {
				var err error
				index, _, err = g.ReadIndex(t.Context())
				return err == nil
			})
			if index < r.Index {
				t.Fatalf("replica %d: read index %d after %d was committed", i+1, index, r.Index)
			}
		}
	}
	for i := range 2 { // nobody can confirm anything
		c.stop((i + 1) % 3)
	}
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		if index, _, err := g.ReadIndex(t.Context()); !errors.Is(err, consensus.ErrTimeout) {
			t.Errorf("read index without a quorum: %d, %v", index, err)
		}
	}
}

func TestTransferLeadership(t *testing.T) {
	c := newCluster(t, 3, "", nil)
	c.openAll()
	c.commit([]byte("x"))
	eventually(t, "another leader", func() bool {
		i, _ := c.leader(c.groups)
		to := uint64((i+1)%3 + 1)
		if err := c.groups[i].(consensus.LeadershipTransferer).TransferLeadership(t.Context(), to); err != nil {
			return false
		}
		l, _ := c.groups[to-1].Leadership()
		return l.Leader == to
	})
	i, _ := c.leader(c.groups)
	err := c.groups[(i+1)%3].(consensus.LeadershipTransferer).TransferLeadership(t.Context(), 1)
	if !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("transfer by a follower: %v", err)
	}
}

func TestFollowerBehindTheLogGetsTheSnapshot(t *testing.T) {
	c := newCluster(t, 3, `{"log_segment_bytes": 1048576}`, nil)
	c.tuning = consensus.GroupTuning{RetainEntries: 2}
	c.openAll()
	leader, _ := c.leader(c.groups)
	behind := (leader + 1) % 3
	c.stop(behind)
	content := bytes.Repeat([]byte("state "), 500_000)
	for range 30 {
		c.commit(bytes.Repeat([]byte("y"), 50<<10))
	}
	for i, g := range c.groups {
		if g == nil {
			continue
		}
		var at consensus.Entry
		eventually(t, "entries to take a snapshot at", func() bool {
			_, commit, _, err := g.Read(1, 1)
			if err != nil || commit < 25 {
				return false
			}
			entries, _, _, err := g.Read(commit, 1)
			if err != nil || len(entries) == 0 {
				return false
			}
			at = entries[0]
			return true
		})
		meta := consensus.SnapshotMeta{Index: at.Index, Term: at.Term, Format: "test"}
		if err := g.SaveSnapshot(t.Context(), meta, bytes.NewReader(content)); err != nil {
			t.Fatalf("replica %d: %v", i+1, err)
		}
		if err := g.SaveSnapshot(t.Context(), meta, bytes.NewReader(content)); !errors.Is(err, consensus.ErrSnapshotStale) {
			t.Errorf("the same snapshot again: %v", err)
		}
	}
	r := c.commit([]byte("behind the snapshot"))
	c.restart(behind)
	eventually(t, "the follower to catch up", func() bool {
		_, commit, _, err := c.groups[behind].Read(r.Index, 1)
		return err == nil && commit >= r.Index
	})
	if _, _, _, err := c.groups[behind].Read(2, 1); !errors.Is(err, consensus.ErrCompacted) {
		t.Errorf("read below the snapshot: %v", err)
	}
	check := func() {
		t.Helper()
		meta, content2, err := c.groups[behind].Snapshot(t.Context())
		if err != nil || meta.Format != "test" || meta.Size != uint64(len(content)) {
			t.Fatalf("%+v, %v", meta, err)
		}
		defer func() { _ = content2.Close() }()
		if got, err := io.ReadAll(content2); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("snapshot of %d bytes, %v", len(got), err)
		}
	}
	check()
	c.restart(behind)
	check()
}

func TestDamagedSnapshotIsNotReadToTheEnd(t *testing.T) {
	c := newCluster(t, 1, "", nil)
	c.openAll()
	r := c.commit([]byte("x"))
	_, l := c.leader(c.groups)
	if err := c.groups[0].SaveSnapshot(t.Context(), consensus.SnapshotMeta{Index: r.Index, Term: l.Term}, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	for _, m := range []consensus.SnapshotMeta{{Index: r.Index + 5, Term: l.Term}, {Index: r.Index, Term: l.Term}} {
		if err := c.groups[0].SaveSnapshot(t.Context(), m, strings.NewReader("")); err == nil {
			t.Errorf("snapshot %+v was taken", m)
		}
	}
	path := filepath.Join(c.dirs[0], "snapshots", "1", snapshotName(l.Term, r.Index))
	if err := os.WriteFile(path, []byte("c0ntent"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, content, err := c.groups[0].Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	if _, err := io.ReadAll(content); !errors.Is(err, consensus.ErrSnapshotInvalid) {
		t.Errorf("read a damaged snapshot: %v", err)
	}
	c.stop(0)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.bind(0)
	_, err = c.backends[0].OpenGroup(t.Context(), consensus.GroupSpec{ID: 1, Mode: consensus.OpenRecover})
	if !errors.Is(err, consensus.ErrStorageFailed) {
		t.Errorf("open without the snapshot: %v", err)
	}
}

func TestStorageFailureEndsTheProcess(t *testing.T) {
	codes := make(chan int, 4)
	disk := &mortalFS{FS: seglog.OS()}
	b := newBackend(func(code int) { codes <- code }, disk)
	if err := b.Start(t.Context(), consensus.StartConfig{
		ClusterID: "test", ReplicaID: 1, DataDir: t.TempDir(), Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"},
	}); err != nil {
		t.Fatal(err)
	}
	members := []consensus.Member{{ReplicaID: 1, Address: b.BoundPeerAddress()}}
	g, err := b.OpenGroup(t.Context(), consensus.GroupSpec{ID: 1, Mode: consensus.OpenBootstrap, Members: members})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the only replica to lead", func() bool {
		l, _ := g.Leadership()
		return l.Role == consensus.LeaderReady
	})
	disk.dead.Store(true)
	l, _ := g.Leadership()
	results := make(chan consensus.Result, 1)
	g.Propose(l.Term, []byte("x"), func(r consensus.Result) { results <- r })
	if code := <-codes; code != consensus.ExitStorage {
		t.Errorf("exit code %d, want %d", code, consensus.ExitStorage)
	}
	_ = b.Stop(context.Background()) // the log has failed
	if r := <-results; r.Outcome != consensus.Unknown {
		t.Errorf("outcome %v, want unknown", r.Outcome)
	}
}

func TestRaftPanicEndsTheProcessWithTheGroupsName(t *testing.T) {
	codes := make(chan int, 4)
	b := newBackend(func(code int) { codes <- code }, seglog.OS())
	if err := b.Start(t.Context(), consensus.StartConfig{
		ClusterID: "test", ReplicaID: 1, DataDir: t.TempDir(), Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"},
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Stop(context.Background()) }()
	g, err := b.OpenGroup(t.Context(), consensus.GroupSpec{ID: 1, Mode: consensus.OpenBootstrap, Members: []consensus.Member{{ReplicaID: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	g.(*group).inbox.call(func() { raftLogger{b.log}.Panicf("broken") })
	if code := <-codes; code != consensus.ExitBug {
		t.Errorf("exit code %d, want %d", code, consensus.ExitBug)
	}
	if r := propose(g, 1, nil); r.Outcome != consensus.Rejected {
		t.Errorf("propose afterwards: %+v", r)
	}
}
