package etcdraft

import (
	"context"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sync/semaphore"
)

// weighted is a semaphore of bytes.
type weighted = semaphore.Weighted

// receiveBudget is how many bytes of messages of one peer may wait for the loop.
// A full one holds back that peer's connection.
const (
	receiveBudget   = 64 << 20
	messageOverhead = 1 << 10
)

// receive takes a message from a peer's connection and waits while too much of
// that peer is waiting already.
func (g *group) receive(ctx context.Context, from uint64, m *raftpb.Message, size int) error {
	g.mu.Lock()
	budget := g.budgets[from]
	if budget == nil && len(g.budgets) < 4*maxMembers {
		budget = semaphore.NewWeighted(receiveBudget)
		g.budgets[from] = budget
	}
	g.mu.Unlock()
	if budget == nil {
		return fmt.Errorf("messages from too many replicas, last %d", from)
	}
	weight := min(int64(size)+messageOverhead, receiveBudget)
	if err := budget.Acquire(ctx, weight); err != nil {
		return err
	}
	done := func() { budget.Release(weight) }
	select {
	case <-g.ctx.Done():
		done()
		return nil
	default:
	}
	g.inbox.put(func(i *inboxItems) { i.messages = append(i.messages, receivedMessage{m, done}) })
	return nil
}

// forgetBudgets drops those of replicas that are no members. The caller holds mu.
func (g *group) forgetBudgets(c config) {
	for id := range g.budgets {
		if !c.has(id) {
			delete(g.budgets, id)
		}
	}
}
