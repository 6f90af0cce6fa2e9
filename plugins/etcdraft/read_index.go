package etcdraft

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/quorate/quorate/consensus"
)

const maxWaitingReads = 4096

type readRequest struct {
	expires time.Time
	done    chan readResult // 1-deep
}

type readResult struct {
	index, term uint64
	err         error
}

// reads batches the ReadIndex calls: those that wait become one round with the
// leader, and who comes later waits for the next. Only the loop uses it.
type reads struct {
	waiting []*readRequest
	round   []*readRequest
	id      uint64 // of the newest round
	term    uint64 // in which the round was started
	started time.Time
}

// ReadIndex implements consensus.Group.
func (g *group) ReadIndex(ctx context.Context) (index, term uint64, err error) {
	limit := 4 * g.timing.election
	r := &readRequest{expires: time.Now().Add(limit), done: make(chan readResult, 1)}
	g.inbox.put(func(i *inboxItems) {
		if len(i.reads) >= maxWaitingReads {
			r.done <- readResult{err: consensus.ErrOverloaded}
			return
		}
		i.reads = append(i.reads, r)
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case result := <-r.done:
		return result.index, result.term, result.err
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-timer.C:
		return 0, 0, fmt.Errorf("read index: %w: no leader confirmed it within %s", consensus.ErrTimeout, limit)
	case <-g.ctx.Done():
		return 0, 0, consensus.ErrShuttingDown
	}
}

// stepReads starts a round if there is something to ask and somebody who can
// answer, and asks again where an answer is overdue: requests get lost.
func (g *group) stepReads(now time.Time) {
	r := &g.reads
	status := g.node.BasicStatus()
	if len(r.round) > 0 && (r.term != status.GetTerm() || now.Sub(r.started) > g.timing.election) {
		r.waiting = append(r.round, r.waiting...)
		r.round = nil
	}
	r.expire(now)
	if len(r.round) > 0 || len(r.waiting) == 0 || !g.canRead(status) {
		return
	}
	r.id++
	r.round, r.waiting = r.waiting, nil
	r.term, r.started = status.GetTerm(), now
	g.node.ReadIndex(binary.LittleEndian.AppendUint64(nil, r.id))
}

// canRead tells whether raft would answer. A leader that has not committed an
// entry of its term does not know what is committed.
func (g *group) canRead(status raft.BasicStatus) bool {
	if status.RaftState == raft.StateLeader {
		return g.readyAt(status) != 0
	}
	return status.RaftState == raft.StateFollower && status.Lead != raft.None && g.passiveRole() != consensus.Removed
}

// expire forgets the requests whose callers have given up.
func (r *reads) expire(now time.Time) {
	kept := r.waiting[:0]
	for _, w := range r.waiting {
		if now.Before(w.expires) {
			kept = append(kept, w)
		}
	}
	clear(r.waiting[len(kept):])
	r.waiting = kept
	if extra := len(r.waiting) - maxWaitingReads; extra > 0 {
		for _, w := range r.waiting[maxWaitingReads:] {
			w.done <- readResult{err: consensus.ErrOverloaded}
		}
		r.waiting = r.waiting[:maxWaitingReads]
	}
}

// finish answers the round that states belong to; an older one's are void.
func (r *reads) finish(states []raft.ReadState) {
	for _, s := range states {
		if len(s.RequestCtx) != 8 || binary.LittleEndian.Uint64(s.RequestCtx) != r.id {
			continue
		}
		for _, w := range r.round {
			w.done <- readResult{index: s.Index, term: r.term}
		}
		r.round = nil
	}
}

func (r *reads) abandon(err error) {
	for _, w := range append(r.round, r.waiting...) {
		w.done <- readResult{err: err}
	}
	r.round, r.waiting = nil, nil
}
