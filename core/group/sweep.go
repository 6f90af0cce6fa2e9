package group

import (
	"time"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/core/metadata"
)

// maxTombstoneBytes bounds what one turn deletes, so that its batch is one that
// the partition takes. What is left is deleted by the next turn.
const maxTombstoneBytes = 256 << 10

// tombstones writes deletions into a turn until it has enough of them.
type tombstones struct {
	turn  *coordinator.Turn
	bytes int
}

func (ts *tombstones) full() bool { return ts.bytes >= maxTombstoneBytes }

func (ts *tombstones) write(key []byte) {
	ts.turn.Write(key, nil)
	ts.bytes += len(key)
}

// sweepOffsets deletes the offsets that have expired, those of topics that are
// gone, and the groups that nothing is left of.
func (m *machine) sweepOffsets(t *coordinator.Turn) {
	ts := &tombstones{turn: t}
	img := m.images.Current()
	for _, g := range m.groups {
		if ts.full() {
			break
		}
		m.sweepGroup(ts, g, img)
	}
	next := m.cfg.OffsetsRetentionCheckInterval
	if ts.full() {
		next = 0
	}
	t.OnApplied(func(err error) {
		if err != nil { // not at once again, as it would for ever
			next = m.cfg.OffsetsRetentionCheckInterval
		}
		m.sweep.Set(t.Now.Add(next))
	})
}

func (m *machine) sweepGroup(ts *tombstones, g *group, img *metadata.Image) {
	now, left := ts.turn.Now, len(g.offsets)
	for _, tp := range g.sortedOffsets() {
		if ts.full() {
			return
		}
		if o := g.offsets[tp]; isOrphan(o, tp.topic, img) || m.isExpired(g, o, now) {
			ts.write(offsetKey(g.id, tp))
			left--
		}
	}
	if left == 0 && g.recorded && g.state == empty && len(g.pending) == 0 {
		m.log.Info("an empty group without offsets is deleted", "group", g.id)
		ts.write(groupKey(g.id))
	}
}

// isExpired reports whether an offset may go. Offsets of groups with members stay;
// those of an empty group count from when it became empty, those of a consumer
// without a group from their commit (KIP-211).
func (m *machine) isExpired(g *group, o offset, now time.Time) bool {
	if g.state != empty {
		return false
	}
	if !o.expires.IsZero() {
		return !now.Before(o.expires)
	}
	since := o.committed
	if g.recorded && g.since.After(since) {
		since = g.since
	}
	return now.Sub(since) >= m.cfg.OffsetsRetention
}
