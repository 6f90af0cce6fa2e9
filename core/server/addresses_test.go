package server

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestPenaltyGrowsAndFades(t *testing.T) {
	a := newAddresses(0)
	bad, good := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1000, 0)
	want := []int64{0, 50, 100, 200, 400, 800, 1600, 2000, 2000}
	for i, w := range want {
		if got := a.penalty(bad, now); got.Milliseconds() != w {
			t.Errorf("after %d violations: %v, want %d ms", i, got, w)
		}
		a.violated(bad, now)
	}
	if got := a.penalty(good, now); got != 0 {
		t.Errorf("an address that did nothing waits %v", got)
	}
	for range 100 {
		a.violated(bad, now)
	}
	if got := a.penalty(bad, now.Add(2*forgiveness)); got != 400*time.Millisecond { // 16, 8, 4
		t.Errorf("after a while: %v", got)
	}
	if got := a.penalty(bad, now.Add(time.Hour)); got != 0 {
		t.Errorf("after an hour: %v", got)
	}
}

func TestAddressesAreBounded(t *testing.T) {
	a := newAddresses(1)
	now := time.Unix(1000, 0)
	for i := range uint32(3 * maxAddresses) {
		ip := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i)))
		a.violated(ip, now)
		a.connect(ip, now)
	}
	if n := len(a.known); n > maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestConnectionRateOfAnAddress(t *testing.T) {
	a := newAddresses(5)
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1000, 0)
	made := func(ip netip.Addr, tries int) (n int) {
		for range tries {
			if a.connect(ip, now) {
				n++
			}
		}
		return n
	}
	if n := made(one, 20); n != 5 {
		t.Errorf("%d at once, want 5", n)
	}
	if n := made(other, 20); n != 5 {
		t.Errorf("%d of another address, want 5", n)
	}
	now = now.Add(400 * time.Millisecond)
	if n := made(one, 20); n != 2 {
		t.Errorf("%d after 0.4 s, want 2", n)
	}
}

func TestConnectionRateOfAll(t *testing.T) {
	var b bucket
	now := time.Unix(1000, 0)
	for range 10 {
		if wait := b.take(10, now); wait != 0 {
			t.Fatalf("waits %v within the limit", wait)
		}
	}
	wait := b.take(10, now)
	if wait <= 0 || wait > 101*time.Millisecond {
		t.Errorf("waits %v, want a tenth of a second", wait)
	}
	if again := b.take(10, now.Add(wait)); again != 0 {
		t.Errorf("waits %v although it waited", again)
	}
}

// An address that makes too many connections is refused; brokers are not.
func TestConnectionRateIsRefused(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.MaxConnectionRatePerIP = 1 })
	refused := h.metrics.refused.WithLabelValues("clients", "max_connection_creation_rate_per_ip")
	eventually(t, "a connection refused", func() bool {
		h.dial(t, "clients")
		return testutil.ToFloat64(refused) > 0
	})
	for id := range int32(20) {
		c := h.dial(t, "cluster")
		c.send(request(id, &kmsg.AlterPartitionRequest{}, 3))
		if got, _ := c.answer(); got != id {
			t.Errorf("a broker got answer %d, want %d", got, id)
		}
	}
}

// Who breaks the protocol waits with the next connection, and is served then.
func TestViolationsArePenalised(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	for range 3 {
		c := h.dial(t, "clients")
		c.send([]byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 9}) // a length that no request may have
		c.wantClosed()
	}
	eventually(t, "penalised", func() bool {
		return h.addresses.penalty(netip.MustParseAddr("127.0.0.1"), time.Now()) >= 2*penaltyFirst
	})
	c := h.dial(t, "clients")
	c.send(request(1, &kmsg.MetadataRequest{}, 9))
	if id, _ := c.answer(); id != 1 {
		t.Errorf("got answer %d", id)
	}
}
