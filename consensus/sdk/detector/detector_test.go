package detector

import (
	"context"
	"net"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // it may be closed already
	return l
}

func TestGone(t *testing.T) {
	alive, dead := listen(t), listen(t)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	dying := listen(t)
	go func() { // it takes one more connection before it is gone
		conn, err := dying.Accept()
		if err == nil {
			_ = conn.Close()
		}
		_ = dying.Close()
	}()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name      string
		ctx       context.Context
		addresses []string
		want      bool
	}{
		{"nobody listens", t.Context(), []string{dead.Addr().String()}, true},
		{"somebody listens", t.Context(), []string{alive.Addr().String()}, false},
		{"somebody listens at the other address", t.Context(), []string{dead.Addr().String(), alive.Addr().String()}, false},
		{"it is about to go", t.Context(), []string{dying.Addr().String()}, true},
		{"the asker ends", ended, []string{dead.Addr().String()}, false},
		{"no address", t.Context(), nil, false},
		{"an address that cannot be", t.Context(), []string{"127.0.0.1:none"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Gone(tt.ctx, tt.addresses...); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func TestTurn(t *testing.T) {
	voters := []uint64{5, 1, 3, 9}
	for self, want := range map[uint64]time.Duration{1: 25 * time.Millisecond, 5: 75 * time.Millisecond, 9: 125 * time.Millisecond} {
		if got := Turn(self, 3, voters, 50*time.Millisecond); got != want {
			t.Errorf("replica %d waits for %s, want %s", self, got, want)
		}
	}
}
