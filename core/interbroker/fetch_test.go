package interbroker

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFetchReadsIntoTheBuffer(t *testing.T) {
	peer := newPeer(t, func(n int) bool { return n < 4 })
	p := newPool(t, Config{}, func() string { return peer.listener.Addr().String() })
	var buffer []byte
	for n := range 4 {
		resp, memory, err := p.Fetch(t.Context(), 2, LaneFetch, kmsg.NewPtrFetchRequest(), buffer)
		if err != nil {
			t.Fatal(err)
		}
		records := resp.Topics[0].Partitions[0].RecordBatches
		if want := bytes.Repeat([]byte{byte(n)}, fetchedBytes-n); !bytes.Equal(records, want) {
			t.Fatalf("answer %d is not what was sent", n)
		}
		if n > 0 && &memory[0] != &buffer[0] {
			t.Errorf("answer %d, of %d bytes, is not in the buffer of %d", n, len(records), cap(buffer))
		}
		buffer = memory
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, memory, err := p.Fetch(ctx, 2, LaneFetch, kmsg.NewPtrFetchRequest(), buffer); err == nil || memory != nil {
		t.Errorf("a fetch without an answer gave %d bytes back, which one that comes late would overwrite; error %v", len(memory), err)
	}
}

func BenchmarkFetch(b *testing.B) {
	peer := newPeer(b, always)
	p := New(Config{}, func(int32) []string { return []string{peer.listener.Addr().String()} }, slog.New(slog.DiscardHandler))
	defer p.Close()
	for _, reuse := range []bool{false, true} {
		b.Run(map[bool]string{false: "fresh memory", true: "buffer"}[reuse], func(b *testing.B) {
			b.SetBytes(fetchedBytes)
			b.ReportAllocs()
			var buffer []byte
			for b.Loop() {
				_, memory, err := p.Fetch(b.Context(), 2, LaneFetch, kmsg.NewPtrFetchRequest(), buffer)
				if err != nil {
					b.Fatal(err)
				}
				if reuse {
					buffer = memory
				}
			}
		})
	}
}
