package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

func inProc(t *testing.T) consensus.Client {
	t.Helper()
	spec := specIn(t.TempDir())
	c, stop, err := InProcess(t.Context(), &fileBackend{}, spec.Start, spec.Groups)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return c
}

func TestProposeOutcomes(t *testing.T) {
	c := inProc(t)
	term := leader(t, c, 0).Term
	big := string(make([]byte, 1<<20+1))
	tests := []struct {
		name     string
		term     uint64
		sequence uint64
		data     string
		outcome  consensus.Outcome
		err      error
	}{
		{"first", term, 1, "a", consensus.Committed, nil},
		{"gap", term, 3, "c", consensus.Rejected, consensus.ErrOutOfSequence},
		{"repeat", term, 1, "a", consensus.Rejected, consensus.ErrOutOfSequence},
		{"other term", term + 1, 1, "a", consensus.Rejected, consensus.ErrTermMismatch},
		{"too large", term, 2, big, consensus.Rejected, consensus.ErrTooLarge},
		{"rejected by the backend", term, 2, orderReject, consensus.Rejected, consensus.ErrTransferPending},
		{"what follows a rejected one", term, 3, "c", consensus.Rejected, consensus.ErrOutOfSequence},
		{"resent", term, 2, "b", consensus.Committed, nil},
		{"empty", term, 3, "", consensus.Committed, nil},
		{"1 MiB", term, 4, big[1:], consensus.Committed, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := propose(t, c, tt.term, tt.sequence, tt.data)
			if r.Outcome != tt.outcome || !errors.Is(r.Err, tt.err) {
				t.Errorf("got %s, %v; want %s, %v", r.Outcome, r.Err, tt.outcome, tt.err)
			}
		})
	}
	r := c.Propose(t.Context(), consensus.Proposal{Group: 9, Term: 1, Sequence: 1})
	if r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrGroupNotFound) {
		t.Errorf("unknown group: got %s, %v", r.Outcome, r.Err)
	}
}

func TestWindowOverflow(t *testing.T) {
	c := inProc(t)
	term := leader(t, c, 0).Term
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results := make(chan consensus.Result, 8)
	p := c.(*inProcess).session.proposer
	for n := range uint64(8) {
		go func() {
			results <- c.Propose(ctx, consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: n + 1, Data: []byte(orderHold)})
		}()
		eventually(t, "a proposal in flight", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.pending) == int(n+1)
		})
	}
	if r := propose(t, c, term, 9, "x"); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrOverloaded) {
		t.Errorf("beyond the window: got %s, %v", r.Outcome, r.Err)
	}
	cancel()
	for range 8 {
		if r := <-results; r.Outcome != consensus.Unknown || !errors.Is(r.Err, consensus.ErrTimeout) {
			t.Errorf("given up: got %s, %v", r.Outcome, r.Err)
		}
	}
}

// collect subscribes until n entries have come and returns them.
func collect(ctx context.Context, c consensus.Client, from uint64, n int) ([]consensus.Entry, error) {
	var got []consensus.Entry
	enough := errors.New("enough")
	err := c.Subscribe(ctx, consensus.Metadata, from, func(b consensus.Batch) error {
		got = append(got, b.Entries...)
		if len(got) >= n {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return got, err
}

func TestSubscribeSnapshotAndCompaction(t *testing.T) {
	c := inProc(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	lead := leader(t, c, 0)
	for n := range uint64(30) {
		if r := propose(t, c, lead.Term, n+1, fmt.Sprint(n)); r.Outcome != consensus.Committed {
			t.Fatal(r)
		}
	}
	entries, err := collect(ctx, c, 1, 31)
	if err != nil || !entries[0].Internal || string(entries[30].Data) != "29" {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
	eventually(t, "a snapshot is wanted", func() bool { n, _ := c.SnapshotWanted(consensus.Metadata); return n > 0 })
	if _, _, err := c.Snapshot(ctx, consensus.Metadata); !errors.Is(err, consensus.ErrNoSnapshot) {
		t.Errorf("no snapshot yet: got %v", err)
	}
	state := bytes.Repeat([]byte("state"), 1<<19) // several chunks
	meta := consensus.SnapshotMeta{Index: 20, Term: lead.Term, Format: "test"}
	if err := c.SaveSnapshot(ctx, consensus.Metadata, meta, bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	if err := c.SaveSnapshot(ctx, consensus.Metadata, meta, bytes.NewReader(state)); !errors.Is(err, consensus.ErrSnapshotStale) {
		t.Errorf("the same again: got %v", err)
	}
	if err := c.SaveSnapshot(ctx, consensus.Metadata, consensus.SnapshotMeta{Index: 25}, io.MultiReader(bytes.NewReader(state), failing{})); !errors.Is(err, errFailing) {
		t.Errorf("a reader that fails: got %v", err)
	}
	m, r, err := c.Snapshot(ctx, consensus.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(content, state) || m.Index != 20 || m.Format != "test" || m.Size != uint64(len(state)) {
		t.Errorf("got %+v, %d bytes, %v", m, len(content), err)
	}
	eventually(t, "no snapshot is wanted", func() bool { n, _ := c.SnapshotWanted(consensus.Metadata); return n == 0 })
	if _, err := collect(ctx, c, 5, 1); !errors.Is(err, consensus.ErrCompacted) {
		t.Errorf("from a compacted position: got %v", err)
	}
	if _, err := collect(ctx, c, 100, 1); !errors.Is(err, consensus.ErrAheadOfLog) {
		t.Errorf("from beyond the end: got %v", err)
	}
	if entries, err := collect(ctx, c, 21, 11); err != nil || entries[0].Index != 21 {
		t.Errorf("after the snapshot: got %d entries, %v", len(entries), err)
	}
}

var errFailing = errors.New("cannot read")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

func TestQuestions(t *testing.T) {
	c := inProc(t)
	lead := leader(t, c, 0)
	if index, term, err := c.ReadIndex(t.Context(), consensus.Metadata); err != nil || index != 1 || term != lead.Term {
		t.Errorf("read index: got %d, %d, %v", index, term, err)
	}
	if m, err := c.Members(t.Context(), consensus.Metadata); err != nil || len(m.Members) != 1 || m.Members[0].ReplicaID != 7 {
		t.Errorf("members: got %+v, %v", m, err)
	}
	if s, err := c.Status(t.Context(), consensus.Metadata); err != nil || s.LastIndex != 1 || s.Leadership != lead {
		t.Errorf("status: got %+v, %v", s, err)
	}
	if _, err := c.Status(t.Context(), 5); !errors.Is(err, consensus.ErrGroupNotFound) {
		t.Errorf("status of an unknown group: got %v", err)
	}
	if d := c.Describe(); d.Backend != "file" || d.Limits.MaxInflightProposals != 8 {
		t.Errorf("describe: got %+v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.ReadIndex(ctx, consensus.Metadata); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: got %v", err)
	}
}
