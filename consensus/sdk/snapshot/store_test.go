package snapshot

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/quorate/quorate/consensus"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func meta(index uint64) consensus.SnapshotMeta {
	return consensus.SnapshotMeta{Index: index, Term: 2, Format: "test/1"}
}

func (s *Store) mustSave(t *testing.T, index uint64, content string) {
	t.Helper()
	if err := s.Save(t.Context(), meta(index), strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) mustRead(t *testing.T) (consensus.SnapshotMeta, string) {
	t.Helper()
	m, r, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return m, string(content)
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "group-1")
	s := open(t, dir)
	if _, _, err := s.Open(); !errors.Is(err, consensus.ErrNoSnapshot) {
		t.Fatalf("an empty store: %v", err)
	}
	for i, content := range []string{"", "x", strings.Repeat("much ", 1<<16)} {
		s.mustSave(t, uint64(i+1), content)
		for life, s := range []*Store{s, open(t, dir)} {
			want := meta(uint64(i + 1))
			want.Size = uint64(len(content))
			if m, got := s.mustRead(t); got != content || m != want || s.Newest() != want {
				t.Errorf("life %d, %d bytes: got %d, %+v, %+v", life, len(content), len(got), m, s.Newest())
			}
		}
	}
	if got, want := names(t, dir), []string{"0000000000000002-0000000000000003.snap"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

// What was opened is read to its end, whatever comes meanwhile.
func TestReplacedWhileItIsRead(t *testing.T) {
	s := open(t, t.TempDir())
	s.mustSave(t, 1, "the old one")
	_, r, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s.mustSave(t, 2, "the new one")
	if got, err := io.ReadAll(r); err != nil || string(got) != "the old one" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A save that fails leaves what was there and no more.
func TestFailedSave(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.mustSave(t, 7, "old")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("the stream broke")
	half := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))
	tests := []struct {
		name string
		ctx  context.Context
		m    consensus.SnapshotMeta
		r    io.Reader
		want error
	}{
		{"a stream that breaks", t.Context(), meta(8), half, broken},
		{"a host that gave up", gone, meta(8), strings.NewReader("whole"), context.Canceled},
		{"the same index", t.Context(), meta(7), strings.NewReader("new"), consensus.ErrSnapshotStale},
		{"an older one", t.Context(), meta(6), strings.NewReader("new"), consensus.ErrSnapshotStale},
		{"a format that is a book", t.Context(), consensus.SnapshotMeta{Index: 8, Format: strings.Repeat("x", maxFormat+1)}, strings.NewReader("new"), consensus.ErrInvalidArgument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.Save(tt.ctx, tt.m, tt.r); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if m, got := s.mustRead(t); got != "old" || m.Index != 7 {
				t.Errorf("the newest is %q at %d", got, m.Index)
			}
			if got := names(t, dir); len(got) != 1 {
				t.Errorf("the folder holds %v", got)
			}
		})
	}
}

// A crash leaves drafts and older snapshots; what is not the store's stays.
func TestRecovery(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.mustSave(t, 1, "one")
	one, err := os.ReadFile(s.path(meta(1)))
	if err != nil {
		t.Fatal(err)
	}
	s.mustSave(t, 300, "three hundred")
	for name, content := range map[string][]byte{
		"0000000000000002-0000000000000001.snap": one, "77.tmp": []byte("half"), "README": nil, "1-2.snap": nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, got := open(t, dir).mustRead(t); got != "three hundred" {
		t.Errorf("the newest is %q", got)
	}
	want := []string{"0000000000000002-000000000000012c.snap", "1-2.snap", "README"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

// Every damaged byte, and every cut, is refused: at the start or when it is read.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	s.mustSave(t, 7, "some content")
	path := s.path(meta(7))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(bad []byte) error {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(dir)
		if err != nil {
			if !errors.Is(err, consensus.ErrStorageFailed) {
				t.Errorf("the start fails with %v, which is not the storage's failure", err)
			}
			return err
		}
		_, r, err := s.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	if err := refused(good); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= 0x10
		if err := refused(bad); !errors.Is(err, consensus.ErrSnapshotInvalid) {
			t.Errorf("a bit in byte %d of %d: %v", at, len(good), err)
		}
		if err := refused(good[:at]); !errors.Is(err, consensus.ErrSnapshotInvalid) {
			t.Errorf("cut to %d of %d bytes: %v", at, len(good), err)
		}
	}
	if err := refused(append(slices.Clone(good), 0)); !errors.Is(err, consensus.ErrSnapshotInvalid) {
		t.Errorf("a byte more: %v", err)
	}
}

func FuzzReadHead(f *testing.F) {
	head, err := encodeHead(meta(7))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add(head[:20])
	f.Add([]byte(magic + strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, head, err := readHead(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		again, err := encodeHead(m)
		if err != nil || string(again) != string(head) {
			t.Errorf("%x is read as %+v, which is %x, %v", head, m, again, err)
		}
	})
}
