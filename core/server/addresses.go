package server

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of what is known of addresses.
const (
	maxAddresses = 10_000           // that are remembered; beyond it an arbitrary one is forgotten
	forgiveness  = 10 * time.Second // after which a violation counts half
	penaltyFirst = 50 * time.Millisecond
	penaltyMost  = 2 * time.Second
)

// addresses remembers of each client's address how many connections it made lately, and
// how often it broke the protocol.
type addresses struct {
	rate float64 // connections a second that one address may make; 0: no limit

	mu    sync.Mutex
	known map[netip.Addr]*address
}

// address is one of them.
type address struct {
	made       bucket
	violations float64 // as of counted
	counted    time.Time
}

func newAddresses(rate int) *addresses {
	return &addresses{rate: float64(rate), known: make(map[netip.Addr]*address)}
}

// connect counts a connection; ok is false if the address makes too many.
func (a *addresses) connect(ip netip.Addr, now time.Time) (ok bool) {
	if a.rate == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of(ip, now).made.take(a.rate, now) == 0
}

// penalty is how long the next connection of an address waits before it is served: it
// doubles with each violation, and halves with time.
func (a *addresses) penalty(ip netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.known[ip]
	if k == nil {
		return 0
	}
	v := k.fade(now)
	if v < 1 {
		return 0
	}
	wait := penaltyFirst
	for n := v; n >= 2 && wait < penaltyMost; n-- {
		wait *= 2
	}
	return min(wait, penaltyMost)
}

// violated counts a connection that was closed because its peer broke the protocol.
func (a *addresses) violated(ip netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.of(ip, now)
	k.violations = min(k.fade(now)+1, 16)
}

// fade lets time forgive, and returns what is left.
func (k *address) fade(now time.Time) float64 {
	for now.Sub(k.counted) >= forgiveness && k.violations > 0 {
		k.violations /= 2
		k.counted = k.counted.Add(forgiveness)
		if k.violations < 0.5 {
			k.violations = 0
		}
	}
	if k.violations == 0 {
		k.counted = now
	}
	return k.violations
}

// of returns what is known of an address, from now on.
func (a *addresses) of(ip netip.Addr, now time.Time) *address {
	if k := a.known[ip]; k != nil {
		return k
	}
	if len(a.known) >= maxAddresses {
		for other := range a.known {
			delete(a.known, other)
			break
		}
	}
	k := &address{counted: now}
	a.known[ip] = k
	return k
}

// bucket allows so many events a second, and as many at once after a quiet second.
type bucket struct {
	left float64
	at   time.Time // when left was counted; zero: never
}

// until is how long it is until there is one to take.
func (b *bucket) until(rate float64, now time.Time) time.Duration {
	if b.at.IsZero() {
		b.left = rate
	} else {
		b.left = min(rate, b.left+rate*max(0, now.Sub(b.at).Seconds()))
	}
	b.at = now
	if b.left >= 1 {
		return 0
	}
	return time.Duration((1-b.left)/rate*float64(time.Second)) + time.Nanosecond
}

// take takes one, or returns how long it is until there is one.
func (b *bucket) take(rate float64, now time.Time) time.Duration {
	wait := b.until(rate, now)
	if wait == 0 {
		b.left--
	}
	return wait
}
