package etcdraft

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

// inbox is all that a group's loop has to look at. Putting into it never
// blocks, so that neither the writer nor a peer's sender can wait for the loop
// while the loop waits for them. What is in it is bounded by who puts it there:
// messages by the receivers' budgets, proposals by the backend's limits, the
// writer's answers by raft's flow control.
type inbox struct {
	wake chan struct{} // 1-deep

	mu    sync.Mutex
	items inboxItems
}

type inboxItems struct {
	written     []written
	messages    []receivedMessage
	snapshots   []*receivedSnapshot
	proposals   []proposal
	reads       []*readRequest
	unreachable map[uint64]struct{}
	calls       []func() // anything rare, run by the loop
}

// receivedMessage is a message from a peer; done gives its budget back.
type receivedMessage struct {
	m    *raftpb.Message
	done func()
}

// written tells the loop what the writer has made durable.
type written struct {
	responses []*raftpb.Message // for this replica itself
	term      uint64            // durable by now, 0 = not changed
	snapshot  *receivedSnapshot // installed
}

type proposal struct {
	term uint64
	data []byte // with the mark in front
	done func(consensus.Result)
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(f func(*inboxItems)) {
	b.mu.Lock()
	f(&b.items)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the inbox.
func (b *inbox) take() inboxItems {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = inboxItems{}
	return items
}

func (b *inbox) call(f func()) { b.put(func(i *inboxItems) { i.calls = append(i.calls, f) }) }

// reportUnreachable notes that messages to peer were lost. The loop tells raft:
// RawNode is not safe for anybody else.
func (b *inbox) reportUnreachable(peer uint64) {
	b.put(func(i *inboxItems) {
		if i.unreachable == nil {
			i.unreachable = make(map[uint64]struct{})
		}
		i.unreachable[peer] = struct{}{}
	})
}
