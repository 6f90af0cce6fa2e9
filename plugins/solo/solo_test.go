package solo

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/plugins/seglog"
)

func TestConformance(t *testing.T) {
	consensustest.Run(t, consensustest.Config{New: New})
}

// open opens the group in a data directory; the test closes it if nobody has.
func open(t *testing.T, dir string) (*group, error) {
	t.Helper()
	b := New()
	if err := b.Start(t.Context(), consensus.StartConfig{ReplicaID: 1, DataDir: dir}); err != nil {
		t.Fatal(err)
	}
	g, err := b.OpenGroup(t.Context(), consensus.GroupSpec{
		ID: consensus.Metadata, Mode: consensus.OpenBootstrap, Members: []consensus.Member{{ReplicaID: 1, Role: consensus.Voter}},
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = b.Stop(t.Context()) }) // some tests break its files
	return g.(*group), nil
}

func mustOpen(t *testing.T, dir string) *group {
	t.Helper()
	g, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *group) mustClose(t *testing.T) {
	t.Helper()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

func (g *group) proposeAndWait() consensus.Result {
	results := make(chan consensus.Result, 1)
	g.Propose(g.term, []byte("some data"), func(r consensus.Result) { results <- r })
	return <-results
}

// brokenDisk fails every sync while it is broken.
type brokenDisk struct {
	seglog.FS
	broken atomic.Bool
}

func (d *brokenDisk) OpenFile(name string, flag int, perm os.FileMode) (seglog.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	return brokenFile{f, d}, err
}

type brokenFile struct {
	seglog.File
	disk *brokenDisk
}

func (f brokenFile) Sync() error {
	if f.disk.broken.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

// After a failed sync nothing is acknowledged, and nothing is written any more,
// although the disk works again.
func TestFailedSync(t *testing.T) {
	g := mustOpen(t, t.TempDir())
	if err := g.log.Close(); err != nil {
		t.Fatal(err)
	}
	disk := &brokenDisk{FS: seglog.OS()}
	var err error
	if g.log, err = seglog.Open(g.dir, seglog.DefaultConfig(), disk, slog.Default()); err != nil {
		t.Fatal(err)
	}
	if r := g.proposeAndWait(); r.Outcome != consensus.Committed {
		t.Fatalf("before: %+v", r)
	}
	for _, broken := range []bool{true, false} {
		disk.broken.Store(broken)
		if r := g.proposeAndWait(); r.Outcome != consensus.Unknown || !errors.Is(r.Err, consensus.ErrStorageFailed) {
			t.Errorf("the disk is broken: %v, the proposal is %+v", broken, r)
		}
		if l, _ := g.Leadership(); l.Role != consensus.Follower {
			t.Errorf("it still leads: %+v", l)
		}
	}
	if err := g.SaveSnapshot(t.Context(), consensus.SnapshotMeta{Index: 1, Term: 1}, strings.NewReader("")); !errors.Is(err, consensus.ErrStorageFailed) {
		t.Errorf("a snapshot after that: %v", err)
	}
	if entries, committed, _, err := g.Read(1, 1<<20); len(entries) != 2 || committed != 2 || err != nil {
		t.Errorf("%d entries up to %d can be read, %v: want the two that are on disk", len(entries), committed, err)
	}
}

// Every start leads in a term of its own, also when the log is empty.
func TestTerms(t *testing.T) {
	dir := t.TempDir()
	for term := uint64(1); term <= 4; term++ {
		g := mustOpen(t, dir)
		l, _ := g.Leadership()
		if want := (consensus.Leadership{Term: term, Leader: 1, Role: consensus.LeaderReady, ReadyIndex: term}); l != want {
			t.Errorf("start %d: got %+v, want %+v", term, l, want)
		}
		if err := g.SaveSnapshot(t.Context(), consensus.SnapshotMeta{Index: term, Term: term}, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
		g.mustClose(t)
	}
}

// A crash may come between the snapshot and what it does to the log, never
// before it: then entries would be missing.
func TestCrashBesideASnapshot(t *testing.T) {
	const entries = 5
	tests := []struct {
		name    string
		crash   func(t *testing.T, g *group) error
		wantErr string
		first   uint64
	}{
		{"behind the file", func(t *testing.T, g *group) error {
			return g.snapshots.Save(t.Context(), consensus.SnapshotMeta{Index: 3, Term: 1}, strings.NewReader("content"))
		}, "", 4},
		{"behind all of it", func(t *testing.T, g *group) error {
			return g.SaveSnapshot(t.Context(), consensus.SnapshotMeta{Index: 3, Term: 1}, strings.NewReader("content"))
		}, "", 4},
		{"a draft", func(_ *testing.T, g *group) error {
			return os.WriteFile(filepath.Join(g.dir, "3.tmp"), []byte("con"), 0o600)
		}, "", 1},
		{"without the file", func(t *testing.T, g *group) error {
			err := g.SaveSnapshot(t.Context(), consensus.SnapshotMeta{Index: 3, Term: 1}, strings.NewReader("content"))
			return errors.Join(err, os.Remove(filepath.Join(g.dir, fmt.Sprintf("%016x-%016x.snap", 1, 3))))
		}, "the log begins behind a snapshot at 3, the newest one is at 0", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			g := mustOpen(t, dir)
			for range entries - 1 {
				g.proposeAndWait()
			}
			if err := tt.crash(t, g); err != nil {
				t.Fatal(err)
			}
			g.mustClose(t)
			again, err := open(t, dir)
			if tt.wantErr != "" {
				if !errors.Is(err, consensus.ErrStorageFailed) || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("got %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if st := again.Status(); st.FirstIndex != tt.first || st.LastIndex != entries+1 || st.SnapshotIndex != tt.first-1 {
				t.Errorf("the log has %d to %d behind a snapshot at %d, want from %d to %d", st.FirstIndex, st.LastIndex, st.SnapshotIndex, tt.first, entries+1)
			}
		})
	}
}

// Data of a former format is in a file where the folder belongs.
func TestFormerData(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "group-1"), []byte("former"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir); !errors.Is(err, consensus.ErrStorageFailed) {
		t.Errorf("got %v, want a refusal", err)
	}
}
