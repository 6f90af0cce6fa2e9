package api

import (
	"context"
	"sync"
)

// producerIDs hands out producer ids from a block that the controller gave to
// this broker. What is left of a block at a restart is never used.
type producerIDs struct {
	allocate func(context.Context) (first int64, count int32, err error)

	mu   sync.Mutex // of next and end; never held while a block is fetched
	next int64
	end  int64

	fetching chan struct{} // a one-place semaphore: one block at a time
}

func newProducerIDs(allocate func(context.Context) (int64, int32, error)) *producerIDs {
	return &producerIDs{allocate: allocate, fetching: make(chan struct{}, 1)}
}

// take returns a producer id that no other producer of the cluster has or had.
func (p *producerIDs) take(ctx context.Context) (int64, error) {
	for {
		if id, ok := p.fromBlock(); ok {
			return id, nil
		}
		if err := p.refill(ctx); err != nil {
			return 0, err
		}
	}
}

func (p *producerIDs) fromBlock() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		return 0, false
	}
	p.next++
	return p.next - 1, true
}

// refill fetches the next block, unless another caller has done so meanwhile.
func (p *producerIDs) refill(ctx context.Context) error {
	select {
	case p.fetching <- struct{}{}:
		defer func() { <-p.fetching }()
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	filled := p.next < p.end
	p.mu.Unlock()
	if filled {
		return nil
	}
	first, count, err := p.allocate(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.next, p.end = first, first+int64(count)
	p.mu.Unlock()
	return nil
}
