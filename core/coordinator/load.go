package coordinator

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/quorate/quorate/protocol/record"
)

// loaded is the loader's message that it is done.
type loaded[M Machine] struct {
	term    *term[M]
	end     int64
	records int
	took    time.Duration
	err     error
}

// load replays the log into the term's machine and waits until all of it is
// committed. It is the only one who touches the machine meanwhile.
func (s *Shard[M]) load(ctx context.Context, t *term[M]) {
	began := time.Now()
	start, end := t.partition.Bounds()
	records, err := s.replayLog(ctx, t, start, end)
	if err == nil {
		err = s.awaitLoaded(ctx, t, end)
	}
	select {
	case s.loaded <- loaded[M]{term: t, end: end, records: records, took: time.Since(began), err: err}:
	case <-ctx.Done():
	}
}

// replayLog replays everything from start to end. Nobody appends meanwhile: the
// epoch is this shard's, and it does not serve yet.
func (s *Shard[M]) replayLog(ctx context.Context, t *term[M], start, end int64) (records int, err error) {
	for at := start; at < end; {
		if err := ctx.Err(); err != nil {
			return records, err
		}
		b, err := t.partition.ReadLocal(at, s.cfg.LoadBytes)
		if err != nil {
			return records, fmt.Errorf("read at offset %d: %w", at, err)
		}
		next, n, err := replay(t.machine, b, at)
		records += n
		if err != nil {
			return records, err
		}
		if next <= at {
			return records, fmt.Errorf("read at offset %d of %d: %w", at, end, io.ErrUnexpectedEOF)
		}
		at = next
	}
	return records, nil
}

// decompressLimits bound what a batch of an internal topic may hold. The shards
// write no compressed ones; other tools might.
var decompressLimits = record.DefaultDecompressLimits()

// replay replays the records of b from offset from on, and returns the offset
// after the last batch.
func replay(m Machine, b []byte, from int64) (next int64, records int, err error) {
	next = from
	for batch, err := range record.Split(b) {
		if err != nil {
			return next, records, fmt.Errorf("batch at offset %d: %w", next, err)
		}
		n, err := replayBatch(m, batch, from)
		records += n
		if err != nil {
			return next, records, err
		}
		next = batch.LastOffset() + 1
	}
	return next, records, nil
}

func replayBatch(m Machine, batch record.Batch, from int64) (records int, err error) {
	if batch.IsControl() {
		return 0, nil
	}
	for r, err := range batch.Records(decompressLimits) {
		if err != nil {
			return records, err
		}
		if r.Offset < from {
			continue
		}
		if err := m.Replay(r.Key, r.Value); err != nil {
			return records, fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
		records++
	}
	return records, nil
}

// awaitLoaded waits until everything that was loaded is committed, however long
// the replicas take.
func (s *Shard[M]) awaitLoaded(ctx context.Context, t *term[M], end int64) error {
	for {
		err := t.partition.AwaitCommitted(ctx, t.epoch, end)
		if err == nil || !isSlow(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(s.cfg.LoadBackoff):
		case <-ctx.Done():
		}
	}
}

// start begins to serve.
func (s *Shard[M]) start(l loaded[M]) {
	t := s.term
	if t != l.term {
		return
	}
	if l.err != nil {
		s.fail("loading failed", l.err, ErrLoading)
		return
	}
	t.serving = true
	t.allEnd, t.settled = l.end, l.end
	s.log.Info("the coordinator has loaded its partition", "leader_epoch", t.epoch, "records", l.records, "took", l.took)
	s.turn("", t.machine.Start)
	s.flush()
}
