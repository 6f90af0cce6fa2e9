package interbroker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// conn is a live connection: a writer goroutine that sends calls from a bounded
// queue and a reader goroutine that matches answers to them.
type conn struct {
	lane   *lane
	socket net.Conn
	queue  chan *call    // of Config.MaxPending; a slot is held for each element
	slots  chan struct{} // one for each call that has no answer yet
	dead   chan struct{} // closed when the connection is gone; cause is set before
	cause  error

	once     sync.Once
	nextID   atomic.Int32
	lastRead atomic.Int64 // UnixNano of the last answer

	mu      sync.Mutex
	pending map[int32]*call // sent, not answered; nil when the connection is gone
}

// The states of a call. Whoever moves it away from queued decides whether it is sent.
const (
	queued    int32 = iota
	sent            // the writer took it
	abandoned       // its caller gave up, or the connection ended, before that
)

// call is one request on its way.
type call struct {
	id     int32
	frame  []byte
	buffer []byte // for the answer; the reader's from when the call is sent
	state  atomic.Int32
	sentAt time.Time   // set by the writer before the state is read by anybody else as sent
	answer chan []byte // of one
}

func newConn(l *lane, socket net.Conn) *conn {
	limit := l.pool.cfg.MaxPending
	return &conn{
		lane:    l,
		socket:  socket,
		queue:   make(chan *call, limit),
		slots:   make(chan struct{}, limit),
		dead:    make(chan struct{}),
		pending: make(map[int32]*call),
	}
}

// start runs the goroutines; it is false if the pool is closed.
func (c *conn) start() bool {
	return c.lane.pool.start(func() {
		var wg sync.WaitGroup
		wg.Go(func() { c.close(c.write()) })
		c.close(c.read())
		wg.Wait()
	})
}

// roundTrip sends req and waits for the frame that answers it.
func (c *conn) roundTrip(ctx context.Context, req kmsg.Request, buffer []byte) ([]byte, error) {
	select {
	case c.slots <- struct{}{}:
	case <-c.dead:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, c.cause)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many requests wait for it: %w", ErrUnreachable, ctx.Err())
	}
	id := c.nextID.Add(1)
	header := protocol.RequestHeader{CorrelationID: id, ClientID: &c.lane.pool.cfg.ClientID}
	k := &call{id: id, frame: protocol.AppendRequest(nil, header, req), buffer: buffer, answer: make(chan []byte, 1)}
	c.queue <- k // never blocks: a slot is held

	select {
	case frame := <-k.answer:
		return frame, nil
	case <-c.dead:
		return c.afterDeath(k)
	case <-ctx.Done():
		return c.giveUp(ctx, k)
	}
}

// afterDeath ends a call whose connection is gone.
func (c *conn) afterDeath(k *call) ([]byte, error) {
	if k.state.CompareAndSwap(queued, abandoned) {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, c.cause)
	}
	select {
	case frame := <-k.answer: // came just before the end
		return frame, nil
	default:
		return nil, fmt.Errorf("%w: %w", ErrUncertain, c.cause)
	}
}

// giveUp ends a call whose caller does not wait longer. If nothing at all was heard
// since the call was sent, the connection is taken for dead: a peer that vanished
// without a word would otherwise hold it until TCP gives up, minutes later.
func (c *conn) giveUp(ctx context.Context, k *call) ([]byte, error) {
	if k.state.CompareAndSwap(queued, abandoned) {
		return nil, fmt.Errorf("%w: not sent in time: %w", ErrUnreachable, ctx.Err())
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && c.silentSince(k) {
		c.close(errors.New("the broker is silent"))
	}
	return nil, fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
}

// silentSince says whether no answer came since k, which is sent, was sent.
func (c *conn) silentSince(k *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending[k.id] == k && c.lastRead.Load() < k.sentAt.UnixNano()
}

// write sends what is queued, and flushes when the queue is empty.
func (c *conn) write() error {
	out := bufio.NewWriterSize(c.socket, 64<<10)
	for {
		select {
		case <-c.dead:
			return c.cause
		case k := <-c.queue:
			if !c.register(k) {
				continue
			}
			if err := c.socket.SetWriteDeadline(time.Now().Add(c.lane.pool.cfg.WriteTimeout)); err != nil {
				return err
			}
			if _, err := out.Write(k.frame); err != nil {
				return err
			}
			if len(c.queue) > 0 {
				continue
			}
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// register moves k to the calls that wait for an answer, or drops it if its caller
// has given up.
func (c *conn) register(k *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		return false
	}
	if !k.state.CompareAndSwap(queued, sent) {
		<-c.slots
		return false
	}
	k.sentAt = time.Now()
	c.pending[k.id] = k
	return true
}

// read hands each answer to its call.
func (c *conn) read() error {
	in := bufio.NewReaderSize(c.socket, 64<<10)
	for {
		size, id, err := protocol.ReadResponseHead(in, c.lane.pool.cfg.MaxResponseBytes)
		if err != nil {
			return err
		}
		c.mu.Lock()
		k := c.pending[id]
		c.mu.Unlock()
		if k == nil {
			return fmt.Errorf("%w: an answer to request %d, which was not asked", protocol.ErrMalformed, id)
		}
		frame, err := protocol.ReadResponseRest(in, id, size, k.buffer)
		if err != nil {
			return err
		}
		c.lastRead.Store(time.Now().UnixNano())
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
		<-c.slots
		k.answer <- frame
	}
}

// close ends the connection; the first cause counts. Calls see dead.
func (c *conn) close(cause error) {
	c.once.Do(func() {
		if err := c.socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			cause = errors.Join(cause, err)
		}
		c.mu.Lock()
		c.pending = nil
		c.mu.Unlock()
		c.cause = cause
		close(c.dead)
		c.lane.lost(c, cause)
	})
}
