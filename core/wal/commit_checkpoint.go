package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// point is where the recovery of a log begins.
type point struct {
	segment  int64 // base offset; -1: nothing is known
	position int64 // bytes of the segment that are complete on stable storage
	offset   int64 // of what comes next, if segment is known
	offsets  int   // entries of the segment's offset index that are on stable storage
	times    int   // the same of its time index
	known    int64 // everything before this offset was durable: the log must not end before
}

// noPoint is what is known of a log without a point.
var noPoint = point{segment: -1}

const pointSize = 16 + 4 + 8 + 8 + 8 + 4 + 4 + 8

// encodePoints is the state that a checkpoint of the commit log carries. The order
// is that of the owners, so that equal points are equal bytes.
func encodePoints(points map[Owner]point) []byte {
	owners := sortedOwners(points)
	b := make([]byte, 0, len(points)*pointSize)
	for _, o := range owners {
		p := points[o]
		b = append(b, o.TopicID[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(o.Partition))
		for _, n := range []int64{p.segment, p.position, p.offset} {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		b = binary.BigEndian.AppendUint32(b, uint32(p.offsets))
		b = binary.BigEndian.AppendUint32(b, uint32(p.times))
		b = binary.BigEndian.AppendUint64(b, uint64(p.known))
	}
	return b
}

// sortedOwners is whose points there are, in order.
func sortedOwners(points map[Owner]point) []Owner {
	owners := make([]Owner, 0, len(points))
	for o := range points {
		owners = append(owners, o)
	}
	slices.SortFunc(owners, func(a, b Owner) int {
		if c := slices.Compare(a.TopicID[:], b.TopicID[:]); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return owners
}

func decodePoints(b []byte) (map[Owner]point, error) {
	if len(b)%pointSize != 0 {
		return nil, fmt.Errorf("%d bytes are no recovery points", len(b))
	}
	points := make(map[Owner]point, len(b)/pointSize)
	for e := range slices.Chunk(b, pointSize) {
		number := func(at int) int64 { return int64(binary.BigEndian.Uint64(e[at:])) }
		o := Owner{TopicID: [16]byte(e[:16]), Partition: int32(binary.BigEndian.Uint32(e[16:]))}
		p := point{
			segment: number(20), position: number(28), offset: number(36),
			offsets: int(binary.BigEndian.Uint32(e[44:])), times: int(binary.BigEndian.Uint32(e[48:])), known: number(52),
		}
		if p.segment < -1 || p.position < 0 || p.offset < 0 || p.known < 0 {
			return nil, errors.New("a recovery point is negative")
		}
		points[o] = p
	}
	return points, nil
}

// checkpoint syncs every log that has frames in files up to through, and frees those
// files. An error is final: a log that cannot be synced has lost what was written.
//
// One at a time: logs that another checkpoint has taken count as clean while it still
// syncs them, so the one that overtakes it would free their frames too early.
func (c *Committer) checkpoint(through uint64) error {
	c.checkpointing <- struct{}{}
	defer func() { <-c.checkpointing }()
	if err := c.failed(); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(c.cfg.SyncParallel)
	for _, l := range c.takeDirty(through) {
		g.Go(func() error {
			if err := l.checkpointFiles(); err != nil && !errors.Is(err, ErrClosed) {
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return c.fail("checkpoint", err)
	}
	if err := c.savePoints(through); err != nil {
		return c.fail("checkpoint", err)
	}
	c.metrics.checkpoints.Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	for o, file := range c.owners {
		if file <= through {
			delete(c.owners, o)
		}
	}
	c.blocked = c.ring.Used() >= c.cfg.SizeBytes
	c.room.Broadcast()
	return nil
}

// takeDirty returns the logs with frames in files up to through. From here on they
// count as clean: a frame that is committed while they are synced makes them dirty.
func (c *Committer) takeDirty(through uint64) (taken []*Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = slices.DeleteFunc(c.dirty, func(l *Log) bool {
		if l.dirtySince > through {
			return false
		}
		l.dirtySince = 0
		taken = append(taken, l)
		return true
	})
	return taken
}

// savePoints makes the recovery points durable, and that files up to through are not
// needed.
func (c *Committer) savePoints(through uint64) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	state := encodePoints(c.points)
	c.mu.Unlock()
	return c.ring.Checkpoint(through, state)
}

// SavePoints makes durable where the recovery of each open log begins. Call it once
// logs were opened, so that the next start need not read all of their last segments.
func (c *Committer) SavePoints() error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.savePoints(0); err != nil {
		return c.fail("checkpoint", err)
	}
	return nil
}

// setPoint notes where the recovery of l begins. The caller holds the log's roundMu.
func (c *Committer) setPoint(l *Log, p point) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.points[l.owner] = p
}

// pointOf returns what is known of a log; framed says that the ring has frames of it.
func (c *Committer) pointOf(o Owner) (p point, framed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.points[o]
	if !ok {
		p = noPoint
	}
	_, framed = c.owners[o]
	return p, framed || ok
}
