package server

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzConn throws bytes at a connection. It must end, without a panic, and give back
// the memory that it took.
func FuzzConn(f *testing.F) {
	f.Add(request(1, &kmsg.MetadataRequest{}, 9))
	f.Add(append(request(1, &kmsg.ApiVersionsRequest{}, 3), request(2, &kmsg.ProduceRequest{}, 9)...))
	f.Add([]byte{0, 0, 0, 8, 0, 18, 0, 99, 0, 0, 0, 1})
	cfg := DefaultConfig()
	cfg.DrainTimeout = time.Second
	s, err := New(cfg, newFakeHandler(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		f.Fatal(err)
	}
	// Each connection comes from an address of its own: one that broke the protocol
	// before has to wait, up to two seconds.
	var host atomic.Uint64
	f.Fuzz(func(t *testing.T, in []byte) {
		var address [16]byte
		binary.BigEndian.PutUint64(address[:], 0x2001<<48)
		binary.BigEndian.PutUint64(address[8:], host.Add(1))
		ours, theirs := net.Pipe()
		go func() { // reads what comes until the end
			for buffer := make([]byte, 4096); ; {
				if _, err := theirs.Read(buffer); err != nil {
					return
				}
			}
		}()
		go func() {
			_, _ = theirs.Write(in) // the server may have hung up
			closeSocket(theirs)
		}()
		c := newConn(&listener{server: s, cfg: ListenerConfig{Name: "clients"}}, ours, netip.AddrPortFrom(netip.AddrFrom16(address), 1))
		c.serve(context.Background())
		wantAllMemory(t, s.memory[Client])
	})
}
