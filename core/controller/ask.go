package controller

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ask is one request on its way through a term.
type ask struct {
	req    kmsg.Request
	state  atomic.Int32
	answer chan answer // of one
}

// The states of an ask. It leaves waiting once: taken by the term, which then
// answers it for certain, or given up by the one who asked.
const (
	askWaiting int32 = iota
	askTaken
	askGivenUp
)

type answer struct {
	resp  kmsg.Response
	index uint64
	err   error
}

func (a *ask) take() bool   { return a.state.CompareAndSwap(askWaiting, askTaken) }
func (a *ask) giveUp() bool { return a.state.CompareAndSwap(askWaiting, askGivenUp) }

// reply answers. The one who asked may be gone: the channel has room for it.
func (a *ask) reply(resp kmsg.Response, index uint64, err error) {
	a.answer <- answer{resp, index, err}
}

// submit hands a request to the term's goroutine and waits for the answer. A full
// mailbox makes it wait, for as long as ctx allows.
func (t *term) submit(ctx context.Context, req kmsg.Request) (kmsg.Response, uint64, error) {
	a := &ask{req: req, answer: make(chan answer, 1)}
	select {
	case t.mailbox <- a:
	case <-t.over:
		return nil, 0, errNotController()
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("the controller did not get to it: %w", ctx.Err())
	}
	over := t.over
	for {
		select {
		case got := <-a.answer:
			return got.resp, got.index, got.err
		case <-over:
			if a.giveUp() {
				return nil, 0, errNotController()
			}
			over = nil // taken: the answer will come
		case <-ctx.Done():
			if a.giveUp() {
				return nil, 0, fmt.Errorf("the controller did not get to it: %w", ctx.Err())
			}
			return nil, 0, fmt.Errorf("await the controller's decision: %w", ctx.Err())
		}
	}
}
