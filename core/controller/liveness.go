package controller

import (
	"context"
	"sync"
	"time"

	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/core/metadata"
)

// liveness is when the controller last heard from each broker. It is memory of
// one term: a new controller grants every broker a fresh session, and probes
// all of them at once.
type liveness struct {
	cfg Config

	mu       sync.Mutex
	start    time.Time
	contacts map[int32]contact
}

// contact is what is known of one broker's process.
type contact struct {
	heard   time.Time // last heartbeat or registration; the term's start at first
	probed  time.Time // when the last probe began; zero: never
	probing bool
	refused bool // nobody listened there, and nothing was heard since
}

func newLiveness(cfg Config, start time.Time) *liveness {
	return &liveness{cfg: cfg, start: start, contacts: map[int32]contact{}}
}

// restart forgets everything: as if the term began now.
func (l *liveness) restart(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start = now
	for id, c := range l.contacts {
		l.contacts[id] = contact{heard: now, probing: c.probing}
	}
}

func (l *liveness) contactLocked(id int32) contact {
	c, ok := l.contacts[id]
	if !ok {
		c.heard = l.start
	}
	return c
}

// hear notes that a broker is alive.
func (l *liveness) hear(id int32, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.contactLocked(id)
	c.heard, c.refused = now, false
	l.contacts[id] = c
}

// silence is how long nothing was heard of a broker.
func (l *liveness) silence(id int32, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.contactLocked(id).heard)
}

// heard tells whether anything was heard of a broker in this term.
func (l *liveness) heard(id int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.contactLocked(id).heard.Equal(l.start)
}

// expired tells whether a broker counts as dead.
func (l *liveness) expired(id int32, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.contactLocked(id)
	return c.refused || now.Sub(c.heard) >= l.cfg.SessionTimeout
}

// anyExpired tells whether a broker has to be fenced.
func (l *liveness) anyExpired(img *metadata.Image, now time.Time) bool {
	for b := range img.Brokers() {
		if !b.Fenced && l.expired(b.ID, now) {
			return true
		}
	}
	return false
}

// beginProbe tells whether a broker has to be probed now, and that it is being
// probed. A broker that nothing was heard of in this term is due at once.
func (l *liveness) beginProbe(id int32, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.contactLocked(id)
	silent := now.Sub(c.heard) >= l.cfg.ProbeAfter || c.heard.Equal(l.start)
	if c.probing || c.refused || !silent || !c.probed.IsZero() && now.Sub(c.probed) < l.cfg.ProbeAfter {
		return false
	}
	c.probed, c.probing = now, true
	l.contacts[id] = c
	return true
}

// endProbe notes what a probe found. A heartbeat that came meanwhile counts more.
func (l *liveness) endProbe(id int32, result interbroker.ProbeResult) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.contactLocked(id)
	c.probing = false
	c.refused = result == interbroker.Refused && !c.probed.IsZero() && !c.heard.After(c.probed)
	l.contacts[id] = c
}

// probeSilent dials the cluster listener of every broker that is silent. There is
// one probe per broker at a time, and it takes a session at most.
func (t *term) probeSilent(ctx context.Context) {
	if t.c.prober == nil {
		return
	}
	now := time.Now()
	for b := range t.c.images.Current().Brokers() {
		id := b.ID
		if b.Fenced || id == t.c.cfg.BrokerID || !t.live.beginProbe(id, now) {
			continue
		}
		t.helpers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, t.c.cfg.SessionTimeout)
			defer cancel()
			t.live.endProbe(id, t.c.prober.Probe(ctx, id))
			select {
			case t.poke <- struct{}{}:
			default: // somebody else has poked already
			}
		})
	}
}
