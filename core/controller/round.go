package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// round is the deciding between two proposals. Decisions see the committed image
// and what the round has decided before them, through delta.
type round struct {
	t     *term
	cfg   Config
	delta *metadata.Delta
	now   time.Time
	// random chooses where placement begins; the choice is in the records.
	random *rand.Rand

	steps   [][]metadata.Record // each is committed whole or not at all
	sizes   []int               // of steps, encoded
	bytes   int
	replies []reply
	broken  error
}

// reply is an answer that is given when the steps [from, to) are committed. Once
// the steps are packed, from and to count proposals.
type reply struct {
	ask      *ask
	resp     kmsg.Response
	err      error
	from, to int
	// visible is called with the index, before the answer is given. May be nil.
	visible func(index uint64)
}

func newRound(t *term, img *metadata.Image, now time.Time) *round {
	return &round{t: t, cfg: t.c.cfg, delta: metadata.NewDelta(img), now: now, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// decideAll decides asks in order until the round is full, and returns the rest.
func (r *round) decideAll(asks []*ask) (rest []*ask) {
	for n, a := range asks {
		if r.bytes >= maxProposalBytes {
			return asks[n:]
		}
		from := len(r.steps)
		d := r.decide(a.req)
		r.replies = append(r.replies, reply{ask: a, resp: d.resp, err: d.err, from: from, to: len(r.steps), visible: d.visible})
	}
	return nil
}

// commit adds records that belong together, so that later decisions see them.
// The error, a *protocol.Error, says that they are too many; nothing is changed
// then.
func (r *round) commit(records ...metadata.Record) error {
	size := 0
	for _, rec := range records {
		size += metadata.EncodedSize(rec)
	}
	if size > maxProposalBytes {
		return protocol.Errorf(protocol.PolicyViolation, "this needs %d bytes of metadata at once, the limit is %d: ask for less at a time", size, maxProposalBytes)
	}
	if len(records) == 0 {
		return nil
	}
	if err := r.delta.ReplayAll(records); err != nil {
		r.broken = errors.Join(r.broken, err)
		return fmt.Errorf("a decision does not replay: %w", err)
	}
	r.steps, r.sizes, r.bytes = append(r.steps, records), append(r.sizes, size), r.bytes+size
	return nil
}

// payloads packs the steps into proposals.
func (r *round) payloads() ([][]byte, error) {
	if r.broken != nil {
		return nil, r.broken
	}
	var (
		payloads [][]byte
		records  []metadata.Record
		bytes    int
		at       = make([]int, len(r.steps)+1) // proposals finished before the step
	)
	flush := func() error {
		if len(records) == 0 {
			return nil
		}
		payload, err := metadata.EncodeRecords(records)
		payloads, records, bytes = append(payloads, payload), nil, 0
		return err
	}
	for n, step := range r.steps {
		if bytes+r.sizes[n] > maxProposalBytes {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		at[n] = len(payloads)
		records, bytes = append(records, step...), bytes+r.sizes[n]
	}
	if err := flush(); err != nil {
		return nil, err
	}
	for n := range r.replies {
		r.replies[n].count(at)
	}
	return payloads, nil
}

// count turns the reply's steps into proposals. A reply without steps needs those
// before it all the same: they may be what it was decided on.
func (p *reply) count(at []int) {
	switch {
	case p.from < p.to:
		p.from, p.to = at[p.from], at[p.to-1]+1
	case p.from > 0:
		p.to = at[p.from-1] + 1
		p.from = p.to
	}
}

// answer gives every reply, given what became of the proposals. index is where a
// reply that needs none of them stands.
func (r *round) answer(f flight, index uint64) {
	for _, p := range r.replies {
		switch {
		case p.to == 0:
			p.give(index, f.held)
		case p.to <= len(f.indexes):
			p.give(f.indexes[p.to-1], f.held)
		case p.from == p.to, errors.Is(f.err, errLost) && p.from >= len(f.indexes):
			p.ask.reply(nil, 0, errNotController())
		default:
			p.ask.reply(nil, 0, protocol.Errorf(protocol.RequestTimedOut, "the controller lost its leadership in the middle of it; it may or may not have happened"))
		}
	}
}

func (p reply) give(index uint64, held time.Duration) {
	if p.visible != nil && p.err == nil {
		p.visible(index)
	}
	p.ask.answer <- answer{resp: p.resp, index: index, err: p.err, held: held}
}

// answerAll gives every reply the same error.
func (r *round) answerAll(err error) {
	for _, p := range r.replies {
		p.ask.reply(nil, 0, err)
	}
}
