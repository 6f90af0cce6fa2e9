package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quorate/quorate/configs"
)

// pluginEnds is how long the port of the backend is waited for: the plugin of a
// broker that was killed a moment ago may still hold it.
const pluginEnds = 3 * time.Second

// socket is an address that a node is going to bind, and the setting that says so.
type socket struct {
	key, bind string
	patience  time.Duration
}

// sockets lists what a node binds.
func sockets(cfg configs.Config) []socket {
	var all []socket
	for i, l := range cfg.Listeners {
		all = append(all, socket{key: "listeners/" + strconv.Itoa(i) + "/bind", bind: l.Bind})
	}
	if !cfg.Single() {
		all = append(all, socket{key: "cluster/bind", bind: cfg.Cluster.Bind})
	}
	if cfg.Consensus.Backend != "solo" {
		all = append(all, socket{key: "consensus/peer/listen", bind: cfg.Consensus.Peer.Listen, patience: pluginEnds})
	}
	return append(all, socket{key: "admin/bind", bind: cfg.Admin.Bind})
}

// preflight binds every address for a moment, so that one that is taken is told
// before anything is started or written. The error is one sentence.
func preflight(ctx context.Context, cfg configs.Config) error {
	taken := map[string]string{} // address to setting
	for _, s := range sockets(cfg) {
		if other, ok := taken[s.bind]; ok && !strings.HasSuffix(s.bind, ":0") {
			return usagef("%s stands in both %s and %s (%s): set one of them to another address", s.bind, other, s.key, cfg.Origins[s.key])
		}
		taken[s.bind] = s.key
		if err := s.try(ctx); err != nil {
			return s.explain(err, cfg.Origins[s.key])
		}
	}
	return nil
}

// try binds and lets go. An address in use is tried again until patience ends.
func (s socket) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	for {
		l, err := net.Listen("tcp", s.bind)
		if err == nil {
			return l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s socket) explain(err error, at configs.Origin) error {
	setting := fmt.Sprintf("%s (%s)", s.key, at)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another process: stop that one, or set %s to another address", s.bind, setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine: correct %s", s.bind, setting)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s may not be bound by this user: take a port from 1024 on in %s, or grant CAP_NET_BIND_SERVICE", s.bind, setting)
	default:
		return fmt.Errorf("%s cannot be bound: %s; correct %s", s.bind, reason(err), setting)
	}
}
