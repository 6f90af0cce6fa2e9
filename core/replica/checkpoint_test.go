package replica

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/quorate/quorate/core/metadata"
)

func TestCheckpointRoundTrip(t *testing.T) {
	dir := t.TempDir()
	one, two := metadata.UUID{1}, metadata.UUID{15: 2}
	want := map[checkpointKey]int64{{"orders", 0, one}: 17, {"orders", 11, one}: 0, {"with-dashes.and_more", 2, two}: 1 << 40}
	if err := writeCheckpoint(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := readCheckpoint(dir)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
	data, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if text := "2\n3\norders 0 17 01000000000000000000000000000000\norders 11 0 01000000000000000000000000000000\n" +
		"with-dashes.and_more 2 1099511627776 00000000000000000000000000000002\ncrc dc859284\n"; err != nil || string(data) != text {
		t.Errorf("file is %q, %v; want %q", data, err, text)
	}
}

func TestDecodeCheckpoint(t *testing.T) {
	tests := []struct {
		name, text, wantErr string
	}{
		{name: "no entries", text: "0\n0\n"},
		{name: "empty", wantErr: "version is missing"},
		{name: "of a later version", text: "3\n0\n", wantErr: "version is 3"},
		{name: "without its checksum", text: "2\n0\n", wantErr: "checksum is missing"},
		{name: "without an id", text: "1\n1\norders 0 1\n", wantErr: "not a topic"},
		{name: "with an id that is none", text: "1\n1\norders 0 1 x\n", wantErr: "not a topic id"},
		{name: "Kafka's", text: "0\n1\norders 0 1\n"},
		{name: "without a count", text: "0\n", wantErr: "number of entries is missing"},
		{name: "cut short", text: "0\n2\norders 0 1\n", wantErr: "1 entries instead of 2"},
		{name: "with a line that is none", text: "0\n1\norders 0\n", wantErr: "not a topic"},
		{name: "with an offset that is none", text: "0\n1\norders 0 x\n", wantErr: "not a topic"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeCheckpoint([]byte(tt.text))
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error is %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// Damage is never taken for other high watermarks: one that is too high would be served.
func TestDamagedCheckpointIsRefused(t *testing.T) {
	whole := encodeCheckpoint(map[checkpointKey]int64{{"orders", 0, metadata.UUID{1}}: 17, {"orders", 1, metadata.UUID{1}}: 4})
	for at := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[at] ^= 1 << bit
			if marks, err := decodeCheckpoint(b); err == nil {
				t.Errorf("bit %d of byte %d flipped gives %v", bit, at, marks)
			}
		}
		if marks, err := decodeCheckpoint(whole[:at]); err == nil {
			t.Errorf("cut to %d bytes it gives %v", at, marks)
		}
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add("0\n1\norders 0 17\n")
	f.Add("1\n1\norders 0 17 01000000000000000000000000000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		marks, err := decodeCheckpoint([]byte(text))
		if err != nil {
			return
		}
		again, err := decodeCheckpoint(encodeCheckpoint(marks))
		if err != nil || !maps.Equal(marks, again) {
			t.Errorf("%v became %v, %v", marks, again, err)
		}
	})
}

func TestHighWatermarkSurvivesARestart(t *testing.T) {
	c := testCluster(t, 1, nil)
	topic := c.topic("orders", 1, []int32{1})
	c.mustProduce(c.on(1, topic), AcksAll, "a", "b")
	c.nodes[1].halt()
	marks, err := readCheckpoint(c.nodes[1].dir)
	if got := marks[checkpointKey{"orders", 0, topic}]; err != nil || got != 2 {
		t.Errorf("checkpoint says %d, %v; want 2", got, err)
	}
	c.fence(1)
	c.start(1)
	if got := c.on(1, topic).State().HighWatermark; got != 2 {
		t.Errorf("high watermark is %d, want 2", got)
	}
}

// A broker that does nothing leaves the disk alone, and one that does something does not.
func TestCheckpointOfNothingNewIsNotWritten(t *testing.T) {
	c := testCluster(t, 1, func(cfg *Config) { cfg.CheckpointInterval = time.Hour })
	topic := c.topic("orders", 1, []int32{1})
	c.mustProduce(c.on(1, topic), AcksAll, "a")
	m := c.nodes[1].m
	path := filepath.Join(m.cfg.DataDir, checkpointFile)
	written := func() bool {
		t.Helper()
		_ = os.Remove(path) // it need not be there yet
		if err := m.checkpoint(); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(path)
		return err == nil
	}
	if !written() {
		t.Error("the first one was not written")
	}
	if written() {
		t.Error("written although nothing has changed")
	}
	c.mustProduce(c.on(1, topic), AcksAll, "b")
	if !written() {
		t.Error("not written although the high watermark has moved")
	}
	c.topic("payments", 2, []int32{1})
	if !written() {
		t.Error("not written although there are other partitions")
	}
}

// A topic that is deleted and made again begins with no mark, also if the broker dies
// before it has written a checkpoint since.
func TestHighWatermarkOfADeletedTopicIsNotInherited(t *testing.T) {
	c := testCluster(t, 2, func(cfg *Config) { cfg.ReplicaLagTimeMax, cfg.CheckpointInterval = time.Hour, time.Hour })
	old := c.topic("orders", 1, []int32{1, 2})
	c.mustProduce(c.on(1, old), AcksAll, "a", "b", "c", "d")
	if err := c.nodes[1].m.checkpoint(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(c.nodes[1].dir, checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	c.commit(metadata.RemoveTopicRecord{ID: old})
	c.isolate(2, true)
	topic := c.topic("orders", 2, []int32{1, 2})
	c.mustProduce(c.on(1, topic), AcksLeader, "x", "y") // not committed: broker 2 does not have them
	c.nodes[1].halt()
	if err := os.WriteFile(filepath.Join(c.nodes[1].dir, checkpointFile), before, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(1)
	if s := c.on(1, topic).State(); s.HighWatermark != 0 || s.End != 2 {
		t.Errorf("high watermark is %d of %d, want 0 of 2", s.HighWatermark, s.End)
	}
}

func TestParsePartitionDir(t *testing.T) {
	tests := []struct {
		name      string
		topic     string
		partition int32
		ok        bool
	}{
		{"orders-3", "orders", 3, true},
		{"a-b-10", "a-b", 10, true},
		{"orders", "", 0, false},
		{"orders-", "", 0, false},
		{"orders-03", "", 0, false},
		{"orders-x", "", 0, false},
		{"-3", "", 0, false},
		{"orders-3.abc.deleted", "", 0, false},
	}
	for _, tt := range tests {
		topic, partition, ok := parsePartitionDir(tt.name)
		if topic != tt.topic || partition != tt.partition || ok != tt.ok {
			t.Errorf("%q is %q, %d, %v; want %q, %d, %v", tt.name, topic, partition, ok, tt.topic, tt.partition, tt.ok)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, _, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1}}, "min.insync.replicas", "2")
	newMetrics(m, reg)
	want := `
# HELP quorate_replica_leaders Partitions led here.
# TYPE quorate_replica_leaders gauge
quorate_replica_leaders 1
# HELP quorate_replica_under_min_isr_partitions Partitions led here that refuse acks=all.
# TYPE quorate_replica_under_min_isr_partitions gauge
quorate_replica_under_min_isr_partitions 1
# HELP quorate_replica_under_replicated_partitions Partitions led here with replicas out of sync.
# TYPE quorate_replica_under_replicated_partitions gauge
quorate_replica_under_replicated_partitions 1
`
	err := testutil.GatherAndCompare(reg, strings.NewReader(want), "quorate_replica_leaders", "quorate_replica_under_min_isr_partitions", "quorate_replica_under_replicated_partitions")
	if err != nil {
		t.Error(err)
	}
}

func TestConfigValidate(t *testing.T) {
	valid := DefaultConfig()
	valid.DataDir = "data"
	tests := []struct {
		name    string
		change  func(*Config)
		wantErr string
	}{
		{name: "defaults", change: func(*Config) {}},
		{name: "no directory", change: func(c *Config) { c.DataDir = "" }, wantErr: "data directory is empty"},
		{name: "back-off upside down", change: func(c *Config) { c.BackoffMax = 1 }, wantErr: "below the minimum"},
		{name: "nothing at a time", change: func(c *Config) { c.SyncParallel = 0 }, wantErr: "sync parallelism is 0"},
		{name: "no lag", change: func(c *Config) { c.ReplicaLagTimeMax = 0 }, wantErr: "replica lag time is 0s"},
		{name: "log", change: func(c *Config) { c.Log.SegmentBytes = 0 }, wantErr: "segment bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := valid
			tt.change(&c)
			err := c.Validate()
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error is %v, want %q", err, tt.wantErr)
			}
		})
	}
}
