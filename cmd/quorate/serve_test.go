package main

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/quorate/quorate/configs"
)

func TestGreeting(t *testing.T) {
	tests := []struct {
		name, advertise string
		dev             bool
		want            []string // lines to paste
	}{
		{"the usual address", defaultBootstrap, true, []string{"produce quickstart\n", "consume quickstart -o start -e\n"}},
		{"another address", "127.0.0.1:1", true, []string{"produce quickstart -b 127.0.0.1:1\n", "consume quickstart -o start -e -b 127.0.0.1:1\n"}},
		{"not --dev", defaultBootstrap, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			greeting(tt.dev, configs.Config{Listeners: []configs.Listener{{Advertise: tt.advertise}}}, &out)()
			for _, line := range tt.want {
				if !strings.Contains(out.String(), line) {
					t.Errorf("no %q in %q", line, out.String())
				}
			}
			if tt.want == nil && out.Len() > 0 {
				t.Errorf("got %q", out.String())
			}
		})
	}
}

func TestSocketExplain(t *testing.T) {
	s := socket{key: "admin/bind", bind: "127.0.0.1:80"}
	at := configs.Origin{File: "node.yaml", Line: 3, Column: 5}
	tests := []struct {
		err  error
		want string
	}{
		{syscall.EADDRINUSE, "127.0.0.1:80 is in use by another process: stop that one, or set admin/bind (node.yaml:3) to another address"},
		{syscall.EADDRNOTAVAIL, "127.0.0.1:80 is not an address of this machine: correct admin/bind (node.yaml:3)"},
		{syscall.EACCES, "127.0.0.1:80 may not be bound by this user: take a port from 1024 on in admin/bind (node.yaml:3), or grant CAP_NET_BIND_SERVICE"},
		{&net.DNSError{Name: "nowhere"}, "127.0.0.1:80 cannot be bound: no address for nowhere; correct admin/bind (node.yaml:3)"},
	}
	for _, tt := range tests {
		if got := s.explain(&net.OpError{Op: "listen", Err: tt.err}, at).Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// A port that frees itself in time is none to complain about.
func TestSocketPatience(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := socket{bind: l.Addr().String()}
	if err := s.try(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want that it is in use", err)
	}
	s.patience = pluginEnds
	ended := make(chan error)
	go func() { ended <- s.try(t.Context()) }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("got %v once the port is free", err)
	}
}
