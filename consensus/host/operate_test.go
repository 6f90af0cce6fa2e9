package host

import (
	"errors"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// What a backend does not offer is refused by name, and costs nothing else.
func TestOperate(t *testing.T) {
	c := inProc(t)
	term := leader(t, c, 0).Term
	add := []consensus.Change{{Op: consensus.AddLearner, Member: consensus.Member{ReplicaID: 9}}}
	_, changeErr := c.ChangeMembers(t.Context(), consensus.Metadata, 1, add)
	_, metricsErr := c.Metrics(t.Context())
	for name, err := range map[string]error{
		"change members":  changeErr,
		"metrics":         metricsErr,
		"reload peer TLS": c.ReloadPeerTLS(t.Context(), consensus.PeerTLS{CA: []byte("x")}),
	} {
		if !errors.Is(err, consensus.ErrUnsupported) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := c.TransferLeadership(t.Context(), consensus.Metadata, consensus.NoLeader); !errors.Is(err, consensus.ErrInvalidArgument) {
		t.Errorf("transfer to nobody: got %v", err)
	}
	if err := c.TransferLeadership(t.Context(), 5, 8); !errors.Is(err, consensus.ErrGroupNotFound) {
		t.Errorf("transfer of an unknown group: got %v", err)
	}
	if err := c.TransferLeadership(t.Context(), consensus.Metadata, 8); err != nil {
		t.Errorf("transfer: got %v", err)
	}
	eventually(t, "another leader", func() bool {
		l, _ := c.LeaderFor(consensus.Metadata)
		return l.Leader == 8 && l.Term == term+1
	})
}

func TestLatency(t *testing.T) {
	l := newLatency()
	if p50, p99 := l.quantiles(); p50 != 0 || p99 != 0 {
		t.Errorf("nothing: got %s, %s", p50, p99)
	}
	for n := range 100 {
		l.record(ms(n + 1))
	}
	l.rotate()
	p50, p99 := l.quantiles()
	if p50 < ms(50) || p50 > ms(63) || p99 < ms(99) || p99 > ms(124) {
		t.Errorf("got %s, %s", p50, p99)
	}
	for _, d := range []int{0, 1 << 30} {
		l.record(ms(d)) // beyond the first and the last bucket
	}
	l.rotate()
	l.rotate()
	if p50, _ := l.quantiles(); p50 != 0 {
		t.Errorf("what is old counts: got %s", p50)
	}
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }
