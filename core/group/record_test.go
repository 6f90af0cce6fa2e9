package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
)

// Records that older brokers wrote are read, those of other kinds of group are
// left alone.
func TestRecordsOfOthers(t *testing.T) {
	older := kmsg.NewOffsetCommitValue()
	older.Version, older.Offset, older.CommitTimestamp = 2, 5, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	key := kmsg.NewOffsetCommitKey()
	key.Version, key.Group, key.Topic, key.Partition = 0, "g", "orders", 0
	scenario(t, nil, func(t *testing.T, b *broker) {
		b.topic.Depose(0)
		b.log.Write(0, key.AppendTo(nil), older.AppendTo(nil))
		b.log.Write(0, []byte{0, 3, 1, 2, 3}, []byte{0, 0})
		b.topic.Lead(0)
		synctest.Wait()
		got := peek(t, b, func(m *machine) offset { return m.groups["g"].offsets[tp("orders", 0)] })
		if got.offset != 5 || got.leaderEpoch != -1 {
			t.Errorf("got %+v, want offset 5 without a leader epoch", got)
		}
	})
}

func TestReplayRefusesNonsense(t *testing.T) {
	valid := offsetKey("g", tp("t", 0))
	tests := []struct {
		name       string
		key, value []byte
	}{
		{"no key", nil, nil},
		{"short key", []byte{0}, nil},
		{"cut offset key", valid[:len(valid)-1], []byte{0, 3}},
		{"empty offset value", valid, []byte{}},
		{"cut group key", []byte{0, 2, 0, 9, 'g'}, nil},
		{"empty group value", groupKey("g"), []byte{}},
	}
	for _, tt := range tests {
		m := newMachine(DefaultConfig(), &images{}, &coordinator.Timers{}, quiet)
		if err := m.Replay(tt.key, tt.value); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

// Whatever is in the log, replaying it ends in an error at worst.
func FuzzReplay(f *testing.F) {
	g := newGroup("g")
	g.add(&member{id: "m", instance: new("i"), protocols: []protocolMetadata{{name: "range"}}})
	v := g.record(time.UnixMilli(1), map[string][]byte{"m": []byte("a")})
	f.Add(groupKey("g"), v.AppendTo(nil))
	f.Add(offsetKey("g", tp("t", 1)), offsetValue(offset{offset: 1, metadata: "x", topicID: [16]byte{1}}))
	f.Add(offsetKey("g", tp("t", 1)), offsetValue(offset{offset: 1, expires: time.UnixMilli(9)}))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m := newMachine(DefaultConfig(), &images{}, &coordinator.Timers{}, quiet)
		if err := m.Replay(key, value); err != nil {
			return
		}
		if err := m.Replay(key, nil); err != nil {
			t.Errorf("the tombstone of a record that was read is refused: %v", err)
		}
		if len(m.groups) != 0 {
			t.Errorf("a tombstone left %v", m.groups)
		}
	})
}
