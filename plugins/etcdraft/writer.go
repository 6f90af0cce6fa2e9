package etcdraft

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// writer is the append thread of all groups: it writes what their loops hand
// over, in order, syncs once for all that came together, and only then lets the
// answers go. Its queue is bounded by raft: a leader appends at most
// MaxUncommittedBytes, a follower gets at most MaxInflightBytes ahead of its
// answers.
type writer struct {
	log   *seglog.Log
	fatal *fataler
	wake  chan struct{} // 1-deep

	mu     sync.Mutex
	queue  []appendTask
	closed bool
}

// appendTask is one MsgStorageAppend, or something besides raft: the mark of the
// host's snapshot, the end of the group.
type appendTask struct {
	g        *group
	m        *raftpb.Message
	newTerm  bool              // m changes the term or the vote
	snapshot *receivedSnapshot // to install with m
	direct   *seglog.Write     // instead of m: something besides raft, with a sync
	done     func(error)       // of direct, or of nothing: then it tells that the writer got here
}

func newWriter(log *seglog.Log, fatal *fataler) *writer {
	return &writer{log: log, fatal: fatal, wake: make(chan struct{}, 1)}
}

// submit never blocks. After the writer has stopped, tasks are refused.
func (w *writer) submit(t appendTask) {
	w.mu.Lock()
	closed := w.closed
	if !closed {
		w.queue = append(w.queue, t)
	}
	w.mu.Unlock()
	if closed {
		if t.done != nil {
			t.done(consensus.ErrShuttingDown)
		}
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends; what was submitted before is written first.
func (w *writer) run(ctx context.Context) {
	for {
		w.mu.Lock()
		tasks := w.queue
		w.queue = nil
		w.closed = ctx.Err() != nil && len(tasks) == 0
		closed := w.closed
		w.mu.Unlock()
		if closed {
			return
		}
		if err := w.write(tasks); err != nil {
			w.fatal.fatal(exitCode(err), err)
			w.refuse(tasks, err)
			return
		}
		if len(tasks) > 0 {
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
		}
	}
}

// refuse ends the writer: nothing is durable any more. A process would be gone.
func (w *writer) refuse(tasks []appendTask, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, t := range append(tasks, w.queue...) {
		if t.done != nil {
			t.done(err)
		}
	}
	w.queue = nil
}

func exitCode(err error) int {
	if errors.Is(err, seglog.ErrInvalid) {
		return consensus.ExitBug
	}
	return consensus.ExitStorage
}

// write appends the tasks in order, with one sync at the end if any of them
// needs one, and delivers the answers.
func (w *writer) write(tasks []appendTask) error {
	var batch writeBatch
	for i := range tasks {
		t := &tasks[i]
		if t.m == nil {
			if err := w.flush(&batch, false); err != nil {
				return err
			}
			if err := w.writeDirect(t); err != nil {
				return err
			}
			continue
		}
		if t.snapshot != nil {
			if err := t.snapshot.install(); err != nil {
				return fmt.Errorf("%w: install snapshot: %w", consensus.ErrStorageFailed, err)
			}
		}
		if !batch.add(t) {
			if err := w.flush(&batch, false); err != nil {
				return err
			}
			batch.add(t)
		}
	}
	if err := w.flush(&batch, batch.sync); err != nil {
		return err
	}
	for i := range tasks {
		tasks[i].deliver()
	}
	return nil
}

func (w *writer) flush(b *writeBatch, sync bool) error {
	writes := b.writes
	b.writes = nil
	if len(writes) == 0 && !sync {
		return nil
	}
	return w.log.Append(sync, writes...)
}

// writeDirect writes what does not come from raft. A snapshot mark that was
// overtaken by a leader's does not fit: that is its caller's problem, not the log's.
func (w *writer) writeDirect(t *appendTask) error {
	if t.direct == nil {
		return nil
	}
	err := w.log.Append(true, *t.direct)
	if errors.Is(err, seglog.ErrInvalid) {
		t.done(err)
		t.done = nil
		return nil
	}
	return err
}

// do waits until everything submitted before is written, and write as well. It
// returns seglog.ErrInvalid for a write that does not fit.
func (w *writer) do(g *group, write *seglog.Write) error {
	done := make(chan error, 1)
	w.submit(appendTask{g: g, direct: write, done: func(err error) { done <- err }})
	return <-done
}

// deliver sends what waited for the sync: messages to peers, and to the group's
// own loop through its inbox.
func (t *appendTask) deliver() {
	if t.m == nil {
		if t.done != nil {
			t.done(nil)
		}
		return
	}
	done := written{snapshot: t.snapshot}
	if t.needsSync() {
		done.term = t.m.GetTerm()
	}
	for _, m := range t.m.GetResponses() {
		if m.GetTo() == t.g.self {
			done.responses = append(done.responses, m)
			continue
		}
		t.g.send(m)
	}
	t.g.inbox.put(func(i *inboxItems) { i.written = append(i.written, done) })
}

// needsSync tells whether the task's part of the batch must be durable before
// anything else happens. Raft asks for it with responses; a new term or vote is
// synced even without, because the term is reported to the host.
func (t *appendTask) needsSync() bool {
	return len(t.m.GetResponses()) > 0 || t.newTerm
}
