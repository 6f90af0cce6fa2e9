package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"testing"
	"testing/synctest"

	"github.com/quorate/quorate/core/coordinator/coordinatortest"
	"github.com/quorate/quorate/protocol"
)

// register is a machine that remembers the last value of every key.
type register struct {
	values map[string]string
	timers *Timers
	parked []Reply[string]
	starts int
}

func newRegister(timers *Timers) *register {
	return &register{values: map[string]string{}, timers: timers}
}

func (r *register) Replay(key, value []byte) error {
	if string(key) == "poison" {
		return errors.New("cannot follow")
	}
	if value == nil {
		delete(r.values, string(key))
		return nil
	}
	r.values[string(key)] = string(value)
	return nil
}

func (r *register) Start(*Turn) { r.starts++ }

func (r *register) Stop(err error) {
	for _, p := range r.parked {
		p.Fail(err)
	}
}

// source is a coordinatortest.Topic as a Source.
type source struct{ *coordinatortest.Topic }

func (s source) Partition(p int32) (Partition, error) { return s.Partitions[p], nil }

// bubble is a topic with running shards inside a synctest bubble.
type bubble struct {
	*coordinatortest.Topic
	log    *coordinatortest.Log // of partition 0
	shards *Shards[*register]
}

// run gives f a bubble in which this broker leads partition 0.
func run(t *testing.T, change func(*Config), f func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		if change != nil {
			change(&cfg)
		}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		topic := coordinatortest.NewTopic(2)
		b := &bubble{Topic: topic, log: topic.Partitions[0]}
		b.shards = NewShards(cfg, source{topic}, newRegister, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.shards.Run(ctx) }()
		b.Lead(0)
		synctest.Wait()
		f(t, b)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (b *bubble) put(ctx context.Context, key, value string) error {
	_, err := Do(ctx, b.shards, 0, key, func(_ *register, t *Turn, r Reply[string]) {
		t.Write([]byte(key), []byte(value))
		r.SendCommitted(t, "")
	})
	return err
}

func (b *bubble) get(ctx context.Context, key string) (string, error) {
	return Do(ctx, b.shards, 0, key, func(m *register, t *Turn, r Reply[string]) {
		r.SendCommitted(t, m.values[key])
	})
}

// peek reads what is in memory, committed or not.
func (b *bubble) peek(t *testing.T) map[string]string {
	t.Helper()
	got, err := Do(t.Context(), b.shards, 0, "", func(m *register, _ *Turn, r Reply[map[string]string]) {
		r.Send(maps.Clone(m.values))
	})
	if err != nil {
		t.Fatalf("peek: %v", err)
	}
	return got
}

// later runs f beside the test and returns where its error will be.
func later(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	synctest.Wait()
	return c
}

func wantPending(t *testing.T, what string, c <-chan error) {
	t.Helper()
	select {
	case err := <-c:
		t.Errorf("%s: answered with %v, want it to wait", what, err)
	default:
	}
}

func wantCode(t *testing.T, what string, err error, want protocol.ErrorCode) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Errorf("%s: got %v (%v), want %v", what, got, err, want)
	}
}
