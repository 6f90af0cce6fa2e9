package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// MinEndToEndBytes is the smallest value that an end-to-end workload can send: it
// says which record it is.
const MinEndToEndBytes = stampBytes

// set is a set of record numbers.
type set []uint64

// add says whether i is new.
func (s *set) add(i int64) bool {
	word, bit := int(i/64), uint64(1)<<(i%64)
	for len(*s) <= word {
		*s = append(*s, make([]uint64, max(1024, len(*s)))...)
	}
	old := (*s)[word]
	(*s)[word] |= bit
	return old&bit == 0
}

func (s set) has(i int64) bool { return int(i/64) < len(s) && s[i/64]&(1<<(i%64)) != 0 }

// arrivals are the records of a run that came back.
type arrivals struct {
	stamp  uint64
	plan   schedule
	from   time.Time
	failed failures

	mu           sync.Mutex // of all below
	latency      *hdr.Histogram
	acked, seen  set
	wanted       int64 // acknowledged and not seen
	count, twice int64
	changed      chan struct{} // has a value after a change; cap 1
}

// EndToEnd produces at a rate, which must be set, reads the records again, and
// measures how long both took together.
func EndToEnd(ctx context.Context, c ProduceConfig) (*EndToEndResult, error) {
	p, err := newProducer(ctx, c)
	if err != nil {
		return nil, err
	}
	defer p.close()
	a := &arrivals{stamp: rand.Uint64() | 1, latency: newHistogram(), changed: make(chan struct{}, 1)} //nolint:gosec // not a secret
	p.stamp, p.observe = a.stamp, a.acknowledged
	asking, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	spans, err := spansOf(asking, p.clients[0], c.Topic.Name, true)
	if err != nil {
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	for partition, s := range spans {
		from[partition] = kgo.NewOffset().At(s.from)
	}
	reader, err := c.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic.Name: from}))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	workers, err := p.workers()
	if err != nil {
		return nil, err
	}
	p.begin()
	a.plan, a.from = p.plan, p.from
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		for reading.Err() == nil {
			a.note(reader.PollFetches(reading))
		}
	})
	r, err := p.carry(ctx, workers)
	missing := int64(0)
	if err == nil {
		missing = a.await(ctx, c.Timeout)
	}
	stop()
	wg.Wait()
	if err != nil {
		return nil, err
	}
	return a.result(r, missing)
}

// acknowledged notes records that are to come back.
func (a *arrivals) acknowledged(indexes []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, i := range indexes {
		if a.acked.add(i) && !a.seen.has(i) {
			a.wanted++
		}
	}
}

// note notes records that came back.
func (a *arrivals) note(fetches kgo.Fetches) {
	now := time.Now()
	fetches.EachError(func(_ string, _ int32, err error) {
		if !errors.Is(err, context.Canceled) {
			a.failed.add(err, 1)
		}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		i, ok := stampOf(a.stamp, r.Value)
		switch {
		case !ok:
			return // somebody else's
		case !a.seen.add(i):
			a.twice++
			return
		case a.acked.has(i):
			a.wanted--
		}
		if due := a.plan.due(i); !due.Before(a.from) {
			a.count++
			note(a.latency, now.Sub(due), 1)
		}
	})
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// await waits until everything that was acknowledged has come back, and returns how
// many records have not when patience or ctx ends.
func (a *arrivals) await(ctx context.Context, patience time.Duration) int64 {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for {
		a.mu.Lock()
		wanted := a.wanted
		a.mu.Unlock()
		if wanted == 0 {
			return 0
		}
		select {
		case <-a.changed:
		case <-ctx.Done():
			return wanted
		}
	}
}

func (a *arrivals) result(r *ProduceResult, missing int64) (*EndToEndResult, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, err := latencyOf(a.latency)
	if err != nil {
		return nil, fmt.Errorf("end to end: %w", err)
	}
	return &EndToEndResult{
		ProduceResult: *r, EndToEndMillis: l, Received: a.count, Twice: a.twice, Missing: missing, FetchErrors: a.failed.count(),
	}, nil
}
