package kit

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// way is a directed link between two replicas: what one sends to the other,
// whoever dialled.
type way struct{ from, to uint64 }

// traffic is what becomes of the bytes on a way. The zero value lets them pass.
type traffic struct {
	cut    bool          // connections are reset, and new ones too
	frozen bool          // bytes stop where they are, and arrive late
	delay  time.Duration // of every read of up to 32 KiB
}

// network is the proxies between replicas. Members are known to each other by
// the proxies' addresses.
//
// Where replicas are processes, a member has one address for all, as the
// contract wants it, and the proxy finds out who dials. In one process nobody
// can tell: there every replica knows the others by proxies of its own.
type network struct {
	shared  bool
	pids    func() map[uint64]int
	mu      sync.Mutex
	ways    map[way]traffic
	changed chan struct{}
	proxies map[way]net.Listener // from 0: everybody's
	open    map[net.Conn]way     // both ends of what is forwarded, with who dialled whom
	running sync.WaitGroup
}

func newNetwork(shared bool, pids func() map[uint64]int) *network {
	return &network{
		shared: shared, pids: pids, ways: map[way]traffic{}, changed: make(chan struct{}),
		proxies: map[way]net.Listener{}, open: map[net.Conn]way{},
	}
}

// connect makes the proxies that nodes do not have yet.
func (w *network) connect(nodes []*node) error {
	for _, from := range nodes {
		for _, to := range nodes {
			key := w.key(from.id, to.id)
			if w.proxies[key] != nil || !w.shared && from == to {
				continue
			}
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			w.proxies[key] = lis
			w.running.Go(func() { w.accept(lis, key, to.listen) })
		}
	}
	return nil
}

func (w *network) key(from, to uint64) way {
	if w.shared {
		return way{0, to}
	}
	return way{from, to}
}

// address is where from dials to.
func (w *network) address(from, to *node) string {
	if p := w.proxies[w.key(from.id, to.id)]; p != nil {
		return p.Addr().String()
	}
	return to.listen
}

// set changes what becomes of the bytes from one node to another.
func (w *network) set(from, to *node, t traffic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := way{from.id, to.id}
	w.ways[key] = t
	close(w.changed)
	w.changed = make(chan struct{})
	if !t.cut {
		return
	}
	for conn, between := range w.open {
		if between == key || between == (way{to.id, from.id}) {
			reset(conn)
		}
	}
}

// split sets both ways between two nodes.
func (w *network) split(a, b *node, t traffic) {
	w.set(a, b, t)
	w.set(b, a, t)
}

// isolate sets both ways between n and all others.
func (w *network) isolate(n *node, t traffic) {
	for _, other := range n.l.others(n) {
		w.split(n, other, t)
	}
}

// heal lets everything pass again.
func (w *network) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ways)
	close(w.changed)
	w.changed = make(chan struct{})
}

// hangUp resets every connection; new ones are let through.
func (w *network) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.open {
		reset(conn)
	}
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
	_ = conn.Close()
}

func (w *network) close() {
	for _, p := range w.proxies {
		_ = p.Close()
	}
	w.heal()
	w.hangUp()
	w.running.Wait()
}

func (w *network) accept(lis net.Listener, key way, target string) {
	for {
		conn, err := lis.Accept()
		if err != nil {
			return // closed
		}
		w.running.Go(func() { w.forward(conn, key, target) })
	}
}

// forward carries one connection to its end.
func (w *network) forward(dialled net.Conn, key way, target string) {
	if key.from == 0 {
		key.from = whoDialled(dialled, w.pids())
	}
	if !w.admit(dialled, key) {
		return
	}
	defer w.forget(dialled)
	w.pass(key)
	served, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		return // nobody listens there
	}
	if !w.admit(served, key) {
		return
	}
	defer w.forget(served)
	var both sync.WaitGroup
	both.Go(func() { w.pump(served, dialled, key) })
	both.Go(func() { w.pump(dialled, served, way{key.to, key.from}) })
	both.Wait()
}

// admit notes an open connection, unless it is cut.
func (w *network) admit(conn net.Conn, between way) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ways[between].cut || w.ways[way{between.to, between.from}].cut {
		reset(conn)
		return false
	}
	w.open[conn] = between
	return true
}

func (w *network) forget(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, conn)
	_ = conn.Close()
}

// pass waits while the way is frozen, and as long as it delays.
func (w *network) pass(on way) {
	for {
		w.mu.Lock()
		t, changed := w.ways[on], w.changed
		w.mu.Unlock()
		if !t.frozen {
			if t.delay > 0 {
				<-time.After(t.delay)
			}
			return
		}
		<-changed
	}
}

func (w *network) pump(to, from net.Conn, on way) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.pass(on)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // the other direction notices if it can not
			}
		default:
			_ = to.Close()
		}
		return
	}
}
