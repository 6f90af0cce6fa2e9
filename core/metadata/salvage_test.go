package metadata_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
)

// remains of a replica that nobody runs.
type remains struct {
	snapshot *metadata.Image
	format   string
	entries  []consensus.Entry
}

func (r remains) Extent() consensus.Extent { return consensus.Extent{} }
func (r remains) Close() error             { return nil }

func (r remains) Snapshot() (consensus.SnapshotMeta, io.ReadCloser, error) {
	if r.snapshot == nil {
		return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
	}
	var b bytes.Buffer
	err := r.snapshot.WriteSnapshot(&b)
	return consensus.SnapshotMeta{Index: r.snapshot.Index, Term: r.snapshot.Term, Format: r.format}, io.NopCloser(&b), err
}

func (r remains) Read(from uint64) ([]consensus.Entry, error) {
	for i, e := range r.entries {
		if e.Index >= from {
			return r.entries[i:min(i+2, len(r.entries))], nil
		}
	}
	return nil, nil
}

func proposed(t *testing.T, index, term, sequence uint64, rec metadata.Record) consensus.Entry {
	t.Helper()
	payload, err := metadata.EncodeRecords([]metadata.Record{rec})
	if err != nil {
		t.Fatal(err)
	}
	return consensus.Entry{Index: index, Term: term, Data: consensus.Envelope{ExpectedTerm: term, Sequence: sequence, Payload: payload}.Append(nil)}
}

func TestSalvage(t *testing.T) {
	records := someRecords()
	entries := []consensus.Entry{{Index: 1, Term: 2, Internal: true}}
	for i, rec := range records {
		entries = append(entries, proposed(t, uint64(i+2), 2, uint64(i+1), rec))
	}
	whole, err := metadata.Salvage(remains{entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	if whole.Index != uint64(len(entries)) || whole.Term != 2 || whole.ClusterID != "moving" {
		t.Errorf("got %+v", whole)
	}
	half, err := metadata.Salvage(remains{entries: entries[:4]})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a snapshot and what follows", func(t *testing.T) {
		got, err := metadata.Salvage(remains{snapshot: half, format: metadata.SnapshotFormat, entries: entries})
		if err != nil || !got.SameRecords(whole) || got.Index != whole.Index || got.Gate != whole.Gate {
			t.Errorf("got %+v, %v, want %+v", got, err, whole)
		}
	})
	t.Run("what does not count is left out", func(t *testing.T) {
		void := proposed(t, whole.Index+1, 3, 2, metadata.TopicRecord{Name: "void", ID: metadata.UUID{8}}) // out of sequence
		got, err := metadata.Salvage(remains{entries: append(slices.Clip(entries), void)})
		if err != nil || !got.SameRecords(whole) || got.Index != whole.Index+1 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	for _, tt := range []struct {
		name string
		r    remains
		want string
	}{
		{"a gap", remains{entries: append(entries[:2:2], entries[3:]...)}, "entry 4 follows entry 2"},
		{"another format", remains{snapshot: half, format: "other"}, `has format "other"`},
		{"damage", remains{entries: []consensus.Entry{{Index: 1, Term: 1, Data: []byte("x")}}}, "entry 1 of term 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := metadata.Salvage(tt.r); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
