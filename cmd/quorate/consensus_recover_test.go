package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// Whatever a backend had before it stopped is salvaged: the snapshot, and the entries
// behind it.
func TestSalvageOfEveryBackend(t *testing.T) {
	for _, name := range []string{"etcd-raft", "hashicorp-raft"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			had, snapshot := ranOnce(t, backends[name](), dir)
			salvager, ok := backends[name]().(consensus.Salvager)
			if !ok {
				t.Fatal("it cannot be salvaged")
			}
			r, err := salvager.Salvage(dir, nil, consensus.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			last := had[len(had)-1]
			if e := r.Extent(); e.LastIndex < last.Index || e.SnapshotIndex != snapshot || e.Committed < snapshot {
				t.Errorf("extent %+v; the last entry was %d, the snapshot %d", e, last.Index, snapshot)
			}
			m, content, err := r.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(content)
			if err := errors.Join(err, content.Close()); err != nil || string(b) != "state" || m.Index != snapshot || m.Format != "test" {
				t.Errorf("snapshot %+v %q, %v", m, b, err)
			}
			for _, want := range had {
				if want.Index <= snapshot {
					continue
				}
				got, err := r.Read(want.Index)
				if err != nil || got[0].Index != want.Index || got[0].Term != want.Term || string(got[0].Data) != string(want.Data) || got[0].Internal != want.Internal {
					t.Errorf("entry %d: got %+v, %v, want %+v", want.Index, got, err, want)
				}
			}
		})
	}
}

// ranOnce runs a backend alone, with a snapshot in the middle, and returns what it
// delivered.
func ranOnce(t *testing.T, b consensus.Backend, dir string) (had []consensus.Entry, snapshot uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.Start(ctx, consensus.StartConfig{
		ClusterID: "c", ReplicaID: 1, BrokerID: 1, DataDir: dir, Timing: consensus.DefaultTiming(),
		Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"},
	}))
	g, err := b.OpenGroup(ctx, consensus.GroupSpec{
		ID: consensus.Metadata, Mode: consensus.OpenBootstrap,
		Members: []consensus.Member{{ReplicaID: 1, BrokerID: 1, Address: b.BoundPeerAddress(), Role: consensus.Voter}},
	})
	must(err)
	lead, changed := g.Leadership()
	for lead.Role != consensus.LeaderReady {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("no leader")
		}
		lead, changed = g.Leadership()
	}
	for n := range 20 {
		done := make(chan consensus.Result, 1)
		g.Propose(lead.Term, fmt.Appendf(nil, "proposal %d", n), func(r consensus.Result) { done <- r })
		r := <-done
		if r.Outcome != consensus.Committed {
			t.Fatalf("proposal %d: %+v", n, r)
		}
		if n == 9 {
			snapshot = r.Index
			must(awaitEntry(ctx, g, r.Index)) // a host's state has only what was delivered to it
			must(g.SaveSnapshot(ctx, consensus.SnapshotMeta{Index: r.Index, Term: lead.Term, Format: "test"}, strings.NewReader("state")))
		}
		had = append(had, consensus.Entry{Index: r.Index, Term: lead.Term, Data: fmt.Appendf(nil, "proposal %d", n)})
	}
	must(b.Stop(ctx))
	return had, snapshot
}

// awaitEntry waits until an entry can be read.
func awaitEntry(ctx context.Context, g consensus.Group, index uint64) error {
	for {
		entries, _, more, err := g.Read(index, 1<<20)
		if err != nil || len(entries) > 0 {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestFurthest(t *testing.T) {
	at := func(node int32, term, index uint64) survivor {
		return survivor{node: node, extent: consensus.Extent{LastTerm: term, LastIndex: index}}
	}
	tests := []struct {
		name string
		all  []survivor
		want int32
	}{
		{"alone", []survivor{at(1, 1, 1)}, 1},
		{"a longer log", []survivor{at(1, 2, 10), at(2, 2, 12)}, 2},
		{"a later term goes before a longer log", []survivor{at(1, 2, 100), at(2, 3, 12)}, 2},
		{"this node, if they are equal", []survivor{at(3, 2, 10), at(1, 2, 10)}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := furthest(tt.all).node; got != tt.want {
				t.Errorf("got node %d, want %d", got, tt.want)
			}
		})
	}
}
