package group

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// disk is a broker with a real log, alone in its cluster.
type disk struct {
	*broker
	stop func()
}

func openDisk(t *testing.T, dir string, imgs *images) *disk {
	t.Helper()
	cfg := replica.DefaultConfig()
	cfg.BrokerID, cfg.DataDir = 1, dir
	manager := replica.NewManager(cfg, imgs, nil, nil, nil, quiet, nil)
	groups := DefaultConfig()
	groups.InitialRebalanceDelay = 0
	c := New(groups, imgs, manager, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- manager.Run(ctx) }()
	go func() { done <- c.Run(ctx) }()
	manager.OnImage(metadata.Empty(), imgs.Current())
	stop := func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	return &disk{broker: &broker{Coordinator: c, t: t, images: imgs}, stop: stop}
}

// await repeats what is refused while the partition is being loaded.
func (d *disk) await(what string, f func() protocol.ErrorCode) {
	d.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		code := f()
		if code == protocol.None {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: still %v", what, code)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A group on a log on disk, through a restart of the broker.
func TestOnDisk(t *testing.T) {
	dir, imgs := t.TempDir(), &images{}
	imgs.apply(t, slices.Concat(topicRecords(9, OffsetsTopic, 3), topicRecords(1, "orders", 3))...)
	d := openDisk(t, dir, imgs)
	c := d.consumer()
	d.await("join", c.join)
	want(t, "sync", c.sync(), protocol.None)
	want(t, "commit", c.commit("orders", 0, 5), protocol.None)
	d.stop()

	d = openDisk(t, dir, imgs)
	defer d.stop()
	c.b = d.broker
	d.await("commit after the restart", func() protocol.ErrorCode { return c.commit("orders", 1, 6) })
	want(t, "heartbeat", c.heartbeat(), protocol.None)
	want(t, "sync", c.sync(), protocol.None)
	if c.assignment != "for "+c.id {
		t.Errorf("assigned %q", c.assignment)
	}
	d.wantOffsets("g", map[topicPartition]int64{tp("orders", 0): 5, tp("orders", 1): 6})
}
