package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server and returns a function that gets a path from it.
func serve(t *testing.T, checks ...Check) func(path string) (int, string) {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "quorate_test_total", Help: "A test."}))
	cfg := DefaultConfig()
	cfg.Bind, cfg.CheckTimeout = "127.0.0.1:0", 30*time.Millisecond
	s, err := New(cfg, reg, checks, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return func(path string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	get := serve(t)
	tests := []struct {
		path, want string
		status     int
	}{
		{"/metrics", "quorate_test_total 0", 200},
		{"/livez", "ok\n", 200},
		{"/readyz", "ready\n", 200},
		{"/debug/pprof/", "goroutine", 200},
		{"/debug/pprof/cmdline", "", 200},
		{"/other", "not found", 404},
	}
	for _, tt := range tests {
		if status, body := get(tt.path); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: got %d %q, want %d with %q", tt.path, status, body, tt.status, tt.want)
		}
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	get := serve(t,
		Check{"metadata", func(context.Context) error { return nil }},
		Check{"consensus", func(context.Context) error { return errors.New("no leader") }},
		Check{"disk", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	)
	status, body := get("/readyz")
	want := "[+] metadata ok\n[-] consensus: no leader\n[-] disk: context deadline exceeded\nnot ready\n"
	if status != http.StatusServiceUnavailable || body != want {
		t.Errorf("got %d %q, want %d %q", status, body, http.StatusServiceUnavailable, want)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Bind = "127.0.0.1:0"
	first, err := New(cfg, prometheus.NewRegistry(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	cfg.Bind = first.Addr().String()
	second, err := New(cfg, prometheus.NewRegistry(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Listen(); err == nil || !strings.Contains(err.Error(), "is in use by another process") {
		t.Errorf("got %v, want it to say who has the address", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := (Config{Bind: "nowhere"}).Validate(); err == nil {
		t.Error("an address without a port is accepted")
	}
}
