package hashicorpraft

import (
	"net"
	"sync/atomic"
)

// traffic is what was exchanged with one replica, over all its connections.
type traffic struct {
	connections, sent, received atomic.Uint64
}

// count wraps a connection to or from a replica.
func (s *streams) count(conn net.Conn, replica uint64) net.Conn {
	s.mu.Lock()
	t := s.traffic[replica]
	if t == nil && len(s.traffic) >= maxPeerConns {
		s.mu.Unlock() // only strangers who are in the cluster make so many ids
		return conn
	}
	if t == nil {
		t = &traffic{}
		s.traffic[replica] = t
	}
	s.mu.Unlock()
	t.connections.Add(1)
	return &counted{Conn: conn, traffic: t}
}

type counted struct {
	net.Conn
	traffic *traffic
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.traffic.received.Add(uint64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.traffic.sent.Add(uint64(n))
	return n, err
}
