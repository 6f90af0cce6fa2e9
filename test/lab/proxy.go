package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Traffic is what becomes of the bytes on a link.
type Traffic int

// What can become of them.
const (
	Flowing Traffic = iota
	// Frozen bytes stop where they are and connections stay open, new ones too: a
	// network that swallows packets. They arrive, late, once the link is mended.
	Frozen
	// Refused connections are reset, and new ones refused: a firewall that rejects.
	Refused
)

// String returns the word that a schedule of faults uses.
func (t Traffic) String() string {
	return [...]string{"flowing", "frozen", "refused"}[t]
}

// link is one directed way of dialling: the proxies that a node has in place of
// another node's addresses.
type link struct{ from, to int }

// network is the proxies between all nodes.
type network map[link][]*proxy

// newNetwork puts proxies between every two nodes, for their brokers and for
// their backends.
func newNetwork(nodes map[int]*Node) (network, error) {
	w := network{}
	for from := range nodes {
		for to, n := range nodes {
			if from == to {
				continue
			}
			for _, target := range []string{n.Broker, n.Raft} {
				p, err := newProxy(target)
				if err != nil {
					return nil, errors.Join(err, w.close())
				}
				w[link{from, to}] = append(w[link{from, to}], p)
			}
		}
	}
	return w, nil
}

func (w network) close() error {
	var errs []error
	for _, proxies := range w {
		for _, p := range proxies {
			errs = append(errs, p.close())
		}
	}
	return errors.Join(errs...)
}

// peers returns the addresses of every node as one of them has to know them.
func (c *Cluster) peers(of int) (brokers, rafts map[int]string) {
	brokers, rafts = map[int]string{}, map[int]string{}
	for id, peer := range c.nodes {
		brokers[id], rafts[id] = peer.Broker, peer.Raft
		if p := c.network[link{of, id}]; p != nil {
			brokers[id], rafts[id] = p[0].address, p[1].address
		}
	}
	return brokers, rafts
}

// Cut stops what one node sends to another, and nothing of what it receives:
// frozen bytes do not pass, whoever dialled; refused are the connections that
// from dials. The cluster must have been made with Options.Proxies.
func (c *Cluster) Cut(from, to int, how Traffic) error {
	var errs []error
	for _, p := range c.network[link{from, to}] {
		errs = append(errs, p.set(requests, how))
	}
	if how == Refused {
		return errors.Join(errs...)
	}
	for _, p := range c.network[link{to, from}] {
		errs = append(errs, p.set(answers, how))
	}
	return errors.Join(errs...)
}

// Isolate cuts a node off all others, both ways.
func (c *Cluster) Isolate(id int, how Traffic) error {
	var errs []error
	for other := range c.nodes {
		if other != id {
			errs = append(errs, c.Cut(id, other, how), c.Cut(other, id, how))
		}
	}
	return errors.Join(errs...)
}

// HangUp resets the connections that from has dialled to another node.
func (c *Cluster) HangUp(from, to int) {
	for _, p := range c.network[link{from, to}] {
		p.hangUp()
	}
}

// Heal mends every link.
func (c *Cluster) Heal() error {
	var errs []error
	for _, proxies := range c.network {
		for _, p := range proxies {
			errs = append(errs, p.set(requests, Flowing), p.set(answers, Flowing))
		}
	}
	return errors.Join(errs...)
}

// direction is one of the two ways through a connection.
type direction int

const (
	requests direction = iota // from who dialled
	answers
)

// proxy forwards what is dialled at address to target.
type proxy struct {
	address, target string

	mu       sync.Mutex // of all below
	listener net.Listener
	open     map[net.Conn]struct{}      // both ends of what is forwarded
	gates    [answers + 1]chan struct{} // closed while bytes flow
	workers  sync.WaitGroup
}

func newProxy(target string) (*proxy, error) {
	flowing := make(chan struct{})
	close(flowing)
	p := &proxy{address: "127.0.0.1:0", target: target, open: map[net.Conn]struct{}{}}
	p.gates = [...]chan struct{}{flowing, flowing}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p, p.listen()
}

// listen accepts connections, at the same address each time. The caller holds mu.
func (p *proxy) listen() error {
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("proxy of %s: %w", p.target, err)
	}
	p.listener, p.address = l, l.Addr().String()
	p.workers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.workers.Go(func() { p.forward(conn) })
		}
	})
	return nil
}

// set says what becomes of the bytes in one direction from now on.
func (p *proxy) set(d direction, how Traffic) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if how == Refused {
		if p.listener == nil {
			return nil
		}
		err := p.listener.Close()
		p.listener = nil
		p.reset()
		return err
	}
	flowing := true
	select {
	case <-p.gates[d]:
	default:
		flowing = false
	}
	switch {
	case how == Frozen && flowing:
		p.gates[d] = make(chan struct{})
	case how == Flowing && !flowing:
		close(p.gates[d])
	}
	if how == Flowing && p.listener == nil {
		return p.listen()
	}
	return nil
}

func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset()
}

// reset ends every connection with a reset instead of an orderly end. The caller
// holds mu.
func (p *proxy) reset() {
	for conn := range p.open {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it may be closed already
		}
		_ = conn.Close()
	}
	clear(p.open)
}

// close ends everything and waits for it.
func (p *proxy) close() error {
	err := errors.Join(p.set(requests, Refused), p.set(requests, Frozen), p.set(answers, Frozen))
	p.mu.Lock()
	for _, gate := range p.gates {
		close(gate) // nothing flows any more: every connection is closed
	}
	p.mu.Unlock()
	p.workers.Wait()
	return err
}

// forward carries one connection to its end. The target is dialled only while
// requests flow, as its side of a handshake would be.
func (p *proxy) forward(dialled net.Conn) {
	if !p.admit(dialled) {
		return
	}
	defer p.forget(dialled)
	<-p.gate(requests)
	target, err := net.Dial("tcp", p.target)
	if err != nil {
		return // nobody listens there
	}
	if !p.admit(target) {
		return
	}
	defer p.forget(target)
	var both sync.WaitGroup
	both.Go(func() { p.pump(target, dialled, requests) })
	both.Go(func() { p.pump(dialled, target, answers) })
	both.Wait()
}

// admit notes an open connection, unless all are refused.
func (p *proxy) admit(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		_ = conn.Close()
		return false
	}
	p.open[conn] = struct{}{}
	return true
}

func (p *proxy) forget(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.open[conn]; ok {
		delete(p.open, conn)
		_ = conn.Close()
	}
}

func (p *proxy) gate(d direction) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gates[d]
}

// pump forwards one direction, the end of the stream included. What is read
// while nothing flows waits; an end in disorder ends both directions.
func (p *proxy) pump(to, from net.Conn, d direction) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		<-p.gate(d)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if err == nil {
			continue
		}
		if tcp, ok := to.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
			_ = tcp.CloseWrite() // the other direction notices if it can not
		} else {
			_ = to.Close()
		}
		return
	}
}
