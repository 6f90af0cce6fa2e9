package metadata_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/core/metadata"
)

func exportTestContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// logWith is a fake backend whose log holds the records, led in the term.
func logWith(ctx context.Context, t *testing.T, term uint64, records ...metadata.Record) *consensustest.Fake {
	t.Helper()
	fake := consensustest.NewFake()
	fake.Elect(term)
	for n, rec := range records {
		payload, err := metadata.EncodeRecords([]metadata.Record{rec})
		if err != nil {
			t.Fatal(err)
		}
		e := consensus.Envelope{ExpectedTerm: term, Sequence: uint64(n + 1), Payload: payload}
		if r := fake.Propose(ctx, consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: uint64(n + 1), Data: e.Append(nil)}); r.Outcome != consensus.Committed {
			t.Fatalf("record %d: %v", n, r)
		}
	}
	return fake
}

func someRecords() []metadata.Record {
	id := metadata.UUID{7}
	return []metadata.Record{
		metadata.ClusterRecord{ID: "moving"},
		metadata.RegisterBrokerRecord{ID: 1, Epoch: 1, Incarnation: metadata.UUID{1}, Listeners: []metadata.Endpoint{{Name: "clients", Host: "h", Port: 9092, Security: "PLAINTEXT"}}},
		metadata.TopicRecord{Name: "orders", ID: id},
		metadata.PartitionRecord{TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 9},
		metadata.ConfigRecord{Resource: metadata.ConfigResource{Type: metadata.TopicResource, Name: "orders"}, Name: "retention.ms", Value: new("1000")},
	}
}

// What one backend's log holds arrives in another's, epochs and ids included,
// by way of the bytes of an export.
func TestExportAndImport(t *testing.T) {
	ctx := exportTestContext(t)
	log := slog.New(slog.DiscardHandler)
	from := logWith(ctx, t, 3, someRecords()...)
	exported, err := metadata.Export(ctx, from, consensus.Metadata, log)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := exported.WriteSnapshot(&file); err != nil {
		t.Fatal(err)
	}
	img, err := metadata.ReadSnapshot(&file)
	if err != nil {
		t.Fatal(err)
	}
	to := logWith(ctx, t, 1)
	for range 2 { // the second time finds it there
		if err := metadata.Import(ctx, to, consensus.Metadata, img, log); err != nil {
			t.Fatal(err)
		}
	}
	arrived, err := metadata.Export(ctx, to, consensus.Metadata, log)
	if err != nil {
		t.Fatal(err)
	}
	if !arrived.SameRecords(exported) {
		t.Errorf("got %v, want %v", arrived.Records(), exported.Records())
	}
	if p := arrived.Partition(metadata.UUID{7}, 0); p == nil || p.LeaderEpoch != 5 || p.PartitionEpoch != 9 {
		t.Errorf("partition %+v, want leader epoch 5 and partition epoch 9", p)
	}
}

func TestImportIntoOtherMetadata(t *testing.T) {
	ctx := exportTestContext(t)
	log := slog.New(slog.DiscardHandler)
	img, err := metadata.Export(ctx, logWith(ctx, t, 1, someRecords()...), consensus.Metadata, log)
	if err != nil {
		t.Fatal(err)
	}
	to := logWith(ctx, t, 1, metadata.ClusterRecord{ID: "moving"})
	if err := metadata.Import(ctx, to, consensus.Metadata, img, log); !errors.Is(err, metadata.ErrNotEmpty) {
		t.Errorf("got %v, want ErrNotEmpty", err)
	}
}

// Without a leader nobody knows what is committed: an export waits, and says why
// when it gives up.
func TestExportWithoutLeader(t *testing.T) {
	from := logWith(exportTestContext(t), t, 1, someRecords()...)
	from.Depose()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := metadata.Export(ctx, from, consensus.Metadata, slog.New(slog.DiscardHandler)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
}
