package etcdraft

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestFollowerBehindTheLogGetsTheSnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
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
	t.Parallel()
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
