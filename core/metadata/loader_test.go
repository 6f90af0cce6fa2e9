package metadata_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/core/metadata"
)

// follower is a loader that runs in a bubble.
type follower struct {
	*metadata.Loader
	done chan error
}

func follow(t *testing.T, client consensus.Client, prepare ...func(*metadata.Loader)) *follower {
	f := &follower{
		Loader: metadata.NewLoader(client, consensus.Metadata, metadata.DefaultLoaderConfig(), slog.New(slog.DiscardHandler)),
		done:   make(chan error, 1),
	}
	for _, p := range prepare {
		p(f.Loader)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { f.done <- f.Run(ctx) }()
	t.Cleanup(cancel)
	return f
}

func proposal(t *testing.T, term, sequence uint64, records ...metadata.Record) consensus.Proposal {
	t.Helper()
	payload, err := metadata.EncodeRecords(records)
	if err != nil {
		t.Fatal(err)
	}
	env := consensus.Envelope{ExpectedTerm: term, Sequence: sequence, Payload: payload}
	return consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: sequence, Data: env.Append(nil)}
}

func topic(n int) metadata.Record {
	return metadata.TopicRecord{Name: fmt.Sprint("topic-", n), ID: metadata.UUID{1, byte(n)}}
}

func wantTopics(t *testing.T, l *metadata.Loader, names ...string) {
	t.Helper()
	got := 0
	for range l.Current().Topics() {
		got++
	}
	for _, name := range names {
		if _, ok := l.Current().Topic(name); !ok {
			t.Errorf("no topic %s", name)
		}
	}
	if got != len(names) {
		t.Errorf("%d topics, want %d", got, len(names))
	}
}

func TestLoaderPublishesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consensustest.NewFake()
		var calls []string
		record := func(name string) func(*metadata.Loader) {
			return func(l *metadata.Loader) {
				l.OnImage(name, func(old, img *metadata.Image) {
					if l.Current() != img {
						t.Error("a publisher is called before the image is current")
					}
					calls = append(calls, fmt.Sprintf("%s %d-%d", name, old.Index, img.Index))
				})
			}
		}
		l := follow(t, fake, record("a"), record("b"))
		changed := l.Changed()
		fake.Elect(1)
		synctest.Wait()
		<-changed
		fake.Propose(t.Context(), proposal(t, 1, 1, topic(1)))
		if err := l.AwaitIndex(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(calls, ","), "a 0-1,b 0-1,a 1-2,b 1-2"; got != want {
			t.Errorf("calls %s, want %s", got, want)
		}
		wantTopics(t, l.Loader, "topic-1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.AwaitIndex(ctx, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited for an index that does not exist: %v", err)
		}
	})
}

func TestLoaderStopsAtWhatItDoesNotKnow(t *testing.T) {
	envelope := func(sequence uint64, payload string) []byte {
		return consensus.Envelope{ExpectedTerm: 1, Sequence: sequence, Payload: []byte(payload)}.Append(nil)
	}
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"an unknown record", envelope(1, "\x0a\x03\xa2\x38\x00"), "does not know"},
		{"no protobuf", envelope(1, "\xff"), "decode metadata records"},
		{"a record that can not follow", envelope(1, "\x0a\x04\x12\x02\x08\x09"), "no broker 9"},
		{"no envelope", []byte("foreign"), "parse envelope"},
		{"a void entry is not even decoded", envelope(7, "\xff"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := consensustest.NewFake()
				l := follow(t, fake)
				fake.Elect(1)
				fake.Cluster().AppendRaw(consensus.Entry{Term: 1, Data: tt.data})
				synctest.Wait()
				select {
				case err := <-l.done:
					if tt.want == "" || err == nil || !strings.Contains(err.Error(), tt.want) {
						t.Fatalf("stopped with %v, want %q", err, tt.want)
					}
					if l.Current().Index > 1 {
						t.Error("the entry was published all the same")
					}
				default:
					if tt.want != "" {
						t.Fatal("the loader goes on")
					}
				}
			})
		})
	}
}

func TestLoaderResolvesPerEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consensustest.NewFake()
		c := fake.Cluster()
		fake.SetPaused(true) // so that all of this is one batch
		fake.Elect(1)
		fake.Propose(t.Context(), proposal(t, 1, 1, topic(1)))
		fake.Propose(t.Context(), proposal(t, 1, 2, topic(2)))
		late := proposal(t, 1, 3, topic(3)) // appended after its term: void
		fake.Elect(2)
		c.AppendRaw(consensus.Entry{Term: 2, Data: late.Data})
		fake.Propose(t.Context(), proposal(t, 2, 1, topic(4)))
		fake.Elect(4)
		l := follow(t, fake)

		type verdict struct {
			o   consensus.Outcome
			err error
		}
		early := make(chan verdict, 1) // asked before the entries are there
		go func() {
			_, o, err := l.Resolve(t.Context(), 1, 3)
			early <- verdict{o, err}
		}()
		synctest.Wait()
		fake.SetPaused(false)
		if v := <-early; v.o != consensus.Rejected || v.err != nil {
			t.Errorf("a late proposal: %v, %v", v.o, v.err)
		}
		tests := []struct {
			term, sequence uint64
			want           consensus.Outcome
		}{
			{1, 1, consensus.Committed},
			{1, 2, consensus.Committed},
			{1, 3, consensus.Rejected},
			{2, 1, consensus.Committed},
			{2, 2, consensus.Rejected},
			{3, 1, consensus.Rejected}, // a term that nobody saw
		}
		for _, tt := range tests {
			if _, o, err := l.Resolve(t.Context(), tt.term, tt.sequence); o != tt.want || err != nil {
				t.Errorf("proposal %d of term %d: %v, %v, want %v", tt.sequence, tt.term, o, err, tt.want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, o, err := l.Resolve(ctx, 4, 1); o != consensus.Unknown || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a proposal of the present: %v, %v", o, err)
		}
		wantTopics(t, l.Loader, "topic-1", "topic-2", "topic-4")
	})
}

func TestLoaderSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := consensustest.NewFakeCluster(3)
		a, b, c := cluster.Replica(1), cluster.Replica(2), cluster.Replica(3)
		first, lagging := follow(t, a), follow(t, b)
		cluster.Elect(1, 1)
		a.Propose(t.Context(), proposal(t, 1, 1, topic(1)))
		synctest.Wait()
		b.SetPaused(true)
		a.WantSnapshot(5)
		synctest.Wait()
		if _, _, err := a.Snapshot(t.Context(), consensus.Metadata); !errors.Is(err, consensus.ErrNoSnapshot) {
			t.Fatalf("a snapshot before its index: %v", err)
		}
		for n := range 6 {
			a.Propose(t.Context(), proposal(t, 1, uint64(n+2), topic(n+2)))
		}
		synctest.Wait()
		if wanted, _ := a.SnapshotWanted(consensus.Metadata); wanted != 0 {
			t.Fatalf("a snapshot is still wanted at %d", wanted)
		}
		for _, f := range []*consensustest.Fake{a, b, c} {
			if err := f.Compact(5); err != nil {
				t.Fatal(err)
			}
		}
		b.SetPaused(false)
		fresh := follow(t, c)
		synctest.Wait()
		for name, l := range map[string]*follower{"lagging": lagging, "fresh": fresh} {
			if got, want := l.Current(), first.Current(); got.Index != want.Index || got.Gate != want.Gate {
				t.Errorf("%s: index %d, gate %+v, want %d, %+v", name, got.Index, got.Gate, want.Index, want.Gate)
			}
			wantTopics(t, l.Loader, "topic-1", "topic-2", "topic-3", "topic-4", "topic-5", "topic-6", "topic-7")
		}
		// The gate came with the snapshot: the next sequence counts everywhere.
		a.Propose(t.Context(), proposal(t, 1, 8, topic(8)))
		synctest.Wait()
		if fresh.Current().Gate.Sequence != 8 || lagging.Current().Gate.Sequence != 8 {
			t.Error("the gate was not in the snapshot")
		}
		cluster.Elect(2, 9)
		synctest.Wait()
		if _, _, err := fresh.Resolve(t.Context(), 0, 1); !errors.Is(err, metadata.ErrForgotten) {
			t.Errorf("a term from before the snapshot: %v", err)
		}
	})
}

func TestLoaderWaitsForTheBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consensustest.NewFake()
		fake.SetDown(true)
		l := follow(t, fake)
		time.Sleep(time.Second) // of the bubble
		fake.SetDown(false)
		fake.Elect(1)
		if err := l.AwaitIndex(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	})
}
