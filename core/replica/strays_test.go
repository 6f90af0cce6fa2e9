package replica

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
)

// partitionOnDisk makes a directory as a partition has it, with a few bytes.
func partitionOnDisk(t *testing.T, dataDir, name string, id *metadata.UUID) {
	t.Helper()
	dir := filepath.Join(dataDir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00000000000000000000.log"), []byte("records"), 0o644); err != nil {
		t.Fatal(err)
	}
	if id == nil {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "partition.metadata"), fmt.Appendf(nil, "version: 0\ntopic_id: %s\n", base64.RawURLEncoding.EncodeToString(id[:])), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What a start would remove is told before, and told why.
func TestStrays(t *testing.T) {
	orders, old, late := metadata.UUID{1}, metadata.UUID{2}, metadata.UUID{3}
	delta := metadata.NewDelta(metadata.Empty())
	err := delta.ReplayAll([]metadata.Record{
		metadata.TopicRecord{Name: "orders", ID: orders},
		metadata.PartitionRecord{TopicID: orders, Partition: 0, Replicas: []int32{1, 2}, ISR: []int32{1}, Leader: 1},
		metadata.PartitionRecord{TopicID: orders, Partition: 1, Replicas: []int32{2, 3}, ISR: []int32{2}, Leader: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	img := delta.Image(1, 1, consensus.Gate{})
	dir := t.TempDir()
	partitionOnDisk(t, dir, "orders-0", &orders)
	partitionOnDisk(t, dir, "orders-1", &orders)
	partitionOnDisk(t, dir, "orders-2", &orders)
	partitionOnDisk(t, dir, "orders-3", &old)
	partitionOnDisk(t, dir, "renamed-0", &orders)
	partitionOnDisk(t, dir, "late-0", &late)
	partitionOnDisk(t, dir, "foreign-0", nil)
	partitionOnDisk(t, dir, wal.GoneName("late-1"), &late)
	partitionOnDisk(t, dir, "consensus", nil)

	strays, err := Strays(dir, 1, img)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range strays {
		if s.Bytes < int64(len("records")) {
			t.Errorf("%s has %d bytes", s, s.Bytes)
		}
		got = append(got, fmt.Sprintf("%s: the image %s", s, s.Why))
	}
	want := []string{
		"late-0: the image has no such topic",
		"orders-1: the image gives it to the brokers 2 3",
		"orders-2: the image has no more than 2 partitions of it",
		"orders-3: the image has another topic orders, with id " + orders.String(),
		"renamed-0: the image has that id for topic orders",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strays, err := Strays(filepath.Join(dir, "none"), 1, img); err != nil || len(strays) > 0 {
		t.Errorf("a directory that is not there has %v, %v", strays, err)
	}
}

// A partition whose partition.metadata names another topic is not removed: it may be
// damaged, and then these are the records.
func TestPartitionOfAnotherTopicIsSetAside(t *testing.T) {
	c := testCluster(t, 2, nil)
	topic := c.topic("orders", 1, []int32{1, 2})
	a := c.mustProduce(c.on(1, topic), AcksAll, "a", "b")
	c.nodes[2].halt()
	dir := filepath.Join(c.nodes[2].dir, "orders-0")
	log := filepath.Join(dir, "00000000000000000000.log")
	records, err := os.ReadFile(log)
	if err != nil || len(records) == 0 {
		t.Fatalf("%d bytes of records, %v", len(records), err)
	}
	other := metadata.UUID{1: 64}
	if err := os.WriteFile(filepath.Join(dir, "partition.metadata"), fmt.Appendf(nil, "version: 0\ntopic_id: %s\n", base64.RawURLEncoding.EncodeToString(other[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(2)
	c.awaitMark(2, topic, a.End)
	aside, err := filepath.Glob(dir + ".*-stray/00000000000000000000.log")
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v", aside, err)
	}
	if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(records) {
		t.Errorf("%d bytes were kept of %d, %v", len(kept), len(records), err)
	}
}
