package server

import (
	"crypto/tls"
	"log/slog"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/interbroker"
)

// Brokers talk to each other over mutual TLS, many requests at a time; a client
// without a certificate of the cluster gets nowhere.
func TestClusterListenerWithPool(t *testing.T) {
	t.Parallel()
	certificate, pool := testCertificate(t)
	h := start(t, func(c *Config) {
		c.Listeners[1].TLS = &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13,
			ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		}
	})
	addr := h.Addr("cluster").String()
	connect := func(cfg *tls.Config) *interbroker.Pool {
		p := interbroker.New(interbroker.Config{TLS: cfg}, func(int32) []string { return []string{addr} }, slog.New(slog.DiscardHandler))
		t.Cleanup(p.Close)
		return p
	}
	member := connect(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			resp, err := member.Request(t.Context(), 1, interbroker.LaneControl, &kmsg.AlterPartitionRequest{})
			if err != nil {
				t.Error(err)
			} else if resp.GetVersion() != 3 {
				t.Errorf("got version %d, want 3", resp.GetVersion())
			}
		})
	}
	wg.Wait()

	stranger := connect(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
	if _, err := stranger.Request(t.Context(), 1, interbroker.LaneControl, &kmsg.AlterPartitionRequest{}); err == nil {
		t.Error("a broker without a certificate was answered")
	}
	if got := member.Probe(t.Context(), 1); got != interbroker.Alive {
		t.Errorf("probe: got %v, want %v", got, interbroker.Alive)
	}
}
