package etcdraft

import (
	"context"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

func TestStorageFailureEndsTheProcess(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
