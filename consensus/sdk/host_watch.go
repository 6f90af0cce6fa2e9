package sdk

import (
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// hostPoll is how often parent and lease are looked at. The descriptor tells
// first; these are for hosts that give none, and for those that are frozen.
const hostPoll = 200 * time.Millisecond

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
		if s.leaseExpired(now) {
			return "no call came for longer than the lease"
		}
	}
	return "the clock has stopped" // a ticker's channel is never closed
}

func (s *Server) leaseExpired(now time.Time) bool {
	s.mu.Lock()
	lease := s.lease
	s.mu.Unlock()
	return lease > 0 && now.Sub(s.born)-time.Duration(s.lastCall.Load()) > lease
}
