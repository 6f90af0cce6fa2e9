package sdk

import (
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// hostPoll is how often parent and lease are looked at. The descriptor tells
// first; these are for hosts that give none, and for those that are frozen.
const hostPoll = 200 * time.Millisecond

// silentShare is the part of the lease after which a host counts as silent.
// With the default lease that is what the controller grants a broker as well.
const silentShare = 6

// watchHost returns a channel that yields why the host counts as dead: EOF on
// the descriptor named by fd, another parent, or a lease that has run out.
func watchHost(s *Server, fd string) <-chan string {
	gone := make(chan string, 2)
	if n, err := strconv.Atoi(fd); err == nil && n > 2 {
		syscall.CloseOnExec(n)
		go func() {
			f := os.NewFile(uintptr(n), "host")
			_, _ = io.Copy(io.Discard, f) // the host never writes: this ends with it, by EOF or error
			gone <- "its end of the pipe was closed"
		}()
	}
	go func() { gone <- s.pollHost(os.Getppid()) }()
	return gone
}

func (s *Server) pollHost(parent int) string {
	last := time.Now()
	for range time.Tick(hostPoll) {
		if os.Getppid() != parent {
			return "the parent process is another one"
		}
		now := time.Now()
		if paused := now.Sub(last) > 5*hostPoll; paused {
			// This process stood still, not the host: its calls are waiting.
			s.lastCall.Store(int64(now.Sub(s.born)))
		}
		last = now
		if s.silentFor(now, 1) {
			return "no call came for longer than the lease"
		}
		if s.silentFor(now, silentShare) {
			s.handOver()
		}
	}
	return "the clock has stopped" // a ticker's channel is never closed
}

// silentFor tells whether no call came for longer than a part of the lease.
func (s *Server) silentFor(now time.Time, part time.Duration) bool {
	s.mu.Lock()
	lease := s.lease
	s.mu.Unlock()
	return lease > 0 && now.Sub(s.born)-time.Duration(s.lastCall.Load()) > lease/part
}

// handOver gives leaderships to replicas whose hosts may be awake: a host that
// hangs decides nothing, and nobody else can until its lease is over. It returns
// at once; there is one such attempt at a time.
func (s *Server) handOver() {
	groups, _ := s.openGroups()
	leads := slices.ContainsFunc(groups, func(g *group) bool {
		_, _, ok := g.heir()
		return ok
	})
	if !leads || !s.handingOver.CompareAndSwap(false, true) {
		return
	}
	s.log.Warn("the host is silent, leadership is handed over")
	go func() {
		defer s.handingOver.Store(false)
		s.transferAll(context.Background())
	}()
}
