package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/ring"
)

// Owner names a log in the commit log, for good: a topic that is created again has
// another id.
type Owner struct {
	TopicID   [16]byte
	Partition int32
}

// Committer makes the appends of all logs of a data directory durable together: one
// write and one fdatasync of the commit log for everything that waits, instead of one
// fdatasync for each log.
//
// OpenCommitter brings the logs' files up to date after a crash, so it comes before
// the logs are opened; they are opened WithCommitter. Close comes after theirs. There
// is no timer: a round begins as soon as there is something to commit, and collects
// while the one before is on its way.
//
// Locks: turn, then a log's, then mu. A round holds turn over its I/O; mu is never
// held over any.
type Committer struct {
	cfg     CommitConfig
	fsys    FS
	log     *slog.Logger
	ring    *ring.Ring
	metrics *commitMetrics

	turn   sync.Mutex // of whoever runs a round
	saving sync.Mutex // of whoever writes the ring's checkpoint

	checkpointing chan struct{} // has room for one: whoever makes a checkpoint

	mu      sync.Mutex
	queue   *commitQueue // collects; never nil
	spare   *commitQueue // to collect next; nil while a round runs
	queued  int64        // bytes of payload that were admitted and not committed
	grown   int64        // bytes of payload since wantWriteBack
	blocked bool         // the ring is full
	room    *sync.Cond   // of mu: queued or blocked changed
	waiting chan struct{}
	logs    map[*Log]struct{}
	dirty   []*Log           // with frames that no checkpoint covers
	owners  map[Owner]uint64 // with frames in the ring, and the last file that has some
	points  map[Owner]point  // where recovery of each log begins
	tell    []*Log           // whose durable end moved; for the notifier
	failure *failure

	stop    context.CancelFunc // nil: whoever has it runs the rounds; for tests
	running sync.WaitGroup
	closed  atomic.Bool

	// Each has room for one value, which says:
	atOnce         chan struct{} // a round is to run
	soon           chan struct{} // one is to run within SyncInterval
	moved          chan struct{} // tell is not empty
	wantFiles      chan struct{} // a file is to be made
	wantCheckpoint chan struct{} // files could be freed
	wantWriteBack  chan struct{} // logs have grown
}

// commitQueue is what the next round commits.
type commitQueue struct {
	round ring.Round
	ends  []commitEnd // one for each frame
	bytes int64       // of payload
}

// commitEnd is what a frame makes durable.
type commitEnd struct {
	log *Log
	end int64 // -1: a barrier
}

func newCommitter(cfg CommitConfig, fsys FS, log *slog.Logger, metrics *commitMetrics) *Committer {
	c := &Committer{
		cfg: cfg, fsys: fsys, log: log, metrics: metrics,
		queue: &commitQueue{}, spare: &commitQueue{},
		logs: map[*Log]struct{}{}, owners: map[Owner]uint64{}, points: map[Owner]point{},
		atOnce: make(chan struct{}, 1), soon: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		wantFiles: make(chan struct{}, 1), wantCheckpoint: make(chan struct{}, 1),
		checkpointing: make(chan struct{}, 1), wantWriteBack: make(chan struct{}, 1),
	}
	c.room = sync.NewCond(&c.mu)
	return c
}

// CommitOption changes how OpenCommitter works.
type CommitOption func(*commitOptions)

type commitOptions struct {
	fsys    FS
	metrics *commitMetrics
	manual  bool
}

// WithCommitFS replaces the operating system's file system, for tests.
func WithCommitFS(fsys FS) CommitOption { return func(o *commitOptions) { o.fsys = fsys } }

// OpenCommitter opens the commit log and writes into the partition logs what a crash
// kept from them. resolve returns the directory of a log, or false if there is no
// such log any more: what the commit log has of it is dropped.
//
// Errors: *ring.DamageError if something is damaged that had been committed; the
// partition logs then have what comes before it. What the disk says.
func OpenCommitter(cfg CommitConfig, resolve func(Owner) (dir string, ok bool), log *slog.Logger, opts ...CommitOption) (*Committer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("commit log config: %w", err)
	}
	o := commitOptions{fsys: disk.OS{}, metrics: newCommitMetrics(nil)}
	for _, opt := range opts {
		opt(&o)
	}
	c := newCommitter(cfg, o.fsys, log, o.metrics)
	var err error
	if c.ring, err = ring.Open(o.fsys, cfg.Dir, cfg.ring(), cfg.UnsafeTruncate, log); err != nil {
		return nil, err
	}
	if err := c.recover(resolve); err != nil {
		return nil, errors.Join(err, c.ring.Close())
	}
	c.metrics.watch(c)
	if !o.manual {
		c.start()
	}
	return c, nil
}

// Err is nil, or why nothing is committed any more.
func (c *Committer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err()
}

// err is Err under mu.
func (c *Committer) err() error {
	switch {
	case c.failure != nil:
		return c.failure.err
	case c.closed.Load():
		return ErrClosed
	}
	return nil
}

// failed is nil, or what has made the committer fail; one that is closed has not.
func (c *Committer) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil {
		return c.failure.err
	}
	return nil
}

// fail makes err final for every log: what the kernel could not write is lost, and
// nobody knows which of the logs it belonged to.
func (c *Committer) fail(doing string, err error) error {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = &failure{fmt.Errorf("%w: %s: %w", ErrFailed, doing, err)}
		c.log.Error("commit log has failed and takes no more writes", "dir", c.cfg.Dir, "doing", doing, "error", err)
	}
	err = c.failure.err
	logs := make([]*Log, 0, len(c.logs))
	for l := range c.logs {
		logs = append(logs, l)
	}
	c.mu.Unlock()
	for _, l := range logs {
		l.failAs(err)
	}
	c.mu.Lock()
	c.notify(logs...)
	c.wakeAll()
	c.mu.Unlock()
	return err
}

// wakeAll wakes who waits for room or for a round. mu is held.
func (c *Committer) wakeAll() {
	c.room.Broadcast()
	if c.waiting != nil {
		close(c.waiting)
		c.waiting = nil
	}
}

// admit waits until n more bytes may be queued: neither may copies fill the memory
// nor the ring run over. The caller holds no lock that a round or a checkpoint needs.
func (c *Committer) admit(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err() == nil && (c.blocked || c.queued > 0 && c.queued+int64(n) > c.cfg.QueueBytes) {
		c.metrics.stalls.Inc()
		c.kick(c.atOnce)
		c.room.Wait()
	}
	if err := c.err(); err != nil {
		return err
	}
	c.queued += int64(n)
	return nil
}

// release takes back what was admitted and not queued.
func (c *Committer) release(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= int64(n)
	c.room.Broadcast()
}

// add queues a frame that makes l durable up to end. Called under the log's mutex, so
// the order of frames is that of offsets, and a torn tail leaves no hole.
func (c *Committer) add(l *Log, f ring.Frame, end int64) {
	c.mu.Lock()
	slot := c.queue.round.Reserve(f)
	c.queue.ends = append(c.queue.ends, commitEnd{l, end})
	c.queue.bytes += int64(len(f.Payload))
	lazy := l.mode.Load() == uint32(SyncInterval) && c.queue.bytes < c.cfg.SyncIntervalBytes
	c.mu.Unlock()
	slot.Fill()
	if lazy && end >= 0 {
		c.kick(c.soon)
		return
	}
	c.kick(c.atOnce)
}

// kick leaves a signal in a channel with room for one.
func (c *Committer) kick(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// flush commits everything that is queued: one round. An error is final.
func (c *Committer) flush() error {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	if err := c.err(); err != nil {
		c.mu.Unlock()
		return err
	}
	q := c.queue
	if len(q.ends) == 0 {
		c.mu.Unlock()
		return nil
	}
	c.queue, c.spare = c.spare, nil
	c.mu.Unlock()
	began := time.Now()
	if err := c.ring.Commit(&q.round); err != nil {
		return c.fail("commit", err)
	}
	c.metrics.committed(q, time.Since(began))
	c.publish(q)
	return nil
}

// publish says what a round has made durable.
func (c *Committer) publish(q *commitQueue) {
	file := c.ring.Current()
	for _, e := range q.ends {
		if e.end >= 0 {
			e.log.raiseDurable(e.end)
		}
	}
	c.mu.Lock()
	for _, e := range q.ends {
		c.note(e.log, file)
		c.notify(e.log)
	}
	c.queued -= q.bytes
	if c.grown += q.bytes; c.grown >= writeBackStep {
		c.grown = 0
		c.kick(c.wantWriteBack)
	}
	c.blocked = c.ring.Used() >= c.cfg.SizeBytes
	c.wakeAll()
	q.round.Release()
	clear(q.ends)
	q.ends, q.bytes = q.ends[:0], 0
	c.spare = q
	c.mu.Unlock()
	if c.ring.Wants() {
		c.kick(c.wantFiles)
	}
	if full, _ := c.ring.Full(); full != 0 {
		c.kick(c.wantCheckpoint)
	}
}

// note remembers that file has a frame of l. mu is held.
func (c *Committer) note(l *Log, file uint64) {
	if l.framesIn != file {
		l.framesIn = file
		c.owners[l.owner] = file
	}
	if l.dirtySince == 0 {
		l.dirtySince = file
		c.dirty = append(c.dirty, l)
	}
}

// notify has the logs' callbacks called. mu is held.
func (c *Committer) notify(logs ...*Log) {
	for _, l := range logs {
		if l.onDurable != nil && !l.telling {
			l.telling = true
			c.tell = append(c.tell, l)
		}
	}
	if len(c.tell) > 0 {
		c.kick(c.moved)
	}
}

// nextRound is closed after the next round that ends, or when all has failed.
func (c *Committer) nextRound() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err() != nil {
		return over
	}
	if c.waiting == nil {
		c.waiting = make(chan struct{})
	}
	return c.waiting
}

// over is the next round of a committer that has none.
var over = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// attach makes the committer know an open log, and where its recovery begins.
func (c *Committer) attach(l *Log, p point) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.err(); err != nil {
		return err
	}
	c.logs[l] = struct{}{}
	c.points[l.owner] = p
	return nil
}

// detach forgets a log that was closed or deleted. Its frames stay until the next
// checkpoint; redoing them changes nothing.
func (c *Committer) detach(l *Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.logs, l)
}

// barrier makes it durable that nothing of l which was queued before is ever redone,
// and that its point counts no more. The caller holds the log's locks and has synced
// its files.
func (c *Committer) barrier(l *Log) error {
	if err := c.flush(); err != nil {
		return err
	}
	c.mu.Lock()
	_, framed := c.owners[l.owner]
	_, pointed := c.points[l.owner]
	delete(c.points, l.owner)
	c.mu.Unlock()
	if !framed && !pointed {
		return nil
	}
	c.add(l, ring.Frame{Type: ring.Barrier, Owner: l.owner.ring()}, -1)
	return c.flush()
}

// floor makes it durable that no frame of l which names a segment below base is ever
// redone: those segments are on stable storage as they are, and may be replaced. The
// caller holds the log's roundMu.
func (c *Committer) floor(l *Log, base int64) error {
	if err := c.flush(); err != nil {
		return err
	}
	c.mu.Lock()
	_, framed := c.owners[l.owner]
	c.mu.Unlock()
	if !framed {
		return nil
	}
	c.add(l, ring.Frame{Type: ring.Barrier, Owner: l.owner.ring(), Base: base}, -1)
	return c.flush()
}

func (o Owner) ring() ring.Owner { return ring.Owner{ID: o.TopicID, Part: o.Partition} }
