package controller

import (
	"context"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
)

const (
	// mailboxLength bounds the requests that wait at the door. When it is full
	// the connections that brought them wait.
	mailboxLength = 256
	// maxWaiting bounds the requests of the next round. When it is full, they
	// stay in the mailbox.
	maxWaiting = 1024
)

// term is one term of deciding. Its goroutine, in run, owns everything but the
// mailbox, over, live and pressure.
//
// A round decides everything that waits, on the committed image plus what the
// round has decided so far, and reconciles. Its records are proposed by one
// goroutine at a time; meanwhile requests gather for the next round.
type term struct {
	c          *Controller
	number     uint64
	readyIndex uint64

	mailbox chan *ask
	over    chan struct{} // closed when the term takes no more requests
	live    *liveness
	// pressure is noted by the proposer and read by those who ask.
	pressure pressure
	poke     chan struct{} // of one: a probe found something out

	sequence   uint64 // of the last proposal
	waiting    []*ask
	flying     *round           // nil if there is no proposal
	landed     chan flight      // what became of flying
	registered map[int32]uint64 // index of the registrations of this term
	reconciled *metadata.Image  // the image that the last round saw
	closed     bool             // over is
	failed     bool             // a proposal was refused
	turned     time.Time        // when the loop last turned
	helpers    sync.WaitGroup   // the proposer and the probes
}

func newTerm(c *Controller, lead consensus.Leadership, img *metadata.Image) *term {
	return &term{
		c:          c,
		number:     lead.Term,
		readyIndex: lead.ReadyIndex,
		mailbox:    make(chan *ask, mailboxLength),
		over:       make(chan struct{}),
		live:       newLiveness(c.cfg, time.Now()),
		poke:       make(chan struct{}, 1),
		sequence:   img.Gate.Sequence,
		landed:     make(chan flight, 1),
		registered: map[int32]uint64{},
	}
}

// run decides until the leadership or ctx ends. It returns when the last
// proposal is resolved, so that no other term decides on an image that may lack
// it.
func (t *term) run(ctx context.Context) {
	helpers, cancel := context.WithCancel(ctx)
	defer func() {
		t.close()
		cancel()
		t.helpers.Wait()
		if t.flying != nil {
			t.finishRound(<-t.landed)
		}
	}()
	t.c.active.Store(t)
	tick := time.NewTicker(t.c.cfg.tick())
	defer tick.Stop()
	for {
		t.noticeSleep(time.Now())
		newer := t.c.images.Changed()
		changed, leading := t.leading()
		if !leading || t.failed {
			t.close()
		}
		if t.flying == nil {
			if t.closed {
				return
			}
			t.startRound(helpers)
		}
		select {
		case a := <-t.inbox():
			t.take(a)
		case f := <-t.landed:
			t.finishRound(f)
		case <-tick.C:
			t.probeSilent(helpers)
		case <-t.poke:
		case <-newer:
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// noticeSleep grants every broker a fresh session if this process stood still:
// heartbeats may have been on their way all the time.
func (t *term) noticeSleep(now time.Time) {
	if gap := now.Sub(t.turned); gap > t.c.cfg.SessionTimeout/2 && !t.turned.IsZero() {
		t.c.log.Warn("controller stood still, sessions begin anew", "for", gap)
		t.live.restart(now)
	}
	t.turned = now
}

// tick is how often the silence of brokers is looked at.
func (c Config) tick() time.Duration { return c.HeartbeatInterval / 3 }

// leading tells whether this replica still leads in the term. The channel is nil
// once it does not: there is nothing more to learn.
func (t *term) leading() (changed <-chan struct{}, ok bool) {
	now, changed := t.c.client.LeaderFor(consensus.Metadata)
	if now.Role != consensus.LeaderReady || now.Term != t.number {
		return nil, false
	}
	return changed, true
}

// inbox is the mailbox, unless there is no room for more.
func (t *term) inbox() <-chan *ask {
	if t.closed || len(t.waiting) >= maxWaiting {
		return nil
	}
	return t.mailbox
}

func (t *term) take(a *ask) {
	if a.take() {
		t.waiting = append(t.waiting, a)
	}
}

// close ends the taking of requests. Those that no proposal holds are told to
// look elsewhere; those in the mailbox find out by themselves.
func (t *term) close() {
	if t.closed {
		return
	}
	t.closed = true
	t.c.active.CompareAndSwap(t, nil)
	close(t.over)
	for _, a := range t.waiting {
		a.reply(nil, 0, errNotController())
	}
	t.waiting = nil
}

// startRound decides what waits and what has to be reconciled, and sends the
// records off. A round without records is answered at once.
func (t *term) startRound(ctx context.Context) {
	img, now := t.c.images.Current(), time.Now()
	if len(t.waiting) == 0 && img == t.reconciled && !t.live.anyExpired(img, now) {
		return
	}
	r := newRound(t, img, now)
	t.waiting = r.decideAll(t.waiting)
	r.reconcile()
	t.reconciled = img
	payloads, err := r.payloads()
	if err != nil {
		t.c.log.Error("decisions dropped", "error", err)
		r.answerAll(err)
		return
	}
	if len(payloads) == 0 {
		r.answer(flight{}, img.Index)
		return
	}
	t.flying = r
	first := t.sequence + 1
	t.helpers.Go(func() { t.landed <- t.propose(ctx, first, payloads) })
}

// finishRound answers what the proposals decided.
func (t *term) finishRound(f flight) {
	r := t.flying
	t.flying = nil
	t.sequence += uint64(len(f.indexes))
	t.failed = t.failed || f.err != nil
	r.answer(f, t.c.images.Current().Index)
}
