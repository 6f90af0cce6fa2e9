package host

import "github.com/quorate/quorate/consensus"

// Enqueue is Propose without the waiting: it queues p behind what was queued
// before and returns where its one result will come. It is for callers that keep
// several proposals in flight, and order them by calling from one goroutine at a
// time.
func (c *client) Enqueue(p consensus.Proposal) <-chan consensus.Result {
	s, err := c.current()
	if err != nil {
		return decided(err)
	}
	e, err := s.proposer.enqueue(p)
	if err != nil {
		return decided(err)
	}
	return e.result
}

func decided(err error) <-chan consensus.Result {
	result := make(chan consensus.Result, 1)
	result <- consensus.Result{Outcome: consensus.Rejected, Err: err}
	return result
}
