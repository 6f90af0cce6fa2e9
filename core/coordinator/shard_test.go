package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/core/coordinator/coordinatortest"
	"github.com/quorate/quorate/protocol"
)

func TestAnswersWaitForTheCommit(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bubble) {
		b.log.Hold()
		put := later(func() error { return b.put(t.Context(), "a", "1") })
		get := later(func() error { _, err := b.get(t.Context(), "a"); return err })
		other := later(func() error { _, err := b.get(t.Context(), "b"); return err })
		wantPending(t, "put", put)
		wantPending(t, "get of the same key", get)
		if err := <-other; err != nil {
			t.Errorf("get of another key: %v", err)
		}
		b.log.Release()
		wantCode(t, "put", <-put, protocol.None)
		wantCode(t, "get", <-get, protocol.None)
	})
}

func TestASlowCommitIsUncertainAndKept(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bubble) {
		b.log.Hold()
		began := time.Now()
		wantCode(t, "put", b.put(t.Context(), "a", "1"), protocol.CoordinatorNotAvailable)
		if took := time.Since(began); took != DefaultConfig().WriteTimeout {
			t.Errorf("took %v, want %v", took, DefaultConfig().WriteTimeout)
		}
		_, err := b.get(t.Context(), "a")
		wantCode(t, "get of what may never be committed", err, protocol.CoordinatorNotAvailable)
		b.log.Release()
		if got, err := b.get(t.Context(), "a"); got != "1" || err != nil {
			t.Errorf("get after the commit: %q, %v", got, err)
		}
	})
}

func TestAFailedAppendLeavesNothingBehind(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		wrote  bool
		want   protocol.ErrorCode
		starts int               // of machines that followed
		state  map[string]string // in memory afterwards
	}{{
		name:  "refused before the append",
		err:   protocol.Errorf(protocol.NotEnoughReplicas, "one of two"),
		want:  protocol.CoordinatorNotAvailable,
		state: map[string]string{"a": "1"},
	}, {
		name:  "too large",
		err:   protocol.Errorf(protocol.MessageTooLarge, "too large"),
		want:  protocol.MessageTooLarge,
		state: map[string]string{"a": "1"},
	}, {
		name:  "uncertain, and in the log",
		err:   errors.New("input/output error"),
		wrote: true,
		want:  protocol.CoordinatorNotAvailable,
		state: map[string]string{"a": "2"},
	}, {
		name:  "uncertain, and lost",
		err:   errors.New("input/output error"),
		want:  protocol.CoordinatorNotAvailable,
		state: map[string]string{"a": "1"},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, b *bubble) {
				wantCode(t, "first put", b.put(t.Context(), "a", "1"), protocol.None)
				b.log.FailAppend(tt.err, tt.wrote)
				wantCode(t, "failed put", b.put(t.Context(), "a", "2"), tt.want)
				time.Sleep(2 * DefaultConfig().LoadBackoff)
				synctest.Wait()
				if got := b.peek(t); !maps.Equal(got, tt.state) {
					t.Errorf("state %v, want %v", got, tt.state)
				}
			})
		})
	}
}

func TestLeadership(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bubble) {
		wantCode(t, "put", b.put(t.Context(), "a", "1"), protocol.None)
		b.log.Hold()
		put := later(func() error { return b.put(t.Context(), "a", "2") })
		wait := later(func() error {
			_, err := Do(t.Context(), b.shards, 0, "a", func(m *register, _ *Turn, r Reply[string]) {
				m.parked = append(m.parked, r)
			})
			return err
		})
		b.Depose(0)
		wantCode(t, "parked put", <-put, protocol.NotCoordinator)
		wantCode(t, "wait inside the machine", <-wait, protocol.NotCoordinator)
		wantCode(t, "put while another leads", b.put(t.Context(), "a", "3"), protocol.NotCoordinator)

		b.log.Write(0, []byte("a"), []byte("theirs"))
		b.Lead(0)
		synctest.Wait()
		wantCode(t, "put before the log is committed", b.put(t.Context(), "a", "4"), protocol.CoordinatorLoadInProgress)
		b.log.Release()
		synctest.Wait()
		if got, err := b.get(t.Context(), "a"); got != "theirs" || err != nil {
			t.Errorf("after the load: %q, %v", got, err)
		}
	})
}

// A broker that was deposed and has not heard of it must not write what it
// decided on its old state.
func TestAStaleLeaderWritesNothing(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bubble) {
		wantCode(t, "put", b.put(t.Context(), "a", "1"), protocol.None)
		listeners := coordinatortest.NewTopic(0) // nobody listens
		listeners.Partitions = b.Partitions
		listeners.Depose(0)
		listeners.Lead(0)
		wantCode(t, "put of the old epoch", b.put(t.Context(), "a", "2"), protocol.NotCoordinator)
		if got := b.log.Appends(); got != 1 {
			t.Errorf("%d appends, want 1", got)
		}
	})
}

func TestABadLogIsNotServed(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bubble) {
		b.Partitions[1].Write(0, []byte("poison"), []byte{})
		b.Lead(1)
		time.Sleep(10 * DefaultConfig().LoadBackoff)
		synctest.Wait()
		_, err := Do(t.Context(), b.shards, 1, "a", func(_ *register, _ *Turn, r Reply[string]) { r.Send("") })
		wantCode(t, "get", err, protocol.CoordinatorLoadInProgress)
	})
}

// What waits in the mailbox together is appended together, unless it is about
// the same key.
func TestARoundIsOneBatch(t *testing.T) {
	tests := []struct {
		name    string
		keys    func(i int) string
		appends int
	}{
		{"different keys", func(i int) string { return fmt.Sprint(i) }, 1},
		{"the same key", func(int) string { return "a" }, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, b *bubble) {
				block := make(chan struct{})
				b.shards.Submit(0, Event[*register]{Key: "z", Run: func(*register, *Turn) { <-block }, Refuse: func(error) {}})
				for i := range 10 {
					_ = later(func() error { return b.put(t.Context(), tt.keys(i), "v") })
				}
				close(block)
				synctest.Wait()
				if got := b.log.Appends(); got != tt.appends {
					t.Errorf("%d appends, want %d", got, tt.appends)
				}
			})
		})
	}
}

func TestAFullMailboxRefuses(t *testing.T) {
	run(t, func(c *Config) { c.MailboxLength = 2 }, func(t *testing.T, b *bubble) {
		block := make(chan struct{})
		b.shards.Submit(0, Event[*register]{Run: func(*register, *Turn) { <-block }, Refuse: func(error) {}})
		synctest.Wait()
		first := later(func() error { return b.put(t.Context(), "a", "1") })
		second := later(func() error { return b.put(t.Context(), "b", "1") })
		wantCode(t, "third", b.put(t.Context(), "c", "1"), protocol.CoordinatorNotAvailable)
		close(block)
		wantCode(t, "first", <-first, protocol.None)
		wantCode(t, "second", <-second, protocol.None)
	})
}

func TestTimers(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bubble) {
		began := time.Now()
		fired := map[string]time.Duration{}
		_, err := Do(t.Context(), b.shards, 0, "", func(m *register, now *Turn, r Reply[string]) {
			timer := func(name string) *Timer {
				return m.timers.New(name, func(t *Turn) {
					fired[name] = t.Now.Sub(began)
					t.Write([]byte(name), []byte("fired"))
				})
			}
			late, early, stopped, moved := timer("late"), timer("early"), timer("stopped"), timer("moved")
			late.Set(now.Now.Add(time.Minute))
			early.Set(now.Now.Add(time.Second))
			stopped.Set(now.Now.Add(time.Second))
			moved.Set(now.Now.Add(time.Second))
			stopped.Stop()
			moved.Set(now.Now.Add(2 * time.Second))
			r.Send("")
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want := map[string]time.Duration{"early": time.Second, "moved": 2 * time.Second, "late": time.Minute}
		if !maps.Equal(fired, want) {
			t.Errorf("fired %v, want %v", fired, want)
		}
		if got := b.peek(t); len(got) != 3 {
			t.Errorf("timers wrote %v, want three records", got)
		}
	})
}

func TestEverythingIsAnsweredAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := coordinatortest.NewTopic(2)
		shards := NewShards(DefaultConfig(), source{topic}, newRegister, slog.New(slog.DiscardHandler))
		b := &bubble{Topic: topic, log: topic.Partitions[0], shards: shards}
		ctx, cancel := context.WithCancel(t.Context())
		topic.Lead(0) // before Run: the event waits in the mailbox
		early := later(func() error { return b.put(t.Context(), "a", "1") })
		wantPending(t, "put before Run", early)
		done := later(func() error { return shards.Run(ctx) })
		if err := <-early; protocol.CodeOf(err) != protocol.CoordinatorLoadInProgress {
			wantCode(t, "put before Run", err, protocol.None)
		}
		b.log.Hold()
		parked := later(func() error { return b.put(t.Context(), "a", "2") })
		cancel()
		wantCode(t, "parked put", <-parked, protocol.NotCoordinator)
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		wantCode(t, "put after the end", b.put(t.Context(), "a", "3"), protocol.NotCoordinator)
	})
}
